import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { EventStore } from '#libs/event-store';
import { SqliteEventStore } from '#libs/event-store/sqlite';
import type { ReadStore } from '#libs/read-store';
import { SqliteReadStore } from '#libs/read-store/sqlite';
import { DatabaseSync } from '@photostructure/sqlite';
import { MongoClient } from 'mongodb';
import type { Target } from './bench.js';

/** The event store of the product: on the server when the target is one of events, else embedded. */
export async function openEventStore({ eventStoreUrl }: Target, directory: string): Promise<EventStore> {
  if (eventStoreUrl === undefined) return new SqliteEventStore(join(directory, 'events.db'));
  const { EventStoreDbEventStore } = await import('#libs/event-store/eventstoredb');
  return new EventStoreDbEventStore({ connectionString: eventStoreUrl });
}

/** The read store of the product: on the server when the target is one of views, else embedded. */
export async function openReadStore(
  { mongoUrl }: Target,
  directory: string,
  database = newDatabaseName(),
): Promise<{ readonly store: ReadStore; readonly database: string; dispose(): Promise<void> }> {
  if (mongoUrl === undefined) {
    const embedded = new SqliteReadStore(join(directory, 'views'));
    return { store: embedded, database, dispose: () => embedded.close() };
  }
  const { MongoReadStore } = await import('#libs/read-store/mongodb');
  const onServer = new MongoReadStore({ url: mongoUrl, database, owner: `bench-${randomUUID()}` });
  return {
    store: onServer,
    database,
    async dispose() {
      await onServer.close();
      await dropDatabase(mongoUrl, database);
    },
  };
}

export const newDatabaseName = (): string => `clawback_bench_${randomUUID().replaceAll('-', '')}`;

export async function dropDatabase(url: string, database: string): Promise<void> {
  const client = new MongoClient(url);
  await client.db(database).dropDatabase();
  await client.close();
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
