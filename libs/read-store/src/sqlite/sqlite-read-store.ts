import { setImmediate as nextTurn } from 'node:timers/promises';
import { canonicalJson, ClawbackError, inGroups, START, type Position } from '#libs/kernel';
import { SqliteFile, type SqlValue } from '#libs/sqlite';
import {
  ReadStore,
  type Builds,
  type Condition,
  type Page,
  type Query,
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
  checkSpread,
  checkSummed,
  checkView,
  FIRST_BUILD,
  notPrepared,
  placeKey,
  viewChanged,
  viewKey,
  viewShape,
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
const MOVE_CHECKPOINT = `INSERT INTO checkpoints (view, position) VALUES (?, ?)
  ON CONFLICT (view) DO UPDATE SET position = max(position, excluded.position)`;

const IDS_PER_STATEMENT = 1000;

/** How soon a commit through another object is noticed by those who wait for one. */
const LOOK_AGAIN_MS = 250;

/**
 * The read models in one SQLite file, a table per build of a view. Only one process may have the file open. A power loss
 * may take back the last commits, each as a whole with its checkpoint: the same events are then projected again.
 * Positions up to 2^53.
 */
export class SqliteReadStore extends ReadStore {
  private readonly file: SqliteFile;
  /** By the version of the view: its builds by number. */
  private readonly tables = new Map<string, Map<number, ViewTable>>();
  private readonly activeBuilds = new Map<string, number>();
  /** By the version of the view: those who wait for a commit. */
  private readonly waiting = new Map<string, Set<() => void>>();

  /** @throws {ClawbackError} kind `unavailable`: the file cannot be opened. */
  constructor(path: string) {
    super();
    this.file = guarded(() => openFile(path));
  }

  /** @throws {Error} this version of the view is there with other fields or indexes: raise the version. */
  async prepare(view: ViewSpec<never>): Promise<void> {
    const table = await settled(() => this.place(view));
    if (view.unindexed === true) return;
    for (const index of table.indexes) {
      await settled(() => {
        this.file.exec(index);
      });
      // One that is made late takes a while; others get their turn in between.
      await nextTurn();
    }
  }

  private place(view: ViewSpec<never>): ViewTable {
    checkView(view);
    const key = viewKey(view);
    const active = (this.file.get(GET_ACTIVE, key)?.build ?? FIRST_BUILD) as number;
    const table = new ViewTable(view, view.build ?? active);
    const shape = canonicalJson(viewShape(view));
    this.file.transaction(() => {
      const known = this.file.get(GET_SHAPE, table.name)?.shape;
      if (known === shape) return;
      if (known !== undefined) throw viewChanged(view);
      this.file.exec(table.schema);
      this.file.run(PUT_SHAPE, table.name, shape);
    });
    this.activeBuilds.set(key, active);
    const tables = this.tables.get(key) ?? new Map<number, ViewTable>();
    this.tables.set(key, tables.set(table.build, table));
    return table;
  }

  builds(view: ViewSpec<never>): Promise<Builds> {
    return settled(() => {
      const key = viewKey(view);
      const builds = this.file
        .all(GET_PLACES, key, `${key}_b*`)
        .map(({ view: place }) => (place === key ? FIRST_BUILD : Number(String(place).slice(key.length + 2))))
        .sort((a, b) => a - b)
        .map((build) => ({ build, checkpoint: this.checkpointOf(placeKey(view, build)) }));
      return { active: this.activeOf(view), builds };
    });
  }

  activate(view: ViewSpec<never>, build: number, asOf: Position): Promise<void> {
    return settled(() => {
      const key = viewKey(view);
      this.table({ ...view, build });
      this.file.run(PUT_ACTIVE, key, build, asOf);
      this.activeBuilds.set(key, this.file.get(GET_ACTIVE, key)?.build as number);
    });
  }

  discard(view: ViewSpec<never>, build: number): Promise<void> {
    return settled(() => {
      checkDiscard(view, build, this.activeOf(view));
      const place = placeKey(view, build);
      this.tables.get(viewKey(view))?.delete(build);
      this.file.transaction(() => {
        this.file.exec(`DROP TABLE IF EXISTS ${place}`);
        this.file.run(DROP_SHAPE, place);
        this.file.run(DROP_CHECKPOINT, place);
      });
    });
  }

  async getMany<Doc>(view: ViewSpec<Doc>, ids: readonly string[]): Promise<Stored<Doc>[]> {
    const found: Stored<Doc>[] = [];
    for await (const group of inGroups(new Set(ids), IDS_PER_STATEMENT)) {
      const table = this.table(view);
      const rows = guarded(() => this.file.all(table.getMany, JSON.stringify(group)));
      for (const row of rows) found.push(table.stored(view, row));
    }
    return found;
  }

  commit<Doc>(view: ViewSpec<Doc>, writes: readonly Write<Doc>[], checkpoint: Position): Promise<void> {
    return settled(() => {
      const table = this.table(view);
      this.file.transaction(() => {
        const rows: (readonly SqlValue[])[] = [];
        for (const write of writes) {
          if ('set' in write) this.patch(table, table.patched(view, write));
          else {
            const row = table.row(view, write);
            if (!this.update(table, row, view.unindexed === true)) rows.push(row);
          }
        }
        this.file.insert(table.insert.into, rows, table.insert.otherwise);
        this.file.run(MOVE_CHECKPOINT, table.name, checkpoint);
      });
      this.wake(viewKey(view));
    });
  }

  checkpoint(view: ViewSpec<never>): Promise<Position> {
    return settled(() => this.checkpointOf(this.table(view).name));
  }

  override untilCommit(
    view: ViewSpec<never>,
    { withinMs }: { readonly pollMs: number; readonly withinMs: number },
  ): Promise<void> {
    const key = viewKey(view);
    const waiting = this.waiting.get(key) ?? new Set();
    this.waiting.set(key, waiting);
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.min(LOOK_AGAIN_MS, withinMs));
      waiting.add(wake);
    });
  }

  private wake(key: string): void {
    for (const wake of [...(this.waiting.get(key) ?? [])]) wake();
  }

  find<Doc>(view: ViewSpec<Doc>, query: Query): Promise<Page<Doc>> {
    return settled(() => {
      const checked = checkQuery(view, query);
      const table = this.table(view);
      const { text, values } = table.select(checked);
      const rows = this.file.all(text, ...values);
      const items = rows.map((row) => table.stored(view, row));
      const last = rows.at(-1);
      if (last === undefined || rows.length < checked.limit) return { items };
      const next = checked.sortBy.map((field) => last[columnOf(field)] as Scalar);
      const more = table.more({ ...checked, after: next });
      return this.file.get(more.text, ...more.values) === undefined ? { items } : { items, next };
    });
  }

  count<Doc>(view: ViewSpec<Doc>, where: readonly Condition[]): Promise<number> {
    return settled(() => {
      const { text, values } = this.table(view).count(checkConditions(view, where));
      return this.file.get(text, ...values)?.count as number;
    });
  }

  total<Doc>(view: ViewSpec<Doc>, field: string, where: readonly Condition[]): Promise<Total> {
    return settled(() => {
      checkSummed(view, field);
      const { text, values } = this.table(view).total(field, checkConditions(view, where));
      const row = this.file.get(text, ...values);
      return { count: row?.count as number, sum: row?.sum as number };
    });
  }

  spread<Doc>(view: ViewSpec<Doc>, field: string, where: readonly Condition[]): Promise<Spread> {
    return settled(() => {
      checkSpread(view, field);
      const { text, values } = this.table(view).spread(field, checkConditions(view, where));
      const row = this.file.get(text, ...values);
      return { distinct: row?.groups as number, most: row?.most as number };
    });
  }

  /** Whatever is called later gets `unavailable`; a second close does nothing. */
  close(): Promise<void> {
    return settled(() => {
      this.file.close();
      for (const key of this.waiting.keys()) this.wake(key);
    });
  }

  /** Replaces a document that is there. Without indexes there is nothing that this could spare. */
  private update(table: ViewTable, row: readonly SqlValue[], unindexed: boolean): boolean {
    const { update } = table;
    return !unindexed && update !== undefined && this.file.run(update, ...table.narrowed(row)) > 0;
  }

  private patch({ patch }: ViewTable, values: readonly SqlValue[]): void {
    if (patch !== undefined) this.file.run(patch, ...values);
  }

  private checkpointOf(place: string): Position {
    const row = this.file.get(GET_CHECKPOINT, place);
    return row === undefined ? START : BigInt(row.position as number);
  }

  private activeOf(view: ViewSpec<never>): number {
    const active = this.activeBuilds.get(viewKey(view));
    if (active === undefined) throw notPrepared(view);
    return active;
  }

  private table(view: ViewSpec<never>): ViewTable {
    const table = this.tables.get(viewKey(view))?.get(view.build ?? this.activeOf(view));
    if (table === undefined) throw notPrepared(view);
    return table;
  }
}

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
