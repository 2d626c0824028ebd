import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { decideAndAppend, type ReadStreamOptions, type RecordedEvent } from '#libs/event-store';
import { ClawbackError, collect, newId, type Position } from '#libs/kernel';
import type { Projection, Query, Page, Stored, ViewSpec } from '#libs/read-store';
import { SqliteFile } from '#libs/sqlite';
import { SqliteReadStore } from '../../read-store/src/sqlite/index.js';
import { InMemoryEventStore, InMemoryLog } from '../../../test/support/in-memory-event-store.js';
import { TestClock } from '../../../test/support/test-clock.js';
import { viewBuildsCodecs, viewBuildsDecider, viewBuildsStream } from './codecs.js';
import type { ViewBuildsCommand } from './domain/index.js';
import { ViewKeeper, type ViewKeeperOptions } from './view-keeper.js';
import { viewStatus, type ViewStatus } from './view-status.js';

/** How often something has happened: an event that is left out or counts twice shows. */
interface Tally {
  readonly seen: number;
}

/** A read store whose builds can be out of order, and that tells what was done to it. */
class TryingStore extends SqliteReadStore {
  /** The build that is unavailable to writers, after so many commits more. */
  unavailable: { readonly build: number; readonly after: number } | undefined;
  /** The build that cannot be prepared any more, after so many times more. */
  unprepared: { readonly build: number; readonly after: number } | undefined;
  /** How often it, or a commit of what another process writes, was refused. */
  refusals = 0;
  /** The build that another process writes. */
  writtenElsewhere: number | undefined;
  /** The build whose next commits fail for good. */
  broken: number | undefined;
  /** Runs before a build is read. */
  beforeFind: (build: number | undefined) => Promise<void> = () => Promise.resolve();
  readonly discarded: number[] = [];

  override prepare(view: ViewSpec<never>): Promise<void> {
    const { build } = view;
    if (build !== undefined && build === this.unprepared?.build) {
      if (this.unprepared.after === 0) {
        this.refusals += 1;
        return Promise.reject(notNow());
      }
      this.unprepared = { build, after: this.unprepared.after - 1 };
    }
    return super.prepare(view);
  }

  override async commit<Doc>(view: ViewSpec<Doc>, docs: readonly Stored<Doc>[], to: Position): Promise<void> {
    const { build } = view;
    if (build !== undefined && build === this.writtenElsewhere) {
      this.refusals += 1;
      throw new ClawbackError('unavailable', 'writerWaiting', 'another process writes the view');
    }
    if (build !== undefined && build === this.broken) throw new Error(`build ${String(build)} is broken`);
    if (build !== undefined && build === this.unavailable?.build) {
      if (this.unavailable.after === 0) throw notNow();
      this.unavailable = { build, after: this.unavailable.after - 1 };
    }
    await super.commit(view, docs, to);
  }

  override async find<Doc>(view: ViewSpec<Doc>, query: Query): Promise<Page<Doc>> {
    await this.beforeFind(view.build);
    return await super.find(view, query);
  }

  override async discard(view: ViewSpec<never>, build: number): Promise<void> {
    this.discarded.push(build);
    await super.discard(view, build);
  }
}

const notNow = (): ClawbackError =>
  new ClawbackError('unavailable', 'readStoreUnavailable', 'the store cannot answer now');

/** Answers the next question of a kind with what there was, but only once it is let go. */
class SlowEvents extends InMemoryEventStore {
  private held: { readonly what: 'readStream' | 'head'; readonly asked: () => void } | undefined;
  private released: Promise<void> | undefined;

  hold(what: 'readStream' | 'head'): { asked: Promise<void>; letGo: () => void } {
    let letGo: () => void = () => undefined;
    this.released = new Promise((resolve) => {
      letGo = resolve;
    });
    const asked = new Promise<void>((resolve) => {
      this.held = { what, asked: resolve };
    });
    return { asked, letGo };
  }

  override async *readStream(stream: string, options?: ReadStreamOptions): AsyncGenerator<RecordedEvent> {
    const events = await collect(super.readStream(stream, options));
    await this.pass('readStream');
    yield* events;
  }

