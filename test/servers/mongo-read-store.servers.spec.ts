import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Collection, MongoNetworkError, MongoServerError } from 'mongodb';
import { decideAndAppend } from '#libs/event-store';
import { collect, isClawbackError, newId, pause, START } from '#libs/kernel';
import { Projector, type Projection, type Stored, type ViewState } from '#libs/read-store';
import {
  ViewKeeper,
  viewBuildsCodecs,
  viewBuildsDecider,
  viewBuildsStream,
  viewStatus,
  type ViewBuildsCommand,
  type ViewStatus,
} from '#libs/rebuild';
import { MongoReadStore, type MongoReadStoreOptions } from '../../libs/read-store/src/mongodb/index.js';
import { describeReadStoreContract } from '../contract/read-store.contract.js';
import { startFerretDb } from '../support/ferretdb.js';
import { InMemoryEventStore } from '../support/in-memory-event-store.js';
import { mongoName, realMongoUrl, startMongo, type MongoUnderTest } from '../support/mongodb.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { TestClock } from '../support/test-clock.js';

interface Tally {
  readonly seen: number;
}

/** Counts the events of each stream: an event that is left out or applied twice shows. */
const talliesView = (): Projection<Tally> => ({
  name: `tallies${newId().replaceAll('-', '')}`,
  version: 1,
  fields: { seen: { type: 'number', of: ({ seen }) => seen } },
  indexes: [['seen']],
  project: ({ stream }) => [{ id: stream, apply: (doc) => ({ seen: (doc?.seen ?? 0) + 1 }) }],
});

const tally = (id: string, position: bigint, seen: number): Stored<Tally> => ({
  id,
  position,
  doc: { seen },
});

let mongo: MongoUnderTest;
const opened: MongoReadStore[] = [];

beforeAll(async () => {
  mongo = await startMongo();
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()));
});

afterAll(async () => {
  await mongo.dispose();
});

function openStore(options: Partial<MongoReadStoreOptions> = {}): MongoReadStore {
  const store = new MongoReadStore({ url: mongo.url, database: mongo.database, ...options });
  opened.push(store);
  return store;
}

describeReadStoreContract(mongoName, () => {
  const store = openStore();
  let current = store;
  return Promise.resolve({
    store,
    async reopen() {
      await current.close();
      current = openStore();
      return current;
    },
    dispose: () => current.close(),
  });
});

