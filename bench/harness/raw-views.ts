import { join } from 'node:path';
import type { Position } from '#libs/kernel';
import { ReadStore, type Page, type Stored, type ViewSpec, type Write } from '#libs/read-store';
import type { SqlRow, SqlValue } from '#libs/sqlite';
import { MongoClient, type AnyBulkWriteOperation } from 'mongodb';
import { ViewCollection, type ViewDocument } from '../../libs/read-store/src/mongodb/view-collection.js';
import { ViewTable } from '../../libs/read-store/src/sqlite/view-table.js';
import type { Target } from './bench.js';
import { newDatabaseName, openRawSqlite } from './stores.js';

/** Writes go to the driver in bulks of so many rows, whatever the projector's own commits hold. */
const BULK_ROWS = 5000;

/** Takes rows ready for the driver, and gives documents back for the fold. */
interface RawTable<RowOf> {
  /** Made before the clock runs. */
  rows(view: ViewSpec<unknown>, write: Write<unknown>): readonly RowOf[];
  /** What is measured. */
  write(rows: readonly RowOf[]): Promise<void> | void;
  /** Makes the indexes of what is there; measured too. */
  index(): Promise<void> | void;
  read(view: ViewSpec<unknown>, ids: readonly string[]): Promise<Stored<unknown>[]> | Stored<unknown>[];
}

/**
 * A read store for baselines: writes by the bare driver the very rows that a projector commits, in bulks, and times
 * nothing but that. What the fold needs (reading documents, making their JSON) is not timed.
 */
export class RawViews extends ReadStore {
  rows = 0;
  seconds = 0;
  private readonly views = new Map<string, RawView<unknown>>();

  private constructor(
    private readonly make: (view: ViewSpec<never>) => Promise<RawTable<unknown>> | RawTable<unknown>,
    private readonly end: () => Promise<void> | void,
  ) {
    super();
  }

  static open({ mongoUrl }: Target, directory: string): RawViews {
    if (mongoUrl !== undefined) {
      const client = new MongoClient(mongoUrl, { writeConcern: { w: 'majority', journal: true } });
      const database = client.db(newDatabaseName());
      return new RawViews(
        (view) => {
          const collection = new ViewCollection(view, 1, database);
          return rawCollection(collection);
        },
        async () => {
          await database.dropDatabase();
          await client.close();
        },
      );
    }
    const db = openRawSqlite(join(directory, 'raw.db'), 'NORMAL');
    return new RawViews(
      (view) => {
        const table = new ViewTable(view, 1);
        db.exec(table.schema);
        db.exec(table.patching);
        return rawTable(db, table);
      },
      () => {
        db.close();
      },
    );
  }

  override async prepare(view: ViewSpec<never>): Promise<void> {
    // Once more for its indexes, which are made at the end.
    if (!this.views.has(view.name)) this.views.set(view.name, new RawView(await this.make(view)));
  }

  override async getMany<Doc>(view: ViewSpec<Doc>, ids: readonly string[]): Promise<Stored<Doc>[]> {
    return (await this.view(view).getMany(view as ViewSpec<unknown>, ids)) as Stored<Doc>[];
  }

  override async commit<Doc>(
    view: ViewSpec<Doc>,
    writes: readonly Write<Doc>[],
    checkpoint: Position,
  ): Promise<void> {
    const raw = this.view(view);
    raw.position = checkpoint;
    raw.add(view as ViewSpec<unknown>, writes);
    if (raw.waiting >= BULK_ROWS) await this.write(raw);
  }

  /** Writes what is left and makes the indexes. */
  async finish(): Promise<void> {
    for (const raw of this.views.values()) {
      await this.write(raw);
      this.seconds += await secondsOf(() => raw.index());
    }
  }

  override checkpoint(view: ViewSpec<never>): Promise<Position> {
    return Promise.resolve(this.view(view).position);
  }

  override builds(): Promise<never> {
    throw new Error('one build only');
  }

  override activate(): Promise<never> {
    throw new Error('one build only');
  }