  override async head(): Promise<Position> {
    const head = await super.head();
    await this.pass('head');
    return head;
  }

  private async pass(what: 'readStream' | 'head'): Promise<void> {
    if (this.held?.what !== what) return;
    this.held.asked();
    this.held = undefined;
    await this.released;
  }
}

describe('ViewKeeper', () => {
  let folder: string;
  let log: InMemoryLog;
  let events: InMemoryEventStore;
  let store: TryingStore;
  let stores: TryingStore[];
  let keepers: ViewKeeper[];
  let errors: unknown[];
  /** The events that the projection of the day cannot read. */
  let unreadable: (event: RecordedEvent) => boolean;
  let projected: Position[];
  let revisions: Map<string, bigint>;

  const view: Projection<Tally> = {
    name: 'tallies',
    version: 1,
    fields: { seen: { type: 'number', of: ({ seen }) => seen } },
    indexes: [],
    project: (event) => {
      if (unreadable(event)) throw new Error('cannot read that');
      if (event.type !== 'Happened') return [];
      projected.push(event.position);
      return [{ id: event.stream, apply: (doc) => ({ seen: (doc?.seen ?? 0) + 1 }) }];
    },
  };
  const build = (number: number): Projection<Tally> => ({ ...view, build: number });
  const stream = viewBuildsStream(view);

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'view-keeper-'));
    log = new InMemoryLog();
    events = new InMemoryEventStore(log);
    stores = [];
    store = openStore('views');
    keepers = [];
    errors = [];
    unreadable = () => false;
    projected = [];
    revisions = new Map();
  });

  afterEach(async () => {
    await Promise.all(keepers.map((keeper) => keeper.stop()));
    await Promise.all(stores.map((one) => one.close()));
    await rm(folder, { recursive: true });
  });

  function openStore(name: string): TryingStore {
    const opened = new TryingStore(join(folder, name));
    stores.push(opened);
    return opened;
  }

  function keeperOf(more: Partial<ViewKeeperOptions> = {}): ViewKeeper {
    const keeper = new ViewKeeper({
      events,
      store,
      projections: [view],
      clock: new TestClock(),
      instance: `instance-${String(keepers.length)}`,
      graceMs: 0,
      onError: (error) => {
        errors.push(error);
      },
      ...more,
    });
    keepers.push(keeper);
    return keeper;
  }

  async function running(more: Partial<ViewKeeperOptions> = {}): Promise<ViewKeeper> {
    const keeper = keeperOf(more);
    await keeper.start();
    return keeper;
  }

  /** Something happens to each of these. @returns the position of the last. */
  async function happens(...things: string[]): Promise<Position> {
    let last = -1n;
    for (const thing of things) {
      const event = { id: newId(), type: 'Happened', data: {}, metadata: {} };
      const { revision, position } = await events.append(thing, revisions.get(thing) ?? 'noStream', [event]);
      revisions.set(thing, revision);
      last = position;
    }
    return last;
  }

  const ask = (command: ViewBuildsCommand) =>
    decideAndAppend(events, viewBuildsCodecs, viewBuildsDecider(view), stream, command, {
      tenant: 'fabrikam',
      actor: 'operator',
      correlationId: 'request',
      causationId: 'request',
      commandId: newId(),
      now: new TestClock().now(),
    });
  const rebuild = (acceptDifferences = false) => ask({ type: 'RequestRebuild', acceptDifferences });

  /** What was recorded about the builds. */
  const recorded = async () => (await collect(events.readStream(stream))).map(({ type }) => type);

  /** Asks until it is so. */
  async function until<T>(question: () => T | Promise<T>, isWished: (answer: T) => boolean): Promise<T> {
    for (;;) {
      const answer = await question();
      if (isWished(answer)) return answer;
      await new Promise(setImmediate);
    }
  }

  const statusOf = (of = store) => viewStatus(events, of, view);
  const shape = ({ active, builds }: ViewStatus): string =>
    builds.map((one) => `${String(one.build)} ${one.state}${one.build === active ? ' read' : ''}`).join();

  /** Waits until the builds are these, as `1 standby,2 active read`. */
  const untilBuilds = (wished: string, of = store) =>
    until(
      () => statusOf(of),
      (status) => shape(status) === wished,
    );

  const untilShown = (position: Position, ...numbers: number[]) =>
    until(
      () => Promise.all(numbers.map((number) => store.checkpoint(build(number)))),
      (reached) => reached.every((one) => one >= position),
    );

  const talliesIn = async (of: Projection<Tally>, from = store): Promise<Record<string, number>> => {
    const { items } = await from.find(of, { where: [], limit: 1000 });
    return Object.fromEntries(items.map(({ id, doc }) => [id, doc.seen]));
  };

  /** Behind the back of the store, as a fault of a disk or of an earlier program. */
  function damage(id: string, seen: number, place = 'tallies_v1'): void {
    const file = new SqliteFile(join(folder, 'views', 'tallies.db'), { durability: 'normal' });
    file.run(`UPDATE ${place} SET doc = ? WHERE id = ?`, JSON.stringify({ seen }), id);
    file.close();
  }

  describe('a rebuild', () => {
    it('is compared and read, can be taken back, and ends with one build', async () => {
      const keeper = await running();
      const first = await happens('a', 'b', 'a');
      await untilShown(first, 1);
      await rebuild();
      const { lastComparison } = await untilBuilds('1 standby,2 active read');
      expect(lastComparison).toMatchObject({
        differing: 0,
        examples: [],
        built: { build: 2, documents: 2 },
        active: { build: 1, documents: 2 },
      });
      expect(lastComparison?.built.checksum).toBe(lastComparison?.active.checksum);
      expect(await talliesIn(view)).toEqual({ a: 2, b: 1 });

      const second = await happens('a', 'c');
      await untilShown(second, 1, 2);
      expect([await talliesIn(build(1)), await talliesIn(build(2))]).toEqual([
        { a: 3, b: 1, c: 1 },
        { a: 3, b: 1, c: 1 },
      ]);

      await ask({ type: 'Switch' });
      await untilBuilds('1 active read,2 standby');
      await ask({ type: 'Discard' });
      await untilBuilds('1 active read');
      const third = await happens('b');
      await untilShown(third, 1);
      expect(await talliesIn(view)).toEqual({ a: 3, b: 2, c: 1 });
      expect(keeper.state().map((state) => state.build)).toEqual([1]);
      expect(store.discarded).toEqual([2]);
      expect(errors).toEqual([]);
      expect(await recorded()).toEqual([
        'ViewRebuildRequested',
        'ViewBuildCompared',
        'ViewBuildActivated',
        'ViewBuildActivated',
        'ViewBuildDiscarded',
      ]);
    });

    it('is recorded by the process that made it', async () => {
      await running({ instance: 'projector-7' });
      await rebuild();
      await untilBuilds('1 standby,2 active read');
      const [, compared] = await collect(events.readStream(stream));
      expect(compared?.metadata).toMatchObject({ actor: 'projector-7', correlationId: stream, tenant: '' });
    });

    it('misses nothing and counts nothing twice while more and more happens', async () => {
      await running();
      const things = Array.from({ length: 20 }, (_, index) => `thing-${String(index)}`);
      for (let round = 0; round < 40; round += 1) await happens(...things);
      await rebuild();
      const switched = new AbortController();
      const happening = (async () => {
        let count = 40;
        for (; !switched.signal.aborted; count += 1) {
          await happens(...things);
          await new Promise(setImmediate);
        }
        return count;
      })();
      try {
        await untilBuilds('1 standby,2 active read');
      } finally {
        switched.abort();
      }
      const expected = Object.fromEntries(things.map((thing) => [thing, 0]));
      const rounds = await happening;
      for (const thing of things) expected[thing] = rounds;
      await untilShown(await events.head(), 1, 2);
      expect(await talliesIn(build(1))).toEqual(expected);
      expect(await talliesIn(build(2))).toEqual(expected);
      expect((await statusOf()).lastComparison).toMatchObject({ differing: 0 });
      expect(errors).toEqual([]);
    });

    it('gives up the build that stands by, and takes its next number', async () => {
      await running();
      await happens('a');
      await rebuild();
      await untilBuilds('1 standby,2 active read');
      await rebuild();
      await untilBuilds('2 standby,3 active read');
      expect(store.discarded).toEqual([1]);
      expect(await talliesIn(view)).toEqual({ a: 1 });
    });

    it('may be asked for again the moment that one has ended', async () => {
      await running();
      await happens('a');
      for (let newest = 2; newest <= 6; newest += 1) {
        await rebuild();
        await until(
          recorded,
          (types) => types.filter((type) => type === 'ViewBuildActivated').length === newest - 1,
        );
      }
      await untilBuilds('5 standby,6 active read');
      expect(await talliesIn(view)).toEqual({ a: 1 });
    });

    it('may be asked for before anybody is there to make it', async () => {
      await happens('a', 'a');
      await rebuild();
      await running();
      await untilBuilds('1 standby,2 active read');
      expect(await talliesIn(view)).toEqual({ a: 2 });
    });

    it('concerns the view that it is asked for alone', async () => {
      const other = { ...view, name: 'others' };
      const keeper = await running({ projections: [other, view] });
      await happens('a');
      await rebuild();
      await untilBuilds('1 standby,2 active read');
      expect(keeper.state().map((state) => `${state.view} ${String(state.build)}`)).toEqual([
        'others 1',
        'tallies 1',
        'tallies 2',
      ]);
      expect(await store.builds(other)).toMatchObject({ active: 1, builds: [{ build: 1 }] });
    });
  });

  describe('an active build that is damaged', () => {
    async function damaged(): Promise<void> {
      await running();
      await untilShown(await happens('a', 'b', 'a'), 1);
      damage('a', 77);
      expect(await talliesIn(view)).toEqual({ a: 77, b: 1 });
    }

    it('differs, and stays until the other one is switched to', async () => {
      await damaged();
      await rebuild();
      const { lastComparison } = await untilBuilds('1 active read,2 standby');
      expect(lastComparison).toMatchObject({ differing: 1, examples: ['a'] });
      expect(lastComparison?.built.checksum).not.toBe(lastComparison?.active.checksum);
      expect(await recorded()).toEqual(['ViewRebuildRequested', 'ViewBuildCompared']);
      await ask({ type: 'Switch' });
      await untilBuilds('1 standby,2 active read');
      expect(await talliesIn(view)).toEqual({ a: 2, b: 1 });
      await ask({ type: 'Discard' });
      await untilBuilds('2 active read');
      expect(errors).toEqual([]);
    });

    it('is left at once when differences were accepted', async () => {
      await damaged();
      await rebuild(true);
      const { lastComparison } = await untilBuilds('1 standby,2 active read');
      expect(lastComparison).toMatchObject({ differing: 1, examples: ['a'] });
      expect(await talliesIn(view)).toEqual({ a: 2, b: 1 });
    });

    it('differs too where it claims an event that there has not been', async () => {
      await running();
      const last = await happens('a', 'b');
      await untilShown(last, 1);
      await store.commit(build(1), [{ id: 'a', position: last + 1000n, doc: { seen: 9 } }], last);
      await rebuild();
      const { lastComparison } = await untilBuilds('1 active read,2 standby');
      expect(lastComparison).toMatchObject({ differing: 1, examples: ['a'] });
    });

    it('is not waited for when it has stopped', async () => {
      const keeper = await running();
      await untilShown(await happens('a', 'b'), 1);
      unreadable = ({ stream: thing }) => thing === 'b';
      await happens('a', 'b', 'c');
      await until(
        () => keeper.state()[0]?.state,
        (state) => state === 'failed',
      );
      unreadable = () => false;
      await rebuild();
      const { lastComparison } = await untilBuilds('1 active read,2 standby');
      expect(lastComparison).toMatchObject({ differing: 2, examples: ['b', 'c'] });
      await ask({ type: 'Switch' });
      await untilBuilds('1 standby,2 active read');
      expect(await talliesIn(view)).toEqual({ a: 2, b: 2, c: 1 });
    });
  });

  describe('a build that cannot be finished', () => {
    it('is told of and removed, and the active one goes on', async () => {
      const keeper = await running();
      await untilShown(await happens('a', 'b'), 1);
      unreadable = ({ stream: thing }) => thing === 'b';
      await rebuild();
      const { lastFailure, building } = await until(
        statusOf,
        (status) => status.lastFailure !== undefined && shape(status) === '1 active read',
      );
      expect(building).toBeUndefined();
      expect(lastFailure).toEqual({
        build: 2,
        problem: 'cannot project Happened of stream b, revision 0: cannot read that',
      });
      expect(store.discarded).toEqual([2]);
      await untilShown(await happens('a'), 1);
      expect(await talliesIn(view)).toEqual({ a: 2, b: 1 });
      expect(keeper.state().map((state) => state.build)).toEqual([1]);
      unreadable = () => false;
      await rebuild();
      await untilBuilds('1 standby,3 active read');
      expect(errors).toEqual([]);
    });

    it('is not taken for a good one when it stops while it is compared', async () => {
      const keeper = await running();
      await untilShown(await happens('a'), 1);
      store.beforeFind = async (number) => {
        if (number !== 2) return;
        store.beforeFind = () => Promise.resolve();
        store.broken = 2;
        await happens('b');
        await until(
          () => keeper.state(),
          (states) => states.some((state) => state.build === 2 && state.state === 'failed'),
        );
      };
      await rebuild(true);
      const { lastFailure, lastComparison } = await until(
        statusOf,
        (status) => status.lastFailure !== undefined && shape(status) === '1 active read',
      );
      expect(lastFailure?.problem).toContain('build 2 is broken');
      expect(lastComparison).toBeUndefined();
      await untilShown(await happens('c'), 1);
      expect(await talliesIn(view)).toEqual({ a: 1, b: 1, c: 1 });
    });

    it('is given up when it is discarded in the middle', async () => {
      const keeper = await running();
      await untilShown(await happens('a'), 1);
      store.unavailable = { build: 2, after: 0 };
      await rebuild();
      await untilBuilds('1 active read,2 building');
      await ask({ type: 'Discard' });
      await untilBuilds('1 active read');
      expect(await recorded()).toEqual(['ViewRebuildRequested', 'ViewBuildDiscarded']);
      await untilShown(await happens('a'), 1);
      expect(keeper.state().map((state) => state.build)).toEqual([1]);
      await rebuild();
      await untilBuilds('1 standby,3 active read');
      expect(await talliesIn(view)).toEqual({ a: 2 });
    });
  });

  describe('a keeper that ends', () => {
    it('leaves a build to the next one, which goes on where it was', async () => {
      // More than one commit holds.
      const many = Array.from({ length: 2400 }, (_, index) => `thing-${String(index % 50)}`);
      const last = await happens(...many);
      const first = await running();
      await untilShown(last, 1);
      store.unavailable = { build: 2, after: 1 };
      await rebuild();
      await until(
        async () => (await statusOf()).builds.at(-1),
        (second) => second?.build === 2 && second.position >= 0n,
      );
      await first.stop();
      const { builds } = await statusOf();
      const reached = builds.at(-1)?.position ?? -1n;
      expect(reached).toBeLessThan(last);
      store.unavailable = undefined;
      projected = [];
      await running();
      await untilBuilds('1 standby,2 active read');
      expect(Math.min(...projected.map(Number))).toBe(Number(reached) + 1);
      expect(await talliesIn(build(2))).toEqual(await talliesIn(build(1)));
      expect(await recorded()).toEqual(['ViewRebuildRequested', 'ViewBuildCompared', 'ViewBuildActivated']);
    });

    it('leaves a switch, or what is to be discarded, to the next one', async () => {
      const first = await running();
      await untilShown(await happens('a'), 1);
      await rebuild();
      await untilBuilds('1 standby,2 active read');
      await first.stop();
      await ask({ type: 'Switch' });
      await ask({ type: 'Discard' });
      expect(shape(await statusOf())).toBe('1 active,2 discarding read');
      const second = await running();
      await untilBuilds('1 active read');
      await untilShown(await happens('a'), 1);
      expect(await talliesIn(view)).toEqual({ a: 2 });
      expect(second.state().map((state) => state.build)).toEqual([1]);
    });

    it('reopens what was built, in a store that was opened again', async () => {
      const first = await running();
      await untilShown(await happens('a'), 1);
      await rebuild();
      await untilBuilds('1 standby,2 active read');
      await first.stop();
      await store.close();
      store = openStore('views');
      const second = await running();
      await until(
        () => second.state().length,
        (count) => count === 2,
      );
      await untilShown(await happens('a'), 1, 2);
      expect(await talliesIn(view)).toEqual({ a: 2 });
      expect(shape(await statusOf())).toBe('1 standby,2 active read');
    });

    it('makes again what the log knows and a new store does not', async () => {
      const first = await running();
      await untilShown(await happens('a', 'a', 'b'), 1);
      await rebuild();
      await untilBuilds('1 standby,2 active read');
      await ask({ type: 'Discard' });
      await untilBuilds('2 active read');
      await first.stop();
      store = openStore('others');
      await running();
      await untilBuilds('2 active read');
      expect(await talliesIn(view)).toEqual({ a: 2, b: 1 });
    });

    it.each([0, 1, 2])(
      'ends at once while a store is waited for that prepared a build %i times',
      async (after) => {
        const first = await running();
        await untilShown(await happens('a'), 1);
        store.unprepared = { build: 2, after };
        await rebuild();
        await until(
          () => store.refusals,
          (count) => count > 0,
        );
        await first.stop();
        expect(first.state().map((state) => state.build)).toEqual([1]);
        expect(await recorded()).toEqual(['ViewRebuildRequested']);
        store.unprepared = undefined;
        await running();
        await untilBuilds('1 standby,2 active read');
      },
    );

    it.each([0, 1])(
      'ends at once while the store of one that stands by is waited for, prepared %i times',
      async (after) => {
        const keeper = keeperOf();
        await rebuild();
        const content = { documents: 0, checksum: '' };
        const comparison = {
          built: { build: 2, ...content },
          active: { build: 1, ...content },
          differing: 1,
          examples: [],
        };
        await ask({ type: 'RecordComparison', comparison });
        store.unprepared = { build: 2, after };
        await keeper.start();
        await until(
          () => store.refusals,
          (count) => count > 0,
        );
        await keeper.stop();
        expect(keeper.state().map((state) => state.build)).toEqual([1]);
      },
    );

    it('ends while it is told how long the log is', async () => {
      const slowEvents = new SlowEvents(log);
      const keeper = await running({ events: slowEvents });
      await untilShown(await happens('a'), 1);
      store.unavailable = { build: 2, after: 0 };
      const { asked, letGo } = slowEvents.hold('head');
      await rebuild();
      await asked;
      const ended = keeper.stop();
      letGo();
      await ended;
      expect(await recorded()).toEqual(['ViewRebuildRequested']);
    });

    it('may end before it starts, and does nothing then', async () => {
      const keeper = keeperOf();
      await keeper.stop();
      await keeper.start();
      await rebuild();
      expect(keeper.state()).toEqual([]);
      await keeper.stop();
      expect(await recorded()).toEqual(['ViewRebuildRequested']);
    });

    it('ends while the log does not answer', async () => {
      const keeper = await running();
      events.goDown();
      await until(
        () => keeper.state()[0]?.error,
        (error) => error !== undefined,
      );
      await keeper.stop();
      events.comeBack();
    });
  });

  it('starts while the log does not answer, and goes on once it does', async () => {
    await happens('a');
    await rebuild();
    events.goDown();
    const keeper = await running();
    await until(
      () => errors.length,
      (count) => count > 0,
    );
    expect(keeper.state()).toMatchObject([{ build: 1, position: -1n }]);
    expect(errors[0]).toMatchObject({ kind: 'unavailable' });
    events.comeBack();
    await untilBuilds('1 standby,2 active read');
    expect(await talliesIn(view)).toEqual({ a: 1 });
  });

  it('does not start with a view whose shape has changed', async () => {
    await store.prepare(view);
    const keeper = keeperOf({ projections: [{ ...view, indexes: [['seen']] }] });
    await expect(keeper.start()).rejects.toThrow('raise the version');
  });

  it('keeps what was given up for a while, and ends without waiting for that', async () => {
    const keeper = await running({ graceMs: 1_000_000 });
    await untilShown(await happens('a'), 1);
    await rebuild();
    await untilBuilds('1 standby,2 active read');
    await ask({ type: 'Discard' });
    await until(
      () => keeper.state().map((state) => state.build),
      (numbers) => numbers.join() === '2',
    );
    await keeper.stop();
    expect(shape(await statusOf())).toBe('1 discarding,2 active read');
    expect(await talliesIn(build(1))).toEqual({ a: 1 });
  });

  it('leaves a rebuild to whoever writes the active build, until that one is gone', async () => {
    await rebuild();
    store.writtenElsewhere = 1;
    await running();
    await until(
      () => store.refusals,
      (count) => count >= 4,
    );
    expect(shape(await statusOf())).toBe('1 active read');
    expect(errors).toEqual([]);
    store.writtenElsewhere = undefined;
    await untilBuilds('1 standby,2 active read');
  });

  describe('two keepers', () => {
    it('of one store record one outcome, and both follow the same builds', async () => {
      await happens('a', 'b', 'a');
      const both = [await running(), await running()];
      await rebuild();
      await untilBuilds('1 standby,2 active read');
      for (const keeper of both) {
        await until(
          () => keeper.state().map((state) => state.build),
          (numbers) => numbers.join() === '1,2',
        );
      }
      await untilShown(await happens('a'), 1, 2);
      expect([await talliesIn(build(1)), await talliesIn(build(2))]).toEqual([
        { a: 3, b: 1 },
        { a: 3, b: 1 },
      ]);
      await ask({ type: 'Discard' });
      await untilBuilds('2 active read');
      for (const keeper of both) {
        await until(
          () => keeper.state().map((state) => state.build),
          (numbers) => numbers.join() === '2',
        );
      }
      expect(await recorded()).toEqual([
        'ViewRebuildRequested',
        'ViewBuildCompared',
        'ViewBuildActivated',
        'ViewBuildDiscarded',
      ]);
    });

    it('of two stores record one outcome, and the slower one reads its build once that is complete', async () => {
      const many = Array.from({ length: 2400 }, (_, index) => `thing-${String(index % 30)}`);
      const last = await happens(...many);
      const slow = openStore('slow');
      await running();
      await running({ store: slow });
      for (const one of [store, slow]) {
        await until(
          () => one.checkpoint(build(1)),
          (reached) => reached >= last,
        );
      }
      slow.unavailable = { build: 2, after: 1 };
      await rebuild();
      await untilBuilds('1 standby,2 active read');
      await until(
        () => slow.builds(view),
        ({ builds }) => builds.some((one) => one.build === 2 && one.checkpoint >= 0n),
      );
      expect(await slow.builds(view)).toMatchObject({ active: 1 });
      slow.unavailable = undefined;
      await untilBuilds('1 standby,2 active read', slow);
      expect(await slow.checkpoint(build(2))).toBeGreaterThanOrEqual(last);
      expect(await talliesIn(view, slow)).toEqual(await talliesIn(view));
      expect(await recorded()).toEqual(['ViewRebuildRequested', 'ViewBuildCompared', 'ViewBuildActivated']);
      expect(errors).toEqual([]);
    });

    it('do not take a build for given up that has been begun since one last looked', async () => {
      const slowEvents = new SlowEvents(log);
      const { asked, letGo } = slowEvents.hold('readStream');
      await happens('a');
      await running();
      await running({ events: slowEvents });
      await asked;
      store.unavailable = { build: 2, after: 1 };
      await rebuild();
      await until(
        () => store.builds(view),
        ({ builds }) => builds.some((one) => one.build === 2),
      );
      letGo();
      store.unavailable = undefined;
      await untilBuilds('1 standby,2 active read');
      expect(store.discarded).toEqual([]);
      expect(await talliesIn(view)).toEqual({ a: 1 });
    });
  });
});