describe(`writers of one view: ${mongoName}`, () => {
  const waiting = { kind: 'unavailable', code: 'writerWaiting' };
  const fenced = { kind: 'conflict', code: 'writerFenced' };

  /** Two processes, each with a clock of its own, and a lease that ends after a minute. */
  async function twoWriters(owners: readonly [string, string] = ['a', 'b']) {
    const view = talliesView();
    const [a, b] = await Promise.all(
      owners.map(async (owner) => {
        let time = 0;
        const store = openStore({ owner, leaseMs: 60_000, now: () => new Date(time) });
        await store.prepare(view);
        return {
          store,
          wait: (ms: number) => {
            time += ms;
          },
          commit: (position: bigint, seen: number) =>
            store.commit(view, [tally('x', position, seen)], position),
        };
      }),
    );
    if (a === undefined || b === undefined) throw new Error('two were asked for');
    const stored = async () => {
      const [found] = await a.store.getMany(view, ['x']);
      return { seen: found?.doc.seen, checkpoint: await a.store.checkpoint(view) };
    };
    return { view, a, b, stored };
  }

  it('lets one write and the other wait until that one has not been heard of for the lease', async () => {
    const { a, b, stored } = await twoWriters();
    await a.commit(1n, 1);
    b.wait(59_999);
    await expect(b.commit(2n, 20)).rejects.toMatchObject(waiting);
    expect(await stored()).toEqual({ seen: 1, checkpoint: 1n });
    b.wait(1);
    await b.commit(2n, 20);
    expect(await stored()).toEqual({ seen: 20, checkpoint: 2n });
  });

  it('refuses a writer that has been replaced, once, and lets it wait after that', async () => {
    const { a, b, stored } = await twoWriters();
    await a.commit(1n, 1);
    b.wait(60_000);
    await b.commit(5n, 5);
    a.wait(60_000);
    await expect(a.commit(6n, 6)).rejects.toMatchObject(fenced);
    await expect(a.commit(6n, 6)).rejects.toMatchObject(waiting);
    expect(await stored()).toEqual({ seen: 5, checkpoint: 5n });
    await b.commit(6n, 6);
    expect(await stored()).toEqual({ seen: 6, checkpoint: 6n });
  });

  it('gives back its views when it waits for another one, but no right; who waits for a right keeps all', async () => {
    const { a, b } = await twoWriters();
    const other = talliesView();
    const right = { ...talliesView(), isRight: true as const };
    for (const { store } of [a, b]) for (const view of [other, right]) await store.prepare(view);
    await a.store.commit(right, [], 1n);
    await a.store.commit(other, [], 1n);
    await b.commit(1n, 1);
    await expect(b.store.commit(right, [], 1n)).rejects.toMatchObject(waiting);
    await expect(a.commit(2n, 2)).rejects.toMatchObject(waiting);
    await b.store.commit(other, [], 2n);
    await expect(b.store.commit(right, [], 2n)).rejects.toMatchObject(waiting);
    await b.commit(2n, 2);
    await a.store.commit(right, [], 2n);
  });

  it('loses nothing by one that believes to have the lease still', async () => {
    const { a, b, stored } = await twoWriters();
    await a.commit(1n, 1);
    b.wait(60_000);
    await b.commit(5n, 5);
    await expect(a.commit(4n, 4)).rejects.toMatchObject(fenced);
    expect(await stored()).toEqual({ seen: 5, checkpoint: 5n });
  });

  it('lets a writer go on after its lease when nobody has come', async () => {
    const { a, b } = await twoWriters();
    await a.commit(1n, 1);
    a.wait(1_000_000);
    await a.commit(2n, 2);
    await expect(b.commit(3n, 3)).rejects.toMatchObject(waiting);
  });

  it('lets the next one begin at once after an orderly end', async () => {
    const { a, b } = await twoWriters();
    await a.commit(1n, 1);
    await a.store.close();
    await b.commit(2n, 2);
  });

  it('lets one of the same name take over at once', async () => {
    const { a, b } = await twoWriters(['projector-0', 'projector-0']);
    await a.commit(1n, 1);
    await b.commit(2n, 2);
    await expect(a.commit(3n, 3)).rejects.toMatchObject(fenced);
  });

  it('is one per view', async () => {
    const { a, b } = await twoWriters();
    const other = talliesView();
    await b.store.prepare(other);
    await a.commit(1n, 1);
    await b.store.commit(other, [], 1n);
  });

  it('holds no view while it waits for another: two that did would wait for ever', async () => {
    const { view, a, b } = await twoWriters();
    const other = talliesView();
    await a.store.prepare(other);
    await b.store.prepare(other);
    await a.store.commit(view, [], 1n);
    await b.store.commit(other, [], 1n);
    await expect(a.store.commit(other, [], 2n)).rejects.toMatchObject(waiting);
    await b.store.commit(view, [], 2n);
    await b.store.commit(other, [], 3n);
    await expect(a.store.commit(view, [], 3n)).rejects.toMatchObject(waiting);
    expect(await b.store.checkpoint(view)).toBe(2n);
  });

  it('is told that a build has been discarded elsewhere, and does not wait for it', async () => {
    const { view, a, b } = await twoWriters();
    const build = { ...view, build: 2 };
    await a.store.prepare(build);
    await b.store.prepare(build);
    await a.store.commit(build, [], 1n);
    await a.store.discard(view, 2);
    await expect(b.store.commit(build, [], 2n)).rejects.toThrow('has been discarded');
  });

  it('keeps the lease of a writer that has nothing to write', async () => {
    const view = talliesView();
    const store = openStore({ owner: 'idle', leaseMs: 300 });
    await store.prepare(view);
    await store.commit(view, [], 1n);
    const until = async () => {
      const checkpoints = mongo.client
        .db(mongo.database)
        .collection<{ _id: string; until: number }>('checkpoints');
      return (await checkpoints.findOne({ _id: `${view.name}_v1` }))?.until ?? 0;
    };
    const first = await until();
    while ((await until()) === first) await pause(20);
    expect(await until()).toBeGreaterThan(first);
  });
});