  override discard(): Promise<never> {
    throw new Error('one build only');
  }

  override find<Doc>(): Promise<Page<Doc>> {
    throw new Error('no queries here');
  }

  override select(): Promise<never> {
    throw new Error('no queries here');
  }

  override selectMany(): Promise<never> {
    throw new Error('no queries here');
  }

  override count(): Promise<number> {
    throw new Error('no queries here');
  }

  override total(): Promise<never> {
    throw new Error('no queries here');
  }

  override spread(): Promise<never> {
    throw new Error('no queries here');
  }

  override async close(): Promise<void> {
    await this.end();
  }

  private async write(raw: RawView<unknown>): Promise<void> {
    const { rows, seconds } = await raw.write();
    this.rows += rows;
    this.seconds += seconds;
  }

  private view(view: ViewSpec<never>): RawView<unknown> {
    const raw = this.views.get(view.name);
    if (raw === undefined) throw new Error(`view ${view.name} is not prepared`);
    return raw;
  }
}

/** One view with the rows that wait for their bulk. */
class RawView<RowOf> {
  position: Position = -1n;
  private rows: RowOf[] = [];
  private readonly unwritten = new Map<string, Stored<unknown>>();

  constructor(private readonly table: RawTable<RowOf>) {}

  get waiting(): number {
    return this.rows.length;
  }

  add(view: ViewSpec<unknown>, writes: readonly Write<unknown>[]): void {
    for (const write of writes) {
      this.rows.push(...this.table.rows(view, write));
      if (!('set' in write)) this.unwritten.set(write.id, write);
    }
  }

  async getMany(view: ViewSpec<unknown>, ids: readonly string[]): Promise<Stored<unknown>[]> {
    const here = ids.flatMap((id) => this.unwritten.get(id) ?? []);
    const there = ids.filter((id) => !this.unwritten.has(id));
    return [...here, ...(await this.table.read(view, there))];
  }

  index(): Promise<void> | void {
    return this.table.index();
  }

  async write(): Promise<{ rows: number; seconds: number }> {
    const rows = this.rows;
    this.rows = [];
    const seconds = await secondsOf(() => this.table.write(rows));
    this.unwritten.clear();
    return { rows: rows.length, seconds };
  }
}

async function secondsOf(work: () => Promise<void> | void): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

interface RawRow {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

function rawTable(db: ReturnType<typeof openRawSqlite>, table: ViewTable): RawTable<RawRow> {
  const statements = new Map(
    [table.upsert, ...table.patches.map(({ upsert }) => upsert)].map((sql) => [sql, db.prepare(sql)]),
  );
  const select = db.prepare(table.getMany);
  const upsertOf = (member: string): string =>
    table.patches.find((patch) => patch.member === member)?.upsert ?? '';
  return {
    rows: (view, write) =>
      'set' in write
        ? table.patched(view, write).map(([member, values]) => ({ sql: upsertOf(member), values }))
        : [{ sql: table.upsert, values: table.row(view, write) }],
    write(rows) {
      db.exec('BEGIN IMMEDIATE');
      for (const { sql, values } of rows) statements.get(sql)?.run(...values);
      db.exec('COMMIT');
    },
    index() {
      for (const statement of table.indexes) db.exec(statement);
    },
    read: (view, ids) => select.all(JSON.stringify(ids)).map((row) => table.stored(view, row as SqlRow)),
  };
}

function rawCollection(collection: ViewCollection): RawTable<AnyBulkWriteOperation<ViewDocument>> {
  let turn = 0;
  return {
    rows(view, write) {
      turn -= 1;
      return collection.writes(view, [write], turn);
    },
    async write(rows) {
      if (rows.length > 0) await collection.documents.bulkWrite([...rows], { ordered: false });
    },
    async index() {
      for (const index of collection.indexes) await collection.documents.createIndexes([index]);
    },
    read: async (view, ids) =>
      (await collection.documents.find({ _id: { $in: [...ids] } }).toArray()).map((row) =>
        collection.stored(view, row),
      ),
  };
}
