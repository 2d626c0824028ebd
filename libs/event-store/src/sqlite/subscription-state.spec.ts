import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { collect, newId, START } from '#libs/kernel';
import { SqliteFile } from '#libs/sqlite';
import type { NewEvent, SubscriptionState } from '../event-store.js';
import { NamedSubscriber } from '../named-subscriber.js';
import { SqliteEventStore } from './sqlite-event-store.js';

const events = (count: number): NewEvent[] =>
  Array.from({ length: count }, () => ({ id: newId(), type: 'Tested', data: {}, metadata: {} }));

describe('the subscriptions of a SQLite event store', () => {
  let folder: string;
  let path: string;
  let store: SqliteEventStore;
  let states: SubscriptionState[];
  let abort: AbortController;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawback-states-'));
    path = join(folder, 'events.db');
    states = [];
    abort = new AbortController();
    store = new SqliteEventStore(path, { onState: (state) => states.push(state) });
  });

  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });

  it('tell when they have caught up, fall behind and end, with the name of the subscriber', async () => {
    await store.append('a', 'noStream', events(3));
    const named = new NamedSubscriber(store, 'reader');
    let taken = 0;
    for await (const delivery of named.subscribe({ after: START, signal: abort.signal, maxBatch: 2 })) {
      taken += delivery.events.length;
      // Two pages: the first is not the end.
      if (taken === 3) await store.append('a', 2n, events(3));
      if (taken === 6) abort.abort();
    }
    expect(states).toEqual(
      (
        [
          ['catchingUp', START],
          ['live', 3n],
          ['catchingUp', 5n],
          ['live', 6n],
          ['ended', 6n],
        ] as const
      ).map(([state, position]) => ({ subscription: 1, name: 'reader', state, position })),
    );
  });

  it('are told apart, and need no name', async () => {
    for (const _ of [1, 2]) {
      for await (const delivery of store.subscribe({ after: START, signal: abort.signal })) {
        if (delivery.caughtUp) break;
      }
    }
    expect(states.map(({ subscription, state }) => [subscription, state])).toEqual(
      [1, 2].flatMap((number) => ['catchingUp', 'live', 'ended'].map((state) => [number, state])),
    );
    expect(states.some((state) => 'name' in state)).toBe(false);
  });

  it('end with the reason when an event cannot be read', async () => {
    await store.append('a', 'noStream', events(1));
    const file = new SqliteFile(path, { durability: 'full' });
    file.exec(`UPDATE appends SET events = '{'`);
    file.close();
    await expect(collect(store.subscribe({ after: START, signal: abort.signal }))).rejects.toMatchObject({
      code: 'eventUnreadable',
    });
    expect(states.at(-1)).toMatchObject({ state: 'ended', lastError: { code: 'eventUnreadable' } });
  });
});

describe('a store as one of its subscribers has it', () => {
  it('is the same store in everything else', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'clawback-named-'));
    const store = new SqliteEventStore(join(folder, 'events.db'));
    const named = new NamedSubscriber(store, 'reader');
    const [event] = events(1);
    const { position } = await named.append('a', 'noStream', event === undefined ? [] : [event]);
    expect(await named.head()).toBe(position);
    const stored = await collect(store.readStream('a'));
    expect(await collect(named.readStream('a'))).toEqual(stored);
    expect(await collect(named.readAll(START))).toEqual(stored);
    await named.close();
    await expect(store.readStream('a').next()).rejects.toMatchObject({ kind: 'unavailable' });
    await rm(folder, { recursive: true });
  });
});
