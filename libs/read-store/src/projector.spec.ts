import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { EventStore, type Delivery, type RecordedEvent, type SubscribeOptions } from '#libs/event-store';
import { ClawbackError, START, type Position } from '#libs/kernel';
import type { ViewState } from './projected-view.js';
import { amending, type Change, type Projection } from './projection.js';
import { Projector, waitForCheckpoint, type ProjectorOptions } from './projector.js';
import type { Stored, ViewSpec } from './read-store.js';
import { SqliteReadStore } from './sqlite/sqlite-read-store.js';

const SOON = { timeoutMs: 20_000 };

/** A log in memory: positions 10, 20, 30 and so on. */
class FakeEvents extends EventStore {
  readonly log: RecordedEvent[] = [];
  readonly subscribedAfter: Position[] = [];
  deliveries = 0;
  /** What the next subscriptions do instead of delivering. */
  readonly troubles: ('throw' | 'end')[] = [];
  private wake: () => void = () => undefined;

  /** @returns the position of the event. */
  record(type: string, data: unknown = {}, stream = 'jar-1'): Position {
    const position = BigInt((this.log.length + 1) * 10);
    const revision = BigInt(this.log.filter((event) => event.stream === stream).length);
    this.log.push({ id: String(position), type, data, metadata: {}, stream, revision, position });
    this.wake();
    return position;
  }

  async *subscribe({ after, signal, maxBatch = 500, types }: SubscribeOptions): AsyncGenerator<Delivery> {
    this.subscribedAfter.push(after);
    const trouble = this.troubles.shift();
    if (trouble === 'throw') throw new ClawbackError('unavailable', 'eventStoreUnavailable', 'no events now');
    if (trouble === 'end') return;
    let reached = after;
    while (!signal.aborted) {
      const fresh = this.log.filter(({ position }) => position > reached);
      const read = fresh.slice(0, maxBatch);
      reached = read.at(-1)?.position ?? reached;
      this.deliveries += 1;
      const events = read.filter(({ type }) => types?.has(type) !== false);
      yield { events, position: reached, caughtUp: read.length === fresh.length };
      if (read.length === fresh.length) await this.nextRecord(signal, reached);
    }
  }

  private nextRecord(signal: AbortSignal, reached: Position): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted || (this.log.at(-1)?.position ?? START) > reached) resolve();
      this.wake = resolve;
      signal.addEventListener('abort', () => {
        resolve();
      });
    });
  }

  append = notUsed;
  readStream = notUsed;
  readAll = notUsed;
  head = notUsed;
  close = () => Promise.resolve();
}

function notUsed(): never {
  throw new Error('a projector has no use for this');
}

type Step = 'prepare' | 'getMany' | 'commit';

/** A read store that can be unavailable for a while, be held in a commit, and forget its checkpoints. */
class TryingStore extends SqliteReadStore {
  /** How many more calls of each kind fail. */
  readonly outages: Record<Step, number> = { prepare: 0, getMany: 0, commit: 0 };
  commits = 0;
  forgetful = false;
  /** Runs inside a commit, before it is done. */
  inCommit: (view: ViewSpec<never>) => Promise<void> = () => Promise.resolve();
  /** The build that cannot be written. */
  refusedBuild: number | undefined;

  override async prepare(view: ViewSpec<never>): Promise<void> {
    this.mayFail('prepare');
    await super.prepare(view);
  }

  override async getMany<Doc>(view: ViewSpec<Doc>, ids: readonly string[]): Promise<Stored<Doc>[]> {
    this.mayFail('getMany');
    return await super.getMany(view, ids);
  }

  override async commit<Doc>(view: ViewSpec<Doc>, docs: readonly Stored<Doc>[], to: Position): Promise<void> {
    this.commits += 1;
    this.mayFail('commit');
    if (view.build !== undefined && view.build === this.refusedBuild) throw unavailable('commit');
    await this.inCommit(view);
    await super.commit(view, docs, to);
  }

  override checkpoint(view: ViewSpec<never>): Promise<Position> {
    return this.forgetful ? Promise.resolve(START) : super.checkpoint(view);
  }

  private mayFail(step: Step): void {
    if (this.outages[step] === 0) return;
    this.outages[step] -= 1;
    throw unavailable(step);
  }
}

const unavailable = (step: Step): ClawbackError =>
  new ClawbackError('unavailable', 'readStoreUnavailable', `no ${step} now`);

/** How much is in a jar. Adding is not idempotent: an event that counts twice or not at all shows. */
interface Jar {
  readonly sum: number;
  readonly log: readonly string[];
}

const jars = (name: string, more: Partial<Projection<Jar>> = {}): Projection<Jar> => ({
  name,
  version: 1,
  fields: { sum: { type: 'number', of: ({ sum }) => sum } },
  indexes: [],
  project: ({ type, data, position }) =>
    type === 'Added' ? (data as [jar: string, amount: number][]).map((one) => add(one, position)) : [],
  ...more,
});

