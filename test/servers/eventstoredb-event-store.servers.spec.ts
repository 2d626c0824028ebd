import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { binaryEvent, EventStoreDBClient, jsonEvent, type EventData } from '@eventstore/db-client';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { collect, newId, START, type Position } from '#libs/kernel';
import type { Delivery, NewEvent, RecordedEvent } from '#libs/event-store';
import {
  EventStoreDbEventStore,
  PersistentWorkQueue,
  type EventStoreDbOptions,
  type SubscriptionState,
  type Verdict,
  type WorkQueueOptions,
  type WorkQueueState,
} from '../../libs/event-store/src/eventstoredb/index.js';
import { AllEvents } from '../../libs/event-store/src/eventstoredb/all-events.js';
import { openConnection } from '../../libs/event-store/src/eventstoredb/connection.js';
import { describeEventStoreContract } from '../contract/event-store.contract.js';
import {
  realEventStoreUrl,
  serverName,
  startInNewFolder,
} from '../support/eventstoredb/server-under-test.js';
import { startEventStoreDbStandIn, type EventStoreDbStandIn } from '../support/eventstoredb/stand-in.js';
import { writeTestCertificate } from '../support/eventstoredb/test-certificate.js';

let shared: EventStoreDbStandIn | undefined;
let url = '';

beforeAll(async () => {
  if (realEventStoreUrl === undefined) shared = await startInNewFolder();
  url = realEventStoreUrl ?? shared?.url ?? '';
});

afterAll(async () => {
  await shared?.stop();
});

describeEventStoreContract(serverName, () => {
  let store = new EventStoreDbEventStore({ connectionString: url });
  return Promise.resolve({
    store,
    async reopen() {
      await store.close();
      store = new EventStoreDbEventStore({ connectionString: url });
      return store;
    },
    dispose: () => store.close(),
  });
});

describe(`event store on ${serverName}`, () => {
  let client: EventStoreDBClient;
  let store: EventStoreDbEventStore;

  beforeEach(() => {
    client = EventStoreDBClient.connectionString(url);
    store = new EventStoreDbEventStore({ connectionString: url });
  });

  afterEach(async () => {
    await store.close();
    await client.dispose();
  });

  it('has its head at an event that a subscriber is given, whatever the server writes behind it', async () => {
    const after = await store.head();
    const { position } = await store.append(newStream(), 'noStream', newEvents(2));
    const gone = newStream();
    await client.appendToStream(gone, jsonEvent({ type: 'A', data: {} }));
    await client.tombstoneStream(gone);
    const last = await store.append(newStream(), 'noStream', newEvents(1));
    for (let round = 0; round < 3; round++) {
      await client.setStreamMetadata(newStream(), { maxCount: 1_000 });
    }

    expect(last.position > position).toBe(true);
    for (const reader of [store, new EventStoreDbEventStore({ connectionString: url })]) {
      const head = await reader.head();
      expect(head >= last.position).toBe(true);
      const seen = await readUntil(reader, after, (event) => event.position === head);
      expect(seen.at(-1)?.position).toBe(head);
      expect(seen.every(({ type, stream }) => !type.startsWith('$') && !stream.startsWith('$'))).toBe(true);
      if (reader !== store) await reader.close();
    }
  });

  it('goes on in a stream that was deleted, and says so of one that was deleted for good', async () => {
    const [soft, hard] = [newStream(), newStream()];
    for (const stream of [soft, hard]) await store.append(stream, 'noStream', newEvents(2));
    await client.deleteStream(soft);
    await client.tombstoneStream(hard);

    expect(await collect(store.readStream(soft))).toEqual([]);
    const events = newEvents(2);
    const first = await store.append(soft, 'noStream', events);
    expect(first.revision).toBe(3n);
    expect(await store.append(soft, 'noStream', events)).toEqual(first);

    const error = { name: 'ClawbackError', kind: 'conflict', code: 'streamDeleted' };
    await expect(collect(store.readStream(hard))).rejects.toMatchObject(error);
    await expect(store.append(hard, 1n, newEvents(1))).rejects.toMatchObject(error);
  });

  it.each([
    ['a stream', { stream: '$ours' }],
    ['a type', { type: '$Ours' }],
    ['an id', { id: 'no uuid' }],
    ['an id in capitals', { id: newId().toUpperCase() }],
  ])('refuses %s that the server would keep for itself or change', async (_title, change) => {
    const { stream = newStream(), ...over } = change as { stream?: string } & Partial<NewEvent>;
    const append = store.append(stream, 'noStream', [{ ...newEvent(), ...over }]);
    await expect(append).rejects.toMatchObject({ kind: 'invalid', code: 'invalidEvent' });
  });

  it('tells how each subscription is doing', async () => {
    const states: SubscriptionState[] = [];
    const watched = new EventStoreDbEventStore({
      connectionString: url,
      onState: (state) => states.push(state),
    });
    const after = await watched.head();
    const abort = new AbortController();
    const { position } = await watched.append(newStream(), 'noStream', newEvents(1));
    for await (const delivery of watched.subscribe({ after, signal: abort.signal })) {
      if (delivery.caughtUp) abort.abort();
    }
    await watched.close();
    expect(states.map(({ subscription, state }) => [subscription, state])).toEqual([
      [1, 'catchingUp'],
      [1, 'live'],
      [1, 'ended'],
    ]);
    expect((states.at(-1)?.position ?? START) >= position).toBe(true);
  });
});