describe(`a switch that another process makes: ${mongoName}`, () => {
  it('is noticed by itself, and no answer is from neither build or goes back', async () => {
    const view = talliesView();
    const [keeper, api] = [openStore(), openStore()];
    await keeper.prepare(view);
    await keeper.prepare({ ...view, build: 2 });
    await keeper.commit({ ...view, build: 1 }, [tally('x', 1n, 1)], 1n);
    await keeper.commit({ ...view, build: 2 }, [tally('x', 1n, 2)], 1n);
    await api.prepare(view);
    const answer = async () => {
      const { items } = await api.find(view, { where: [], limit: 10 });
      return items.map(({ doc }) => doc.seen).join();
    };
    expect(await answer()).toBe('1');
    await keeper.activate(view, 2, 10n);
    const answers = [await answer()];
    while (answers.at(-1) !== '2') answers.push(await answer());
    await keeper.discard(view, 1);
    answers.push(await answer());
    const before = answers.indexOf('2');
    expect(answers).toEqual([...Array<string>(before).fill('1'), '2', '2']);
    expect(await api.count(view, [])).toBe(1);
    expect(await api.getMany(view, ['x'])).toEqual([tally('x', 1n, 2)]);
    expect(await api.checkpoint(view)).toBe(1n);
  });

  it('is known to whoever lists, discards or prepares builds at once', async () => {
    const view = talliesView();
    const [keeper, other] = [openStore(), openStore()];
    for (const store of [keeper, other]) {
      await store.prepare(view);
      await store.prepare({ ...view, build: 2 });
    }
    expect(await other.count(view, [])).toBe(0);
    await keeper.commit({ ...view, build: 2 }, [], 7n);
    await keeper.activate(view, 2, 10n);
    await expect(other.discard(view, 2)).rejects.toMatchObject({ kind: 'conflict', code: 'buildInUse' });
    expect(await other.builds(view)).toMatchObject({ active: 2 });
    await other.discard(view, 1);
    await other.prepare(view);
    expect(await other.builds(view)).toEqual({ active: 2, builds: [{ build: 2, checkpoint: 7n }] });
  });

  it('that was decided earlier changes nothing, whoever made the later one', async () => {
    const view = talliesView();
    const [a, b] = [openStore(), openStore()];
    for (const store of [a, b]) {
      await store.prepare(view);
      await store.prepare({ ...view, build: 2 });
    }
    await a.activate(view, 2, 10n);
    await b.activate(view, 1, 9n);
    expect(await b.builds(view)).toMatchObject({ active: 2 });
    await b.activate(view, 1, 11n);
    expect(await a.builds(view)).toMatchObject({ active: 1 });
  });
});

describe(`two keepers of one view: ${mongoName}`, () => {
  it('build anew by the one that writes; the other takes over, a discarded build or not', async () => {
    const view = talliesView();
    const stream = viewBuildsStream(view);
    const events = new InMemoryEventStore();
    const clock = new TestClock();
    const unexpected: unknown[] = [];
    const keeperOf = (instance: string) => {
      const store = openStore({ owner: instance });
      const onError = (error: unknown) => {
        unexpected.push(error);
      };
      const options = { events, store, projections: [view], clock, instance, graceMs: 0, onError };
      return { store, keeper: new ViewKeeper(options) };
    };
    const ask = async (command: ViewBuildsCommand) => {
      const context = { tenant: '', actor: '', correlationId: '', causationId: '', now: clock.now() };
      const decider = viewBuildsDecider(view);
      const commandId = newId();
      await decideAndAppend(events, viewBuildsCodecs, decider, stream, command, { ...context, commandId });
    };
    const happens = async (thing: string) => {
      await events.append(thing, 'noStream', [{ id: newId(), type: 'Happened', data: {}, metadata: {} }]);
    };
    const reader = openStore();
    await reader.prepare(view);
    const untilBuilds = async (wished: string) => {
      const shape = ({ builds }: ViewStatus) =>
        builds.map(({ build, state }) => `${String(build)} ${state}`).join();
      while (shape(await viewStatus(events, reader, view)) !== wished) await pause(20);
    };

    const a = keeperOf('a');
    await a.keeper.start();
    await happens('first');
    while ((await reader.checkpoint(view)) === START) await pause(20);
    await ask({ type: 'RequestRebuild', acceptDifferences: false });
    const b = keeperOf('b');
    await b.keeper.start();
    await untilBuilds('1 standby,2 active');
    await happens('second');
    await ask({ type: 'Discard' });
    await untilBuilds('2 active');
    const recorded = await collect(events.readStream(stream));
    expect(recorded.map(({ metadata }) => metadata.actor)).toEqual(['', 'a', 'a', '']);

    await a.keeper.stop();
    await a.store.close();
    await happens('third');
    const head = await events.head();
    while ((await reader.checkpoint(view)) < head) await pause(20);
    const { items } = await reader.find(view, { where: [], limit: 10 });
    const seen = Object.fromEntries(items.map(({ id, doc }) => [id, doc.seen]));
    expect(seen).toEqual({ first: 1, second: 1, third: 1, [stream]: recorded.length });
    await ask({ type: 'RequestRebuild', acceptDifferences: false });
    await untilBuilds('2 standby,3 active');
    await b.keeper.stop();
    expect(unexpected).toEqual([]);
  });
});