const add = ([id, amount]: readonly [string, number], position: Position): Change<Jar> => ({
  id,
  apply: (jar = { sum: 0, log: [] }) => ({
    sum: jar.sum + amount,
    log: [...jar.log, `${position}:${amount}`],
  }),
});

/** Made, made anew, labelled and painted: a document, another in its place, an amendment, a value that is set. */
interface Chest {
  readonly colour: string;
  readonly labels: readonly string[];
}
type ChestChange = 'make' | 'replace' | 'label' | 'paint' | 'leave';

/** @param shared what every chest begins with: it must never be written to. */
const chests = (name: string, shared: readonly string[] = []): Projection<Chest> => ({
  name,
  version: 1,
  fields: { colour: { type: 'text', of: ({ colour }) => colour } },
  indexes: [],
  patchable: ['colour'],
  project: ({ data }) =>
    (data as [ChestChange, string, string][]).map(([what, id, value]): Change<Chest> => {
      switch (what) {
        case 'make':
          return { id, apply: (chest) => chest ?? { colour: value, labels: shared } };
        case 'replace':
          return { id, put: { colour: value, labels: shared } };
        case 'paint':
          return { id, set: { colour: value } };
        case 'label':
        case 'leave':
          return amending(
            id,
            (chest) => ({ ...chest, labels: [...chest.labels] }),
            ({ labels }) => what === 'label' && labels.push(value) > 0,
          );
      }
    }),
});