describe(`event store on ${serverName} with a type of which there are many events`, () => {
  const frequentTypes = new Set(['Often']);
  let store: EventStoreDbEventStore;
  let abort: AbortController;
  let after: Position;

  beforeEach(async () => {
    store = new EventStoreDbEventStore({ connectionString: url, frequentTypes });
    abort = new AbortController();
    after = await store.head();
  });

  afterEach(async () => {
    abort.abort();
    await store.close();
  });

  const appended = async (...types: string[]): Promise<Position> => {
    const events = types.map((type) => ({ ...newEvent(), type }));
    return (await store.append(newStream(), 'noStream', events)).position;
  };
  const untilSeen = async (
    subscription: AsyncIterator<Delivery>,
    position: Position,
  ): Promise<Delivery[]> => {
    const deliveries: Delivery[] = [];
    while ((deliveries.at(-1)?.position ?? START) < position) {
      deliveries.push((await subscription.next()).value as Delivery);
    }
    return deliveries;
  };
  const typesIn = (deliveries: readonly Delivery[]): string[] =>
    deliveries.flatMap(({ events }) => events.map(({ type }) => type));

  it.each([
    ['old', true],
    ['new', false],
  ])('does not send those that are %s to who subscribes to others', async (_when, areThere) => {
    const others = store.subscribe({ after, signal: abort.signal, types: new Set(['Seldom']) });
    if (!areThere) await untilCaughtUp(others);
    await appended('Often', 'Often');
    const seldom = await appended('Seldom');
    await appended('Often');

    const deliveries = await untilSeen(others, seldom);
    expect(typesIn(deliveries)).toEqual(['Seldom']);
    // Had they been sent, it would have come further.
    expect(deliveries.at(-1)?.position).toBe(seldom);
    const next = await appended('Seldom');
    expect(typesIn(await untilSeen(others, next))).toEqual(['Seldom']);
  });

  it.each([
    ['names them', new Set(['Often', 'Seldom'])],
    ['names none', undefined],
  ])('sends all to who %s, also beside such a subscriber', async (_who, types) => {
    const others = store.subscribe({ after, signal: abort.signal, types: new Set(['Seldom']) });
    const all = store.subscribe({ after, signal: abort.signal, ...(types === undefined ? {} : { types }) });
    await untilCaughtUp(others);
    await untilCaughtUp(all);
    const last = await appended('Often', 'Seldom', 'Often', 'Seldom');
    expect(typesIn(await untilSeen(all, last))).toEqual(['Often', 'Seldom', 'Often', 'Seldom']);
    expect(typesIn(await untilSeen(others, last))).toEqual(['Seldom', 'Seldom']);
  });

  it('finds the last of the others behind many of them: a server that sends nothing then is not silent', async () => {
    const connection = openConnection({ connectionString: url });
    const log = new AllEvents(connection, frequentTypes);
    const seldom = await appended('Seldom');
    for (const count of [600, 3]) {
      await appended(...Array<string>(count).fill('Often'));
      expect(await log.lastPosition()).toBe(seldom);
    }
    const next = await appended('Seldom', 'Often');
    const last = await log.lastPosition();
    expect(last > seldom && last < next).toBe(true);
    await connection.client.dispose();
  });
});