describe(`a crash between documents and checkpoint: ${mongoName}`, () => {
  it('leaves documents that the same events do not change again', async () => {
    const view = talliesView();
    const batch = [tally('x', 3n, 2), tally('y', 2n, 1)];
    const crashing = openStore();
    await crashing.prepare(view);
    // Documents are written in bulk; one by one is how the checkpoint moves.
    const checkpointMove = jest
      .spyOn(Collection.prototype, 'updateOne')
      .mockRejectedValueOnce(new MongoNetworkError('closed'));
    await expect(crashing.commit(view, batch, 3n)).rejects.toMatchObject({ kind: 'unavailable' });
    checkpointMove.mockRestore();

    const store = openStore();
    await store.prepare(view);
    const atRest = () => mongo.client.db(mongo.database).collection(`${view.name}_v1`).find().toArray();
    const left = await atRest();
    expect(left).toHaveLength(2);
    expect(await store.checkpoint(view)).toBe(START);
    await store.commit(view, batch, 3n);
    expect(await atRest()).toEqual(left);
    expect(await store.checkpoint(view)).toBe(3n);
  });
});

describe(`a refused write: ${mongoName}`, () => {
  const refused = (code: number): MongoServerError =>
    new MongoServerError({ message: 'said by a server', code });

  async function commitAfter(error: Error) {
    const view = talliesView();
    const store = openStore();
    await store.prepare(view);
    const bulkWrite = jest.spyOn(Collection.prototype, 'bulkWrite').mockRejectedValueOnce(error);
    try {
      await store.commit(view, [tally('x', 1n, 1)], 1n);
      return await store.getMany(view, ['x']);
    } finally {
      bulkWrite.mockRestore();
    }
  }

  it('is sent again where another writer made the document at the same moment', async () => {
    expect(await commitAfter(refused(11000))).toEqual([tally('x', 1n, 1)]);
  });

  it('is a mistake of ours for any other reason', async () => {
    const error = refused(2);
    await expect(commitAfter(error)).rejects.toBe(error);
  });
});

