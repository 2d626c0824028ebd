import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';

type Database = InstanceType<typeof DatabaseSync>;
type Prepared = ReturnType<Database['prepare']>;

export type SqlValue = string | number | bigint | Uint8Array | null;
export type SqlRow = Record<string, SqlValue>;

export interface SqliteOptions {
  /**
   * `full`: a commit is on the disk before it returns. `normal`: a power loss may roll back the last commits, a killed
   * process loses nothing; only for data that can be derived again.
   */
  readonly durability: 'full' | 'normal';
  /** MiB of its pages that are kept in memory; default 32. */
  readonly cacheMiB?: number;
}

/** Few enough that the last rows of a commit, which go one by one, do not count. */
const ROWS_AT_ONCE = 16;

/** A statement, and the names of the columns that it gives. */
interface Statement {
  readonly prepared: Prepared;
  readonly columns: readonly string[];
}

/**
 * One SQLite file in WAL mode: prepared statements kept by their text, values bound through one check, work grouped
 * into few commits. The driver is synchronous; keep a transaction to a few hundred rows.
 */
export class SqliteFile {
  private readonly db: Database;
  private readonly statements = new Map<string, Statement>();
  private waiting: { run: () => () => void; reject: (error: Error) => void }[] = [];

  constructor(
    readonly path: string,
    options: SqliteOptions,
  ) {
    mkdirSync(dirname(path), { recursive: true });
    this.db = new DatabaseSync(path, { timeout: 5000 });
    try {
      enterWalMode(this.db);
      // After journal_mode: the driver is built to fall back to NORMAL in WAL mode.
      this.db.exec(`PRAGMA synchronous = ${options.durability.toUpperCase()}`);
      this.db.exec(
        `PRAGMA cache_size = ${String((options.cacheMiB ?? 32) * -1024)}; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 4000; PRAGMA foreign_keys = ON`,
      );
    } catch (error) {
      this.db.close();
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.db.isOpen;
  }

  /** Runs one or more statements without values, for instance a schema. */
  exec(sql: string): void {
    this.db.exec(sql);
  }

  /** @returns how many rows changed. */
  run(sql: string, ...values: readonly SqlValue[]): number {
    return this.statement(sql).prepared.run(...bindable(values)).changes;
  }

  /**
   * Inserts rows, all of the same length, {@link ROWS_AT_ONCE} to a statement: a call of the driver costs about as much
   * as what it does for one row. Within a transaction, since a fault leaves the rows before it.
   * @param into what stands before `VALUES`.
   * @param otherwise what stands after it.
   */
  insert(into: string, rows: readonly (readonly SqlValue[])[], otherwise = ''): void {
    const [first] = rows;
    if (first === undefined) return;
    const row = `(${first.map(() => '?').join(', ')})`;
    const one = `${into} VALUES ${row} ${otherwise}`;
    const many = `${into} VALUES ${`${row}, `.repeat(ROWS_AT_ONCE - 1)}${row} ${otherwise}`;
    const whole = rows.length - (rows.length % ROWS_AT_ONCE);
    for (let at = 0; at < whole; at += ROWS_AT_ONCE)
      this.run(many, ...rows.slice(at, at + ROWS_AT_ONCE).flat());
    for (const values of rows.slice(whole)) this.run(one, ...values);
  }

  get(sql: string, ...values: readonly SqlValue[]): SqlRow | undefined {
    const { prepared, columns } = this.statement(sql);
    const cells = prepared.get(...bindable(values)) as Cells | undefined;
    return cells === undefined ? undefined : rowOf(columns, cells);
  }

  /** The rows one by one, for a reader that may stop early. Read to the end or break before anything is awaited. */
  iterate(sql: string, ...values: readonly SqlValue[]): IterableIterator<SqlRow> {
    const { prepared, columns } = this.statement(sql);
    return rowsOf(columns, prepared.iterate(...bindable(values)) as IterableIterator<Cells>);
  }

  all(sql: string, ...values: readonly SqlValue[]): SqlRow[] {
    const { columns } = this.statement(sql);
    return this.cells(sql, ...values).map((cells) => rowOf(columns, cells));
  }

  /** As {@link all}, each row as its values in the order of the columns. */
  cells(sql: string, ...values: readonly SqlValue[]): Cells[] {
    return this.statement(sql).prepared.all(...bindable(values)) as Cells[];
  }

  /** Runs `work` in one transaction that takes the write lock at once; rolls back when it throws. Not reentrant. */
  transaction<T>(work: () => T): T {
    this.db.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.db.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.db.isTransaction) this.db.exec('ROLLBACK');
      throw error;
    }
  }

  /**
   * Group commit: the `work` of all callers in two turns of the event loop shares one transaction and so one sync to the
   * disk. Resolves after the commit. When one `work` throws, its own changes are undone (savepoint) and its caller is
   * told; when the commit fails, nothing is kept and all are told.
   */
  grouped<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject: (error: Error) => void) => {
      const run = (): (() => void) => {
        this.run('SAVEPOINT member');
        try {
          const result = work();
          this.run('RELEASE member');
          return () => {
            resolve(result);
          };
        } catch (error) {
          // A full disk, for one, ends the whole transaction by itself. Going on would commit the members that follow
          // one by one, outside of the group.
          if (!this.db.isTransaction) throw error;
          this.db.exec('ROLLBACK TO member; RELEASE member');
          return () => {
            reject(error as Error);
          };
        }
      };
      this.waiting.push({ run, reject });
      if (this.waiting.length === 1) {
        // Through one more turn of the event loop: what is asked for in answer to what came in now shares the commit too.
        setImmediate(() => {
          setImmediate(() => {
            this.flush();
          });
        });
      }
    });
  }

  private flush(): void {
    const members = this.waiting;
    this.waiting = [];
    if (members.length === 0) return;
    let answers: (() => void)[];
    try {
      answers = this.transaction(() => members.map((member) => member.run()));
    } catch (error) {
      for (const member of members) member.reject(error as Error);
      return;
    }
    for (const answer of answers) answer();
  }

  /** Finishes what is waiting, moves the WAL into the main file and closes it. */
  close(): void {
    if (!this.db.isOpen) return;
    this.flush();
    this.statements.clear();
    try {
      this.db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } finally {
      this.db.close();
    }
  }

  private statement(sql: string): Statement {
    let statement = this.statements.get(sql);
    if (statement === undefined) {
      const prepared = this.db.prepare(sql);
      // Rows come as arrays: the driver would set each member of an object by a call of its own, which takes longer than
      // to read it.
      prepared.setReturnArrays(true);
      statement = { prepared, columns: prepared.columns().map(({ name }) => name) };
      this.statements.set(sql, statement);
    }
    return statement;
  }
}

