import { writeFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SqliteEventStore } from '#libs/event-store/sqlite';
import type { Position } from '#libs/kernel';
import {
  Projector,
  ReadStore,
  type AnyProjection,
  type Query,
  type ViewSpec,
  type Write,
} from '#libs/read-store';
import {
  ALL_VIEWS,
  viewGroups,
  VIEWS,
  type ViewGroup,
  type ViewName,
} from '../apps/server/src/views/views.js';
import { atLeast, figure, plain, type Bench, type PartInput } from './harness/bench.js';
import { RawViews } from './harness/raw-views.js';
import { runPart } from './harness/run-part.js';
import { timed } from './harness/statistics.js';
import { openReadStore } from './harness/stores.js';
import { writeLog } from './workload/log.js';

const HOUR_MS = 3_600_000;

/** How the product shares the views out on the embedded stores. */
const GROUPS = viewGroups(2);

/** Counts the rows that a projector commits. */
class CountedStore extends ReadStore {
  rows = 0;

  constructor(private readonly inner: ReadStore) {
    super();
  }

  override prepare(view: ViewSpec<never>) {
    return this.inner.prepare(view);
  }

  override getMany<Doc>(view: ViewSpec<Doc>, ids: readonly string[]) {
    return this.inner.getMany(view, ids);
  }

  override commit<Doc>(view: ViewSpec<Doc>, writes: readonly Write<Doc>[], checkpoint: Position) {
    this.rows += writes.length;
    return this.inner.commit(view, writes, checkpoint);
  }

  override builds(view: ViewSpec<never>) {
    return this.inner.builds(view);
  }

  override activate(view: ViewSpec<never>, build: number, asOf: Position) {
    return this.inner.activate(view, build, asOf);
  }

  override discard(view: ViewSpec<never>, build: number) {
    return this.inner.discard(view, build);
  }

  override checkpoint(view: ViewSpec<never>) {
    return this.inner.checkpoint(view);
  }

  override find<Doc>(view: ViewSpec<Doc>, query: Query) {
    return this.inner.find(view, query);
  }

  override selectMany(view: ViewSpec<never>, fields: readonly string[], ids: readonly string[]) {
    return this.inner.selectMany(view, fields, ids);
  }

  override select(view: ViewSpec<never>, fields: readonly string[], query: Query) {
    return this.inner.select(view, fields, query);
  }

  override count<Doc>(view: ViewSpec<Doc>, where: Query['where']) {
    return this.inner.count(view, where);
  }

  override total<Doc>(view: ViewSpec<Doc>, field: string, where: Query['where']) {
    return this.inner.total(view, field, where);
  }

  override spread<Doc>(view: ViewSpec<Doc>, field: string, where: Query['where']) {
    return this.inner.spread(view, field, where);
  }

  override close() {
    return this.inner.close();
  }
}

const logIn = (directory: string): SqliteEventStore => new SqliteEventStore(join(directory, 'events.db'));

async function prepare({ size, directory }: PartInput) {
  const events = logIn(directory);
  const written = await writeLog(events, size);
  await events.close();
  await writeFile(join(directory, 'events.json'), JSON.stringify({ events: written.events }));
  return { events: written.events };
}

/** Projects the whole log into new builds as the product fills them: without indexes, which are made at the end. */
async function project(
  prepared: string,
  store: ReadStore,
  names: readonly ViewName[] = ALL_VIEWS.views,
): Promise<number> {
  const events = logIn(prepared);
  const head = await events.head();
  const views = names.map((name): AnyProjection => VIEWS[name]);
  const projections = views.map((view): AnyProjection => ({ ...view, unindexed: true }));
  const projector = new Projector({ events, store, projections });
  const seconds = await timed(async () => {
    await projector.start();
    for (const view of names) {
      if (!(await projector.whenProjected(view, head, { timeoutMs: HOUR_MS }))) {
        throw new Error(JSON.stringify(projector.state(), (_, value: unknown) => String(value)));
      }
    }
    for (const view of views) await store.prepare(view);
  });
  await projector.stop();
  await events.close();
  return seconds;
}

const eventsIn = async (prepared: string): Promise<number> =>
  (JSON.parse(await readFile(join(prepared, 'events.json'), 'utf8')) as { events: number }).events;

/** Rebuilds the views of a group, in a process that keeps these alone. */
async function rebuildGroup({ target, directory, prepared }: PartInput, { views }: ViewGroup) {
  const opened = await openReadStore(target, directory);
  const counted = new CountedStore(opened.store);
  const seconds = await project(prepared, counted, views);
  await opened.dispose();
  return { seconds, rows: counted.rows };
}

/** All views, shared out to processes as the product does it on this store. */
async function rebuild(input: PartInput) {
  const parts =
    input.target.mongoUrl === undefined
      ? await Promise.all(GROUPS.map(({ name }) => runPart({ bench: 'f2', part: name, input })))
      : [await rebuildGroup(input, ALL_VIEWS)];
  const seconds = Math.max(...parts.map((part) => figure({ part }, 'part', 'seconds')));
  const rows = parts.reduce((sum, part) => sum + figure({ part }, 'part', 'rows'), 0);
  const events = await eventsIn(input.prepared);
  return {
    seconds,
    rowsPerSecond: rows / seconds,
    eventsPerSecond: events / seconds,
    rowsPerEvent: rows / events,
  };
}

async function raw({ target, directory, prepared }: PartInput) {
  const views = RawViews.open(target, directory);
  await project(prepared, views);
  await views.finish();
  await views.close();
  return { seconds: views.seconds, rowsPerSecond: views.rows / views.seconds };
}

export const bench: Bench = {
  title: 'rows a second when all views are rebuilt from the log',
  baseline:
    'the same rows upserted by the driver alone, 5,000 to a transaction, into the same tables; the same indexes made at the end, by both',
  stores: ['sqlite', 'mongodb'],
  counts: 'events',
  sizes: { full: 1_000_000, quick: 2_000 },
  runs: 3,
  prepare,
  parts: { rebuild, raw },
  helpers: Object.fromEntries(
    GROUPS.map((group) => [group.name, (input: PartInput) => rebuildGroup(input, group)]),
  ),
  rows: [
    plain('rows written', '1/s', 'rebuild', 'rowsPerSecond'),
    plain('the driver alone', '1/s', 'raw', 'rowsPerSecond'),
    {
      label: 'rebuilt ÷ driver alone',
      unit: '×',
      of: (parts) => figure(parts, 'rebuild', 'rowsPerSecond') / figure(parts, 'raw', 'rowsPerSecond'),
      aim: () => atLeast(0.7),
    },
    plain('events projected', '1/s', 'rebuild', 'eventsPerSecond'),
    plain('rows written for an event', '', 'rebuild', 'rowsPerEvent'),
    plain('rebuild in all', 's', 'rebuild', 'seconds'),
  ],
};
