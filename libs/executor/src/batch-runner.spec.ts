import { getMaxListeners } from 'node:events';
import { decideAndAppend } from '#libs/event-store';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { isClawbackError, START } from '#libs/kernel';
import { MailboxError, type MoveResult } from '#libs/mailbox';
import {
  batchCodecs,
  batchDecider,
  batchStream,
  batchWriter,
  batcher,
  type BatchEvent,
  type PlannedCopy,
  type Tally,
} from '#libs/remediation';
import { copyOf, messageOf, tallyOf } from '../../../test/support/examples.js';
import { InMemoryEventStore } from '../../../test/support/in-memory-event-store.js';
import { InMemoryTenant } from '../../../test/support/in-memory-tenant.js';
import { ScriptedGateway, gate, hang, type Script } from '../../../test/support/scripted-gateway.js';
import { TestClock } from '../../../test/support/test-clock.js';
import { BatchRunner, type ExecutorOptions } from './batch-runner.js';
import { MailboxLanes } from './mailbox-lanes.js';

const DELETIONS = 'Recoverable Items/Deletions';
const STREAM = batchStream('p1', 0);
const CONTEXT = { tenant: 'fabrikam', actor: 'kim', correlationId: 'r1', causationId: 'approval-1' };
const CLAIM_MS = 60_000;

const options: ExecutorOptions = {
  worker: 'worker-1',
  copyDeadlineMs: 30_000,
  throttlePatienceMs: 3_600_000,
  maxAttempts: 3,
  claimMs: CLAIM_MS,
  batchesInFlight: 1,
  batchesAhead: 1,
  mailboxConcurrency: 4,
  flushMs: 10_000,
};

const copies = (count: number): PlannedCopy[] =>
  Array.from({ length: count }, (_, index) => copyOf({ mailbox: `user${index}@fabrikam.example` }));

/** A store with one batch that is planned and released. */
async function storeWith<Store extends InMemoryEventStore>(
  store: Store,
  planned: readonly PlannedCopy[],
  released = true,
): Promise<Store> {
  const cutter = batcher();
  for (const copy of planned) cutter.add(copy);
  const batch = cutter.end();
  if (batch === undefined) throw new Error('a batch has copies');
  const context = { ...CONTEXT, commandId: 'plan-1', now: new Date('2025-03-07T07:00:00.000Z') };
  const writer = batchWriter(store, 'softDelete', { approvalId: 'r1', planId: 'p1' }, context);
  await writer.write(batch);
  await writer.drain();
  if (released) {
    await decideAndAppend(
      store,
      batchCodecs,
      batchDecider,
      STREAM,
      { type: 'Release' },
      { ...context, commandId: 'release-1' },
    );
  }
  return store;
}

const due = (...all: PlannedCopy[]): Promise<InMemoryEventStore> => storeWith(new InMemoryEventStore(), all);

/** A worker: its own lanes, a clock that stands still. */
function workerOn(
  store: InMemoryEventStore,
  gateway: ConstructorParameters<typeof BatchRunner>[1],
  over: Partial<ExecutorOptions> = {},
  clock = new TestClock(),
): { run(signal?: AbortSignal): Promise<Tally | undefined> } {
  const all = { ...options, ...over };
  const runner = new BatchRunner(store, gateway, new MailboxLanes(all.mailboxConcurrency, clock), clock, all);
  return { run: (signal = new AbortController().signal) => runner.run('p1', 0, CONTEXT, signal) };
}

async function eventsOf(store: InMemoryEventStore): Promise<BatchEvent[]> {
  const events: BatchEvent[] = [];
  for await (const recorded of store.readStream(STREAM)) {
    const event = batchCodecs.decode(recorded);
    if (event !== undefined) events.push({ type: event.type, data: event.data } as BatchEvent);
  }
  return events;
}

const typesOf = async (store: InMemoryEventStore): Promise<string[]> =>
  (await eventsOf(store)).map((event) => event.type);

/** Resolves when the batch has an event of this type, or so many of them. */
async function recorded(store: InMemoryEventStore, type: string, times = 1): Promise<void> {
  const { signal } = new AbortController();
  let seen = 0;
  for await (const { events } of store.subscribe({ after: START, signal })) {
    seen += events.filter((event) => event.stream === STREAM && event.type === type).length;
    if (seen >= times) return;
  }
}

const thrownBy = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    (value) => new Error(`expected a rejection, got ${JSON.stringify(value)}`),
    (error: unknown) => error,
  );

