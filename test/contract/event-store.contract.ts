import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { collect, isClawbackError, newId, START, type ClawbackError, type Position } from '#libs/kernel';
import { SEED } from '../support/seed.js';
import {
  isWrongExpectedRevision,
  MAX_APPEND_BYTES,
  type AppendResult,
  type Delivery,
  type EventStore,
  type ExpectedRevision,
  type NewEvent,
  type RecordedEvent,
  type SubscribeOptions,
  type WrongExpectedRevision,
} from '#libs/event-store';

/** An adapter over some log. The log may hold anything already: the suite looks only at streams of its own. */
export interface EventStoreFixture {
  readonly store: EventStore;
  /** Closes the store if it is still open and opens the same log again. */
  reopen(): Promise<EventStore>;
  /** Closes what is open and removes what the fixture made. */
  dispose(): Promise<void>;
}

/**
 * What every adapter of {@link EventStore} does alike. Assumes nothing about the first position, about gaps between
 * positions, or about other streams in the same log.
 */
export function describeEventStoreContract(name: string, open: () => Promise<EventStoreFixture>): void {
  describe(`event store: ${name}`, () => {
    let fixture: EventStoreFixture;
    let store: EventStore;

    beforeEach(async () => {
      fixture = await open();
      store = fixture.store;
    });

    afterEach(async () => {
      await fixture.dispose();
    });

    const read = (stream: string) => collect(store.readStream(stream));

    describe('append', () => {
      it('begins a stream at revision 0 and answers with the last event', async () => {
        const stream = newStream();
        const before = await store.head();

        const first = await store.append(stream, 'noStream', newEvents(1));
        const second = await store.append(stream, 0n, newEvents(3));

        expect(typeof first.revision).toBe('bigint');
        expect(typeof first.position).toBe('bigint');
        expect(first.revision).toBe(0n);
        expect(second.revision).toBe(3n);
        expect(first.position > before).toBe(true);
        expect(second.position > first.position).toBe(true);
      });

      it('keeps every field of every event, in order', async () => {
        const stream = newStream();
        const events = [
          newEvent({ type: 'First' }),
          newEvent({ type: 'Second' }),
          newEvent({ type: 'Third' }),
        ];

        const result = await store.append(stream, 'noStream', events);
        const recorded = await read(stream);

        expect(recorded).toEqual(
          events.map((event, index) => {
            const position = recorded[index]?.position;
            return { ...event, stream, revision: BigInt(index), position };
          }),
        );
        expect(recorded.map((event) => typeof event.revision)).toEqual(events.map(() => 'bigint'));
        expect(recorded.map((event) => typeof event.position)).toEqual(events.map(() => 'bigint'));
        expect(positionsGrow(recorded)).toBe(true);
        expect(recorded.at(-1)?.position).toBe(result.position);
      });

      const wrong: { title: string; before: number; expected: ExpectedRevision; actual: ExpectedRevision }[] =
        [
          { title: 'noStream on a stream of two', before: 2, expected: 'noStream', actual: 1n },
          { title: 'a revision on no stream', before: 0, expected: 0n, actual: 'noStream' },
          { title: 'a high revision on no stream', before: 0, expected: 41n, actual: 'noStream' },
          { title: 'a revision behind the last', before: 3, expected: 0n, actual: 2n },
          { title: 'the revision just behind the last', before: 3, expected: 1n, actual: 2n },
          { title: 'the revision just after the last', before: 3, expected: 3n, actual: 2n },
          { title: 'a revision far after the last', before: 3, expected: 1_000_000n, actual: 2n },
        ];
      it.each(wrong)('refuses $title and writes nothing', async ({ before, expected, actual }) => {
        const stream = newStream();
        const there = newEvents(before);
        if (before > 0) await store.append(stream, 'noStream', there);

        const error = await wrongRevisionOf(store.append(stream, expected, newEvents(2)));

        expect({ stream: error.stream, expected: error.expected, actual: error.actual }).toEqual({
          stream,
          expected,
          actual,
        });
        expect(idsOf(await read(stream))).toEqual(idsOf(there));
      });

      it('refuses an append without events', async () => {
        const stream = newStream();
        const error = await clawbackErrorOf(store.append(stream, 'noStream', []));
        expect([error.kind, error.code]).toEqual(['invalid', 'emptyAppend']);
        expect(await read(stream)).toEqual([]);
      });

      it('refuses the same id twice in one append', async () => {
        const stream = newStream();
        const event = newEvent();
        const error = await clawbackErrorOf(store.append(stream, 'noStream', [event, newEvent(), event]));
        expect(error.kind).toBe('invalid');
        expect(await read(stream)).toEqual([]);
      });

      it('lets exactly one of 16 concurrent first appends win', async () => {
        const stream = newStream();
        const attempts = Array.from({ length: 16 }, () => newEvents(2));

        const outcomes = await Promise.allSettled(
          attempts.map((events) => store.append(stream, 'noStream', events)),
        );

        const winners = attempts.filter((_, index) => outcomes[index]?.status === 'fulfilled');
        const refusals = outcomes.flatMap((o) => (o.status === 'rejected' ? [o.reason as unknown] : []));
        expect(winners).toHaveLength(1);
        expect(refusals).toHaveLength(15);
        for (const refusal of refusals) {
          expect(refusal).toMatchObject({
            name: 'WrongExpectedRevision',
            stream,
            expected: 'noStream',
            actual: 1n,
          });
        }
        expect(idsOf(await read(stream))).toEqual(idsOf(winners.flat()));
      });

      it('lands 200 concurrent appends to distinct streams once each', async () => {
        const before = await store.head();
        const appends = Array.from({ length: 200 }, () => ({ stream: newStream(), events: newEvents(2) }));

        const results = await Promise.all(
          appends.map(({ stream, events }) => store.append(stream, 'noStream', events)),
        );

        expect(results.map((result) => result.revision)).toEqual(appends.map(() => 1n));
        expect(new Set(results.map((result) => result.position)).size).toBe(200);
        const own = await readOwn(
          store,
          before,
          appends.map((append) => append.stream),
        );
        expect(own).toHaveLength(400);
        for (const { stream, events } of appends) {
          expect(idsOf(own.filter((event) => event.stream === stream))).toEqual(idsOf(events));
        }
      });
    });

    describe('a repeated append', () => {
      it('answers as the first time and writes nothing', async () => {
        const stream = newStream();
        const [opening, following] = [newEvents(2), newEvents(3)];
        const first = await store.append(stream, 'noStream', opening);
        expect(await store.append(stream, 'noStream', opening)).toEqual(first);

        const second = await store.append(stream, 1n, following);
        expect(await store.append(stream, 1n, following)).toEqual(second);

        expect(idsOf(await read(stream))).toEqual(idsOf([...opening, ...following]));
      });

      it('is recognised after more events followed, and after reopening', async () => {
        const stream = newStream();
        const [opening, middle, last] = [newEvents(2), newEvents(2), newEvents(2)];
        const first = await store.append(stream, 'noStream', opening);
        const second = await store.append(stream, 1n, middle);
        await store.append(stream, 3n, last);

        expect(await store.append(stream, 'noStream', opening)).toEqual(first);
        expect(await store.append(stream, 1n, middle)).toEqual(second);
        store = await fixture.reopen();
        expect(await store.append(stream, 'noStream', opening)).toEqual(first);
        expect(await store.append(stream, 1n, middle)).toEqual(second);

        expect(idsOf(await read(stream))).toEqual(idsOf([...opening, ...middle, ...last]));
      });

      it('is recognised when both are under way at once', async () => {
        const stream = newStream();
        const events = newEvents(2);
        const results = await Promise.all([
          store.append(stream, 'noStream', events),
          store.append(stream, 'noStream', events),
          store.append(stream, 'noStream', events),
        ]);
        expect(results).toEqual([results[0], results[0], results[0]]);
        expect(idsOf(await read(stream))).toEqual(idsOf(events));
      });

      it('may be a prefix of what was appended: the answer is about its own last event', async () => {
        const stream = newStream();
        const events = newEvents(3);
        await store.append(stream, 'noStream', events);
        await store.append(stream, 2n, newEvents(1));

        const result = await store.append(stream, 'noStream', events.slice(0, 2));

        const recorded = await read(stream);
        expect(result).toEqual({ revision: 1n, position: recorded[1]?.position });
        expect(recorded).toHaveLength(4);
      });

      it.each([
        ['the same first id and then another', (events: NewEvent[]) => [...events.slice(0, 1), newEvent()]],
        ['all the same ids and one more', (events: NewEvent[]) => [...events, newEvent()]],
        ['the same ids in another order', (events: NewEvent[]) => [...events].reverse()],
        ['only the later ids', (events: NewEvent[]) => events.slice(1)],
      ])('is none with %s', async (_title, change) => {
        const stream = newStream();
        const events = newEvents(2);
        await store.append(stream, 'noStream', events);

        const error = await wrongRevisionOf(store.append(stream, 'noStream', change(events)));

        expect([error.expected, error.actual]).toEqual(['noStream', 1n]);
        expect(idsOf(await read(stream))).toEqual(idsOf(events));
      });

      it('is none at another revision: refused where that is wrong, written where it is right', async () => {
        const stream = newStream();
        const events = newEvents(2);
        await store.append(stream, 'noStream', events);

        await wrongRevisionOf(store.append(stream, 0n, events));
        await wrongRevisionOf(store.append(stream, 2n, events));
        const again = await store.append(stream, 1n, events);

        expect(again.revision).toBe(3n);
        expect(idsOf(await read(stream))).toEqual(idsOf([...events, ...events]));
      });

      it('is none in another stream', async () => {
        const [stream, other] = [newStream(), newStream()];
        const events = newEvents(2);
        await store.append(stream, 'noStream', events);
        await store.append(other, 'noStream', events);
        expect(idsOf(await read(other))).toEqual(idsOf(events));
      });
    });

    describe('content', () => {
      const texts = [
        ['letters beyond ASCII', 'Ünïcödé Ελλάδα 日本語 🕊️👩‍👩‍👧'],
        ['NUL', 'a\0b\0'],
        ['control characters', '\u0001\b\t\n\r\u001f\u007f\u2028\u2029'],
        ['half a surrogate pair', 'x\ud83dy'],
        ['quotes and backslashes', `'";--\\" \\u0000 {"a":[}`],
      ];
      it.each(texts)('keeps %s', async (_title, text) => {
        const stream = newStream();
        const event = newEvent({ data: { text, [text]: [text] }, metadata: { actor: text } });
        await store.append(stream, 'noStream', [event]);
        const [recorded] = await read(stream);
        expect(recorded?.data).toEqual(event.data);
        expect(recorded?.metadata).toEqual(event.metadata);
      });

      it('keeps any JSON value and any flat metadata', async () => {
        await fc.assert(
          fc.asyncProperty(
            fc.jsonValue(),
            fc.dictionary(fc.string({ minLength: 1 }), fc.string({ unit: 'grapheme' })),
            async (data, metadata) => {
              const stream = newStream();
              await store.append(stream, 'noStream', [newEvent({ data, metadata })]);
              const [recorded] = await read(stream);
              expect(JSON.stringify(recorded?.data)).toBe(JSON.stringify(data));
              expect(JSON.stringify(recorded?.metadata)).toBe(JSON.stringify(metadata));
            },
          ),
          { numRuns: 50 },
        );
      });

      const nearTheLimit = [
        ['one event', [newEvent({ data: 'x'.repeat(1_040_000) })]],
        ['one event of two-byte letters', [newEvent({ data: 'é'.repeat(520_000) })]],
        ['many events together', newEvents(500).map((event) => ({ ...event, data: 'x'.repeat(1_800) }))],
      ] as const;
      it.each(nearTheLimit)('takes an append close to the limit: %s', async (_title, events) => {
        const stream = newStream();
        await store.append(stream, 'noStream', events);
        const recorded = await read(stream);
        expect(idsOf(recorded)).toEqual(idsOf(events));
        expect(recorded.every((event, index) => event.data === events[index]?.data)).toBe(true);
      });

      const overTheLimit = [
        ['one event', [newEvent({ data: 'x'.repeat(MAX_APPEND_BYTES) })]],
        ['bytes, not letters', [newEvent({ data: 'é'.repeat(600_000) })]],
        [
          'events that only together are too large',
          newEvents(3).map((e) => ({ ...e, data: 'x'.repeat(400_000) })),
        ],
        ['metadata counts', [newEvent({ metadata: { note: 'x'.repeat(MAX_APPEND_BYTES) } })]],
      ] as const;
      it.each(overTheLimit)('refuses an append over the limit: %s', async (_title, events) => {
        const stream = newStream();
        const error = await clawbackErrorOf(store.append(stream, 'noStream', events));
        expect([error.kind, error.code]).toEqual(['tooLarge', 'appendTooLarge']);
        expect(error.message).toContain(String(MAX_APPEND_BYTES));
        expect(error.details).toMatchObject({ limit: MAX_APPEND_BYTES });
        expect(error.details.size).toBeGreaterThan(MAX_APPEND_BYTES);
        expect(error.message).toContain(String(error.details.size));
        expect(await read(stream)).toEqual([]);
      });
    });

    describe('reading a stream', () => {
      const count = 1_203;
      let stream: string;
      let ids: readonly string[];

      beforeEach(async () => {
        stream = newStream();
        const events = newEvents(count);
        ids = idsOf(events);
        for (let from = 0; from < count; from += 401) {
          const expected = from === 0 ? 'noStream' : BigInt(from - 1);
          await store.append(stream, expected, events.slice(from, from + 401));
        }
        await store.append(newStream(), 'noStream', newEvents(1));
      });

      const idsRead = async (options: Parameters<EventStore['readStream']>[1]) =>
        idsOf(await collect(store.readStream(stream, options)));
      const backwards = () => [...ids].reverse();

      it('gives all events forwards with consecutive revisions and growing positions', async () => {
        const recorded = await read(stream);
        expect(idsOf(recorded)).toEqual(ids);
        expect(recorded.map((event) => event.revision)).toEqual(ids.map((_, index) => BigInt(index)));
        expect(recorded.every((event) => event.stream === stream)).toBe(true);
        expect(positionsGrow(recorded)).toBe(true);
      });

      it('gives all events backwards', async () => {
        expect(await idsRead({ direction: 'backwards' })).toEqual(backwards());
      });

      it('begins where asked', async () => {
        expect(await idsRead({ from: 0n })).toEqual(ids);
        expect(await idsRead({ from: 700n })).toEqual(ids.slice(700));
        expect(await idsRead({ from: BigInt(count - 1) })).toEqual(ids.slice(-1));
        expect(await idsRead({ from: 700n, direction: 'backwards' })).toEqual(ids.slice(0, 701).reverse());
        expect(await idsRead({ from: 0n, direction: 'backwards' })).toEqual(ids.slice(0, 1));
      });

      it('ends after as many as asked', async () => {
        expect(await idsRead({ maxCount: 1 })).toEqual(ids.slice(0, 1));
        expect(await idsRead({ maxCount: 501 })).toEqual(ids.slice(0, 501));
        expect(await idsRead({ maxCount: count + 1 })).toEqual(ids);
        expect(await idsRead({ maxCount: 1, direction: 'backwards' })).toEqual(ids.slice(-1));
        expect(await idsRead({ maxCount: 501, direction: 'backwards' })).toEqual(backwards().slice(0, 501));
        expect(await idsRead({ from: 2n, maxCount: 2 })).toEqual(ids.slice(2, 4));
        expect(await idsRead({ from: 2n, maxCount: 2, direction: 'backwards' })).toEqual([ids[2], ids[1]]);
      });

      it('gives nothing beyond the end, and from there backwards all', async () => {
        expect(await idsRead({ from: BigInt(count) })).toEqual([]);
        expect(await idsRead({ from: 1_000_000n, maxCount: 3 })).toEqual([]);
        expect(await idsRead({ from: 1_000_000n, direction: 'backwards' })).toEqual(backwards());
        expect(await idsRead({ from: 1_000_000n, maxCount: 2, direction: 'backwards' })).toEqual(
          backwards().slice(0, 2),
        );
      });

      it('gives nothing for a stream that does not exist', async () => {
        expect(await read(newStream())).toEqual([]);
        expect(await collect(store.readStream(newStream(), { direction: 'backwards', maxCount: 1 }))).toEqual(
          [],
        );
      });

      it('may be left early', async () => {
        for await (const event of store.readStream(stream)) {
          if (event.revision === 2n) break;
        }
        expect(await idsRead({ maxCount: 1 })).toEqual(ids.slice(0, 1));
      });
    });

    describe('reading all', () => {
      it('gives the events of all streams in the order in which they were appended', async () => {
        const before = await store.head();
        const [a, b, c] = [newStream(), newStream(), newStream()];
        const batches = Array.from({ length: 6 }, () => newEvents(150));
        const plan: [string, ExpectedRevision][] = [
          [a, 'noStream'],
          [b, 'noStream'],
          [a, 149n],
          [c, 'noStream'],
          [b, 149n],
          [a, 299n],
        ];
        for (const [index, [stream, expected]] of plan.entries()) {
          await store.append(stream, expected, batches[index] ?? []);
        }

        const own = await readOwn(store, before, [a, b, c]);

        expect(idsOf(own)).toEqual(idsOf(batches.flat()));
        expect(positionsGrow(own)).toBe(true);
        for (const stream of [a, b, c]) {
          expect(own.filter((event) => event.stream === stream)).toEqual(await read(stream));
        }
      });

      it('begins after the position asked for', async () => {
        const stream = newStream();
        const events = newEvents(5);
        await store.append(stream, 'noStream', events);
        const recorded = await read(stream);
        for (const [index, event] of recorded.entries()) {
          expect(idsOf(await readOwn(store, event.position, [stream]))).toEqual(
            idsOf(events.slice(index + 1)),
          );
        }
        expect(idsOf(await readOwn(store, START, [stream]))).toEqual(idsOf(events));
      });

      it('gives nothing of its own after the head, and the head is the last position', async () => {
        const stream = newStream();
        const { position } = await store.append(stream, 'noStream', newEvents(3));
        const head = await store.head();
        expect(typeof head).toBe('bigint');
        expect(head >= position).toBe(true);
        expect(await readOwn(store, head, [stream])).toEqual([]);
      });
    });

    describe('subscription', () => {
      let abort: AbortController;

      beforeEach(() => {
        abort = new AbortController();
      });

      afterEach(() => {
        abort.abort();
      });

      const subscribe = (options: Omit<SubscribeOptions, 'signal'>): AsyncIterator<Delivery> =>
        store.subscribe({ ...options, signal: abort.signal })[Symbol.asyncIterator]();

      it('gives the past and then what happens, without gap or double', async () => {
        const [past, live] = [newStream(), newStream()];
        const after = await store.head();
        const pastEvents = newEvents(1_100).map((event) => ({ ...event, data: 0 }));
        await store.append(past, 'noStream', pastEvents);
        const subscription = subscribe({ after });

        const seen = await ownUntil(subscription, [past, live], pastEvents.at(-1)?.id);
        for (let revision = 0n; revision < 60n; revision++) {
          await store.append(live, revision === 0n ? 'noStream' : revision - 1n, newEvents(1));
        }
        const last = newEvent();
        await store.append(live, 59n, [last]);
        seen.push(...(await ownUntil(subscription, [past, live], last.id)));

        expect(seen).toEqual(await readOwn(store, after, [past, live]));
        expect(seen).toHaveLength(1_161);
        expect(positionsGrow(seen)).toBe(true);
      });

      it('has neither gap nor double where appends race with its start', async () => {
        const streams = Array.from({ length: 40 }, newStream);
        const after = await store.head();
        const last = newEvent();
        const end = newStream();
        const appending = Promise.all(
          streams.map(async (stream) => {
            await store.append(stream, 'noStream', newEvents(3));
            await store.append(stream, 2n, newEvents(3));
          }),
        ).then(() => store.append(end, 'noStream', [last]));

        const seen = await ownUntil(subscribe({ after, maxBatch: 7 }), [...streams, end], last.id);
        await appending;

        expect(seen).toEqual(await readOwn(store, after, [...streams, end]));
        expect(seen).toHaveLength(241);
      });

      it('says when it has caught up, not before, and again after live events', async () => {
        const stream = newStream();
        const after = await store.head();
        const events = newEvents(25);
        await store.append(stream, 'noStream', events);
        const subscription = subscribe({ after, maxBatch: 10 });

        const untilCaughtUp = await deliveriesUntil(subscription, (delivery) => delivery.caughtUp);
        expect(idsOf(ownOf(untilCaughtUp, [stream]))).toEqual(idsOf(events));
        expect(untilCaughtUp.every((delivery) => delivery.events.length <= 10)).toBe(true);
        expect(untilCaughtUp.length).toBeGreaterThanOrEqual(3);

        const live = newEvents(2);
        await store.append(stream, 24n, live);
        let seen = 0;
        const liveDeliveries = await deliveriesUntil(subscription, (delivery) => {
          seen += ownOf([delivery], [stream]).length;
          return delivery.caughtUp && seen >= 2;
        });
        expect(idsOf(ownOf(liveDeliveries, [stream]))).toEqual(idsOf(live));
      });

      it('says that it has caught up when there is nothing to give', async () => {
        const stream = newStream();
        await store.append(stream, 'noStream', newEvents(1));
        const deliveries = await deliveriesUntil(
          subscribe({ after: await store.head() }),
          (delivery) => delivery.caughtUp,
        );
        expect(ownOf(deliveries, [stream])).toEqual([]);
      });

      it('begins with the whole log at START', async () => {
        const stream = newStream();
        const events = newEvents(3);
        await store.append(stream, 'noStream', events);
        expect(idsOf(await ownUntil(subscribe({ after: START }), [stream], events[2]?.id))).toEqual(
          idsOf(events),
        );
      });

      it('begins after a position in the middle', async () => {
        const stream = newStream();
        const events = newEvents(6);
        await store.append(stream, 'noStream', events);
        const middle = (await read(stream))[2];
        const seen = await ownUntil(
          subscribe({ after: middle?.position ?? START }),
          [stream],
          events.at(-1)?.id,
        );
        expect(idsOf(seen)).toEqual(idsOf(events.slice(3)));
      });

      it('gives every subscriber the same events in the same order', async () => {
        const streams = Array.from({ length: 10 }, newStream);
        const after = await store.head();
        const end = newStream();
        const last = newEvent();
        const all = [...streams, end];
        const following = [1, 10, 500].map((maxBatch) =>
          ownUntil(subscribe({ after, maxBatch }), all, last.id),
        );

        await Promise.all(streams.map((stream) => store.append(stream, 'noStream', newEvents(4))));
        await store.append(end, 'noStream', [last]);

        const expected = await readOwn(store, after, all);
        expect(expected).toHaveLength(41);
        expect(await Promise.all(following)).toEqual([expected, expected, expected]);
      });

      it('gives only the types that were asked for, past and live, and says how far it has come', async () => {
        const stream = newStream();
        const [one, other] = [`"One" ${newId()}`, `Other, "One" ${newId()}`];
        const after = await store.head();
        const mixed = [one, other, one, other].map((type) => newEvent({ type }));
        await store.append(stream, 'noStream', mixed);
        await store.append(stream, 3n, [newEvent({ type: other })]);
        const past = await read(stream);
        const follower = subscribe({ after, types: new Set([one]), maxBatch: 1 });
        const everybody = subscribe({ after, types: new Set([one, other]) });
        const head = past.at(-1)?.position ?? START;
        const comeTo = (position: Position) => (delivery: Delivery) => delivery.position >= position;

        const seen = await deliveriesUntil(follower, comeTo(head));
        expect(seen.flatMap(({ events }) => events)).toEqual([past[0], past[2]]);
        expect(positionsOf(seen)).toEqual(positionsOf(seen).toSorted((a, b) => Number(a - b)));
        const all = await deliveriesUntil(everybody, comeTo(head));
        expect(all.flatMap(({ events }) => events)).toEqual(past);

        // Nothing of what is asked for is in the first of these.
        const { position: beyond } = await store.append(stream, 4n, [newEvent({ type: other })]);
        expect(await deliveriesUntil(follower, comeTo(beyond))).toMatchObject([{ events: [] }]);
        const last = newEvent({ type: one });
        const { position: end } = await store.append(stream, 5n, [newEvent({ type: other }), last]);
        const live = await deliveriesUntil(follower, comeTo(end));
        expect(idsOf(live.flatMap(({ events }) => events))).toEqual([last.id]);
      });

      it('waits for a slow consumer, which loses nothing and holds back nobody', async () => {
        const stream = newStream();
        const after = await store.head();
        const slow = subscribe({ after, maxBatch: 20 });
        await deliveriesUntil(slow, (delivery) => delivery.caughtUp);

        for (let round = 0n; round < 10n; round++) {
          await store.append(stream, round === 0n ? 'noStream' : round * 100n - 1n, newEvents(100));
        }
        const last = newEvent();
        await store.append(stream, 999n, [last]);
        const quick = await ownUntil(subscribe({ after }), [stream], last.id);
        const seenLate = await deliveriesUntil(slow, (delivery) => idsOf(delivery.events).includes(last.id));

        expect(quick).toEqual(await read(stream));
        expect(ownOf(seenLate, [stream])).toEqual(quick);
        expect(Math.max(...seenLate.map((delivery) => delivery.events.length))).toBeLessThanOrEqual(20);
      });

      it('loses nothing for those who fall far behind the others, and come up with them again', async () => {
        const stream = newStream();
        const after = await store.head();
        // Large, so that an adapter which keeps the newest events for all has to let the oldest go.
        const events = newEvents(40).map((event) => ({
          ...event,
          data: { list: Array<number>(4_000).fill(7) },
        }));
        const last = events.at(-1)?.id;
        const rounds = [10, 20, 30, 40];
        const followers = [1, 3, 500].map((maxBatch) => subscribe({ after, maxBatch }));
        const [late, later, steady] = followers as [Follower, Follower, Follower];
        const seen = new Map<Follower, RecordedEvent[]>(followers.map((follower) => [follower, []]));
        const goOn = async (follower: Follower, until: string | undefined): Promise<void> => {
          seen.get(follower)?.push(...(await ownUntil(follower, [stream], until)));
        };
        for (const follower of followers) {
          await deliveriesUntil(follower, (delivery) => delivery.caughtUp);
        }
        for (const [round, end] of rounds.entries()) {
          const steadily = goOn(steady, events[end - 1]?.id);
          for (let index = end - 10; index < end; index += 1) {
            const expected = index === 0 ? 'noStream' : BigInt(index - 1);
            await store.append(stream, expected, events.slice(index, index + 1));
          }
          await steadily;
          // One stands still for two rounds at a time, the other goes half of the way.
          if (round % 2 === 1) await goOn(late, events[end - 1]?.id);
          if (round < 3) await goOn(later, events[end - 5]?.id);
        }
        await goOn(later, last);

        const all = await read(stream);
        expect(all).toHaveLength(40);
        for (const follower of followers) expect(seen.get(follower)).toEqual(all);
      });

      it('gives every follower everything once, whatever their paces and whenever they begin', async () => {
        const stream = newStream();
        const after = await store.head();
        const pace = fc.record({
          maxBatch: fc.integer({ min: 1, max: 9 }),
          startsWith: fc.nat({ max: 30 }),
          turns: fc.nat({ max: 3 }),
        });
        const [paces] = fc.sample(fc.array(pace, { minLength: 6, maxLength: 6 }), { numRuns: 1, seed: SEED });
        const events = newEvents(60);
        const last = events.at(-1)?.id;
        const following: Promise<RecordedEvent[]>[] = [];
        for (let index = 0; index < events.length; index += 2) {
          for (const { maxBatch, startsWith, turns } of paces ?? []) {
            if (startsWith !== index / 2) continue;
            following.push(ownUntil(slowed(subscribe({ after, maxBatch }), turns), [stream], last));
          }
          const expected = index === 0 ? 'noStream' : BigInt(index - 1);
          await store.append(stream, expected, events.slice(index, index + 2));
        }
        const all = await read(stream);
        const given = await Promise.all(following);
        expect(given.length).toBeGreaterThan(0);
        for (const each of given) expect(each).toEqual(all);
      });

      it('ends when the signal fires while it waits', async () => {
        const subscription = subscribe({ after: await store.head() });
        await deliveriesUntil(subscription, (delivery) => delivery.caughtUp);
        const toTheEnd = deliveriesUntil(subscription, () => false);
        abort.abort();
        await toTheEnd;
        expect((await subscription.next()).done).toBe(true);
      });

      it('ends when the signal fires between two deliveries, and gives nothing when it had fired before', async () => {
        const stream = newStream();
        const after = await store.head();
        await store.append(stream, 'noStream', newEvents(50));
        const subscription = subscribe({ after, maxBatch: 5 });
        expect((await subscription.next()).done).toBe(false);
        abort.abort();
        expect((await subscription.next()).done).toBe(true);
        expect((await subscribe({ after }).next()).done).toBe(true);
      });

      it('may be left early: the store goes on and closes', async () => {
        const stream = newStream();
        const after = await store.head();
        await store.append(stream, 'noStream', newEvents(3));
        for await (const delivery of store.subscribe({ after, signal: abort.signal, maxBatch: 1 })) {
          if (ownOf([delivery], [stream]).length > 0) break;
        }
        expect((await store.append(stream, 2n, newEvents(1))).revision).toBe(3n);
        await store.close();
      });

      it('goes on from a checkpoint after reopening', async () => {
        const stream = newStream();
        const after = await store.head();
        const events = newEvents(9);
        await store.append(stream, 'noStream', events);
        const before = await ownUntil(subscribe({ after, maxBatch: 1 }), [stream], events[3]?.id);
        const checkpoint = before.at(-1)?.position ?? START;
        abort.abort();

        store = await fixture.reopen();
        abort = new AbortController();
        const last = newEvent();
        await store.append(stream, 8n, [last]);
        const rest = await ownUntil(subscribe({ after: checkpoint }), [stream], last.id);

        expect(idsOf([...before, ...rest])).toEqual(idsOf([...events, last]));
      });
    });

    describe('over time', () => {
      it('keeps all events, their positions and the head over reopening', async () => {
        const before = await store.head();
        const [a, b] = [newStream(), newStream()];
        await store.append(a, 'noStream', newEvents(20));
        await store.append(b, 'noStream', newEvents(20));
        const { position } = await store.append(a, 19n, newEvents(1));
        const own = await readOwn(store, before, [a, b]);

        store = await fixture.reopen();

        expect(own).toHaveLength(41);
        expect(await readOwn(store, before, [a, b])).toEqual(own);
        expect((await store.head()) >= position).toBe(true);
        const next = await store.append(a, 20n, newEvents(1));
        expect(next.revision).toBe(21n);
        expect(next.position > position).toBe(true);
      });

      it('has every append that was answered although the store was being closed', async () => {
        const appends = Array.from({ length: 20 }, () => ({ stream: newStream(), events: newEvents(2) }));
        const answers = appends.map(({ stream, events }) => store.append(stream, 'noStream', events));
        const outcomes = Promise.allSettled(answers);
        await store.close();

        const settled = await outcomes;
        store = await fixture.reopen();
        for (const [index, { stream, events }] of appends.entries()) {
          const outcome = settled[index];
          if (outcome?.status === 'fulfilled') expect(idsOf(await read(stream))).toEqual(idsOf(events));
          else expect(outcome?.reason).toMatchObject({ name: 'ClawbackError', kind: 'unavailable' });
        }
      });

      it('is unavailable once closed, which may be done twice', async () => {
        const stream = newStream();
        await store.append(stream, 'noStream', newEvents(1));
        await store.close();
        await store.close();
        const { signal } = new AbortController();
        const calls: (() => Promise<unknown>)[] = [
          () => store.append(stream, 0n, newEvents(1)),
          () => read(stream),
          () => collect(store.readAll(START)),
          () => collect(store.subscribe({ after: START, signal })),
          () => store.head(),
        ];
        for (const call of calls) expect((await clawbackErrorOf(call())).kind).toBe('unavailable');
      });

      it('agrees with a simple model under any interleaving of appends', async () => {
        await fc.assert(
          fc.asyncProperty(fc.array(fc.array(step, { maxLength: 8 }), { maxLength: 4 }), async (scripts) => {
            const before = await store.head();
            const models = scripts.map(() => new StreamModel(newStream()));

            // The steps of a stream follow each other; the streams are under way together.
            await Promise.all(
              models.map(async (model, index) => {
                for (const next of scripts[index] ?? []) await model.check(store, next);
              }),
            );

            for (const model of models) {
              const recorded = await read(model.stream);
              expect(recorded.map((event) => event.id)).toEqual(model.ids);
              for (const { revision, position } of model.answers) {
                expect(recorded[Number(revision)]?.position).toBe(position);
              }
            }
            const own = await readOwn(
              store,
              before,
              models.map((model) => model.stream),
            );
            expect(positionsGrow(own)).toBe(true);
            expect(own).toHaveLength(models.reduce((sum, model) => sum + model.ids.length, 0));
          }),
          { numRuns: 40 },
        );
      });
    });
  });
}