describe(`a server that does not answer: ${mongoName}`, () => {
  const large = Array.from({ length: 40 }, (_, index) => ({
    id: String(index),
    position: 1n,
    doc: { seen: 1, filler: 'x'.repeat(500_000) },
  }));

  it('holds up no commit that is larger than what sockets hold, and no close after it', async () => {
    const proxy = await startTcpProxy(mongo.address);
    try {
      const view = talliesView();
      const store = openStore({ url: mongo.urlBy(proxy.port), timeoutMs: 500 });
      await store.prepare(view);
      proxy.hang();
      await expect(store.commit(view, large, 1n)).rejects.toMatchObject({ kind: 'unavailable' });
      await store.close();
    } finally {
      await proxy.close();
    }
  });

  it('is unavailable when it dies in the middle of a commit that is larger than what sockets hold', async () => {
    const proxy = await startTcpProxy(mongo.address);
    try {
      const store = openStore({ url: mongo.urlBy(proxy.port) });
      const view = talliesView();
      await store.prepare(view);
      proxy.hang();
      const refused = expect(store.commit(view, large, 1n)).rejects.toMatchObject({
        kind: 'unavailable',
        code: 'readStoreUnavailable',
      });
      // By then it waits for its socket: nobody reads what it writes.
      await pause(500);
      proxy.reset();
      await refused;
      proxy.goOn();
      await store.commit(view, large, 1n);
      await store.close();
    } finally {
      await proxy.close();
    }
  });

  it('is unavailable, and serves again once it does', async () => {
    const proxy = await startTcpProxy(mongo.address);
    const store = openStore({ url: mongo.urlBy(proxy.port), timeoutMs: 500 });
    const view = talliesView();
    await store.prepare(view);
    proxy.hang();
    await expect(store.commit(view, [tally('x', 1n, 1)], 1n)).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(store.count(view, [])).rejects.toMatchObject({ kind: 'unavailable' });
    proxy.goOn();
    await store.commit(view, [tally('x', 1n, 1)], 1n);
    expect(await store.count(view, [])).toBe(1);
    await store.close();
    await proxy.close();
  });

  it('serves again after its death, also where the driver does not look for it any more', async () => {
    const proxy = await startTcpProxy(mongo.address);
    const store = openStore({ url: mongo.urlBy(proxy.port), timeoutMs: 1000 });
    const view = talliesView();
    await store.prepare(view);
    for (let death = 0; death < 4; death += 1) {
      // The driver looks once a second, and half a second after a look it looks at once when something fails.
      await pause(700);
      proxy.hang();
      const asked = Promise.allSettled(Array.from({ length: 4 }, () => store.count(view, [])));
      await pause(50);
      proxy.end();
      proxy.goOn();
      await asked;
      await untilServed(() => store.count(view, []));
    }
    await store.close();
    await proxy.close();
  });

  it('is unavailable from the start where nobody listens', async () => {
    const proxy = await startTcpProxy({ host: '127.0.0.1', port: 9 });
    await proxy.close();
    const store = openStore({ url: `mongodb://127.0.0.1:${String(proxy.port)}/`, timeoutMs: 200 });
    await expect(store.prepare(talliesView())).rejects.toMatchObject({ kind: 'unavailable' });
  });
});

async function untilServed(ask: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    try {
      await ask();
      return;
    } catch (error) {
      if (!isClawbackError(error) || error.kind !== 'unavailable' || performance.now() > deadline)
        throw error;
    }
  }
}

const onFerretDb = realMongoUrl === undefined ? describe : describe.skip;

onFerretDb('a server that dies while a view is projected: FerretDB (MongoDB-compatible)', () => {
  it('is ridden out: every event counts once', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'clawback-ferretdb-'));
    const ferretDb = await startFerretDb({ dataDirectory: folder });
    const store = new MongoReadStore({
      url: ferretDb.url,
      database: 'views',
      owner: 'projector',
      timeoutMs: 2000,
    });
    const events = new InMemoryEventStore();
    const streams = 40;
    const rounds = 50;
    for (let round = 0; round < rounds; round += 1) {
      for (let stream = 0; stream < streams; stream += 1) {
        const expected = round === 0 ? 'noStream' : BigInt(round - 1);
        const event = { id: newId(), type: 'Happened', data: {}, metadata: {} };
        await events.append(`s-${String(stream)}`, expected, [event]);
      }
    }
    const head = await events.head();
    const view = talliesView();
    const watch = new Watch();
    const projector = new Projector({
      events,
      store,
      projections: [view],
      batchSize: 20,
      onState: (state) => {
        watch.see(state);
      },
    });
    await projector.start();

    await watch.until(({ position }) => position >= 400n);
    await ferretDb.kill();
    const stalled = await watch.until(({ error }) => error !== undefined);
    expect(stalled.position).toBeLessThan(head);
    await ferretDb.restart();

    expect(await projector.whenProjected(view.name, head, { timeoutMs: 50_000 })).toBe(true);
    await projector.stop();
    expect(await store.checkpoint(view)).toBe(head);
    const { items } = await store.find(view, { where: [], limit: 1000 });
    expect(items.map(({ doc }) => doc.seen)).toEqual(Array<number>(streams).fill(rounds));

    await store.close();
    await ferretDb.stop();
    await rm(folder, { recursive: true });
  });
});

/** Waits for a state of a view. */
class Watch {
  private readonly waiters = new Set<(state: ViewState) => void>();

  see(state: ViewState): void {
    for (const waiter of [...this.waiters]) waiter(state);
  }

  until(wanted: (state: ViewState) => boolean): Promise<ViewState> {
    return new Promise((resolve) => {
      const waiter = (state: ViewState) => {
        if (!wanted(state)) return;
        this.waiters.delete(waiter);
        resolve(state);
      };
      this.waiters.add(waiter);
    });
  }
}