describe('a batch that is run', () => {
  it('is claimed before anything is moved, and settled after everything is', async () => {
    const store = await due(...copies(2));
    const typesAtFirstMove: Promise<string[]>[] = [];
    const gateway = new ScriptedGateway(({ to }) => {
      typesAtFirstMove.push(typesOf(store));
      return { kind: 'moved', from: 'Inbox', to };
    });

    const tally = await workerOn(store, gateway).run();

    expect(tally).toEqual(tallyOf({ recipient: { succeeded: 2 } }));
    expect(await typesAtFirstMove[0]).toEqual(['BatchPlanned', 'BatchReleased', 'BatchAttemptStarted']);
    expect(await typesOf(store)).toEqual([
      'BatchPlanned',
      'BatchReleased',
      'BatchAttemptStarted',
      'RecipientCopySoftDeleted',
      'RecipientCopySoftDeleted',
      'BatchSettled',
    ]);
  });

  it('has one signal for all its copies, at which as many may wait as there are', async () => {
    const signals = new Set<AbortSignal>();
    const gateway = new ScriptedGateway(({ to }, signal) => {
      signals.add(signal);
      return { kind: 'moved', from: 'Inbox', to };
    });
    await workerOn(await due(...copies(3)), gateway).run();
    expect([...signals].map((signal) => getMaxListeners(signal))).toEqual([Infinity]);
  });

  it('asks the gateway for what the plan says, under a name of its own for each copy', async () => {
    const message = messageOf({ networkMessageId: 'm2' });
    const store = await due(
      copyOf(),
      copyOf({
        message,
        kind: 'sender',
        mailbox: 'kim@fabrikam.example',
        to: 'Sent Items',
        onlyFrom: DELETIONS,
      }),
    );
    const gateway = new ScriptedGateway();

    await workerOn(store, gateway).run();

    expect(gateway.requests).toEqual([
      {
        operationId: 'p1/0/0',
        tenant: 'fabrikam',
        mailbox: 'lee@fabrikam.example',
        networkMessageId: 'm1',
        internetMessageId: '<m1@fabrikam.example>',
        copyKind: 'recipient',
        to: DELETIONS,
      },
      {
        operationId: 'p1/0/1',
        tenant: 'fabrikam',
        mailbox: 'kim@fabrikam.example',
        networkMessageId: 'm2',
        internetMessageId: '<m2@fabrikam.example>',
        copyKind: 'sender',
        to: 'Sent Items',
        onlyFrom: DELETIONS,
      },
    ]);
  });

  it('says who did it, for whom, when and why', async () => {
    const store = await due(copyOf());
    await workerOn(store, new ScriptedGateway()).run();

    for await (const event of store.readStream(STREAM, { from: 2n })) {
      expect(event.metadata).toMatchObject({ ...CONTEXT, occurredAt: '2025-03-07T08:00:00.000Z' });
    }
  });

  const answers: [MoveResult, BatchEvent['type'], object, Parameters<typeof tallyOf>[0]['recipient']][] = [
    [
      { kind: 'moved', from: 'Inbox', to: DELETIONS },
      'RecipientCopySoftDeleted',
      { from: 'Inbox', to: DELETIONS },
      { succeeded: 1 },
    ],
    [
      { kind: 'alreadyInDestination', folder: DELETIONS },
      'CopyAlreadyInDestination',
      { folder: DELETIONS },
      { alreadyInDestination: 1 },
    ],
    [{ kind: 'notFound' }, 'CopyNotFound', {}, { notFound: 1 }],
    [{ kind: 'mailboxNotFound' }, 'CopyNotRemediable', { reason: 'mailboxNotFound' }, { nonRemediable: 1 }],
    [
      { kind: 'movedSince', folder: 'Junk Email' },
      'CopyNotRemediable',
      { reason: 'movedSince' },
      { nonRemediable: 1 },
    ],
  ];
  it.each(answers)('records what the mailbox answered: %j', async (answer, type, data, counts) => {
    const store = await due(copyOf());
    const tally = await workerOn(store, new ScriptedGateway(() => answer)).run();

    expect((await eventsOf(store))[3]).toMatchObject({ type, data });
    expect(tally).toEqual(tallyOf({ recipient: counts ?? {} }));
  });

  it('leaves alone what the plan calls not remediable', async () => {
    const store = await due(copyOf({ notRemediable: 'deliveryFailed' }), ...copies(1));
    const gateway = new ScriptedGateway();

    const tally = await workerOn(store, gateway).run();

    expect(tally).toEqual(tallyOf({ recipient: { succeeded: 1, nonRemediable: 1 } }));
    expect(gateway.requests.map((request) => request.mailbox)).toEqual(['user0@fabrikam.example']);
  });

  it('settles without a call when nothing in it can be remediated', async () => {
    const store = await due(copyOf({ notRemediable: 'deliveryFailed' }));
    const gateway = new ScriptedGateway();

    expect(await workerOn(store, gateway).run()).toEqual(tallyOf({ recipient: { nonRemediable: 1 } }));
    expect(await typesOf(store)).toEqual([
      'BatchPlanned',
      'BatchReleased',
      'BatchAttemptStarted',
      'BatchSettled',
    ]);
    expect(gateway.requests).toEqual([]);
  });

  it('that is settled answers its tally again, and nothing is moved or recorded', async () => {
    const store = await due(...copies(2));
    const first = await workerOn(store, new ScriptedGateway()).run();
    const before = await store.head();

    const gateway = new ScriptedGateway();
    const reads = jest.spyOn(store, 'readStream');
    expect(await workerOn(store, gateway, { worker: 'worker-2' }).run()).toEqual(first);
    // The last event says everything: a restart does not read a million copies again.
    expect(reads.mock.calls).toEqual([[STREAM, { direction: 'backwards', maxCount: 1 }]]);
    expect(gateway.requests).toEqual([]);
    expect(await store.head()).toBe(before);
  });

  it('that was never planned is a defect', async () => {
    const worker = workerOn(new InMemoryEventStore(), new ScriptedGateway());
    expect(String(await thrownBy(worker.run()))).toContain('never planned');
  });

  it('that was not released is a defect: nothing is claimed or moved', async () => {
    const store = await storeWith(new InMemoryEventStore(), copies(1), false);
    const gateway = new ScriptedGateway();

    expect(String(await thrownBy(workerOn(store, gateway).run()))).toContain('not released');
    expect(await typesOf(store)).toEqual(['BatchPlanned']);
    expect(gateway.requests).toEqual([]);
  });

  it('shows its progress: outcomes are recorded while other copies are under way', async () => {
    const store = await due(...copies(2));
    const slow = gate();
    const gateway = new ScriptedGateway(async ({ mailbox, to }) => {
      if (mailbox.startsWith('user1')) await slow.opened;
      return { kind: 'moved', from: 'Inbox', to };
    });

    const running = workerOn(store, gateway, { flushMs: 1 }).run();
    await recorded(store, 'RecipientCopySoftDeleted');
    slow.open();

    expect(await running).toEqual(tallyOf({ recipient: { succeeded: 2 } }));
    expect(await typesOf(store)).toHaveLength(6);
  });
});