/** One append of a random script, to be made concrete by the state of its stream. */
type Step =
  | { readonly kind: 'right'; readonly count: number }
  | { readonly kind: 'wrong'; readonly offset: number; readonly count: number }
  /** An earlier append again: all of it or a prefix, perhaps with a new event behind, perhaps at the last revision. */
  | {
      readonly kind: 'repeat';
      readonly which: number;
      readonly keep: number;
      readonly extended: boolean;
      readonly moved: boolean;
    };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('right' as const), count: fc.integer({ min: 1, max: 4 }) }),
  fc.record({
    kind: fc.constant('wrong' as const),
    offset: fc.constantFrom(-3, -2, -1, 1, 2),
    count: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({
    kind: fc.constant('repeat' as const),
    which: fc.nat(),
    keep: fc.integer({ min: 1, max: 4 }),
    extended: fc.boolean(),
    moved: fc.boolean(),
  }),
);

/** What one stream has to be, said in the simplest way. */
class StreamModel {
  readonly ids: string[] = [];
  readonly answers: AppendResult[] = [];
  private readonly written: { expected: ExpectedRevision; events: NewEvent[] }[] = [];

  constructor(readonly stream: string) {}

  /** Makes the append, and compares the answer of the store with that of the model. */
  async check(store: EventStore, next: Step): Promise<void> {
    const { expected, events } = this.concrete(next);
    const right = this.expect(expected, events);
    if (right === undefined) {
      const error = await wrongRevisionOf(store.append(this.stream, expected, events));
      expect([error.expected, error.actual]).toEqual([expected, this.last()]);
    } else {
      const answer = await store.append(this.stream, expected, events);
      expect(answer.revision).toBe(right);
      this.answers.push(answer);
    }
  }

  /** Takes the events if the revision is right. @returns the revision to answer, `undefined` for a refusal. */
  private expect(expected: ExpectedRevision, events: NewEvent[]): bigint | undefined {
    const first = expected === 'noStream' ? 0 : Number(expected) + 1;
    const ids = events.map((event) => event.id);
    if (first === this.ids.length) {
      this.ids.push(...ids);
      this.written.push({ expected, events });
    }
    const there = this.ids.slice(first, first + ids.length);
    return ids.every((id, index) => id === there[index]) ? BigInt(first + ids.length - 1) : undefined;
  }

  private concrete(next: Step): { expected: ExpectedRevision; events: NewEvent[] } {
    if (next.kind === 'right') return { expected: this.last(), events: newEvents(next.count) };
    if (next.kind === 'wrong') {
      return { expected: revisionAt(this.ids.length + next.offset), events: newEvents(next.count) };
    }
    const earlier = this.written[next.which % Math.max(1, this.written.length)];
    if (earlier === undefined) return { expected: 'noStream', events: newEvents(1) };
    const events = earlier.events.slice(0, next.keep);
    if (next.extended) events.push(newEvent());
    return { expected: next.moved ? this.last() : earlier.expected, events };
  }

  private last(): ExpectedRevision {
    return revisionAt(this.ids.length);
  }
}

type Follower = AsyncIterator<Delivery>;

/** Takes so many turns of the event loop after each delivery. */
const slowed = (follower: Follower, turns: number): Follower => ({
  async next() {
    for (let turn = 0; turn < turns; turn += 1) await nextTurn();
    return await follower.next();
  },
});

/** The expected revision for an append to a stream with so many events. */
const revisionAt = (count: number): ExpectedRevision => (count <= 0 ? 'noStream' : BigInt(count - 1));

const newStream = (): string => `contract-${newId()}`;

const newEvent = (over: Partial<NewEvent> = {}): NewEvent => ({
  id: newId(),
  type: 'SomethingHappened',
  data: { text: 'x', list: [1, 2.5, null, true], nested: { empty: {} } },
  metadata: { actor: 'someone', schemaVersion: '1' },
  ...over,
});

const newEvents = (count: number): NewEvent[] => Array.from({ length: count }, () => newEvent());

const idsOf = (events: readonly NewEvent[]): string[] => events.map((event) => event.id);

const positionsOf = (deliveries: readonly Delivery[]): Position[] =>
  deliveries.map(({ position }) => position);

const positionsGrow = (events: readonly RecordedEvent[]): boolean =>
  events.every((event, index) => index === 0 || event.position > (events[index - 1]?.position ?? START));

/** The events of these streams after a position, in the order of the whole log. */
const readOwn = async (
  store: EventStore,
  after: Position,
  streams: readonly string[],
): Promise<RecordedEvent[]> => ofStreams(await collect(store.readAll(after)), streams);

const ofStreams = (events: readonly RecordedEvent[], streams: readonly string[]): RecordedEvent[] => {
  const wanted = new Set(streams);
  return events.filter((event) => wanted.has(event.stream));
};

const ownOf = (deliveries: readonly Delivery[], streams: readonly string[]): RecordedEvent[] =>
  ofStreams(
    deliveries.flatMap((delivery) => delivery.events),
    streams,
  );

/** Takes deliveries up to and including the one that fulfils the condition, or to the end of the subscription. */
async function deliveriesUntil(
  subscription: AsyncIterator<Delivery>,
  condition: (delivery: Delivery) => boolean,
): Promise<Delivery[]> {
  const taken: Delivery[] = [];
  for (;;) {
    const next = await subscription.next();
    if (next.done === true) return taken;
    taken.push(next.value);
    if (condition(next.value)) return taken;
  }
}

/** The events of these streams up to the delivery with the event of this id. */
async function ownUntil(
  subscription: AsyncIterator<Delivery>,
  streams: readonly string[],
  lastId: string | undefined,
): Promise<RecordedEvent[]> {
  const deliveries = await deliveriesUntil(subscription, (delivery) =>
    delivery.events.some((event) => event.id === lastId),
  );
  return ownOf(deliveries, streams);
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

async function wrongRevisionOf(promise: Promise<unknown>): Promise<WrongExpectedRevision> {
  const error = await rejectionOf(promise);
  if (!isWrongExpectedRevision(error)) throw new Error('expected WrongExpectedRevision', { cause: error });
  return error;
}

async function clawbackErrorOf(promise: Promise<unknown>): Promise<ClawbackError> {
  const error = await rejectionOf(promise);
  if (!isClawbackError(error)) throw new Error('expected a ClawbackError', { cause: error });
  return error;
}
