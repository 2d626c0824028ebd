import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { canonicalJson, ClawbackError, inGroups, START, type Position } from '#libs/kernel';
import { FileChanges, SqliteFile, type SqlRow, type SqlValue } from '#libs/sqlite';
import {
  ReadStore,
  type Builds,
  type Condition,
  type Page,
  type Query,
  type Rows,
  type Scalar,
  type Spread,
  type Stored,
  type Total,
  type ViewSpec,
  type Write,
} from '../read-store.js';
import {
  checkConditions,
  checkDiscard,
  checkQuery,
  checkSelected,
  checkSpread,
  checkSummed,
  checkView,
  FIRST_BUILD,
  notPrepared,
  placeKey,
  viewChanged,
  viewKey,
  viewShape,
  type CheckedQuery,
} from '../view-rules.js';
import { columnOf, ViewTable } from './view-table.js';

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS views (view TEXT PRIMARY KEY, shape TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS active_builds
    (view TEXT PRIMARY KEY, build INTEGER NOT NULL, as_of INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS checkpoints (view TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
`;
const GET_SHAPE = 'SELECT shape FROM views WHERE view = ?';
const PUT_SHAPE = 'INSERT INTO views (view, shape) VALUES (?, ?)';
const DROP_SHAPE = 'DELETE FROM views WHERE view = ?';
const GET_PLACES = 'SELECT view FROM views WHERE view = ? OR view GLOB ?';
const GET_ACTIVE = 'SELECT build FROM active_builds WHERE view = ?';
const PUT_ACTIVE = `INSERT INTO active_builds (view, build, as_of) VALUES (?, ?, ?)
  ON CONFLICT (view) DO UPDATE SET build = excluded.build, as_of = excluded.as_of WHERE excluded.as_of > as_of`;
const DROP_CHECKPOINT = 'DELETE FROM checkpoints WHERE view = ?';
const GET_CHECKPOINT = 'SELECT position FROM checkpoints WHERE view = ?';
/** Of the active build, as its place is called by {@link placeKey}. */
const GET_ACTIVE_CHECKPOINT = `SELECT position FROM checkpoints WHERE view = ?1 || coalesce(
  (SELECT iif(build = ${FIRST_BUILD}, '', '_b' || build) FROM active_builds WHERE view = ?1), '')`;
const MOVE_CHECKPOINT = `INSERT INTO checkpoints (view, position) VALUES (?, ?)
  ON CONFLICT (view) DO UPDATE SET position = max(position, excluded.position)`;

const IDS_PER_STATEMENT = 1000;

/** What is open of one view. */
interface ViewFile {
  readonly file: SqliteFile;
  readonly changes: FileChanges;
  /** By the name of the place. */
  readonly tables: Map<string, ViewTable>;
  /** Of active builds, by the version of the view; forgotten with the turn of the event loop, and with every commit. */
  readonly checkpoints: Map<string, Position>;
}

interface PlacedView extends ViewFile {
  readonly table: ViewTable;
}

/**
 * The read models in a directory: a SQLite file for each view, in it a table for each build. Several processes may open
 * it; each view is best written by one of them, since a file has one writer at a time, and one process may write one view
 * while another writes another (ADR 0015). A power loss may take back the last commits, each as a whole with its
 * checkpoint: the same events are then projected again. Positions up to 2^53.
 */
export class SqliteReadStore extends ReadStore {
  /** By the name of the view, from its first {@link prepare} on. */
  private readonly files = new Map<string, ViewFile>();
  /** Versions of views. */
  private readonly prepared = new Set<string>();
  private closed = false;

  constructor(private readonly directory: string) {
    super();
  }

  /** @throws {Error} this version of the view is there with other fields or indexes: raise the version. */
  async prepare(view: ViewSpec<never>): Promise<void> {
    const { file, table } = await settled(() => this.place(view));
    if (view.unindexed === true) return;
    for (const index of table.indexes) {
      await settled(() => {
        file.exec(index);
      });
      // One that is made late takes a while; others get their turn in between.
      await nextTurn();
    }
  }

  private place(view: ViewSpec<never>): { file: SqliteFile; table: ViewTable } {
    checkView(view);
    const { file, tables } = this.opened(view);
    const table = new ViewTable(view, view.build ?? activeIn(file, view));
    const shape = canonicalJson(viewShape(view));
    file.transaction(() => {
      const known = file.get(GET_SHAPE, table.name)?.shape;
      if (known !== undefined && known !== shape) throw viewChanged(view);
      if (known === undefined) {
        file.exec(table.schema);
        file.run(PUT_SHAPE, table.name, shape);
      }
      // A file of before patches had tables of their own has none of them.
      file.exec(table.patching);
    });
    tables.set(table.name, table);
    this.prepared.add(viewKey(view));
    return { file, table };
  }

  private opened({ name }: ViewSpec<never>): ViewFile {
    const known = this.files.get(name);
    if (known !== undefined) return known;
    if (this.closed)
      throw new ClawbackError('unavailable', 'readStoreUnavailable', 'the read store is closed');
    const file = openFile(join(this.directory, `${name}.db`));
    const checkpoints = new Map<string, Position>();
    const changes = new FileChanges(file, () => {
      checkpoints.clear();
    });
    const opened = { file, changes, tables: new Map<string, ViewTable>(), checkpoints };
    this.files.set(name, opened);
    return opened;
  }

  builds(view: ViewSpec<never>): Promise<Builds> {
    return settled(() => {
      const { file } = this.fileOf(view);
      const key = viewKey(view);
      const builds = file
        .all(GET_PLACES, key, `${key}_b*`)
        .map(({ view: place }) => (place === key ? FIRST_BUILD : Number(String(place).slice(key.length + 2))))
        .sort((a, b) => a - b)
        .map((build) => ({ build, checkpoint: checkpointIn(file, placeKey(view, build)) }));
      return { active: activeIn(file, view), builds };
    });
  }

  activate(view: ViewSpec<never>, build: number, asOf: Position): Promise<void> {
    return settled(() => {
      const { file, changes } = this.placed({ ...view, build });
      file.run(PUT_ACTIVE, viewKey(view), build, asOf);
      changes.wakeAll();
    });
  }

  discard(view: ViewSpec<never>, build: number): Promise<void> {
    return settled(() => {
      const { file, tables } = this.fileOf(view);
      const place = placeKey(view, build);
      file.transaction(() => {
        checkDiscard(view, build, activeIn(file, view));
        file.exec(new ViewTable(view, build).drop);
        file.run(DROP_SHAPE, place);
        file.run(DROP_CHECKPOINT, place);
      });
      tables.delete(place);
    });
  }

  async getMany<Doc>(view: ViewSpec<Doc>, ids: readonly string[]): Promise<Stored<Doc>[]> {
    return await this.amongIds(view, ids, ({ file, table }, group) =>
      file.all(table.getMany, group).map((row) => table.stored(view, row)),
    );
  }

  async selectMany(
    view: ViewSpec<never>,
    fields: readonly string[],
    ids: readonly string[],
  ): Promise<(readonly string[])[]> {
    checkSelected(view, fields);
    return await this.amongIds(
      view,
      ids,
      ({ file, table }, group) => file.cells(table.selectMany(fields), group) as string[][],
    );
  }

  /** @param ask is given a group of the ids, as JSON */
  private async amongIds<Found>(
    view: ViewSpec<never>,
    ids: readonly string[],
    ask: (place: PlacedView, group: string) => readonly Found[],
  ): Promise<Found[]> {
    const found: Found[] = [];
    for await (const group of inGroups(new Set(ids), IDS_PER_STATEMENT)) {
      found.push(...guarded(() => ask(this.placed(view), JSON.stringify(group))));
    }
    return found;
  }

  commit<Doc>(view: ViewSpec<Doc>, writes: readonly Write<Doc>[], checkpoint: Position): Promise<void> {
    return settled(() => {
      const { file, changes, table } = this.placed(view);
      file.transaction(() => {
        const rows: (readonly SqlValue[])[] = [];
        const patches = writes.flatMap((write) => ('set' in write ? table.patched(view, write) : []));
        for (const write of writes) {
          if ('set' in write) continue;
          const row = table.row(view, write);
          const isNew = view.unindexed === true || write.isNew === true;
          if (isNew || !update(file, table, row)) rows.push(row);
        }
        file.insert(table.insert.into, rows, table.insert.otherwise);
        for (const { member, insert } of table.patches) {
          const own = patches.filter(([of]) => of === member).map(([, values]) => values);
          file.insert(insert.into, own, insert.otherwise);
        }
        file.run(MOVE_CHECKPOINT, table.name, checkpoint);
      });
      changes.wakeAll();
    });
  }

  checkpoint(view: ViewSpec<never>): Promise<Position> {
    return settled(() => {
      const opened = this.fileOf(view);
      return view.build === undefined
        ? activeCheckpointIn(opened, viewKey(view))
        : checkpointIn(opened.file, placeKey(view, view.build));
    });
  }

  override untilCommit(view: ViewSpec<never>, { withinMs }: { readonly withinMs: number }): Promise<void> {
    return this.fileOf(view).changes.next({ withinMs });
  }

  find<Doc>(view: ViewSpec<Doc>, query: Query): Promise<Page<Doc>> {
    return settled(() => {
      const checked = checkQuery(view, query);
      const { file, table } = this.placed(view);
      const { text, values } = table.select(checked);
      const rows = file.all(text, ...values);
      const items = rows.map((row) => table.stored(view, row));
      const last = rows.at(-1);
      const end = last && checked.sortBy.map((field) => last[columnOf(field)] as Scalar);
      return { items, ...nextAfter(end, rows.length, checked, file, table) };
    });
  }

  select(view: ViewSpec<never>, fields: readonly string[], query: Query): Promise<Rows> {
    return settled(() => {
      checkSelected(view, fields);
      const checked = checkQuery(view, query);
      const { file, table } = this.placed(view);
      const { text, values } = table.values(fields, checked);
      const found = file.cells(text, ...values);
      const rows = found.map((cells) => cells.slice(0, fields.length) as string[]);
      const end = found.at(-1)?.slice(fields.length) as Scalar[] | undefined;
      return { rows, ...nextAfter(end, rows.length, checked, file, table) };
    });
  }

  count<Doc>(view: ViewSpec<Doc>, where: readonly Condition[]): Promise<number> {
    return settled(() => {
      const { file, table } = this.placed(view);
      const { text, values } = table.count(checkConditions(view, where));
      return file.get(text, ...values)?.count as number;
    });
  }

  total<Doc>(view: ViewSpec<Doc>, field: string, where: readonly Condition[]): Promise<Total> {
    return settled(() => {
      checkSummed(view, field);
      const { file, table } = this.placed(view);
      const { text, values } = table.total(field, checkConditions(view, where));
      const row = file.get(text, ...values);
      return { count: row?.count as number, sum: row?.sum as number };
    });
  }

  spread<Doc>(view: ViewSpec<Doc>, field: string, where: readonly Condition[]): Promise<Spread> {
    return settled(() => {
      checkSpread(view, field);
      const { file, table } = this.placed(view);
      const { text, values } = table.spread(field, checkConditions(view, where));
      const row = file.get(text, ...values);
      return { distinct: row?.groups as number, most: row?.most as number };
    });
  }

  /** Whatever is called later gets `unavailable`; a second close does nothing. */
  close(): Promise<void> {
    return settled(() => {
      this.closed = true;
      for (const { file, changes } of this.files.values()) {
        file.close();
        changes.wakeAll();
      }
    });
  }

  private fileOf(view: ViewSpec<never>): ViewFile {
    const known = this.prepared.has(viewKey(view)) ? this.files.get(view.name) : undefined;
    if (known === undefined) throw notPrepared(view);
    return known;
  }

  /** Where a view is; without a build, where its active one is, to which another process may have switched just now. */
  private placed(view: ViewSpec<never>): PlacedView {
    const opened = this.fileOf(view);
    const build = view.build ?? activeIn(opened.file, view);
    const known = opened.tables.get(placeKey(view, build));
    if (known !== undefined) return { ...opened, table: known };
    if (view.build !== undefined) throw notPrepared(view);
    const table = new ViewTable(view, build);
    opened.tables.set(table.name, table);
    return { ...opened, table };
  }
}

/** Where the next page begins, when there is one. @param end what the last of the rows is sorted by */
function nextAfter(
  end: readonly Scalar[] | undefined,
  rows: number,
  query: CheckedQuery,
  file: SqliteFile,
  table: ViewTable,
): { readonly next?: readonly Scalar[] } {
  if (end === undefined || rows < query.limit) return {};
  const { text, values } = table.more({ ...query, after: end });
  return file.get(text, ...values) === undefined ? {} : { next: end };
}

const activeIn = (file: SqliteFile, view: ViewSpec<never>): number =>
  (file.get(GET_ACTIVE, viewKey(view))?.build ?? FIRST_BUILD) as number;

/** One commit wakes all who wait for it, and they ask the same. */
function activeCheckpointIn({ file, checkpoints }: ViewFile, key: string): Position {
  const known = checkpoints.get(key);
  if (known !== undefined) return known;
  const checkpoint = positionIn(file.get(GET_ACTIVE_CHECKPOINT, key));
  checkpoints.set(key, checkpoint);
  setImmediate(() => {
    checkpoints.clear();
  });
  return checkpoint;
}

const checkpointIn = (file: SqliteFile, place: string): Position =>
  positionIn(file.get(GET_CHECKPOINT, place));

const positionIn = (row: SqlRow | undefined): Position =>
  row === undefined ? START : BigInt(row.position as number);

/** Replaces a document that is there. Without indexes there is nothing that this could spare. */
const update = (file: SqliteFile, table: ViewTable, row: readonly SqlValue[]): boolean =>
  table.update !== undefined && file.run(table.update, ...table.narrowed(row)) > 0;

function openFile(path: string): SqliteFile {
  const file = new SqliteFile(path, { durability: 'normal' });
  try {
    file.exec(SCHEMA);
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

/** The outcome of synchronous work as a promise. */
const settled = <T>(work: () => T): Promise<T> =>
  new Promise((resolve) => {
    resolve(guarded(work));
  });

function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!isFault(error)) throw error;
    const message = `the read store cannot answer: ${error.message}`;
    throw new ClawbackError('unavailable', 'readStoreUnavailable', message, {}, { cause: error });
  }
}

/**
 * What may heal without a change of the program: locked, out of memory, read-only, disk error, damaged, full, cannot be
 * opened and so on, by SQLite's result codes. A wrong statement is not among them: it would be tried again for ever.
 */
const FAULTS: ReadonlySet<number> = new Set([3, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 26]);

interface DriverError {
  readonly message: string;
  readonly code: string;
  readonly errcode?: number;
}

/** By shape: the driver's errors may be of another realm than ours. */
function isFault(error: unknown): error is DriverError {
  if (typeof error !== 'object' || error === null || !('code' in error)) return false;
  const { code, errcode } = error as DriverError;
  // Closed, or the folder of the file cannot be made.
  if (code === 'ERR_INVALID_STATE' || 'syscall' in error) return true;
  return code === 'ERR_SQLITE_ERROR' && FAULTS.has((errcode ?? 0) & 0xff);
}
