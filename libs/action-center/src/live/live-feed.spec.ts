import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ClawbackError, START, type Position } from '#libs/kernel';
import { remediationCodecs, type RemediationEvent } from '#libs/remediation';
import { InMemoryEventStore, InMemoryLog } from '../../../../test/support/in-memory-event-store.js';
import { tallyOf } from '../../../../test/support/examples.js';
import { countsOf } from '../counts.js';
import { LiveFeed, type LiveRequest } from './live-feed.js';
import type { LiveOptions } from './live-hub.js';
import type { LiveItem } from './subscriber.js';

const COUNTS = countsOf(tallyOf({ recipient: { pending: 1, succeeded: 2 } }));

let log: InMemoryLog;
let store: InMemoryEventStore;
/** What the history shows; everything, unless the test holds it back. */
let shown: Position | 'everything';
let feed: LiveFeed;
let errors: unknown[];
let appended: number;

const feedWith = (over: Partial<LiveOptions> = {}): LiveFeed =>
  new LiveFeed({
    events: store,
    shownUpTo: async () => (shown === 'everything' ? store.head() : shown),
    counts: (ids) => Promise.resolve(new Map(ids.map((id) => [id, COUNTS]))),
    onError: (error) => errors.push(error),
    progressMs: 0,
    ...over,
  });

beforeEach(() => {
  log = new InMemoryLog();
  store = new InMemoryEventStore(log);
  shown = 'everything';
  errors = [];
  appended = 0;
  feed = feedWith();
});

afterEach(async () => {
  await feed.close();
});

const metadata = (approvalId: string, tenant: string) => ({
  tenant,
  actor: 'kim',
  correlationId: approvalId,
  occurredAt: '2026-03-02T08:00:00.000Z',
});

async function append(event: RemediationEvent, tenant = 'fabrikam'): Promise<Position> {
  appended += 1;
  const { approvalId } = event.data;
  const encoded = remediationCodecs.encode(event, `e${appended}`, metadata(approvalId, tenant));
  return (await store.append(`s${appended}`, 'noStream', [encoded])).position;
}

const started = (approvalId: string, tenant?: string) =>
  append({ type: 'RemediationStarted', data: { approvalId } }, tenant);

async function moved(approvalId: string): Promise<Position> {
  appended += 1;
  const event = {
    id: `e${appended}`,
    type: 'RecipientCopySoftDeleted',
    data: {},
    metadata: metadata(approvalId, 'fabrikam'),
  };
  return (await store.append(`s${appended}`, 'noStream', [event])).position;
}

/** One who listens; `next` waits for the next notification or mark. */
function listener(over: Partial<LiveRequest> = {}, at: LiveFeed = feed) {
  const ending = new AbortController();
  const items = at.subscribe({ tenant: 'fabrikam', signal: ending.signal, ...over });
  return {
    async next(): Promise<LiveItem | undefined> {
      const result = await items.next();
      return result.done === true ? undefined : result.value;
    },
    async take(count: number): Promise<string[]> {
      const taken: string[] = [];
      while (taken.length < count) {
        const item = await this.next();
        if (item === undefined) throw new Error(`ended after ${taken.join(', ')}`);
        const { notification } = item;
        if (notification !== undefined)
          taken.push(`${notification.type.slice(12)} ${notification.approvalId}`);
      }
      return taken;
    },
    stop(): void {
      ending.abort();
    },
  };
}