describe(`work queue on ${serverName}`, () => {
  let store: EventStoreDbEventStore;
  let abort: AbortController;
  let consuming: Promise<void>[];
  let options: WorkQueueOptions;

  beforeEach(() => {
    store = new EventStoreDbEventStore({ connectionString: url });
    abort = new AbortController();
    consuming = [];
    const streamPrefix = `work-${newId()}`;
    options = { connectionString: url, group: streamPrefix, streamPrefix };
  });

  afterEach(async () => {
    abort.abort();
    await Promise.all(consuming);
    const client = EventStoreDBClient.connectionString(url);
    await client.deletePersistentSubscriptionToAll(options.group);
    await client.dispose();
    await store.close();
  });

  const consume = (
    handler: (event: RecordedEvent) => Promise<Verdict>,
    more: Partial<WorkQueueOptions> = {},
  ) => {
    consuming.push(new PersistentWorkQueue({ ...options, ...more }).consume(handler, abort.signal));
  };
  const work = (count: number, more: Partial<NewEvent> = {}) =>
    Array.from({ length: count }, () => ({ ...newEvent(), ...more }));

  it('shares the work among its consumers, the past included', async () => {
    const events = work(30);
    await store.append(`${options.streamPrefix}-a`, 'noStream', events.slice(0, 10));
    await store.append(newStream(), 'noStream', newEvents(5));
    const shares: string[][] = [[], [], []];
    const all = new Promise<void>((resolve) => {
      for (const share of shares) {
        consume((event) => {
          share.push(event.id);
          if (new Set(shares.flat()).size === 30) resolve();
          return Promise.resolve('ack');
        });
      }
    });
    await store.append(`${options.streamPrefix}-b`, 'noStream', events.slice(10));
    await all;
    expect(new Set(shares.flat())).toEqual(new Set(events.map(({ id }) => id)));
  });

  it('lets a busy consumer keep only what it works on: the others take the rest', async () => {
    const events = work(12);
    let release: () => void = () => undefined;
    const busy = new Promise<Verdict>((resolve) => {
      release = () => {
        resolve('ack');
      };
    });
    const held: string[] = [];
    const began = new Promise<void>((resolve) => {
      consume((event) => {
        held.push(event.id);
        resolve();
        return busy;
      });
    });
    await store.append(`${options.streamPrefix}-a`, 'noStream', events.slice(0, 1));
    await began;

    const others: string[] = [];
    await new Promise<void>((resolve) => {
      consume((event) => {
        others.push(event.id);
        if (others.length === 11) resolve();
        return Promise.resolve('ack');
      });
      void store.append(`${options.streamPrefix}-a`, 0n, events.slice(1));
    });
    expect(held).toHaveLength(1);
    expect(new Set([...held, ...others])).toEqual(new Set(events.map(({ id }) => id)));
    release();
  });

  it('gives work again that was refused, that its handler threw at, and never what was parked', async () => {
    const [refused, threwAt, parked] = work(3);
    if (refused === undefined || threwAt === undefined || parked === undefined) throw new Error('no work');
    const seen: string[] = [];
    const states: WorkQueueState[] = [];
    const done = new Promise<void>((resolve) => {
      consume(
        (event) => {
          seen.push(event.id);
          const times = seen.filter((id) => id === event.id).length;
          if (event.id === parked.id) return Promise.resolve('park');
          if (event.id === threwAt.id && times === 1) return Promise.reject(new Error('broken'));
          if (event.id === refused.id && times < 3) return Promise.resolve('retry');
          if (event.id === refused.id) resolve();
          return Promise.resolve('ack');
        },
        { onState: (state) => states.push(state) },
      );
    });
    await store.append(`${options.streamPrefix}-a`, 'noStream', [parked, threwAt, refused]);
    await done;
    const times = (event: NewEvent) => seen.filter((id) => id === event.id).length;
    expect([times(parked), times(threwAt), times(refused)]).toEqual([1, 2, 3]);
    expect(states.map(({ lastError }) => lastError)).toContainEqual(new Error('broken'));
  });

  it('takes only the types asked for', async () => {
    const events = [...work(2, { type: 'BatchPlanned' }), ...work(3, { type: 'BatchPlannedNot' })];
    const last = { ...newEvent(), type: 'BatchPlanned' };
    await store.append(newStream(), 'noStream', work(2, { type: 'BatchPlanned' }));
    await store.append(`${options.streamPrefix}-a`, 'noStream', [...events, last]);
    const seen: string[] = [];
    await new Promise<void>((resolve) => {
      consume(
        (event) => {
          seen.push(event.id);
          if (event.id === last.id) resolve();
          return Promise.resolve('ack');
        },
        { eventTypes: ['BatchPlanned'] },
      );
    });
    expect(seen).toEqual([events[0]?.id, events[1]?.id, last.id]);
  });

  it('stays connected while there is nothing to do', async () => {
    const states: WorkQueueState[] = [];
    const seen: string[] = [];
    let arrived: () => void = () => undefined;
    consume(
      (event) => {
        seen.push(event.id);
        arrived();
        return Promise.resolve('ack');
      },
      { silenceMs: 20, onState: (state) => states.push(state) },
    );
    for (let round = 0; round < 3; round++) {
      await new Promise<void>((resolve) => {
        arrived = resolve;
        const expected = round === 0 ? 'noStream' : BigInt(round - 1);
        // The server is asked a few times in between.
        setTimeout(() => void store.append(`${options.streamPrefix}-a`, expected, work(1)), 100);
      });
    }
    expect(states).toEqual([{ state: 'consuming' }]);
    expect(seen).toHaveLength(3);
  });
});