describe('a mailbox with a fault', () => {
  afterEach(() => {
    jest.useRealTimers();
  });

  const busy = () => new MailboxError('ErrorServerBusy', 'busy', true);
  /** Fails so often, then moves. */
  const failing = (times: number, error: () => Error): Script => {
    let left = times;
    return ({ to }) => {
      left -= 1;
      if (left >= 0) throw error();
      return { kind: 'moved', from: 'Inbox', to };
    };
  };

  it('is asked again as long as the fault may pass', async () => {
    jest.useFakeTimers();
    const store = await due(copyOf());
    const gateway = new ScriptedGateway(failing(2, busy));
    const running = workerOn(store, gateway).run();
    await jest.advanceTimersByTimeAsync(1000);

    expect(await running).toEqual(tallyOf({ recipient: { succeeded: 1 } }));
    expect(gateway.requests.map((request) => request.operationId)).toEqual(['p1/0/0', 'p1/0/0', 'p1/0/0']);
  });

  it('is given up after so many attempts, with its own code in the log', async () => {
    jest.useFakeTimers();
    const store = await due(copyOf());
    const gateway = new ScriptedGateway(failing(3, busy));
    const running = workerOn(store, gateway).run();
    await jest.advanceTimersByTimeAsync(1000);

    expect(await running).toEqual(tallyOf({ recipient: { failed: 1 } }));
    expect(gateway.requests).toHaveLength(3);
    expect((await eventsOf(store))[3]).toMatchObject({
      type: 'CopyRemediationFailed',
      data: { reason: 'mailboxError', detail: 'ErrorServerBusy' },
    });
  });

  it('is not asked again when the fault will not pass', async () => {
    const store = await due(copyOf());
    const gateway = new ScriptedGateway(failing(9, () => new MailboxError('ErrorAccessDenied', 'no', false)));

    expect(await workerOn(store, gateway).run()).toEqual(tallyOf({ recipient: { failed: 1 } }));
    expect(gateway.requests).toHaveLength(1);
    expect((await eventsOf(store))[3]).toMatchObject({ data: { detail: 'ErrorAccessDenied' } });
  });

  it.each([undefined, 0])('is left in peace for longer each time when it says no time: %p', async (says) => {
    jest.useFakeTimers();
    const store = await due(copyOf());
    const times: number[] = [];
    const gateway = new ScriptedGateway(() => {
      times.push(Date.now());
      throw new MailboxError('Busy', 'busy', true, says);
    });
    const running = workerOn(store, gateway, { maxAttempts: 4 }).run();

    await jest.advanceTimersByTimeAsync(10_000);

    expect(await running).toEqual(tallyOf({ recipient: { failed: 1 } }));
    const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(waits).toEqual([200, 400, 800]);
  });

  it('does not keep a copy beyond its deadline, all attempts together', async () => {
    jest.useFakeTimers();
    const store = await due(copyOf());
    const gateway = new ScriptedGateway(() => {
      throw busy();
    });
    const running = workerOn(store, gateway, { maxAttempts: 100 }).run();

    await jest.advanceTimersByTimeAsync(30_000);

    expect(await running).toEqual(tallyOf({ recipient: { timedOut: 1 } }));
  });

  const hanging: [string, Script][] = [
    ['heeds its signal', hang],
    ['does not heed its signal', () => new Promise<MoveResult>(() => undefined)],
  ];
  it.each(hanging)(
    'times out when it does not answer and %s; the other copies are not held up',
    async (_title, script) => {
      const store = await due(...copies(3));
      const signals: AbortSignal[] = [];
      const gateway = new ScriptedGateway((request, signal) => {
        if (!request.mailbox.startsWith('user1')) return { kind: 'moved', from: 'Inbox', to: request.to };
        signals.push(signal);
        return script(request, signal);
      });

      const tally = await workerOn(store, gateway, { copyDeadlineMs: 20 }).run();

      expect(tally).toEqual(tallyOf({ recipient: { succeeded: 2, timedOut: 1 } }));
      expect(signals.map((signal) => signal.aborted)).toEqual([true]);
      const timedOut = (await eventsOf(store)).filter((event) => event.type === 'CopyRemediationTimedOut');
      expect(timedOut).toMatchObject([{ data: { mailbox: 'user1@fabrikam.example' } }]);
    },
  );

  it('holds a batch for no longer than one deadline, however many of its copies wait for a place', async () => {
    jest.useFakeTimers();
    const ann = (networkMessageId: string): PlannedCopy =>
      copyOf({ mailbox: 'ann@fabrikam.example', message: messageOf({ networkMessageId }) });
    const store = await due(ann('m1'), ann('m2'), ann('m3'), ann('m4'), ...copies(1));
    const gateway = new ScriptedGateway((request, signal) =>
      request.mailbox.startsWith('ann')
        ? hang(request, signal)
        : { kind: 'moved', from: 'Inbox', to: request.to },
    );
    const running = workerOn(store, gateway, { mailboxConcurrency: 1 }).run();

    await jest.advanceTimersByTimeAsync(options.copyDeadlineMs);

    expect(await running).toEqual(tallyOf({ recipient: { timedOut: 4, succeeded: 1 } }));
    // Those that waited were given up unasked, and nothing asks for them afterwards.
    const asked = gateway.requests.map((request) => request.operationId);
    expect(asked.sort()).toEqual(['p1/0/0', 'p1/0/4']);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('that is busy with other batches is not asked after the deadline: the wait counts', async () => {
    const store = await due(copyOf());
    const clock = new TestClock();
    const lanes = new MailboxLanes(1, clock);
    const other = gate();
    const before = lanes.run('fabrikam/lee@fabrikam.example', () => other.opened);
    const gateway = new ScriptedGateway();
    const runner = new BatchRunner(store, gateway, lanes, clock, {
      ...options,
      copyDeadlineMs: 20,
    });

    const tally = await runner.run('p1', 0, CONTEXT, new AbortController().signal);
    other.open();
    await before;

    expect(tally).toEqual(tallyOf({ recipient: { timedOut: 1 } }));
    await lanes.run('fabrikam/lee@fabrikam.example', () => Promise.resolve());
    expect(gateway.requests).toEqual([]);
  });
});

describe('a mailbox that says when it answers again', () => {
  const MINUTES_10 = 600_000;
  const HOUR = options.throttlePatienceMs;
  const START_MS = new TestClock().now().getTime();
  const ANN = 'ann@fabrikam.example';
  const throttled = (retryAfterMs: number) =>
    new MailboxError('TooManyRequests', 'slow down', true, retryAfterMs);
  /** A copy of a message of its own in this mailbox. */
  const copyIn = (mailbox: string, networkMessageId: string): PlannedCopy =>
    copyOf({ mailbox, message: messageOf({ networkMessageId }) });
  const isAnn = ({ mailbox }: { readonly mailbox: string }) => mailbox === ANN;

  afterEach(() => {
    jest.useRealTimers();
  });

  /** Ann's mailbox refuses with these times to wait, one after the other, and then moves; the others move. */
  const refusing = (...times: number[]): ScriptedGateway =>
    new ScriptedGateway((request) => {
      const wait = isAnn(request) ? times.shift() : undefined;
      if (wait !== undefined) throw throttled(wait);
      return { kind: 'moved', from: 'Inbox', to: request.to };
    });

  /** The deferrals in the log: which attempt, since when and until when, by the clock of the tests. */
  const deferrals = async (store: InMemoryEventStore): Promise<[number, number, number][]> =>
    (await eventsOf(store)).flatMap(({ type, data }) =>
      type === 'BatchDeferred'
        ? [[data.attempt, Date.parse(data.since) - START_MS, Date.parse(data.until) - START_MS]]
        : [],
    );

  it('is not asked before, however long that is; then its copies move', async () => {
    const store = await due(copyIn(ANN, 'm1'));
    const clock = new TestClock();
    const gateway = refusing(MINUTES_10);
    const worker = workerOn(store, gateway, {}, clock);

    expect(await worker.run()).toBeUndefined();
    expect(await typesOf(store)).toEqual([
      ...['BatchPlanned', 'BatchReleased', 'BatchAttemptStarted', 'BatchDeferred'],
    ]);
    expect(await deferrals(store)).toEqual([[1, 0, MINUTES_10]]);

    clock.advance(MINUTES_10 - 1);
    const head = await store.head();
    const another = workerOn(store, gateway, { worker: 'worker-2' }, clock);
    expect([await worker.run(), await another.run()]).toEqual([undefined, undefined]);
    expect(await store.head()).toBe(head);
    expect(gateway.requests).toHaveLength(1);

    clock.advance(1);
    expect(await another.run()).toEqual(tallyOf({ recipient: { succeeded: 1 } }));
    expect(gateway.requests).toHaveLength(2);
  });

  it('costs its copies no attempt', async () => {
    const store = await due(copyIn(ANN, 'm1'));
    const clock = new TestClock();
    const worker = workerOn(store, refusing(1000, 1000, 1000, 1000), { maxAttempts: 1 }, clock);
    for (let time = 0; time < 4; time += 1) {
      expect(await worker.run()).toBeUndefined();
      clock.advance(20_000);
    }
    expect(await worker.run()).toEqual(tallyOf({ recipient: { succeeded: 1 } }));
  });

  it('holds up no other: their copies move, those that waited for a place in it are not asked for', async () => {
    const all = ['m1', 'm2', 'm3'].flatMap((id) => [copyIn(ANN, id), copyIn(`${id}@fabrikam.example`, id)]);
    const store = await due(...all);
    const gateway = refusing(MINUTES_10);

    expect(await workerOn(store, gateway, { mailboxConcurrency: 1 }).run()).toBeUndefined();

    expect(gateway.requests.filter(isAnn)).toHaveLength(1);
    const types = await typesOf(store);
    expect(types.slice(3)).toEqual([...Array<string>(3).fill('RecipientCopySoftDeleted'), 'BatchDeferred']);
  });

  it('is not asked again for a copy between two attempts', async () => {
    jest.useFakeTimers();
    const store = await due(copyIn(ANN, 'm1'), copyIn(ANN, 'm2'));
    const gateway = new ScriptedGateway(({ networkMessageId }) => {
      throw networkMessageId === 'm1' ? new MailboxError('Busy', 'busy', true) : throttled(MINUTES_10);
    });
    const running = workerOn(store, gateway).run();
    await jest.advanceTimersByTimeAsync(10_000);

    expect(await running).toBeUndefined();
    expect(gateway.requests.map(({ networkMessageId }) => networkMessageId)).toEqual(['m1', 'm2']);
    expect(await deferrals(store)).toEqual([[1, 0, MINUTES_10]]);
  });

  it('takes nothing of the deadline of its copies, and gives nothing to that of others', async () => {
    jest.useFakeTimers();
    const store = await due(copyIn(ANN, 'm1'), copyIn('kim@fabrikam.example', 'm2'));
    const clock = new TestClock();
    let refused = false;
    const gateway = new ScriptedGateway((request, signal) => {
      if (!isAnn(request)) return hang(request, signal);
      if (refused) return { kind: 'moved', from: 'Inbox', to: request.to };
      refused = true;
      throw throttled(MINUTES_10);
    });
    const running = workerOn(store, gateway, {}, clock).run();
    await jest.advanceTimersByTimeAsync(options.copyDeadlineMs);

    expect(await running).toBeUndefined();
    expect((await typesOf(store)).slice(3)).toEqual(['CopyRemediationTimedOut', 'BatchDeferred']);
    clock.advance(MINUTES_10);
    expect(await workerOn(store, gateway, {}, clock).run()).toEqual(
      tallyOf({ recipient: { timedOut: 1, succeeded: 1 } }),
    );
  });

  it('is left in peace by every batch of the worker', async () => {
    const store = await due(copyIn(ANN, 'm1'));
    const clock = new TestClock();
    const lanes = new MailboxLanes(4, clock);
    lanes.close(`fabrikam/${ANN}`, START_MS + MINUTES_10);
    const gateway = new ScriptedGateway();
    const runner = new BatchRunner(store, gateway, lanes, clock, options);

    expect(await runner.run('p1', 0, CONTEXT, new AbortController().signal)).toBeUndefined();
    expect(gateway.requests).toEqual([]);
    expect(await deferrals(store)).toEqual([[1, 0, MINUTES_10]]);
  });

  it('is waited for until the first of several answers again', async () => {
    const others = ['kim@fabrikam.example', 'lee@fabrikam.example'];
    const store = await due(...[ANN, ...others].map((mailbox, index) => copyIn(mailbox, `m${index}`)));
    const waits = new Map([
      [ANN, MINUTES_10],
      ...others.map((mailbox, index) => [mailbox, 50_000 - 10_000 * index] as const),
    ]);
    const gateway = new ScriptedGateway(({ mailbox }) => {
      throw throttled(waits.get(mailbox) ?? 0);
    });
    await workerOn(store, gateway).run();
    expect(await deferrals(store)).toEqual([[1, 0, 40_000]]);
  });

  it('that asks for moments again and again is asked less and less often', async () => {
    const store = await due(copyIn(ANN, 'm1'));
    const clock = new TestClock();
    const gateway = refusing(...Array<number>(100).fill(1));
    const waits: number[] = [];
    let tally: Tally | undefined;
    for (const worker = workerOn(store, gateway, {}, clock); tally === undefined;) {
      tally = await worker.run();
      const until = (await deferrals(store)).at(-1)?.[2] ?? 0;
      waits.push(until - (clock.now().getTime() - START_MS));
      clock.advance(waits.at(-1) ?? 0);
      // As a timer does, it comes a little late now and then.
      clock.advance(waits.length % 2);
    }
    expect(waits[0]).toBe(100);
    expect(waits.slice(0, 60).every((wait, index) => wait >= (waits[index - 1] ?? 0) - 1)).toBe(true);
    expect(Math.max(...waits)).toBe(10_000);
    expect(tally).toEqual(tallyOf({ recipient: { succeeded: 1 } }));
  });

  describe('for too long', () => {
    it('is given up at once: its copies are timed out', async () => {
      const store = await due(copyIn(ANN, 'm1'), ...copies(1));
      const gateway = refusing(HOUR + 1);
      expect(await workerOn(store, gateway).run()).toEqual(
        tallyOf({ recipient: { timedOut: 1, succeeded: 1 } }),
      );
      expect(gateway.requests).toHaveLength(2);
    });

    it('is waited for as long as patience lasts, and no longer, all the times together', async () => {
      const store = await due(copyIn(ANN, 'm1'));
      const clock = new TestClock();
      const gateway = refusing(...Array<number>(7).fill(MINUTES_10));
      for (let time = 1; time <= 6; time += 1) {
        // Another worker each time: how long it was waited is in the log.
        const worker = workerOn(store, gateway, { worker: `worker-${time}` }, clock);
        expect(await worker.run()).toBeUndefined();
        clock.advance(MINUTES_10);
      }
      expect(await deferrals(store)).toEqual([1, 2, 3, 4, 5, 6].map((time) => [time, 0, time * MINUTES_10]));
      expect(await workerOn(store, gateway, {}, clock).run()).toEqual(
        tallyOf({ recipient: { timedOut: 1 } }),
      );
      expect(gateway.requests).toHaveLength(7);
    });

    it('does not give up the others, which are waited for', async () => {
      const store = await due(copyIn(ANN, 'm1'), ...copies(1));
      const gateway = new ScriptedGateway((request) => {
        throw throttled(isAnn(request) ? 2 * HOUR : MINUTES_10);
      });
      expect(await workerOn(store, gateway).run()).toBeUndefined();
      expect((await typesOf(store)).slice(3)).toEqual(['CopyRemediationTimedOut', 'BatchDeferred']);
      expect(await deferrals(store)).toEqual([[1, 0, MINUTES_10]]);
    });

    it('is any time when there is to be no patience', async () => {
      const store = await due(copyIn(ANN, 'm1'));
      const worker = workerOn(store, refusing(1000), { throttlePatienceMs: 0 });
      expect(await worker.run()).toEqual(tallyOf({ recipient: { timedOut: 1 } }));
    });
  });

  describe('when the worker stops', () => {
    it('gives back what else was under way, and says nothing of what waits', async () => {
      const store = await due(copyIn(ANN, 'm1'), copyIn('kim@fabrikam.example', 'm2'));
      const clock = new TestClock();
      const stop = new AbortController();
      const gateway = new ScriptedGateway((request, signal) => {
        if (isAnn(request)) throw throttled(MINUTES_10);
        stop.abort();
        return hang(request, signal);
      });
      expect(await workerOn(store, gateway, {}, clock).run(stop.signal)).toBeUndefined();
      expect((await eventsOf(store)).at(-1)).toMatchObject({
        type: 'BatchAttemptExtended',
        data: { deadline: clock.now().toISOString() },
      });
      const another = workerOn(store, new ScriptedGateway(), { worker: 'worker-2' }, clock);
      expect(await another.run()).toEqual(tallyOf({ recipient: { succeeded: 2 } }));
    });
  });
});

describe('a gateway with a defect', () => {
  it('is no outcome of a copy: the run fails, other results are kept, and the next run finishes', async () => {
    const store = await due(...copies(3));
    const defect = new TypeError('cannot read properties of undefined');
    const gateway = new ScriptedGateway(({ mailbox, to }) => {
      if (mailbox.startsWith('user1')) throw defect;
      return { kind: 'moved', from: 'Inbox', to };
    });

    expect(await thrownBy(workerOn(store, gateway).run())).toBe(defect);
    const kept = (await eventsOf(store)).filter((event) => event.type === 'RecipientCopySoftDeleted');
    expect(kept.map((event) => event.data.mailbox)).toEqual([
      'user0@fabrikam.example',
      'user2@fabrikam.example',
    ]);
    expect(await typesOf(store)).toHaveLength(5);

    const mended = new ScriptedGateway();
    const tally = await workerOn(store, mended, {}, later(1)).run();
    expect(tally).toEqual(tallyOf({ recipient: { succeeded: 3 } }));
    expect(mended.requests.map((request) => request.operationId)).toEqual(['p1/0/1']);
  });
});

/** A clock so many milliseconds later. */
function later(ms: number): TestClock {
  const clock = new TestClock();
  clock.advance(ms);
  return clock;
}

describe('several workers', () => {
  const claimedBy = async (store: InMemoryEventStore, worker: string): Promise<void> => {
    const now = new TestClock().now();
    const deadline = new Date(now.getTime() + CLAIM_MS);
    await decideAndAppend(
      store,
      batchCodecs,
      batchDecider,
      STREAM,
      { type: 'StartAttempt', worker, now, deadline },
      { ...CONTEXT, commandId: `claim-${worker}`, now },
    );
  };

  it('leave a batch to the one that has claimed it', async () => {
    const store = await due(...copies(2));
    await claimedBy(store, 'worker-2');
    const before = await store.head();
    const gateway = new ScriptedGateway();

    expect(await workerOn(store, gateway, {}, later(CLAIM_MS - 1)).run()).toBeUndefined();
    expect(gateway.requests).toEqual([]);
    expect(await store.head()).toBe(before);
  });

  it('take over a batch whose claim has lapsed', async () => {
    const store = await due(...copies(2));
    await claimedBy(store, 'worker-2');

    const tally = await workerOn(store, new ScriptedGateway(), {}, later(CLAIM_MS)).run();

    expect(tally).toEqual(tallyOf({ recipient: { succeeded: 2 } }));
    expect((await eventsOf(store))[3]).toMatchObject({ data: { attempt: 2, worker: 'worker-1' } });
  });

  it('take up a batch of their own at once, as after a restart', async () => {
    const store = await due(...copies(2));
    await claimedBy(store, 'worker-1');
    expect(await workerOn(store, new ScriptedGateway(), {}, later(1)).run()).toEqual(
      tallyOf({ recipient: { succeeded: 2 } }),
    );
  });

  it('that begin together: one wins, the others have nothing to do, and each copy is asked for once', async () => {
    const store = await due(...copies(5));
    const gateway = new ScriptedGateway();

    const workers = ['worker-1', 'worker-2', 'worker-3'].map((worker) =>
      workerOn(store, gateway, { worker }),
    );
    const tallies = await Promise.all(workers.map((worker) => worker.run()));

    const winners = tallies.filter((tally) => tally !== undefined);
    expect(winners).toEqual([tallyOf({ recipient: { succeeded: 5 } })]);
    expect(new Set(gateway.requests.map((request) => request.operationId)).size).toBe(5);
    expect(gateway.requests).toHaveLength(5);
  });

  /** A worker whose mailbox does not answer before the gate is opened, and the clock it goes by. */
  async function slowWorker(answers = gate()) {
    const store = await due(...copies(2));
    const clock = new TestClock();
    const gateway = new ScriptedGateway(async ({ mailbox, to }) => {
      if (mailbox.startsWith('user1')) await answers.opened;
      return { kind: 'moved', from: 'Inbox', to };
    });
    const running = workerOn(store, gateway, { flushMs: 1 }, clock).run();
    await recorded(store, 'RecipientCopySoftDeleted');
    return { store, clock, running, answers, gateway };
  }

  it('that live keep their batch beyond the first deadline: they extend their claim in time', async () => {
    const { store, clock, running, answers } = await slowWorker();
    const other = new ScriptedGateway();
    for (const extensions of [1, 2, 3, 4, 5]) {
      clock.advance(CLAIM_MS / 3);
      await recorded(store, 'BatchAttemptExtended', extensions);
      // Just before the claim would have lapsed had it not been extended, and long after the first one would have.
      const others = workerOn(
        store,
        other,
        { worker: 'worker-2' },
        later(CLAIM_MS + (extensions * CLAIM_MS) / 3 - 1),
      );
      expect(await others.run()).toBeUndefined();
    }
    answers.open();

    expect(await running).toEqual(tallyOf({ recipient: { succeeded: 2 } }));
    expect(other.requests).toEqual([]);
    const extended = (await eventsOf(store)).filter((event) => event.type === 'BatchAttemptExtended');
    const start = new TestClock().now().getTime();
    expect(extended.map(({ data }) => [data.attempt, Date.parse(data.deadline) - start])).toEqual(
      [1, 2, 3, 4, 5].map((third) => [1, CLAIM_MS + (third * CLAIM_MS) / 3]),
    );
  });

  it('do not extend their claim before a third of it has passed', async () => {
    const { store, clock, running, answers } = await slowWorker();
    clock.advance(CLAIM_MS / 3 - 1);
    // Time for several looks at the clock.
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setTimeout(resolve));
    answers.open();
    await running;
    expect(await typesOf(store)).not.toContain('BatchAttemptExtended');
  });

  it('extend their claim also when there is something to record all the time', async () => {
    const store = await due(...copies(6));
    const clock = new TestClock();
    const gateway = new ScriptedGateway(async ({ operationId, to }) => {
      const before = Number(operationId.at(-1));
      // Each answers as soon as the one before it is recorded: no look at the results finds none.
      if (before > 0) {
        await recorded(store, 'RecipientCopySoftDeleted', before);
        clock.advance(CLAIM_MS / 3);
      }
      return { kind: 'moved', from: 'Inbox', to };
    });
    const tally = await workerOn(store, gateway, { flushMs: 5, mailboxConcurrency: 6 }, clock).run();

    expect(tally).toEqual(tallyOf({ recipient: { succeeded: 6 } }));
    const types = await typesOf(store);
    expect(types.filter((type) => type === 'BatchAttemptExtended').length).toBeGreaterThanOrEqual(3);
    expect(types.at(-1)).toBe('BatchSettled');
  });

  it('that stop give their claim back: another has the batch at once', async () => {
    const store = await due(...copies(1));
    const clock = new TestClock();
    const stop = new AbortController();
    const asked = gate();
    const gateway = new ScriptedGateway((request, signal) => {
      asked.open();
      return hang(request, signal);
    });
    const running = workerOn(store, gateway, {}, clock).run(stop.signal);
    await asked.opened;
    clock.advance(CLAIM_MS - 1);
    stop.abort();

    expect(await running).toBeUndefined();
    const last = (await eventsOf(store)).at(-1);
    expect(last).toMatchObject({
      type: 'BatchAttemptExtended',
      data: { deadline: clock.now().toISOString() },
    });
    const another = workerOn(store, new ScriptedGateway(), { worker: 'worker-2' }, clock);
    expect(await another.run()).toEqual(tallyOf({ recipient: { succeeded: 1 } }));
  });

  it('that were taken for dead learn of it when they say that they live, and record nothing more', async () => {
    const { store, clock, running, answers, gateway } = await slowWorker();
    const winner = workerOn(store, new ScriptedGateway(), { worker: 'worker-2' }, later(CLAIM_MS));
    expect(await winner.run()).toEqual(tallyOf({ recipient: { succeeded: 2 } }));
    const head = await store.head();

    clock.advance(CLAIM_MS);
    expect(await running).toBeUndefined();

    answers.open();
    await new Promise((resolve) => setImmediate(resolve));
    expect(await store.head()).toBe(head);
    expect(gateway.requests).toHaveLength(2);
    expect(await typesOf(store)).not.toContain('BatchAttemptExtended');
  });

  it('that lose their claim stop: nothing is recorded and nothing more is moved', async () => {
    // One call at a time to each mailbox: the last copy waits behind the first one.
    const store = await due(
      copyOf({ mailbox: 'ann@fabrikam.example' }),
      copyOf({ mailbox: 'kim@fabrikam.example' }),
      copyOf({ mailbox: 'ann@fabrikam.example', message: messageOf({ networkMessageId: 'm2' }) }),
    );
    const gates = { ann: gate(), kim: gate() };
    const signals: AbortSignal[] = [];
    const gateway = new ScriptedGateway(async ({ mailbox, to }, signal) => {
      signals.push(signal);
      await (mailbox.startsWith('ann') ? gates.ann : gates.kim).opened;
      return { kind: 'moved', from: 'Inbox', to };
    });
    const loser = workerOn(store, gateway, { mailboxConcurrency: 1, flushMs: 1 }).run();
    await recorded(store, 'BatchAttemptStarted');

    const winner = workerOn(store, new ScriptedGateway(), { worker: 'worker-2' }, later(CLAIM_MS));
    expect(await winner.run()).toEqual(tallyOf({ recipient: { succeeded: 3 } }));
    const head = await store.head();
    gates.kim.open();

    expect(await loser).toBeUndefined();
    expect(signals[0]?.aborted).toBe(true);
    gates.ann.open();
    await new Promise((resolve) => setImmediate(resolve));
    expect(gateway.requests.map((request) => request.operationId)).toEqual(['p1/0/0', 'p1/0/1']);
    expect(await store.head()).toBe(head);
  });
});

describe('a worker that stops in the middle', () => {
  /** The mailboxes, and a gateway to them that the test can hold up. */
  function tenantOf(all: readonly PlannedCopy[]): InMemoryTenant {
    const tenant = new InMemoryTenant();
    for (const { message, kind, mailbox } of all) {
      tenant.put(
        { tenant: 'fabrikam', mailbox, networkMessageId: message.networkMessageId, copyKind: kind },
        'Inbox',
      );
    }
    return tenant;
  }

  it.each([0, 1, 3, 5])(
    'after %d answers goes on where it was, and every copy is moved once',
    async (answered) => {
      const all = copies(5);
      const store = await due(...all);
      const tenant = tenantOf(all);
      const stop = new AbortController();
      let calls = 0;
      const gateway = new ScriptedGateway(async (request, signal) => {
        calls += 1;
        // The move takes place, and its answer is lost in the stop.
        const result = await tenant.move(request, signal);
        if (calls > answered) {
          stop.abort();
          return hang(request, signal);
        }
        return result;
      });

      const first = await workerOn(store, gateway, { mailboxConcurrency: 1 }).run(stop.signal);
      expect(first).toEqual(answered === 5 ? tallyOf({ recipient: { succeeded: 5 } }) : undefined);

      const again = new ScriptedGateway((request, signal) => tenant.move(request, signal));
      const tally = await workerOn(store, again, {}, later(1)).run();

      expect(tally).toEqual(tallyOf({ recipient: { succeeded: 5 } }));
      expect(tenant.moves).toBe(5);
      const moved = (await eventsOf(store)).filter((event) => event.type === 'RecipientCopySoftDeleted');
      expect(moved.map((event) => event.data.target).sort()).toEqual([0, 1, 2, 3, 4]);
    },
  );

  it('before it begins claims the batch and moves nothing', async () => {
    const store = await due(...copies(2));
    const gateway = new ScriptedGateway();
    expect(await workerOn(store, gateway).run(AbortSignal.abort())).toBeUndefined();
    expect(gateway.requests).toEqual([]);
  });

  /** Writes, and then cannot say so. */
  class LosesAnswers extends InMemoryEventStore {
    lose = false;

    override async append(...args: Parameters<InMemoryEventStore['append']>) {
      const result = await super.append(...args);
      if (this.lose) {
        this.lose = false;
        this.goDown();
        await this.head();
      }
      return result;
    }
  }

  it.each(['written', 'not written'])('because its log is down goes on later: outcomes %s', async (what) => {
    const all = copies(3);
    const store = await storeWith(new LosesAnswers(), all);
    const tenant = tenantOf(all);
    const gateway = new ScriptedGateway(async (request, signal) => {
      if (what === 'written') store.lose = true;
      else store.goDown();
      return tenant.move(request, signal);
    });

    const error = await thrownBy(workerOn(store, gateway).run());
    expect(isClawbackError(error) && error.kind).toBe('unavailable');
    store.comeBack();
    store.lose = false;
    const direct = new ScriptedGateway((request, signal) => tenant.move(request, signal));
    const tally = await workerOn(store, direct, {}, later(1)).run();

    expect(tally).toEqual(tallyOf({ recipient: { succeeded: 3 } }));
    expect(tenant.moves).toBe(3);
    const moved = (await eventsOf(store)).filter((event) => event.type === 'RecipientCopySoftDeleted');
    expect(moved.map((event) => event.data.target).sort()).toEqual([0, 1, 2]);
  });
});

describe('the calls to one mailbox', () => {
  it.each([1, 3, 4])('are at most %d at once, and mailboxes do not wait for each other', async (limit) => {
    const mailboxes = ['ann', 'kim', 'lee'].map((name) => `${name}@fabrikam.example`);
    const all = mailboxes.flatMap((mailbox) =>
      Array.from({ length: 9 }, (_, index) =>
        copyOf({ mailbox, message: messageOf({ networkMessageId: `m${index}` }) }),
      ),
    );
    const store = await due(...all);
    const gateway = new ScriptedGateway(async ({ to }) => {
      await new Promise((resolve) => setImmediate(resolve));
      return { kind: 'moved', from: 'Inbox', to };
    });

    await workerOn(store, gateway, { mailboxConcurrency: limit }).run();

    expect(gateway.requests).toHaveLength(27);
    expect(Object.fromEntries(gateway.mostAtOnce)).toEqual({
      '': 3 * limit,
      ...Object.fromEntries(mailboxes.map((mailbox) => [mailbox, limit])),
    });
  });
});