describe('a subscriber', () => {
  it('is told first where it begins, then what happens', async () => {
    const place = await started('old');
    const one = listener();
    expect(await one.next()).toEqual({ position: place });
    const later = await started('new');
    expect(await one.next()).toMatchObject({ position: later, notification: { approvalId: 'new' } });
  });

  it('gets the past after its place, and what happens meanwhile, each once', async () => {
    const places: Position[] = [];
    for (let n = 0; n < 1200; n += 1) places.push(await started(`r${n}`));
    const one = listener({ after: places[9] as Position });
    const other = listener();
    await other.next();
    const first = await one.take(600);
    for (let n = 1200; n < 1300; n += 1) await started(`r${n}`);
    const rest = await one.take(690);
    expect([...first, ...rest]).toEqual(Array.from({ length: 1290 }, (_, n) => `started r${n + 10}`));
    expect(await other.take(100)).toEqual(rest.slice(-100));
  });

  it('joins from what is kept when it lies not too far back, and reads the log when it does', async () => {
    feed = feedWith({ kept: 5 });
    const other = listener();
    await other.next();
    const places: Position[] = [];
    for (let n = 0; n < 20; n += 1) places.push(await started(`r${n}`));
    await other.take(20);
    for (const from of [0, 13, 14, 15, 18]) {
      const one = listener({ after: places[from] as Position });
      expect(await one.take(19 - from)).toEqual(
        Array.from({ length: 19 - from }, (_, n) => `started r${n + from + 1}`),
      );
      one.stop();
    }
  });

  it('is told of progress once for many copies, with what the history shows', async () => {
    feed = feedWith({ progressMs: 1_000_000 });
    const one = listener();
    await one.next();
    // The first at once; the others wait until something else is told.
    await moved('r1');
    expect((await one.next())?.notification).toMatchObject({
      type: 'remediation.progress',
      facts: { counts: COUNTS },
    });
    for (let n = 0; n < 10; n += 1) await moved('r1');
    const last = await moved('r1');
    await started('r2');
    expect((await one.next())?.position).toBe(last);
    expect(await one.take(1)).toEqual(['started r2']);
  });

  it('hears nothing of other tenants, nor of other remediations than its own', async () => {
    const all = listener();
    const single = listener({ approvalId: 'r2' });
    await all.next();
    await single.next();
    await started('r1');
    await started('foreign', 'contoso');
    await started('r2');
    expect(await all.take(2)).toEqual(['started r1', 'started r2']);
    expect(await single.take(1)).toEqual(['started r2']);
    const past = listener({ after: START, approvalId: 'r2' });
    expect(await past.take(1)).toEqual(['started r2']);
  });

  it('is told nothing that the history does not show yet, live or of the past', async () => {
    const before = await started('r0');
    const live = listener();
    await live.next();
    shown = before;
    const place = await started('r1');
    const past = listener({ after: START });
    await past.next();
    expect(await past.take(1)).toEqual(['started r0']);
    const told: string[] = [];
    const both = [live.take(1), past.take(1)].map((taking) =>
      taking.then(([what = '']) => {
        told.push(what);
      }),
    );
    // Whoever appends now comes to know that nothing was told.
    await started('r2');
    await started('r3');
    expect(told).toEqual([]);
    shown = place;
    await Promise.all(both);
    expect(told).toEqual(['started r1', 'started r1']);
  });

  it('begins where the history is, so that who looks there and then listens misses nothing', async () => {
    const before = await started('r0');
    shown = before;
    await started('r1');
    const one = listener();
    expect(await one.next()).toEqual({ position: before });
    shown = 'everything';
    expect(await one.take(1)).toEqual(['started r1']);
  });

  it('is let go when it is too slow, and goes on from where it was', async () => {
    feed = feedWith({ inboxLimit: 3, kept: 4 });
    let letGo = false;
    const slow = listener({ onLetGo: () => (letGo = true) });
    const quick = listener();
    const begin = await slow.next();
    await quick.next();
    await started('r0');
    const first = await slow.next();
    for (let n = 1; n < 10; n += 1) {
      await started(`r${n}`);
      await quick.take(n === 1 ? 2 : 1);
    }
    expect(letGo).toBe(true);
    expect(await slow.next()).toBeUndefined();
    expect(first?.position).toBeGreaterThan(begin?.position ?? 0n);
    const again = listener({ after: first?.position ?? START });
    expect(await again.take(9)).toEqual(Array.from({ length: 9 }, (_, n) => `started r${n + 1}`));
  });

  it('is told how far everything was told when nothing concerns it for a while', async () => {
    feed = feedWith({ quietMs: 1 });
    const one = listener();
    await one.next();
    const place = await started('foreign', 'contoso');
    expect(await one.next()).toEqual({ position: place });
  });
});

describe('a feed', () => {
  it('rides out a log that does not answer', async () => {
    const one = listener();
    await one.next();
    await started('r1');
    await one.take(1);
    store.goDown();
    const next = one.take(1);
    while (errors.length === 0) await new Promise((resolve) => setImmediate(resolve));
    store.comeBack();
    await started('r2');
    expect(await next).toEqual(['started r2']);
    expect(errors).toContainEqual(expect.objectContaining({ code: 'eventStoreUnavailable' }));
  });

  it('rides out a history that does not answer, and leaves nothing out', async () => {
    let down = false;
    feed = feedWith({
      shownUpTo: () => {
        if (down) throw new ClawbackError('unavailable', 'readStoreUnavailable', 'gone');
        return store.head();
      },
    });
    const one = listener();
    await one.next();
    down = true;
    await started('r1');
    const next = one.take(2);
    while (errors.length === 0) await new Promise((resolve) => setImmediate(resolve));
    down = false;
    await started('r2');
    expect(await next).toEqual(['started r1', 'started r2']);
  });

  it('reads the log only while somebody listens', async () => {
    let subscriptions = 0;
    let over = 0;
    const watched = new (class extends InMemoryEventStore {
      override async *subscribe(...args: Parameters<InMemoryEventStore['subscribe']>) {
        subscriptions += 1;
        try {
          yield* super.subscribe(...args);
        } finally {
          over += 1;
        }
      }
    })(log);
    feed = feedWith({ events: watched });
    expect(subscriptions).toBe(0);
    const [one, two] = [listener(), listener()];
    await one.next();
    await two.next();
    expect([subscriptions, over]).toEqual([1, 0]);
    one.stop();
    expect(await one.next()).toBeUndefined();
    expect(over).toBe(0);
    two.stop();
    expect(await two.next()).toBeUndefined();
    await feed.close();
    expect([subscriptions, over]).toEqual([1, 1]);
  });

  it('lets everybody go when it is closed, and takes nobody after', async () => {
    const [live, past] = [listener(), listener({ after: START })];
    await live.next();
    await past.next();
    const waiting = live.next();
    await feed.close();
    expect(await waiting).toBeUndefined();
    expect(await past.next()).toBeUndefined();
    await expect(listener().next()).rejects.toMatchObject({ code: 'shuttingDown' });
  });
});