if (realEventStoreUrl === undefined) {
  describe('faults of the EventStoreDB stand-in', () => {
    let standIn: Awaited<ReturnType<typeof startInNewFolder>>;
    let stores: EventStoreDbEventStore[];
    let abort: AbortController;

    beforeEach(async () => {
      standIn = await startInNewFolder();
      stores = [];
      abort = new AbortController();
    });

    afterEach(async () => {
      abort.abort();
      for (const store of stores) await store.close();
      await standIn.stop();
    });

    const open = (options: Partial<EventStoreDbOptions> = {}) => {
      const store = new EventStoreDbEventStore({ connectionString: standIn.url, ...options });
      stores.push(store);
      return store;
    };
    const clusterUrl = (discoveryInterval: number) =>
      `esdb://127.0.0.1:${standIn.port},127.0.0.1:1?tls=false&maxDiscoverAttempts=5&discoveryInterval=${discoveryInterval}`;
    const unavailable = { name: 'ClawbackError', kind: 'unavailable', code: 'eventStoreUnavailable' };

    // Jest fails a test during which a rejection goes unhandled.
    it.each([
      ['one node', () => standIn.url],
      ['a cluster', () => clusterUrl(20)],
    ])('neither loses nor doubles an append when it is killed again and again: %s', async (_title, urlOf) => {
      const store = open({ connectionString: urlOf(), appendsInFlight: 30 });
      const streams = Array.from({ length: 30 }, newStream);
      const answered = new Map<string, string[]>(streams.map((stream) => [stream, []]));
      let killing = true;
      const appendOn = async (stream: string) => {
        const ids = answered.get(stream) ?? [];
        for (let round = 0; killing || round < 2; round++) {
          const events = newEvents(100, { text: 'x'.repeat(1_800) });
          const expected = ids.length === 0 ? 'noStream' : BigInt(ids.length - 1);
          const { revision } = await store.append(stream, expected, events);
          ids.push(...events.map(({ id }) => id));
          expect(revision).toBe(BigInt(ids.length - 1));
        }
      };
      const appending = Promise.all(streams.map(appendOn));
      for (let kill = 0; kill < 4; kill++) {
        const before = countOf(answered);
        await eventually(() => countOf(answered) > before + 1_500);
        await standIn.restart();
      }
      killing = false;
      await appending;

      for (const [stream, ids] of answered) {
        expect((await collect(store.readStream(stream))).map(({ id }) => id)).toEqual(ids);
      }
      expect(await collect(store.readAll(START))).toHaveLength(countOf(answered));
    });

    it('takes 200 parallel appends as the first thing on a cold connection', async () => {
      const store = open();
      const results = await Promise.all(
        Array.from({ length: 200 }, () => store.append(newStream(), 'noStream', newEvents(1))),
      );
      expect(new Set(results.map(({ position }) => position)).size).toBe(200);
    });

    it('goes on with a subscription without gap or double after restarts', async () => {
      const states: SubscriptionState[] = [];
      const store = open({ onState: (state) => states.push(state) });
      const seen: RecordedEvent[] = [];
      const stream = newStream();
      const following = (async () => {
        for await (const { events } of store.subscribe({ after: START, signal: abort.signal, maxBatch: 7 })) {
          seen.push(...events);
        }
      })();
      for (let round = 0; round < 4; round++) {
        const expected = round === 0 ? 'noStream' : BigInt(round * 50 - 1);
        await store.append(stream, expected, newEvents(50));
        if (round % 2 === 0) await eventually(() => seen.length === (round + 1) * 50);
        await standIn.restart();
      }
      await eventually(() => seen.length >= 200);
      abort.abort();
      await following;
      expect(seen).toEqual(await collect(store.readStream(stream)));
      expect(states.find(({ state }) => state === 'reconnecting')?.lastError).toBeInstanceOf(Error);
      expect(states.at(-1)?.state).toBe('ended');
    });

    it('goes on with a read that was broken off', async () => {
      const store = open();
      const stream = newStream();
      for (let round = 0; round < 20; round++) {
        const expected = round === 0 ? 'noStream' : BigInt(round * 100 - 1);
        await store.append(stream, expected, newEvents(100, 'x'.repeat(5_000)));
      }
      for (const read of [() => store.readStream(stream), () => store.readAll(START)]) {
        const revisions: bigint[] = [];
        for await (const { revision } of read()) {
          revisions.push(revision);
          if (revisions.length === 50) await standIn.restart();
        }
        expect(revisions).toEqual(Array.from({ length: 2_000 }, (_, index) => BigInt(index)));
      }
    });

    it('gives up an append to a server that hangs, and recovers', async () => {
      const store = open({ deadlineMs: 200, patienceMs: 500 });
      const stream = newStream();
      await store.append(stream, 'noStream', newEvents(1));
      standIn.hang();
      const events = newEvents(2);
      await expect(store.append(stream, 0n, events)).rejects.toMatchObject(unavailable);
      await expect(store.head()).rejects.toMatchObject(unavailable);
      await expect(collect(store.readStream(stream))).rejects.toMatchObject(unavailable);
      standIn.resume();
      expect((await store.append(stream, 0n, events)).revision).toBe(2n);
      expect(await collect(store.readStream(stream))).toHaveLength(3);
    });

    it('rides out a server that hangs for a while', async () => {
      const store = open({ deadlineMs: 200 });
      const stream = newStream();
      standIn.hang();
      const appending = store.append(stream, 'noStream', newEvents(2));
      setTimeout(() => {
        standIn.resume();
      }, 700);
      expect((await appending).revision).toBe(1n);
      expect(await collect(store.readStream(stream))).toHaveLength(2);
    });

    it('lets one stuck append block no other', async () => {
      const store = open({ deadlineMs: 3_000, appendsInFlight: 2 });
      await store.append(newStream(), 'noStream', newEvents(1));
      await standIn.loseAnswers(1);
      const order: string[] = [];
      const stuck = store.append(newStream(), 'noStream', newEvents(1)).then(() => order.push('stuck'));
      for (let round = 0; round < 20; round++) await store.append(newStream(), 'noStream', newEvents(1));
      order.push('others');
      await stuck;
      expect(order).toEqual(['others', 'stuck']);
    });

    it('gives the first result of an append whose answers were lost', async () => {
      const store = open({ deadlineMs: 150 });
      const stream = newStream();
      await standIn.loseAnswers(3);
      const events = newEvents(2);
      const { revision, position } = await store.append(stream, 'noStream', events);
      const recorded = await collect(store.readStream(stream));
      expect(recorded.map(({ id }) => id)).toEqual(events.map(({ id }) => id));
      expect([revision, position]).toEqual([1n, recorded[1]?.position]);
    });

    it('looks for itself when no answer ever comes', async () => {
      const store = open({ deadlineMs: 100, patienceMs: 300 });
      const stream = newStream();
      await standIn.loseAnswers(1_000);
      const { revision } = await store.append(stream, 'noStream', newEvents(2));
      expect(revision).toBe(1n);
      expect(await collect(store.readStream(stream))).toHaveLength(2);
    });

    it('is honest about a writer who came first while the outcome was unknown', async () => {
      const store = open();
      const stream = newStream();
      await store.append(newStream(), 'noStream', newEvents(1));
      await standIn.kill();
      const appending = store.append(stream, 'noStream', newEvents(2));
      const conflict = expect(appending).rejects.toMatchObject({
        name: 'WrongExpectedRevision',
        stream,
        expected: 'noStream',
        actual: 0n,
      });
      const theirs = newEvents(1);
      await elsewhere((other) => other.append(stream, 'noStream', theirs));
      await standIn.restart();
      await conflict;
      expect((await collect(store.readStream(stream))).map(({ id }) => id)).toEqual(
        theirs.map(({ id }) => id),
      );
    });

    it('finds its own append that was written before the server died, although others wrote after it', async () => {
      const store = open();
      const stream = newStream();
      const events = newEvents(2);
      await store.append(newStream(), 'noStream', newEvents(1));
      await standIn.kill();
      const appending = store.append(stream, 'noStream', events);
      const first = await elsewhere(async (other) => {
        const written = await other.append(stream, 'noStream', events);
        await other.append(stream, 1n, newEvents(3));
        return written;
      });
      await standIn.restart();
      expect(await appending).toEqual(first);
      expect(await collect(store.readStream(stream))).toHaveLength(5);
    });

    /** Writes to the same log while the stand-in itself is down. */
    async function elsewhere<T>(write: (other: EventStoreDbEventStore) => Promise<T>): Promise<T> {
      const other = await startEventStoreDbStandIn({ dataFile: standIn.dataFile });
      const store = new EventStoreDbEventStore({ connectionString: other.url });
      try {
        return await write(store);
      } finally {
        await store.close();
        await other.stop();
      }
    }

    it('subscribes anew when the server drops it', async () => {
      const store = open();
      const stream = newStream();
      await store.append(stream, 'noStream', newEvents(3));
      const subscription = store.subscribe({ after: START, signal: abort.signal });
      const seen = await takeUntil(subscription, (all) => all.length === 3);
      await standIn.dropConsumers();
      await store.append(stream, 2n, newEvents(3));
      seen.push(...(await takeUntil(subscription, (all) => all.length === 3)));
      await standIn.dropConsumers();
      await store.append(stream, 5n, newEvents(1));
      seen.push(...(await takeUntil(subscription, (all) => all.length === 1)));
      expect(seen).toEqual(await collect(store.readStream(stream)));
    });

    it('notices a subscription that has fallen silent', async () => {
      const states: SubscriptionState[] = [];
      const store = open({ silenceMs: 100, onState: (state) => states.push(state) });
      const stream = newStream();
      await store.append(stream, 'noStream', newEvents(1));
      const subscription = store.subscribe({ after: START, signal: abort.signal });
      await untilCaughtUp(subscription);
      // From here on it goes by the call that all share.
      await store.append(stream, 0n, newEvents(1));
      await takeUntil(subscription, (all) => all.length === 1);
      await standIn.mute();
      await store.append(stream, 1n, newEvents(2));
      const rest = await takeUntil(subscription, (all) => all.length === 2);
      expect(rest.map(({ revision }) => revision)).toEqual([2n, 3n]);
      expect(states.map(({ lastError }) => lastError)).toContainEqual(
        expect.objectContaining({ name: 'SilentSubscription' }),
      );
    });

    it('notices a server that hangs while subscribed, and goes on when it answers again', async () => {
      const states: SubscriptionState[] = [];
      const store = open({ silenceMs: 100, deadlineMs: 150, onState: (state) => states.push(state) });
      const stream = newStream();
      await store.append(stream, 'noStream', newEvents(1));
      const subscription = store.subscribe({ after: START, signal: abort.signal });
      await takeUntil(subscription, (all) => all.length === 1);
      const next = takeUntil(subscription, (all) => all.length === 1);
      standIn.hang();
      await eventually(() => states.some(({ state }) => state === 'reconnecting'));
      standIn.resume();
      await store.append(stream, 0n, newEvents(1));
      expect((await next).map(({ revision }) => revision)).toEqual([1n]);
    });

    it('delivers what comes before an event that cannot be read, and then says so', async () => {
      const store = open();
      const stream = newStream();
      const { position } = await store.append(stream, 'noStream', newEvents(2));
      const client = EventStoreDBClient.connectionString(standIn.url);
      const cases: [string, EventData][] = [
        ['data', binaryEvent({ type: 'A', data: new Uint8Array([0xff, 0x00]) })],
        ['data', jsonEvent({ type: 'A', data: '{"cut' })],
        ['metadata', jsonEvent({ type: 'A', data: {}, metadata: new Uint8Array([0x7b]) })],
      ];
      for (const [column, event] of cases) {
        const bad = newStream();
        await client.appendToStream(bad, event);
        const unreadable = { kind: 'unavailable', code: 'eventUnreadable', details: { stream: bad, column } };
        await expect(collect(store.readStream(bad))).rejects.toMatchObject(unreadable);
      }
      await client.dispose();
      const seen: RecordedEvent[] = [];
      const follow = async () => {
        for await (const { events } of store.subscribe({ after: START, signal: abort.signal }))
          seen.push(...events);
      };
      await expect(follow()).rejects.toMatchObject({ code: 'eventUnreadable' });
      expect(seen.map((event) => event.position).at(-1)).toBe(position);
      await expect(collect(store.readAll(START))).rejects.toMatchObject({ code: 'eventUnreadable' });
    });

    it('ends an open read and an open subscription as unavailable when it is closed', async () => {
      const store = open();
      const stream = newStream();
      await store.append(stream, 'noStream', newEvents(800, 'x'.repeat(1_000)));
      const reading = store.readStream(stream);
      const subscription = store.subscribe({ after: START, signal: abort.signal, maxBatch: 10 });
      await reading.next();
      await subscription.next();
      await store.close();
      await expect(collect(reading)).rejects.toMatchObject(unavailable);
      await expect(takeUntil(subscription, () => false)).rejects.toMatchObject(unavailable);
    });

    it('comes back as a consumer when the server has forgotten it', async () => {
      const store = open();
      const prefix = `work-${newId()}`;
      const states: WorkQueueState[] = [];
      const queue = new PersistentWorkQueue({
        connectionString: standIn.url,
        group: prefix,
        streamPrefix: prefix,
        silenceMs: 50,
        onState: (state) => states.push(state),
      });
      const seen: string[] = [];
      const consuming = queue.consume((event) => {
        seen.push(event.id);
        return Promise.resolve('ack');
      }, abort.signal);
      await store.append(`${prefix}-a`, 'noStream', newEvents(1));
      await eventually(() => seen.length === 1);
      await standIn.forgetConsumers();
      await store.append(`${prefix}-a`, 0n, newEvents(1));
      await eventually(() => seen.length === 2);
      expect(states.map(({ state }) => state)).toEqual(['consuming', 'reconnecting', 'consuming']);
      abort.abort();
      await consuming;
    });

    it('hands out the work again that a lost consumer had, and goes on after a restart', async () => {
      const store = open();
      const prefix = `work-${newId()}`;
      const queue = () =>
        new PersistentWorkQueue({
          connectionString: standIn.url,
          group: prefix,
          streamPrefix: prefix,
          deadlineMs: 1_000,
        });
      const lost = new AbortController();
      let dropped: () => void = () => undefined;
      const first = new Promise<RecordedEvent>((resolve) => {
        void queue().consume(async (event) => {
          resolve(event);
          await new Promise<void>((done) => (dropped = done));
          return 'ack';
        }, lost.signal);
      });
      const [one, two, three] = newEvents(3);
      if (one === undefined || two === undefined || three === undefined) throw new Error('no work');
      await store.append(`${prefix}-a`, 'noStream', [one]);
      expect((await first).id).toBe(one.id);

      await standIn.dropConsumers();
      lost.abort();
      const seen: string[] = [];
      const consuming = queue().consume((event) => {
        seen.push(event.id);
        return Promise.resolve('ack');
      }, abort.signal);
      await eventually(() => seen.includes(one.id));
      await store.append(`${prefix}-a`, 0n, [two]);
      await eventually(() => seen.includes(two.id));
      await standIn.restart();
      await store.append(`${prefix}-a`, 1n, [three]);
      await eventually(() => seen.includes(three.id));
      dropped();
      abort.abort();
      await consuming;
    });
  });

  describe('an encrypted EventStoreDB stand-in with a user', () => {
    let folder: string;
    let standIn: EventStoreDbStandIn;
    let caFile: string;

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'clawback-tls-'));
      const tls = await writeTestCertificate(folder);
      caFile = tls.certFile;
      standIn = await startInNewFolder({ credentials: 'ops:p@ss:word', tls });
    });

    afterAll(async () => {
      await standIn.stop();
      await rm(folder, { recursive: true });
    });

    it.each([
      ['the right user', 'ops:p%40ss%3Aword', true, undefined],
      ['a wrong password', 'ops:guess', true, 'eventStoreAccessDenied'],
      ['an unknown authority', 'ops:p%40ss%3Aword', false, 'eventStoreUnavailable'],
    ])('is reached with %s', async (_title, user, trusted, code) => {
      const store = new EventStoreDbEventStore({
        connectionString: `esdb://${user}@127.0.0.1:${standIn.port}`,
        patienceMs: 100,
        ...(trusted ? { caFile } : {}),
      });
      const stream = newStream();
      const outcome = store.append(stream, 'noStream', newEvents(1)).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (code === undefined) {
        expect(await outcome).toBeUndefined();
        expect(await collect(store.readStream(stream))).toHaveLength(1);
        expect(await collect(store.readAll(START))).toHaveLength(1);
      } else {
        expect(await outcome).toMatchObject({ kind: 'unavailable', code });
        expect(String(await outcome)).not.toContain('guess');
      }
      await store.close();
    });
  });
}