/**
 * The one statement that the busy timeout does not cover: it fails at once while another process makes the same new
 * file a WAL file. That takes milliseconds, so waiting here is better than failing to start.
 */
function enterWalMode(db: Database): void {
  const busy = 5;
  for (let attempt = 1; ; attempt++) {
    try {
      db.exec('PRAGMA journal_mode = WAL');
      return;
    } catch (error) {
      if ((error as { errcode?: number }).errcode !== busy || attempt === 100) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}

type Cells = readonly SqlValue[];

function rowOf(columns: readonly string[], cells: Cells): SqlRow {
  const row: SqlRow = {};
  for (let index = 0; index < columns.length; index += 1) {
    row[columns[index] as string] = cells[index] as SqlValue;
  }
  return row;
}

function* rowsOf(columns: readonly string[], all: IterableIterator<Cells>): Generator<SqlRow> {
  for (const cells of all) yield rowOf(columns, cells);
}

/** The driver would cut a text at NUL and bind `undefined` as NULL: neither may happen in silence. */
function bindable(values: readonly (SqlValue | undefined)[]): readonly SqlValue[] {
  for (const value of values) {
    if (value === undefined) throw new TypeError('cannot bind undefined: use null');
    if (typeof value === 'string' && value.includes('\0')) throw new TypeError('cannot bind a text with NUL');
  }
  return values as readonly SqlValue[];
}
