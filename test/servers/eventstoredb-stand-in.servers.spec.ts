import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  BACKWARDS,
  END,
  EventStoreDBClient,
  jsonEvent,
  persistentSubscriptionToAllSettingsFromDefaults,
  START,
  streamNameFilter,
  type AllStreamSubscription,
  type AppendExpectedRevision,
  type Credentials,
  type EventData,
  type PersistentSubscriptionToAll,
  type PersistentSubscriptionToAllResolvedEvent,
  type Position,
  type ResolvedEvent,
} from '@eventstore/db-client';
import { once } from 'node:events';
import { collect, newId, pause } from '#libs/kernel';
import {
  realEventStoreUrl,
  serverName,
  startInNewFolder,
} from '../support/eventstoredb/server-under-test.js';
import { type EventStoreDbStandIn } from '../support/eventstoredb/stand-in.js';

type Delivered = PersistentSubscriptionToAllResolvedEvent;

/** Chooses the path of the append; not sent over a connection that is not encrypted. */
const anyone: Credentials = { username: 'admin', password: 'changeit' };

const newStream = (): string => `protocol-${newId()}`;

const newEvent = (data: Record<string, unknown> = {}): EventData => jsonEvent({ type: 'Happened', data });

const newEvents = (count: number, data?: Record<string, unknown>): EventData[] =>
  Array.from({ length: count }, () => newEvent(data));

/**
 * How a server answers the bare client, row by row as it was recorded on a real EventStoreDB. What the adapter relies on
 * is shown here; that the stand-in is true to it too. Rows that end the server run on the stand-in only.
 */