const newStream = (): string => `adapter-${newId()}`;

const newEvent = (data: unknown = { a: 1 }): NewEvent => ({
  id: newId(),
  type: 'SomethingHappened',
  data,
  metadata: { actor: 'someone' },
});

const newEvents = (count: number, data?: unknown): NewEvent[] =>
  Array.from({ length: count }, () => newEvent(data));

const countOf = (answered: ReadonlyMap<string, readonly string[]>): number =>
  [...answered.values()].reduce((sum, ids) => sum + ids.length, 0);

/** Looks again in every turn of a short timer: for conditions that nobody announces. */
async function eventually(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function untilCaughtUp(subscription: AsyncIterator<Delivery>): Promise<void> {
  for (;;) {
    const next = await subscription.next();
    if (next.done === true || next.value.caughtUp) return;
  }
}

async function takeUntil(
  subscription: AsyncIterator<Delivery>,
  enough: (events: readonly RecordedEvent[]) => boolean,
): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  while (!enough(events)) {
    const next = await subscription.next();
    if (next.done === true) break;
    events.push(...next.value.events);
  }
  return events;
}

async function readUntil(
  store: EventStoreDbEventStore,
  after: Position,
  last: (event: RecordedEvent) => boolean,
): Promise<RecordedEvent[]> {
  const abort = new AbortController();
  const seen: RecordedEvent[] = [];
  for await (const { events } of store.subscribe({ after, signal: abort.signal })) {
    seen.push(...events);
    if (events.some(last)) abort.abort();
  }
  return seen;
}
