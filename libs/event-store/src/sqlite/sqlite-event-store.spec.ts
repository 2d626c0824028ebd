import { getEventListeners } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { collect, newId, START } from '#libs/kernel';
import { SqliteFile } from '#libs/sqlite';
import { MAX_APPEND_BYTES, type Delivery, type ExpectedRevision, type NewEvent } from '../event-store.js';
import { SqliteEventStore } from './sqlite-event-store.js';

/** Shows the settings of the connection that the store itself uses. */
class InspectableStore extends SqliteEventStore {
  pragma(name: string): unknown {
    return this.file.get(`PRAGMA ${name}`)?.[name];
  }
}

describe('SqliteEventStore', () => {
  let folder: string;
  let path: string;
  let store: InspectableStore;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawback-events-'));
    path = join(folder, 'events.db');
    store = new InspectableStore(path);
  });

  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });

  /** What somebody else does to the file. */
  const tamper = (work: (file: SqliteFile) => void): void => {
    const file = new SqliteFile(path, { durability: 'full' });
    work(file);
    file.close();
  };

  describe('the file', () => {
    it('is in WAL mode and synced at every commit', () => {
      expect(store.pragma('journal_mode')).toBe('wal');
      expect(store.pragma('synchronous')).toBe(2);
    });

    it('keeps its schema version', () => {
      expect(store.pragma('user_version')).toBe(3);
    });

    it('shows people its events one by one, as the store gives them', async () => {
      const [first, ...others] = newEvents(3);
      await store.append('s', 'noStream', newEvents(2));
      await store.append('s', 1n, [{ ...first, metadata: { actor: 'other' } } as NewEvent, ...others]);
      const rows: unknown[] = [];
      tamper((file) => {
        for (const row of file.iterate('SELECT * FROM events ORDER BY position')) {
          const { data, metadata, position, revision, ...texts } = row;
          const json = [data, metadata].map((text) => JSON.parse(String(text)) as unknown);
          const numbers = { position: BigInt(Number(position)), revision: BigInt(Number(revision)) };
          rows.push({ ...texts, ...numbers, data: json[0], metadata: json[1] });
        }
      });
      expect(rows).toEqual(await collect(store.readAll(START)));
    });

    it('is taken over from a program that kept a row for each event', async () => {
      const before = join(folder, 'before.db');
      const events = newEvents(3);
      const file = new SqliteFile(before, { durability: 'full' });
      file.exec(`CREATE TABLE events (position INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL,
        revision INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL, metadata TEXT NOT NULL,
        UNIQUE (stream, revision)) STRICT; PRAGMA user_version = 1`);
      for (const [index, { id, type, data, metadata }] of events.entries()) {
        const json = [JSON.stringify(data), JSON.stringify(metadata)];
        const place = [5 + 2 * index, 's', index];
        file.run('INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)', ...place, id, type, ...json);
      }
      file.close();
      const taken = new SqliteEventStore(before);
      try {
        expect(await collect(taken.readAll(5n))).toEqual(
          events.slice(1).map((event, index) => ({
            ...event,
            stream: 's',
            revision: BigInt(index + 1),
            position: BigInt(7 + 2 * index),
          })),
        );
        expect(await taken.append('s', 2n, newEvents(2))).toEqual({ revision: 4n, position: 11n });
        expect(await collect(taken.readStream('s'))).toHaveLength(5);
      } finally {
        await taken.close();
      }
    });

    it('is taken over from a program that did not say the types of an append', async () => {
      const before = join(folder, 'before.db');
      const events = ['One', 'Other', 'One'].map((type) => ({ ...(newEvents(1)[0] as NewEvent), type }));
      const file = new SqliteFile(before, { durability: 'full' });
      file.exec(`CREATE TABLE appends (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, revision INTEGER NOT NULL,
        count INTEGER NOT NULL, events TEXT NOT NULL, metadata TEXT NOT NULL, UNIQUE (stream, revision)) STRICT;
        CREATE VIEW events (id) AS SELECT each.value ->> 'id' FROM appends, json_each(appends.events) AS each;
        PRAGMA user_version = 2`);
      const json = events.map(({ id, type, data }) => ({ id, type, data }));
      const metadata = JSON.stringify(events[0]?.metadata);
      const insert = 'INSERT INTO appends VALUES (?, ?, ?, ?, ?, ?)';
      file.run(insert, 2, 's', 1, 2, JSON.stringify(json.slice(0, 2)), metadata);
      file.run(insert, 3, 't', 0, 1, JSON.stringify(json.slice(2)), metadata);
      file.close();
      const taken = new SqliteEventStore(before);
      try {
        expect((await collect(taken.readAll(START))).map(({ id }) => id)).toEqual(events.map(({ id }) => id));
        expect(await wantedIn(taken, 'Other')).toEqual([events[1]?.id]);
        expect(await taken.append('s', 1n, newEvents(1))).toEqual({ revision: 2n, position: 4n });
      } finally {
        await taken.close();
      }
    });

    it('is refused when a newer program has written it', () => {
      tamper((file) => {
        file.exec('PRAGMA user_version = 4');
      });
      expect(() => new SqliteEventStore(path)).toThrow(
        expect.objectContaining({
          kind: 'unavailable',
          code: 'eventStoreTooNew',
          message: 'the event file has schema version 4; this program knows versions up to 3',
        }),
      );
    });

    it('is refused when it is no SQLite file, or cannot be opened', async () => {
      const text = join(folder, 'text.db');
      await writeFile(text, 'this is not a database '.repeat(100));
      for (const unusable of [text, folder, join(text, 'below-a-file.db')]) {
        expect(() => new SqliteEventStore(unusable)).toThrow(
          expect.objectContaining({ kind: 'unavailable', cause: expect.anything() }),
        );
      }
    });

    it('is whole in itself once closed', async () => {
      await store.append('s', 'noStream', newEvents(3));
      await store.close();
      const wal = await readFile(`${path}-wal`).catch(() => Buffer.alloc(0));
      expect(wal).toHaveLength(0);
    });
  });

  describe('group commit', () => {
    it('takes the concurrent appends of one turn into one commit', async () => {
      const before = await commitsIn(path);
      await Promise.all(
        Array.from({ length: 64 }, (_, n) => store.append(`s-${n}`, 'noStream', newEvents(2))),
      );
      expect(await commitsIn(path)).toBe(before + 1);

      await store.append('s-0', 1n, newEvents(1));
      await store.append('s-0', 2n, newEvents(1));
      expect(await commitsIn(path)).toBe(before + 3);
    });

    it('keeps the others when one append of the group is refused', async () => {
      await store.append('taken', 'noStream', newEvents(1));
      const [a, refused, b] = await Promise.allSettled([
        store.append('a', 'noStream', newEvents(2)),
        store.append('taken', 'noStream', newEvents(2)),
        store.append('b', 'noStream', newEvents(2)),
      ]);
      expect([a.status, refused.status, b.status]).toEqual(['fulfilled', 'rejected', 'fulfilled']);
      expect((await collect(store.readAll(START))).map((event) => event.stream)).toEqual([
        'taken',
        'a',
        'a',
        'b',
        'b',
      ]);
    });

    it('tells all and keeps nothing when the file fails in the middle of a group', async () => {
      // As a full disk does, this ends the transaction of the whole group.
      tamper((file) => {
        file.exec(`CREATE TRIGGER fail BEFORE INSERT ON appends WHEN NEW.stream = 'fails'
          BEGIN SELECT RAISE(ROLLBACK, 'no space'); END`);
      });
      const streams = ['a', 'fails', 'b', 'c'];
      const outcomes = await Promise.allSettled(
        streams.map((stream) => store.append(stream, 'noStream', newEvents(2))),
      );
      for (const outcome of outcomes) {
        expect(outcome).toMatchObject({
          status: 'rejected',
          reason: { name: 'ClawbackError', kind: 'unavailable', cause: { message: 'no space' } },
        });
      }
      expect(await store.head()).toBe(START);
      expect((await store.append('a', 'noStream', newEvents(1))).revision).toBe(0n);
    });

    it('finishes the appends in flight at close', async () => {
      const appends = [1, 2, 3].map((n) => store.append(`s-${n}`, 'noStream', newEvents(n)));
      await store.close();
      expect((await Promise.all(appends)).map((result) => result.revision)).toEqual([0n, 1n, 2n]);
      store = new InspectableStore(path);
      expect(await collect(store.readAll(START))).toHaveLength(6);
    });
  });

  describe('two stores on one file', () => {
    let other: SqliteEventStore;

    beforeEach(() => {
      other = new SqliteEventStore(path);
    });

    afterEach(async () => {
      await other.close();
    });

    it('see each other’s appends in their subscriptions', async () => {
      const abort = new AbortController();
      const [here, there] = [follow(store, abort.signal), follow(other, abort.signal)];
      for (const subscription of [here, there]) {
        expect(await subscription.next()).toMatchObject({ value: { events: [], caughtUp: true } });
      }
      let revision: ExpectedRevision = 'noStream';
      for (const writer of [other, store]) {
        const [event] = newEvents(1) as [NewEvent];
        const deliveries = [here.next(), there.next()];
        ({ revision } = await writer.append('s', revision, [event]));
        for (const delivery of deliveries) {
          expect(await delivery).toMatchObject({ value: { events: [{ id: event.id }], caughtUp: true } });
        }
      }
      abort.abort();
    });

    it('respect each other’s revisions', async () => {
      const attempts = await Promise.allSettled(
        [store, other, store, other].map((each) => each.append('s', 'noStream', newEvents(1))),
      );
      expect(attempts.filter((attempt) => attempt.status === 'fulfilled')).toHaveLength(1);
      expect(await collect(other.readStream('s'))).toEqual(await collect(store.readStream('s')));
    });
  });

  describe('input', () => {
    it('may have exactly the largest size, counted in UTF-8 bytes of data, metadata, type and id', async () => {
      const [event] = newEvents(1) as [NewEvent];
      const fixed = Buffer.byteLength(`${event.id}${event.type}${JSON.stringify(event.metadata)}""`);
      const room = MAX_APPEND_BYTES - fixed;
      const largest = { ...event, data: 'é'.repeat(Math.floor(room / 2)) + 'x'.repeat(room % 2) };
      const tooLarge = { ...largest, data: `${largest.data}x` };

      await expect(store.append('s', 'noStream', [tooLarge])).rejects.toMatchObject({
        kind: 'tooLarge',
        code: 'appendTooLarge',
        details: { size: MAX_APPEND_BYTES + 1, limit: MAX_APPEND_BYTES },
      });
      await expect(store.append('s', 'noStream', [largest])).resolves.toMatchObject({ revision: 0n });
    });

    it.each([
      ['a stream with NUL', 'a\0b', {}],
      ['a stream with half a surrogate pair', 'a\ud800', {}],
      ['an empty stream', '', {}],
      ['a type with NUL', 's', { type: 'A\0' }],
      ['an empty id', 's', { id: '' }],
      ['data that is no JSON value', 's', { data: undefined }],
      ['data with a bigint', 's', { data: { n: 1n } }],
    ])('is refused: %s', async (_title, stream, over) => {
      const [event] = newEvents(1) as [NewEvent];
      await expect(store.append(stream, 'noStream', [{ ...event, ...over }])).rejects.toMatchObject({
        kind: 'invalid',
        code: 'invalidEvent',
      });
      expect(await store.head()).toBe(START);
    });

    it('is refused: a negative revision or count', async () => {
      const { signal } = new AbortController();
      const invalid = { kind: 'invalid' };
      await expect(store.append('s', -1n, newEvents(1))).rejects.toMatchObject(invalid);
      await expect(collect(store.readStream('s', { maxCount: -1 }))).rejects.toMatchObject(invalid);
      await expect(collect(store.readStream('s', { maxCount: 1.5 }))).rejects.toMatchObject(invalid);
      const none = store.subscribe({ after: START, signal, maxBatch: 0 });
      await expect(collect(none)).rejects.toMatchObject(invalid);
    });

    it('may be a revision beyond what the file can count', async () => {
      const far = 2n ** 70n;
      await store.append('s', 'noStream', newEvents(2));
      await expect(store.append('s', far, newEvents(1))).rejects.toMatchObject({ expected: far, actual: 1n });
      expect(await collect(store.readStream('s', { from: far }))).toEqual([]);
      expect(await collect(store.readStream('s', { from: far, direction: 'backwards' }))).toHaveLength(2);
      expect(await collect(store.readAll(far))).toEqual([]);
    });
  });

  describe('reading', () => {
    it.each(['events', 'metadata'] as const)('names the append whose %s are damaged', async (column) => {
      await store.append('s-1', 'noStream', newEvents(1));
      await store.append('s-1', 0n, newEvents(3));
      tamper((file) => {
        file.run(`UPDATE appends SET ${column} = '{"cut' WHERE revision = 3`);
      });
      const fault = {
        kind: 'unavailable',
        code: 'eventUnreadable',
        message: `the ${column} of the append of revisions 1 to 3 of stream s-1 are not JSON`,
      };
      const { signal } = new AbortController();
      await expect(collect(store.readStream('s-1'))).rejects.toMatchObject(fault);
      await expect(collect(store.readAll(START))).rejects.toMatchObject(fault);
      await expect(collect(store.subscribe({ after: START, signal }))).rejects.toMatchObject(fault);
      // Who has no use for its events does not read them.
      expect(await wantedIn(store, 'SomethingElse')).toEqual([]);
    });

    it('begins, ends and pauses within an append as well', async () => {
      const events = newEvents(10);
      await store.append('s', 'noStream', events.slice(0, 3));
      await store.append('s', 2n, events.slice(3));
      const idsOf = async (read: AsyncIterable<{ id: string }>) =>
        (await collect(read)).map(({ id }) => events.findIndex((event) => event.id === id));
      expect(await idsOf(store.readStream('s', { from: 1n, maxCount: 4 }))).toEqual([1, 2, 3, 4]);
      const backwards = { direction: 'backwards', from: 5n, maxCount: 4 } as const;
      expect(await idsOf(store.readStream('s', backwards))).toEqual([5, 4, 3, 2]);
      const [, , third] = await collect(store.readStream('s'));
      const after = third?.position ?? START;
      expect(await idsOf(store.readAll(after - 1n))).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
      const reopened = new SqliteEventStore(path);
      for (const one of [store, reopened]) {
        const deliveries: number[] = [];
        const { signal } = new AbortController();
        for await (const delivery of one.subscribe({ after: after + 1n, signal, maxBatch: 4 })) {
          deliveries.push(...delivery.events.map(({ id }) => events.findIndex((event) => event.id === id)));
          if (delivery.caughtUp) break;
        }
        expect(deliveries).toEqual([4, 5, 6, 7, 8, 9]);
      }
      await reopened.close();
    });

    it('ends although every event read leads to another append', async () => {
      await store.append('s', 'noStream', newEvents(600));
      const both = { all: store.readAll(START), stream: store.readStream('s') };
      for (const events of Object.values(both)) {
        const head = await store.head();
        let seen = 0;
        let revision = head - 1n;
        for await (const event of events) {
          expect(event.position <= head).toBe(true);
          seen++;
          revision = (await store.append('s', revision, newEvents(1))).revision;
        }
        expect(seen).toBe(Number(head));
      }
    });

    it('lets others have their turn between two pages', async () => {
      await store.append('s', 'noStream', newEvents(600));
      const abort = new AbortController();
      const caughtUp = async () => {
        for await (const delivery of store.subscribe({ after: START, signal: abort.signal })) {
          if (delivery.caughtUp) break;
        }
      };
      const readers = [
        () => collect(store.readAll(START)),
        () => collect(store.readStream('s', { direction: 'backwards' })),
        caughtUp,
      ];
      for (const reader of readers) {
        let othersHadTheirTurn = false;
        setImmediate(() => {
          othersHadTheirTurn = true;
        });
        await reader();
        expect(othersHadTheirTurn).toBe(true);
      }
    });

    it('gives large events in small deliveries, and all of them', async () => {
      const large = Array.from({ length: 12 }, () => ({ ...newEvents(1)[0], data: 'x'.repeat(1_000_000) }));
      for (const [index, event] of large.entries()) {
        await store.append('s', index === 0 ? 'noStream' : BigInt(index - 1), [event as NewEvent]);
      }
      const abort = new AbortController();
      const deliveries: Delivery[] = [];
      for await (const delivery of store.subscribe({ after: START, signal: abort.signal })) {
        deliveries.push(delivery);
        if (delivery.caughtUp) abort.abort();
      }
      expect(deliveries.map((delivery) => delivery.events.length)).toEqual([5, 5, 2]);
      expect(await collect(store.readStream('s'))).toHaveLength(12);
      expect(await collect(store.readAll(START))).toHaveLength(12);
    });
  });

  describe('a subscription', () => {
    it('leaves no listener behind, however it ends', async () => {
      await store.append('s', 'noStream', newEvents(3));
      const abort = new AbortController();
      const listeners = () => getEventListeners(abort.signal, 'abort').length;
      for await (const delivery of store.subscribe({ after: START, signal: abort.signal })) {
        if (delivery.caughtUp) break;
      }
      expect(listeners()).toBe(0);

      const waiting = follow(store, abort.signal);
      await waiting.next();
      const live = waiting.next();
      expect(listeners()).toBe(1);
      await store.append('s', 2n, newEvents(1));
      expect(await live).toMatchObject({ done: false });
      expect(listeners()).toBe(0);

      const end = waiting.next();
      expect(listeners()).toBe(1);
      abort.abort();
      expect(await end).toEqual({ done: true, value: undefined });
      expect(listeners()).toBe(0);
    });

    it('is woken by an append through its own store, without the clock', async () => {
      jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
      try {
        const abort = new AbortController();
        const subscription = follow(store, abort.signal);
        await subscription.next();
        const live = subscription.next();
        const [event] = newEvents(1) as [NewEvent];
        await store.append('s', 'noStream', [event]);
        expect(await live).toMatchObject({ value: { events: [{ id: event.id }], caughtUp: true } });
        abort.abort();
      } finally {
        jest.useRealTimers();
      }
    });

    it('fails when the store is closed under it, and ends when its signal has fired before', async () => {
      const [kept, ended] = [new AbortController(), new AbortController()];
      const [failing, ending] = [follow(store, kept.signal), follow(store, ended.signal)];
      await failing.next();
      await ending.next();
      const [failure, end] = [failing.next(), ending.next()];
      ended.abort();
      await store.close();
      await expect(failure).rejects.toMatchObject({ kind: 'unavailable' });
      expect(await end).toEqual({ done: true, value: undefined });
    });
  });
});

