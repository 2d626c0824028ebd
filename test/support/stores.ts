import { join } from 'node:path';
import type { EventStore } from '#libs/event-store';
import { EventStoreDbEventStore } from '#libs/event-store/eventstoredb';
import { SqliteEventStore } from '#libs/event-store/sqlite';
import type { ConfigOverrides } from '#libs/platform';
import { realEventStoreUrl, startEventStore } from './eventstoredb/server-under-test.js';
import { realMongoUrl, startMongo } from './mongodb.js';

/** Set by the jest project whose servers under test keep nothing in files but the sandbox. */
const onServers = (globalThis as { readonly clawbackOnServers?: boolean }).clawbackOnServers === true;

/** FerretDB reads a whole view for every page of it: many small pages take minutes, and show nothing about us. */
export const everyPageIsDear = onServers && realMongoUrl === undefined;

/** A real EventStoreDB has one log, which holds what all servers under test have ever done. */
export const logIsShared = onServers && realEventStoreUrl !== undefined;

/** Where one server under test keeps its events and its views. They outlive the server, until they are disposed of. */
export interface StoresUnderTest {
  /** Points the product at them. */
  readonly settings: NonNullable<ConfigOverrides['stores']>;
  /** The log itself, past the server. Whoever opens it closes it. */
  openEvents(): EventStore;
  dispose(): Promise<void>;
}

/** Those of the jest project: of this server alone, but for the log of a real EventStoreDB. */
export const startStores = (dataDirectory: string): Promise<StoresUnderTest> =>
  onServers ? storesOnServers() : Promise.resolve(embeddedStores(dataDirectory));

const embeddedStores = (dataDirectory: string): StoresUnderTest => ({
  settings: {},
  openEvents: () => new SqliteEventStore(join(dataDirectory, 'events.db')),
  dispose: () => Promise.resolve(),
});

async function storesOnServers(): Promise<StoresUnderTest> {
  const mongo = await startMongo();
  const eventStore = await startEventStore();
  return {
    settings: { eventStoreUrl: eventStore.url, mongoUrl: mongo.url, mongoDatabase: mongo.database },
    openEvents: () => new EventStoreDbEventStore({ connectionString: eventStore.url }),
    async dispose() {
      await mongo.dispose();
      await eventStore.stop();
    },
  };
}