describe(`protocol of ${serverName}`, () => {
  let standIn: EventStoreDbStandIn | undefined;
  let url: string;
  let client: EventStoreDBClient;

  beforeAll(async () => {
    if (realEventStoreUrl === undefined) standIn = await startInNewFolder();
    url = realEventStoreUrl ?? standIn?.url ?? '';
  });

  afterAll(async () => {
    await standIn?.stop();
  });

  beforeEach(() => {
    client = EventStoreDBClient.connectionString(url);
  });

  afterEach(async () => {
    await client.dispose();
  });

  const read = (stream: string) => collect<ResolvedEvent>(client.readStream(stream));
  const idsIn = async (stream: string) => (await read(stream)).map(({ event }) => event?.id);
  const revisionsIn = async (stream: string) => (await read(stream)).map(({ event }) => event?.revision);
  const begin = async (stream: string, events: EventData[]) =>
    client.appendToStream(stream, events, { expectedRevision: 'no_stream', credentials: anyone });

  const paths: [string, { credentials?: Credentials }][] = [
    ['a call of its own', { credentials: anyone }],
    ['the shared call', {}],
  ];
  describe.each(paths)('an append by %s', (_path, path) => {
    const append = (stream: string, expectedRevision: AppendExpectedRevision, events: EventData[]) =>
      client.appendToStream(stream, events, { expectedRevision, ...path });

    it('answers the first append with revision and position', async () => {
      const stream = newStream();
      const result = await append(stream, 'no_stream', newEvents(3));
      expect(result).toEqual({
        success: true,
        nextExpectedRevision: 2n,
        position: { commit: expect.any(BigInt), prepare: result.position?.commit },
      });
      const positions = (await read(stream)).map(({ event }) => event?.position?.commit ?? 0n);
      const steps = positions.slice(1).map((position, index) => position - (positions[index] ?? 0n));
      expect(positions.at(-1)).toBe(result.position?.commit);
      expect(steps.every((step) => step > 1n)).toBe(true);
    });

    it.each<[string, number, AppendExpectedRevision, bigint | 'no_stream']>([
      ['no_stream on a stream', 3, 'no_stream', 2n],
      ['an older revision', 3, 1n, 2n],
      ['a newer revision', 3, 7n, 2n],
      ['a revision of nothing', 0, 0n, 'no_stream'],
      ['stream_exists on nothing', 0, 'stream_exists', 'no_stream'],
    ])('refuses %s', async (_title, before, expected, actual) => {
      const stream = newStream();
      if (before > 0) await begin(stream, newEvents(before));
      const error = await rejectionOf(append(stream, expected, newEvents(1)));
      expect(error).toMatchObject({
        type: 'wrong-expected-version',
        message: '',
        streamName: stream,
        expectedVersion: expected,
        actualVersion: actual,
      });
    });

    it('knows the same ids at the same expected revision again, also after more events', async () => {
      const stream = newStream();
      const events = newEvents(3);
      const first = await append(stream, 'no_stream', events);
      expect(await append(stream, 'no_stream', events)).toEqual(first);
      await append(stream, 2n, newEvents(2));
      expect(await append(stream, 'no_stream', events)).toEqual(first);
      expect(await revisionsIn(stream)).toHaveLength(5);
    });

    it('knows the same ids with any', async () => {
      const stream = newStream();
      const events = newEvents(2);
      await append(stream, 'no_stream', events);
      expect(await append(stream, 'any', events)).toMatchObject({ success: true, nextExpectedRevision: 1n });
      expect(await revisionsIn(stream)).toHaveLength(2);
    });

    it('knows a prefix of the same ids', async () => {
      const stream = newStream();
      const events = newEvents(3);
      await append(stream, 'no_stream', events);
      const { nextExpectedRevision } = await append(stream, 'no_stream', events.slice(0, 2));
      expect(nextExpectedRevision).toBe(1n);
      expect(await revisionsIn(stream)).toHaveLength(3);
    });

    it('refuses the same first id with another behind it', async () => {
      const stream = newStream();
      const events = newEvents(2);
      await append(stream, 'no_stream', events);
      const error = await rejectionOf(append(stream, 'no_stream', [...events.slice(0, 1), ...newEvents(1)]));
      expect(error).toMatchObject({ type: 'wrong-expected-version', actualVersion: 1n });
    });

    it('writes the same ids again at the revision that is now correct', async () => {
      const stream = newStream();
      const events = newEvents(2);
      await append(stream, 'no_stream', events);
      expect(await append(stream, 1n, events)).toMatchObject({ nextExpectedRevision: 3n });
      const ids = events.map(({ id }) => id);
      expect(await idsIn(stream)).toEqual([...ids, ...ids]);
    });

    it('takes no events for done', async () => {
      const stream = newStream();
      expect(await append(stream, 'no_stream', [])).toMatchObject({
        success: true,
        nextExpectedRevision: 0n,
      });
      expect(await rejectionOf(read(stream))).toMatchObject({ type: 'stream-not-found' });
    });

    it('lets one of 8 parallel first appends win', async () => {
      const stream = newStream();
      const outcomes = await Promise.allSettled(
        Array.from({ length: 8 }, () => append(stream, 'no_stream', newEvents(1))),
      );
      const refusals = outcomes.flatMap((o) => (o.status === 'rejected' ? [o.reason as unknown] : []));
      expect(refusals).toHaveLength(7);
      for (const refusal of refusals) expect(refusal).toMatchObject({ type: 'wrong-expected-version' });
      expect(await revisionsIn(stream)).toEqual([0n]);
    });

    it.each([
      ['one event', [newEvent({ text: 'x'.repeat(1024 * 1024) })]],
      ['the sum', [1, 2, 3].map(() => newEvent({ text: 'x'.repeat(400_000) }))],
    ])('refuses more than 1 MiB: %s', async (_title, events) => {
      const error = await rejectionOf(append(newStream(), 'no_stream', events));
      expect(error).toMatchObject({ type: 'maximum-append-size-exceeded', maxAppendSize: 1024 * 1024 });
    });

    it('goes on counting in a deleted stream', async () => {
      const stream = newStream();
      await append(stream, 'no_stream', newEvents(4));
      await client.deleteStream(stream);
      expect(await rejectionOf(read(stream))).toMatchObject({ type: 'stream-not-found' });
      expect(await append(stream, 'no_stream', newEvents(1))).toMatchObject({ nextExpectedRevision: 4n });
      expect(await revisionsIn(stream)).toEqual([4n]);
    });

    it('neither reads nor writes a tombstoned stream', async () => {
      const stream = newStream();
      await append(stream, 'no_stream', newEvents(2));
      await client.tombstoneStream(stream);
      expect(await rejectionOf(read(stream))).toMatchObject({ type: 'stream-deleted', streamName: stream });
      const error = await rejectionOf(append(stream, 1n, newEvents(1)));
      expect(error).toMatchObject({ type: 'stream-deleted', streamName: stream });
    });
  });

  describe('an append', () => {
    it('of a message over the limit of gRPC is an unknown error with code 8', async () => {
      const event = newEvent({ text: 'x'.repeat(21 * 1024 * 1024) });
      const error = await rejectionOf(
        client.appendToStream(newStream(), [event], { expectedRevision: 'no_stream', credentials: anyone }),
      );
      expect(error).toMatchObject({ type: 'unknown', code: 8 });
    });

    it('past its deadline says so', async () => {
      const events = newEvents(500, { text: 'x'.repeat(1_000) });
      const error = await rejectionOf(
        client.appendToStream(newStream(), events, { credentials: anyone, deadline: 1 }),
      );
      expect(error).toMatchObject({ type: 'deadline-exceeded', code: 4 });
    });

    it('on the shared call reports a wrong revision when it is not to throw', async () => {
      const lenient = EventStoreDBClient.connectionString(
        `${url}${url.includes('?') ? '&' : '?'}throwOnAppendFailure=false`,
      );
      const stream = newStream();
      await lenient.appendToStream(stream, newEvents(3), { expectedRevision: 'no_stream' });
      const result = await lenient.appendToStream(stream, newEvents(1), { expectedRevision: 'no_stream' });
      expect(result).toMatchObject({ success: false, nextExpectedRevision: 1n });
      await lenient.dispose();
    });
  });

  describe('a read', () => {
    it('of a missing stream fails', async () => {
      expect(await rejectionOf(read(newStream()))).toMatchObject({ type: 'stream-not-found' });
    });

    it('from beyond the end gives nothing', async () => {
      const stream = newStream();
      await begin(stream, newEvents(2));
      expect(await collect<ResolvedEvent>(client.readStream(stream, { fromRevision: 2n }))).toEqual([]);
      expect(await collect<ResolvedEvent>(client.readStream(stream, { fromRevision: 99n }))).toEqual([]);
    });

    it('backwards from the end gives the last event first', async () => {
      const stream = newStream();
      const events = newEvents(3);
      await begin(stream, events);
      const last = await collect<ResolvedEvent>(
        client.readStream(stream, { direction: BACKWARDS, fromRevision: END, maxCount: 1 }),
      );
      expect(last.map(({ event }) => event?.id)).toEqual([events[2]?.id]);
    });

    it('gives bigint revisions and positions, and when it was', async () => {
      const stream = newStream();
      const { position } = await begin(stream, newEvents(1));
      const [only] = await read(stream);
      expect(only?.event).toMatchObject({
        streamId: stream,
        revision: 0n,
        position,
        isJson: true,
        created: expect.any(Date),
      });
      expect(only?.commitPosition).toBe(position?.commit);
    });

    it('of all begins with system events', async () => {
      const first = await collect(client.readAll({ maxCount: 5 }));
      expect(first.map(({ event }) => [event?.streamId, event?.type])).toContainEqual([
        '$$$scavenges',
        '$metadata',
      ]);
    });

    it('of all shows a tombstone as an event of its stream', async () => {
      const stream = newStream();
      await begin(stream, newEvents(1));
      await client.tombstoneStream(stream);
      const recent = await collect(
        client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 100 }),
      );
      const [tombstone] = recent.filter(({ event }) => event?.streamId === stream);
      expect(tombstone?.event).toMatchObject({ type: '$streamDeleted', revision: 9223372036854775807n });
    });

    it('of all backwards from a position gives what comes before it', async () => {
      const stream = newStream();
      await begin(stream, newEvents(3));
      const [first, second] = await read(stream);
      const before = await collect(
        client.readAll({ direction: BACKWARDS, fromPosition: positionOf(second), maxCount: 1 }),
      );
      expect(before[0]?.event?.id).toBe(first?.event?.id);
    });
  });

  describe('a subscription to all', () => {
    const opened: AllStreamSubscription[] = [];

    afterEach(async () => {
      for (const subscription of opened.splice(0)) {
        subscription.on('error', () => undefined);
        await subscription.unsubscribe();
      }
    });

    it('confirms, gives the old events, says caughtUp, and gives what comes', async () => {
      const prefix = newStream();
      const after = await begin(`${prefix}-before`, newEvents(1));
      await begin(`${prefix}-old`, newEvents(3));
      const seen: string[] = [];
      const subscription = client.subscribeToAll({
        fromPosition: after.position ?? START,
        filter: streamNameFilter({ prefixes: [prefix] }),
      });
      opened.push(subscription);
      const live = new Promise<void>((resolve) => {
        subscription.on('confirmation', () => seen.push('confirmation'));
        subscription.on('caughtUp', () => {
          seen.push('caughtUp');
          void begin(`${prefix}-live`, newEvents(1));
        });
        subscription.on('data', ({ event }) => {
          seen.push(event?.streamId.slice(prefix.length) ?? '');
          if (seen.at(-1) === '-live') resolve();
        });
      });
      await live;
      expect(seen).toEqual(['confirmation', '-old', '-old', '-old', 'caughtUp', '-live']);
    });

    it('tells of its progress through events that it does not give', async () => {
      const after = await begin(newStream(), newEvents(1));
      const skipped = newStream();
      for (let round = 0n; round < 3n; round++) {
        const expectedRevision = round === 0n ? 'no_stream' : round * 400n - 1n;
        await client.appendToStream(skipped, newEvents(400), { expectedRevision, credentials: anyone });
      }
      const end = newStream();
      await begin(end, newEvents(1));
      const checkpoints: Position[] = [];
      const subscription = client.subscribeToAll({
        fromPosition: after.position ?? START,
        filter: streamNameFilter({
          prefixes: [end],
          checkpointInterval: 1,
          checkpointReached: (_subscription, position) => void checkpoints.push(position),
        }),
      });
      opened.push(subscription);
      await once(subscription, 'data');
      expect(checkpoints.length).toBeGreaterThanOrEqual(36);
      expect(checkpoints.length).toBeLessThanOrEqual(42);
      expect(checkpoints.every(({ commit }) => commit > (after.position?.commit ?? 0n))).toBe(true);
    });
  });

  describe('a persistent subscription to all', () => {
    let group: string;
    let prefix: string;
    const opened: PersistentSubscriptionToAll[] = [];

    const create = (changes = {}) =>
      client.createPersistentSubscriptionToAll(
        group,
        persistentSubscriptionToAllSettingsFromDefaults({ startFrom: START, ...changes }),
        { filter: streamNameFilter({ prefixes: [prefix] }) },
      );
    const consume = (handle: (delivered: Delivered, subscription: PersistentSubscriptionToAll) => void) => {
      const subscription = client.subscribeToPersistentSubscriptionToAll(group);
      opened.push(subscription);
      subscription.on('data', (delivered: Delivered) => {
        handle(delivered, subscription);
      });
      return subscription;
    };

    beforeEach(() => {
      prefix = newStream();
      group = `group-${prefix}`;
    });

    afterEach(async () => {
      for (const subscription of opened.splice(0)) {
        subscription.on('error', () => undefined);
        await subscription.unsubscribe();
      }
      await client.deletePersistentSubscriptionToAll(group).catch(() => undefined);
    });

    it('can be created once', async () => {
      await create();
      expect(await rejectionOf(create())).toMatchObject({ type: 'persistent-subscription-exists', code: 6 });
    });

    it('must read fewer events at a time than it buffers', async () => {
      const error = await rejectionOf(create({ readBatchSize: 20, historyBufferSize: 20 }));
      expect(error).toMatchObject({ code: 13 });
    });

    it('must exist to be read', async () => {
      const [error] = (await once(
        consume(() => undefined),
        'error',
      ).catch((e: unknown) => [e])) as unknown[];
      expect(error).toMatchObject({ type: 'persistent-subscription-does-not-exist', code: 5 });
    });

    it('drops its consumers when it is deleted', async () => {
      await create();
      const subscription = consume(() => undefined);
      await once(subscription, 'confirmation');
      const dropped = new Promise((resolve) => subscription.on('error', resolve));
      await client.deletePersistentSubscriptionToAll(group);
      expect(await dropped).toMatchObject({ type: 'persistent-subscription-dropped', code: 1 });
    });

    it('shares the events among its consumers', async () => {
      await create();
      const shares = [new Set<string>(), new Set<string>()];
      const events = newEvents(40);
      const done = new Promise<void>((resolve) => {
        for (const share of shares) {
          consume((delivered, subscription) => {
            share.add(delivered.event?.id ?? '');
            void subscription.ack(delivered);
            if ((shares[0]?.size ?? 0) + (shares[1]?.size ?? 0) === 40) resolve();
          });
        }
      });
      await Promise.all(opened.map((subscription) => once(subscription, 'confirmation')));
      await begin(`${prefix}-work`, events);
      await done;
      expect(new Set(shares.flatMap((share) => [...share]))).toEqual(new Set(events.map(({ id }) => id)));
      expect(shares.every((share) => share.size > 0)).toBe(true);
    });

    it('gives an event again that was refused, and counts', async () => {
      await create();
      await begin(`${prefix}-work`, newEvents(1));
      const counts: number[] = [];
      await new Promise<void>((resolve) => {
        consume((delivered, subscription) => {
          counts.push(delivered.retryCount);
          if (counts.length < 3) void subscription.nack('retry', 'not now', delivered);
          else void subscription.ack(delivered).then(resolve);
        });
      });
      expect(counts).toEqual([0, 1, 2]);
    });

    it('puts a parked event aside', async () => {
      await create();
      await begin(`${prefix}-work`, newEvents(1));
      await new Promise<void>((resolve) => {
        consume((delivered, subscription) => {
          void subscription.nack('park', 'no good', delivered).then(resolve);
        });
      });
      const parked = async () => {
        const { stats } = await client.getPersistentSubscriptionToAllInfo(group);
        return stats.parkedMessageCount;
      };
      while ((await parked()) !== 1n) await pause(20);
    });
  });

  if (realEventStoreUrl === undefined) {
    describe('when it is killed', () => {
      it('ends subscriptions of both kinds with code 14, and keeps what it has answered', async () => {
        const stream = newStream();
        const events = newEvents(3);
        const first = await begin(stream, events);
        await client.createPersistentSubscriptionToAll(
          stream,
          persistentSubscriptionToAllSettingsFromDefaults(),
        );
        const catchUp = client.subscribeToAll({ fromPosition: END });
        const persistent = client.subscribeToPersistentSubscriptionToAll(stream);
        const errors = [catchUp, persistent].map(
          (each) => new Promise((resolve) => each.on('error', resolve)),
        );
        await Promise.all([once(catchUp, 'confirmation'), once(persistent, 'confirmation')]);

        await standIn?.kill();
        for (const error of await Promise.all(errors)) {
          expect(error).toMatchObject({ type: 'unavailable', code: 14 });
        }

        await standIn?.restart();
        client = EventStoreDBClient.connectionString(url);
        expect(await idsIn(stream)).toEqual(events.map(({ id }) => id));
        expect(await begin(stream, events)).toEqual(first);
        expect((await client.getPersistentSubscriptionToAllInfo(stream)).groupName).toBe(stream);
      });
    });
  }
});

function positionOf(resolved: ResolvedEvent | undefined): Position {
  const position = resolved?.event?.position;
  if (position === undefined) throw new Error('expected an event with a position');
  return position;
}

async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  let result: unknown;
  try {
    result = await promise;
  } catch (error) {
    return error;
  }
  throw new Error('expected a rejection', { cause: result });
}