const newEvents = (count: number): NewEvent[] =>
  Array.from({ length: count }, () => ({
    id: newId(),
    type: 'SomethingHappened',
    data: { some: 'thing' },
    metadata: { actor: 'someone' },
  }));

/** All events, one delivery at a time. */
const follow = (store: SqliteEventStore, signal: AbortSignal): AsyncIterator<Delivery> =>
  store.subscribe({ after: START, signal })[Symbol.asyncIterator]();

/** The ids of the events of a type. */
async function wantedIn(store: SqliteEventStore, type: string): Promise<string[]> {
  const { signal } = new AbortController();
  for await (const { events, caughtUp } of store.subscribe({
    after: START,
    signal,
    types: new Set([type]),
  })) {
    if (caughtUp) return events.map(({ id }) => id);
  }
  throw new Error('the subscription has ended');
}

/** How many transactions the write-ahead log holds: the frames that carry the size of the database end one each. */
async function commitsIn(path: string): Promise<number> {
  const [headerSize, frameHeaderSize] = [32, 24];
  const wal = await readFile(`${path}-wal`);
  const frameSize = frameHeaderSize + wal.readUInt32BE(8);
  let commits = 0;
  for (let frame = headerSize; frame < wal.length; frame += frameSize) {
    if (wal.readUInt32BE(frame + 4) > 0) commits++;
  }
  return commits;
}
