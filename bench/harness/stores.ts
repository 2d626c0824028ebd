import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { EventStore } from '#libs/event-store';
import { SqliteEventStore } from '#libs/event-store/sqlite';
import type { ReadStore } from '#libs/read-store';
import { SqliteReadStore } from '#libs/read-store/sqlite';
import { DatabaseSync } from '@photostructure/sqlite';
import { MongoClient, type Db } from 'mongodb';
import type { Target } from './bench.js';

/** The event store of the product: on the server when the target is one of events, else embedded. */
export async function openEventStore({ store, url }: Target, directory: string): Promise<EventStore> {
  if (store !== 'eventstoredb' || url === undefined)
    return new SqliteEventStore(join(directory, 'events.db'));
  const { EventStoreDbEventStore } = await import('#libs/event-store/eventstoredb');
  return new EventStoreDbEventStore({ connectionString: url });
}

/** The read store of the product, empty: on the server when the target is one of views, else embedded. */
export async function openReadStore(
  { store, url }: Target,
  directory: string,
): Promise<{ readonly store: ReadStore; dispose(): Promise<void> }> {
  if (store !== 'mongodb' || url === undefined) {
    const embedded = new SqliteReadStore(join(directory, 'read.db'));
    return { store: embedded, dispose: () => embedded.close() };
  }
  const { MongoReadStore } = await import('#libs/read-store/mongodb');
  const database = newDatabaseName();
  const onServer = new MongoReadStore({ url, database, owner: 'bench' });
  return {
    store: onServer,
    async dispose() {
      await onServer.close();
      await withMongo(url, database, async (db) => {
        await db.dropDatabase();
      });
    },
  };
}

export const newDatabaseName = (): string => `clawback_bench_${randomUUID().replaceAll('-', '')}`;

export async function withMongo<T>(url: string, database: string, work: (db: Db) => Promise<T>): Promise<T> {
  const client = new MongoClient(url);
  try {
    return await work(client.db(database));
  } finally {
    await client.close();
  }
}

export type RawSqlite = InstanceType<typeof DatabaseSync>;

/** The bare driver, with the settings that the product's files have. */
export function openRawSqlite(path: string, durability: 'FULL' | 'NORMAL'): RawSqlite {
  const db = new DatabaseSync(path, { timeout: 5000 });
  db.exec(
    `PRAGMA journal_mode = WAL; PRAGMA synchronous = ${durability}; PRAGMA cache_size = -65536; ` +
      'PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 4000; PRAGMA foreign_keys = ON',
  );
  return db;
}