describe('Projector', () => {
  let folder: string;
  let store: TryingStore;
  let events: FakeEvents;
  let started: Projector[];
  let states: ViewState[];
  let onNextState: () => void;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'projector-'));
    store = new TryingStore(folder);
    events = new FakeEvents();
    started = [];
    states = [];
    onNextState = () => undefined;
  });

  afterEach(async () => {
    await Promise.all(started.map((projector) => projector.stop()));
    await store.close();
    await rm(folder, { recursive: true });
  });

  function projectorOf(
    projections: ProjectorOptions['projections'],
    more: Partial<ProjectorOptions> = {},
  ): Projector {
    const onState = (state: ViewState) => {
      states.push(state);
      onNextState();
    };
    const projector = new Projector({ events, store, projections, onState, ...more });
    started.push(projector);
    return projector;
  }

  async function running(
    projections: ProjectorOptions['projections'],
    more: Partial<ProjectorOptions> = {},
  ): Promise<Projector> {
    const projector = projectorOf(projections, more);
    await projector.start();
    return projector;
  }

  /** Resolves once some state told so far, or to come, is as wished. */
  async function told(wish: (state: ViewState) => boolean): Promise<void> {
    while (!states.some(wish)) {
      await new Promise<void>((resolve) => {
        onNextState = resolve;
      });
    }
  }

  const sums = async (view: Projection<Jar>): Promise<Record<string, number>> => {
    const { items } = await store.find(view, { where: [], limit: 1000 });
    return Object.fromEntries(items.map(({ id, doc }) => [id, doc.sum]));
  };

  it('projects what there was and what comes, and tells how far it is', async () => {
    const view = jars('jars');
    events.record('Added', [['a', 1]]);
    const second = events.record('Added', [['b', 5]]);
    const projector = await running([view]);
    expect(await projector.whenProjected('jars', second, SOON)).toBe(true);
    const third = events.record('Added', [['a', 2]]);
    expect(await projector.whenProjected('jars', third, SOON)).toBe(true);
    expect(await sums(view)).toEqual({ a: 3, b: 5 });
    expect(await store.checkpoint(view)).toBe(third);
    await told(({ state, position }) => state === 'live' && position === third);
    expect(projector.state()).toEqual([{ view: 'jars', version: 1, position: third, state: 'live' }]);
  });

  it('takes every batch in one commit', async () => {
    for (let index = 0; index < 10; index += 1) events.record('Added', [['a', 1]]);
    const projector = await running([jars('jars')], { batchSize: 4 });
    await projector.whenProjected('jars', 100n, SOON);
    expect(store.commits).toBe(3);
    expect(await sums(jars('jars'))).toEqual({ a: 10 });
  });

  it('moves the checkpoint over events that touch nothing', async () => {
    const position = events.record('Unrelated');
    const projector = await running([jars('jars')]);
    expect(await projector.whenProjected('jars', position, SOON)).toBe(true);
    expect(await store.checkpoint(jars('jars'))).toBe(position);
    expect(await store.count(jars('jars'), [])).toBe(0);
  });

  it('asks for the types that its views take, gives each its own, and comes to the end all the same', async () => {
    const asked: string[] = [];
    const view = (name: string, ...types: string[]) =>
      jars(name, {
        types: new Set(types),
        project: ({ type, position }) => {
          asked.push(`${name} ${type}`);
          return [add([type, 1], position)];
        },
      });
    for (const type of ['One', 'Other', 'Third', 'Other']) events.record(type);
    const [one, both] = [view('one', 'One'), view('both', 'One', 'Other')];
    const delivered: string[] = [];
    const projector = await running([one, both], {
      batchSize: 3,
      alsoTypes: new Set(['Fourth']),
      onDelivered: (told) => {
        delivered.push(...told.map(({ type }) => type));
      },
    });
    events.record('Fourth');
    const end = events.record('Third');
    for (const { name } of [one, both]) expect(await projector.whenProjected(name, end, SOON)).toBe(true);
    expect(asked).toEqual(['one One', 'both One', 'both Other', 'both Other']);
    expect(await sums(one)).toEqual({ One: 1 });
    expect(await sums(both)).toEqual({ One: 1, Other: 2 });
    for (const each of [one, both]) expect(await store.checkpoint(each)).toBe(end);
    await projector.add(jars('all'));
    expect(await projector.whenProjected('all', end, SOON)).toBe(true);
    // Before everything was asked for.
    expect(delivered.slice(0, 4)).toEqual(['One', 'Other', 'Other', 'Fourth']);
  });

  it('counts two changes of one event to one document as both', async () => {
    const position = events.record('Added', [
      ['a', 1],
      ['a', 10],
      ['b', 100],
    ]);
    const projector = await running([jars('jars')]);
    await projector.whenProjected('jars', position, SOON);
    expect(await sums(jars('jars'))).toEqual({ a: 11, b: 100 });
  });

  it('writes nothing for a change that leaves the document as it was', async () => {
    events.record('Added', [['a', 1]]);
    const position = events.record('Looked');
    const view = jars('jars', {
      project: (event) =>
        event.type === 'Looked'
          ? [
              { id: 'a', apply: (jar) => jar },
              { id: 'b', apply: () => undefined },
            ]
          : jars('jars').project(event),
    });
    const projector = await running([view]);
    await projector.whenProjected('jars', position, SOON);
    expect(await store.getMany(view, ['a', 'b'])).toEqual([
      { id: 'a', position: 10n, doc: { sum: 1, log: ['10:1'] } },
    ]);
  });

  it('goes on from the checkpoint', async () => {
    const view = jars('jars');
    const first = events.record('Added', [['a', 1]]);
    const before = await running([view]);
    await before.whenProjected('jars', first, SOON);
    await before.stop();
    const second = events.record('Added', [['a', 2]]);
    const projected: Position[] = [];
    const after = await running([
      jars('jars', {
        project: (event) => {
          projected.push(event.position);
          return view.project(event);
        },
      }),
    ]);
    expect(await after.whenProjected('jars', second, SOON)).toBe(true);
    expect(projected).toEqual([second]);
    expect(events.subscribedAfter).toEqual([START, first]);
    expect(await sums(view)).toEqual({ a: 3 });
  });

  it('serves two views at different checkpoints by one subscription', async () => {
    const old = jars('old');
    const first = events.record('Added', [['a', 1]]);
    const before = await running([old]);
    await before.whenProjected('old', first, SOON);
    await before.stop();
    const second = events.record('Added', [['a', 2]]);
    const projected: Position[] = [];
    const spied = jars('old', {
      project: (event) => {
        projected.push(event.position);
        return old.project(event);
      },
    });
    const projector = await running([spied, jars('young')]);
    expect(await projector.whenProjected('young', second, SOON)).toBe(true);
    expect(await projector.whenProjected('old', second, SOON)).toBe(true);
    expect(projected).toEqual([second]);
    expect(events.subscribedAfter).toEqual([START, START]);
    expect(await sums(old)).toEqual({ a: 3 });
    expect(await sums(jars('young'))).toEqual({ a: 3 });
  });

  it('gives the same documents in any batches, and counts nothing twice when all is run again', async () => {
    const amounts = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 1, max: 9 })), {
      maxLength: 3,
    });
    let round = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(amounts, { minLength: 1, maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 25 }), { minLength: 1, maxLength: 3 }),
        async (additions, batchSizes) => {
          round += 1;
          events = new FakeEvents();
          store.forgetful = true;
          const view = jars(`round${round}`);
          const expected: Record<string, number> = {};
          for (const batchSize of batchSizes) {
            // Old events come again, in one batch with new ones.
            for (const addition of additions) events.record('Added', addition);
            for (const [jar, amount] of additions.flat()) expected[jar] = (expected[jar] ?? 0) + amount;
            const head = BigInt(events.log.length * 10);
            const projector = await running([view], { batchSize });
            expect(await projector.whenProjected(view.name, head, SOON)).toBe(true);
            await projector.stop();
            expect(await sums(view)).toEqual(expected);
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  it('makes of documents, amendments and what is set in any batches what it makes of them one by one', async () => {
    const change = fc.tuple(
      fc.constantFrom<ChestChange>('make', 'replace', 'label', 'paint', 'leave'),
      fc.constantFrom('a', 'b', 'c'),
      fc.constantFrom('red', 'blue'),
    );
    let round = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(change, { maxLength: 4 }), { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 2, max: 40 }),
        async (recorded, batchSize) => {
          round += 1;
          events = new FakeEvents();
          for (const changes of recorded) events.record('Changed', changes);
          const head = BigInt(recorded.length * 10);
          const views = [chests(`single${round}`), chests(`batch${round}`)] as const;
          const found: Stored<Chest>[][] = [];
          for (const [index, view] of views.entries()) {
            const projector = await running([view], { batchSize: index === 0 ? 1 : batchSize });
            expect(await projector.whenProjected(view.name, head, SOON)).toBe(true);
            await projector.stop();
            found.push([...(await store.find(view, { where: [], limit: 100 })).items]);
          }
          expect(found[1]).toEqual(found[0]);
          const painted = (items: readonly Stored<Chest>[]) =>
            items.filter(({ doc }) => doc.colour === 'red');
          expect(await store.count(views[1], [{ field: 'colour', op: 'eq', value: 'red' }])).toBe(
            painted(found[0] ?? []).length,
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it.each(['make', 'replace'])(
    'never amends what belongs to an event, or that no amendment has copied: %s',
    async (what) => {
      const things: string[] = [];
      const data = [
        [what, 'a', 'red'],
        ['label', 'a', 'x'],
      ] as const;
      events.record('Changed', [data[0]]);
      const position = events.record('Changed', [data[1]]);
      const view = chests('chests', things);
      const projector = await running([view]);
      await projector.whenProjected('chests', position, SOON);
      expect(await store.getMany(view, ['a'])).toEqual([
        { id: 'a', position, doc: { colour: 'red', labels: ['x'] } },
      ]);
      expect(things).toEqual([]);
    },
  );

  it('reads nothing for what it only sets or replaces', async () => {
    events.record('Changed', [['make', 'a', 'red']]);
    const position = events.record('Changed', [['make', 'b', 'red']]);
    const view = chests('chests');
    const projector = await running([view]);
    await projector.whenProjected('chests', position, SOON);
    const read = jest.spyOn(store, 'getMany');
    const painted = events.record('Changed', [
      ['paint', 'a', 'blue'],
      ['paint', 'nothing', 'blue'],
      ['replace', 'b', 'green'],
      ['replace', 'c', 'green'],
    ]);
    await projector.whenProjected('chests', painted, SOON);
    expect(read).not.toHaveBeenCalled();
    read.mockRestore();
    const { items } = await store.find(view, { where: [], limit: 10 });
    expect(items).toEqual([
      { id: 'a', position: painted, doc: { colour: 'blue', labels: [] } },
      { id: 'b', position: painted, doc: { colour: 'green', labels: [] } },
      { id: 'c', position: painted, doc: { colour: 'green', labels: [] } },
    ]);
  });

  describe('an event that cannot be projected', () => {
    const bad = (event: RecordedEvent) => event.type === 'Bad';
    const base = jars('sick');
    const sick: [string, Projection<Jar>][] = [
      [
        'the projection',
        jars('sick', {
          project: (event) => {
            if (bad(event)) throw new Error('cannot read that');
            return base.project(event);
          },
        }),
      ],
      [
        'its second change',
        jars('sick', {
          project: (event) =>
            bad(event)
              ? [
                  add(['a', 1000], event.position),
                  {
                    id: 'b',
                    apply: () => {
                      throw new Error('cannot read that');
                    },
                  },
                ]
              : base.project(event),
        }),
      ],
      [
        'a field',
        jars('sick', {
          fields: {
            sum: {
              type: 'number',
              of: ({ sum }) => {
                if (sum > 1000) throw new Error('cannot read that');
                return sum;
              },
            },
          },
          project: (event) => (bad(event) ? [add(['a', 1000], event.position)] : base.project(event)),
        }),
      ],
    ];

    it.each(sick)('stops its view alone, everything before it kept: thrown by %s', async (_, view) => {
      events.record('Added', [['a', 1]], 'jar-7');
      events.record('Added', [['a', 2]], 'jar-7');
      const poison = events.record('Bad', {}, 'jar-7');
      const last = events.record('Added', [['a', 4]], 'jar-7');
      const projector = await running([view, jars('healthy')]);
      const waiting = projector.whenProjected('sick', last, SOON);
      expect(await projector.whenProjected('healthy', last, SOON)).toBe(true);
      expect(await waiting).toBe(false);
      expect(await projector.whenProjected('sick', poison, SOON)).toBe(false);
      expect(await projector.whenProjected('sick', 20n, SOON)).toBe(true);
      expect(projector.state()[0]).toMatchObject({
        view: 'sick',
        position: 20n,
        state: 'failed',
        error: 'cannot project Bad of stream jar-7, revision 2: cannot read that',
      });
      expect(await store.checkpoint(view)).toBe(20n);
      expect(await sums(jars('sick'))).toEqual({ a: 3 });
      const later = events.record('Added', [['a', 8]], 'jar-7');
      expect(await projector.whenProjected('healthy', later, SOON)).toBe(true);
      expect(await sums(jars('healthy'))).toEqual({ a: 15 });
    });

    it('is not at fault when a store fails oddly where none concerns the view', async () => {
      let failures = 1;
      store.inCommit = () => (failures-- > 0 ? Promise.reject(new Error('odd')) : Promise.resolve());
      const end = events.record('Unrelated');
      const projector = await running([jars('jars', { types: new Set(['Added']) })]);
      expect(await projector.whenProjected('jars', end, SOON)).toBe(true);
      expect(failures).toBe(-1);
    });

    it('leaves what comes after the good ones to be passed over', async () => {
      // Together they cannot be projected, each by itself they can.
      let failures = 1;
      const view = jars('choosy', {
        types: new Set(['Added']),
        project: (event) => {
          if (event.position === 20n && failures-- > 0) throw new Error('not now');
          return base.project(event);
        },
      });
      events.record('Added', [['a', 1]]);
      events.record('Added', [['a', 2]]);
      const end = events.record('Unrelated');
      const projector = await running([view]);
      expect(await projector.whenProjected('choosy', end, SOON)).toBe(true);
      expect(await sums(view)).toEqual({ a: 3 });
    });

    it('is projected once the program is mended', async () => {
      events.record('Added', [['a', 1]]);
      const poison = events.record('Bad', [['a', 2]]);
      const broken = await running(sick.slice(0, 1).map(([, view]) => view));
      await told(({ state }) => state === 'failed');
      await broken.stop();
      const mended = await running([
        jars('sick', { project: (event) => base.project({ ...event, type: 'Added' }) }),
      ]);
      expect(await mended.whenProjected('sick', poison, SOON)).toBe(true);
      expect(await sums(base)).toEqual({ a: 3 });
    });
  });

  describe('a store that is unavailable', () => {
    it.each<Step>(['prepare', 'getMany', 'commit'])('is tried again: %s', async (step) => {
      store.outages[step] = 2;
      events.record('Added', [['a', 1]]);
      const last = events.record('Added', [['a', 2]]);
      const projector = await running([jars('jars')]);
      expect(await projector.whenProjected('jars', last, SOON)).toBe(true);
      expect(states.map(({ error }) => error)).toContain(`no ${step} now`);
      expect(states.every(({ state }) => state !== 'failed')).toBe(true);
      await told(({ state }) => state === 'live');
      expect(projector.state()[0]).not.toHaveProperty('error');
      expect(await sums(jars('jars'))).toEqual({ a: 3 });
    });

    it.each(['throw', 'end'] as const)('is the event store too: subscriptions %s', async (trouble) => {
      events.troubles.push(trouble, trouble);
      const last = events.record('Added', [['a', 1]]);
      const projector = await running([jars('jars')]);
      expect(await projector.whenProjected('jars', last, SOON)).toBe(true);
      expect(events.subscribedAfter).toHaveLength(3);
      expect(states.some(({ error }) => error === 'no events now')).toBe(trouble === 'throw');
      expect(await sums(jars('jars'))).toEqual({ a: 1 });
    });
  });

  describe('stop', () => {
    it('finishes the batch in hand and takes no other', async () => {
      events.record('Added', [['a', 1]]);
      events.record('Added', [['a', 2]]);
      let release: () => void = () => undefined;
      const inCommit = new Promise<void>((entered) => {
        store.inCommit = () => {
          entered();
          return new Promise((resolve) => {
            release = resolve;
          });
        };
      });
      const projector = await running([jars('jars')], { batchSize: 1 });
      await inCommit;
      const waiting = projector.whenProjected('jars', 20n, SOON);
      const stopped = projector.stop();
      release();
      await stopped;
      expect(await store.checkpoint(jars('jars'))).toBe(10n);
      expect(await sums(jars('jars'))).toEqual({ a: 1 });
      expect(await waiting).toBe(false);
      expect(store.commits).toBe(1);
    });

    it.each<Step>(['prepare', 'commit'])('ends a wait for the store: %s', async (step) => {
      store.outages[step] = Number.POSITIVE_INFINITY;
      events.record('Added', [['a', 1]]);
      const projector = projectorOf([jars('jars')]);
      const begun = projector.start();
      await told(({ error }) => error === `no ${step} now`);
      await projector.stop();
      await begun;
      expect(projector.state()[0]).toMatchObject({ state: 'catchingUp', error: `no ${step} now` });
    });

    it('may come twice, and before any start', async () => {
      const projector = projectorOf([jars('jars')]);
      await projector.stop();
      await projector.stop();
      expect(await projector.whenProjected('jars', 1n, SOON)).toBe(false);
    });
  });

  describe('with views that come and go', () => {
    const build = (number: number, more: Partial<Projection<Jar>> = {}) =>
      jars('jars', { build: number, ...more });

    /** The view, and the positions of the events that it was asked to project. */
    function spied(view: Projection<Jar>): { view: Projection<Jar>; projected: Position[] } {
      const projected: Position[] = [];
      const project = (event: RecordedEvent) => {
        projected.push(event.position);
        return view.project(event);
      };
      return { view: { ...view, project }, projected };
    }

    /** Holds the next commit of a build until it is let go. */
    function heldCommit(held: number): { entered: Promise<void>; letGo: () => void } {
      let letGo: () => void = () => undefined;
      const released = new Promise<void>((resolve) => {
        letGo = resolve;
      });
      const entered = new Promise<void>((resolve) => {
        store.inCommit = async (view) => {
          if (view.build !== held) return;
          resolve();
          await released;
        };
      });
      return { entered, letGo };
    }

    function recordMany(count: number): { positions: Position[]; last: Position } {
      const positions = Array.from({ length: count }, () => events.record('Added', [['a', 1]]));
      return { positions, last: positions.at(-1) ?? START };
    }

    it('takes one on that is far behind; the others miss nothing and take nothing twice', async () => {
      const first = spied(build(1));
      const { last } = recordMany(7);
      const projector = await running([first.view], { batchSize: 2 });
      expect(await projector.whenProjected('jars', last, SOON)).toBe(true);
      await projector.add(build(2));
      const { last: later } = recordMany(5);
      expect(await projector.whenProjected('jars', later, SOON)).toBe(true);
      expect(await sums(build(1))).toEqual({ a: 12 });
      expect(await sums(build(2))).toEqual({ a: 12 });
      expect(first.projected).toEqual(events.log.map(({ position }) => position));
      expect(events.subscribedAfter).toEqual([START, START]);
      expect(projector.state().map((state) => state.build)).toEqual([1, 2]);
    });

    it('lets one that is taken on go on from its own checkpoint', async () => {
      const { positions, last } = recordMany(4);
      const apart = await running([build(2)]);
      await apart.whenProjected('jars', last, SOON);
      await apart.stop();
      const projector = await running([build(1)]);
      await projector.whenProjected('jars', last, SOON);
      const second = spied(build(2));
      await projector.add(second.view);
      const next = events.record('Added', [['a', 1]]);
      expect(await projector.whenProjected('jars', next, SOON)).toBe(true);
      expect(positions).toHaveLength(4);
      expect(second.projected).toEqual([next]);
      expect(events.subscribedAfter.at(-1)).toBe(last);
      expect([await sums(build(1)), await sums(build(2))]).toEqual([{ a: 5 }, { a: 5 }]);
    });

    it('takes one on in the middle of a delivery', async () => {
      const { last } = recordMany(3);
      const { entered, letGo } = heldCommit(1);
      const projector = await running([build(1)]);
      await entered;
      await projector.add(build(2));
      letGo();
      expect(await projector.whenProjected('jars', last, SOON)).toBe(true);
      expect([await sums(build(1)), await sums(build(2))]).toEqual([{ a: 3 }, { a: 3 }]);
    });

    it('takes one on while it starts', async () => {
      store.outages.prepare = 1;
      const { last } = recordMany(3);
      const projector = projectorOf([build(1)]);
      const begun = projector.start();
      await projector.add(build(2));
      await begun;
      expect(await projector.whenProjected('jars', last, SOON)).toBe(true);
      expect([await sums(build(1)), await sums(build(2))]).toEqual([{ a: 3 }, { a: 3 }]);
    });

    it('has the builds of one view in a row', async () => {
      const projector = await running([jars('before'), build(1), jars('after')]);
      await projector.add(build(2));
      await projector.add(jars('last'));
      const names = projector.state().map((state) => `${state.view} ${String(state.build ?? '')}`.trim());
      expect(names).toEqual(['before', 'jars 1', 'jars 2', 'after', 'last']);
    });

    it('refuses one that is there, or is being taken on', async () => {
      const projector = await running([build(1)]);
      await expect(projector.add(build(1))).rejects.toThrow('already');
      const outcomes = await Promise.allSettled([projector.add(build(2)), projector.add(build(2))]);
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
      expect(projector.state()).toHaveLength(2);
      await expect(projector.add(build(3, { indexes: [['sum']] }))).resolves.toBeUndefined();
      await projector.remove('jars', 3);
      await expect(projector.add(build(3))).rejects.toThrow('raise the version');
      expect(projector.state()).toHaveLength(2);
    });

    it('writes no more to one that it let go of, and goes on with the others', async () => {
      const { last } = recordMany(2);
      const projector = await running([build(1), build(2)]);
      await projector.whenProjected('jars', last, SOON);
      await projector.remove('jars', 2);
      await projector.remove('jars', 2);
      await projector.remove('nobody', 1);
      const next = events.record('Added', [['a', 1]]);
      expect(await projector.whenProjected('jars', next, SOON)).toBe(true);
      expect(await store.checkpoint(build(2))).toBe(last);
      expect([await sums(build(1)), await sums(build(2))]).toEqual([{ a: 3 }, { a: 2 }]);
    });

    it('lets go of one once what is being written is written', async () => {
      recordMany(2);
      const { entered, letGo } = heldCommit(1);
      const projector = await running([build(1), build(2)], { batchSize: 1 });
      await entered;
      let isGone = false;
      const gone = projector.remove('jars', 1).then(() => {
        isGone = true;
      });
      await new Promise(setImmediate);
      expect(isGone).toBe(false);
      letGo();
      await gone;
      expect(await projector.whenProjected('jars', 20n, SOON)).toBe(true);
      expect(await store.checkpoint(build(1))).toBe(10n);
      expect([await sums(build(1)), await sums(build(2))]).toEqual([{ a: 1 }, { a: 2 }]);
    });

    it('lets go at once of one whose store is being waited out, which held up the others', async () => {
      store.refusedBuild = 2;
      const { last } = recordMany(2);
      const projector = await running([build(2), build(1)]);
      await told(({ error }) => error === 'no commit now');
      const waiting = projector.whenProjected('jars', last, SOON);
      await projector.remove('jars', 2);
      expect(await waiting).toBe(false);
      expect(await projector.whenProjected('jars', last, SOON)).toBe(true);
      store.refusedBuild = undefined;
      const next = events.record('Added', [['a', 1]]);
      expect(await projector.whenProjected('jars', next, SOON)).toBe(true);
      expect(await store.checkpoint(build(2))).toBe(START);
      expect([await sums(build(1)), await sums(build(2))]).toEqual([{ a: 3 }, {}]);
    });

    it('may have none for a while', async () => {
      const projector = await running([build(1)]);
      const { last } = recordMany(2);
      await projector.whenProjected('jars', last, SOON);
      await projector.remove('jars', 1);
      const { last: later } = recordMany(2);
      await projector.add(build(1));
      expect(await projector.whenProjected('jars', later, SOON)).toBe(true);
      expect(await sums(build(1))).toEqual({ a: 4 });
    });

    it('may begin with none', async () => {
      const projector = await running([]);
      const { last } = recordMany(2);
      await projector.add(build(1));
      expect(await projector.whenProjected('jars', last, SOON)).toBe(true);
    });

    it('goes on with one that comes after all have failed', async () => {
      const { last } = recordMany(1);
      const fails = () => {
        throw new Error('cannot read that');
      };
      const projector = await running([build(1, { project: fails })]);
      await told(({ state }) => state === 'failed');
      await projector.add(build(2));
      await told((state) => state.build === 2 && state.position === last);
      expect(await sums(build(2))).toEqual({ a: 1 });
      expect(projector.state()[0]).toMatchObject({ state: 'failed', position: START });
    });

    it('ends what waits to be taken on when it stops, and takes nothing on after', async () => {
      const projector = await running([build(1)]);
      store.outages.prepare = Number.POSITIVE_INFINITY;
      const adding = projector.add(build(2));
      const refused = expect(adding).rejects.toMatchObject({ name: 'AbortError' });
      await told((state) => state.build === 2 && state.error === 'no prepare now');
      await projector.stop();
      await refused;
      await expect(projector.add(build(3))).rejects.toMatchObject({ name: 'AbortError' });
      expect(projector.state()).toHaveLength(1);
    });

    it('gives every view every event once, whenever they come and go', async () => {
      type Step = 'record' | 'add' | 'remove' | 'wait';
      const steps = fc.array(fc.constantFrom<Step>('record', 'record', 'add', 'remove', 'wait'), {
        minLength: 1,
        maxLength: 25,
      });
      let round = 0;
      await fc.assert(
        fc.asyncProperty(steps, fc.integer({ min: 1, max: 4 }), async (script, batchSize) => {
          round += 1;
          events = new FakeEvents();
          const view = (number: number) => build(number, { name: `round${String(round)}` });
          const projector = await running([view(1)], { batchSize });
          const kept = [1];
          let newest = 1;
          const settled = () =>
            projector.whenProjected(view(1).name, events.log.at(-1)?.position ?? START, SOON);
          for (const step of script) {
            if (step === 'record') events.record('Added', [['a', 1]]);
            if (step === 'add') {
              newest += 1;
              kept.push(newest);
              await projector.add(view(newest));
            }
            if (step === 'remove' && kept.length > 1) {
              await projector.remove(view(1).name, kept.shift() ?? 0);
            }
            if (step === 'wait') expect(await settled()).toBe(true);
          }
          events.record('Added', [['a', 1]]);
          expect(await settled()).toBe(true);
          await projector.stop();
          for (const number of kept) {
            expect(await sums(view(number))).toEqual({ a: events.log.length });
          }
        }),
        { numRuns: 30 },
      );
    });
  });

  describe('onDelivered', () => {
    it('tells of events once all views have taken them', async () => {
      const seen: Position[] = [];
      const behind: ViewState[] = [];
      const projector: Projector = projectorOf([jars('one'), jars('two')], {
        onDelivered: (delivered) => {
          seen.push(...delivered.map(({ position }) => position));
          const reached = seen.at(-1) ?? START;
          behind.push(...projector.state().filter(({ position }) => position < reached));
        },
      });
      await projector.start();
      const first = events.record('Added', [['a', 1]]);
      await projector.whenProjected('two', first, SOON);
      const second = events.record('Unrelated');
      await projector.whenProjected('two', second, SOON);
      await projector.stop();
      expect(seen).toEqual([first, second]);
      expect(behind).toEqual([]);
    });

    it('tells again of those that are delivered again, and leaves none out', async () => {
      const seen: Position[] = [];
      const first = events.record('Added', [['a', 1]]);
      const projector = await running([jars('one')], {
        onDelivered: (delivered) => {
          seen.push(...delivered.map(({ position }) => position));
        },
      });
      await projector.whenProjected('one', first, SOON);
      await projector.add(jars('two'));
      const second = events.record('Added', [['a', 1]]);
      await projector.whenProjected('two', second, SOON);
      await projector.whenProjected('one', second, SOON);
      await projector.stop();
      expect(seen).toEqual([first, first, second]);
    });

    it.each([
      ['one', [jars('healthy')]],
      ['every one', []],
    ])('tells of what %s of the views could not project, and goes on', async (_, others) => {
      const seen: Position[] = [];
      let onEvents: () => void = () => undefined;
      const fails = jars('fails', {
        project: () => {
          throw new Error('cannot read that');
        },
      });
      const recorded = [events.record('Added', [['a', 1]])];
      await running([fails, ...others], {
        onDelivered: (delivered) => {
          seen.push(...delivered.map(({ position }) => position));
          onEvents();
        },
      });
      await told(({ state }) => state === 'failed');
      recorded.push(events.record('Added', [['a', 1]]), events.record('Unrelated'));
      while (seen.length < recorded.length) {
        await new Promise<void>((resolve) => {
          onEvents = resolve;
        });
      }
      expect(seen).toEqual(recorded);
      expect(events.subscribedAfter).toEqual([START]);
    });
  });

  it('lets other work run while it catches up', async () => {
    for (let index = 0; index < 30; index += 1) events.record('Added', [['a', 1]]);
    let turns = 0;
    let over = false;
    const turn = () => {
      turns += 1;
      if (!over) setImmediate(turn);
    };
    const projector = await running([jars('one'), jars('two')], { batchSize: 1 });
    setImmediate(turn);
    await projector.whenProjected('two', 300n, SOON);
    over = true;
    expect(turns).toBeGreaterThanOrEqual(50);
  });

  it('has the views take events beside each other, and those that come after others after them', async () => {
    let twoBegins: () => void = () => undefined;
    const two = new Promise<void>((resolve) => {
      twoBegins = resolve;
    });
    const happened: string[] = [];
    store.inCommit = async ({ name }) => {
      happened.push(`${name} begins`);
      if (name === 'two') twoBegins();
      await two;
      happened.push(`${name} ends`);
    };
    const last = events.record('Added', [['a', 1]]);
    const projector = await running([jars('one'), jars('late', { afterOthers: true }), jars('two')]);
    expect(await projector.whenProjected('late', last, SOON)).toBe(true);
    expect(happened.slice(0, 2)).toEqual(['one begins', 'two begins']);
    expect(happened.slice(2, 4).sort()).toEqual(['one ends', 'two ends']);
    expect(happened.slice(4)).toEqual(['late begins', 'late ends']);
  });

  it('says so when a wait is over in vain', async () => {
    const projector = await running([jars('jars')]);
    expect(await projector.whenProjected('jars', 10n, { timeoutMs: 1 })).toBe(false);
    await expect(projector.whenProjected('nobody', 10n, SOON)).rejects.toThrow('no view nobody');
  });

  it('does not start with a view whose shape has changed', async () => {
    await store.prepare(jars('jars'));
    const projector = projectorOf([jars('jars', { indexes: [['sum']] })]);
    await expect(projector.start()).rejects.toThrow('raise the version');
    await projector.stop();
  });

  it('starts once, and has one view of a name', async () => {
    const projector = await running([jars('jars')]);
    await expect(projector.start()).rejects.toThrow('starts once');
    expect(() => projectorOf([jars('same'), jars('same', { version: 2 })])).toThrow('different names');
  });

  describe('waitForCheckpoint', () => {
    it('sees what another process has projected', async () => {
      await store.prepare(jars('jars'));
      const reached = waitForCheckpoint(store, jars('jars'), 10n, { ...SOON, pollMs: 1 });
      const projector = await running([jars('jars')]);
      const position = events.record('Added', [['a', 1]]);
      expect(await reached).toBe(true);
      expect(await waitForCheckpoint(store, jars('jars'), position, { timeoutMs: 0 })).toBe(true);
      await projector.stop();
    });

    it('gives up after the timeout', async () => {
      await store.prepare(jars('jars'));
      expect(await waitForCheckpoint(store, jars('jars'), 10n, { timeoutMs: 5, pollMs: 1 })).toBe(false);
    });
  });
});
