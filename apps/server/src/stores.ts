import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type EventStore, type WorkQueue } from '#libs/event-store';
import { SqliteEventStore } from '#libs/event-store/sqlite';
import { rolesOf, type Config } from '#libs/platform';
import { type ReadStore } from '#libs/read-store';
import { SqliteReadStore } from '#libs/read-store/sqlite';
import { copyEventTypes } from '#libs/remediation';
import { type ConnectionListener } from './system/connections.js';

/** The stores of a process, by its configuration. */
export interface Stores {
  readonly events: EventStore;
  /** For queries, and for the executor's checkpoint. */
  readonly readStore: ReadStore;
  /** For the projector: of several processes one writes a view. */
  readonly viewStore: ReadStore;
  /** Shares the work out among executors; one embedded process needs none. */
  readonly queue: WorkQueue | undefined;
  /** Names this process among others; the embedded default is alone and keeps its name. */
  readonly instance: string;
  close(): Promise<void>;
}

/** The executors that share the work. */
const GROUP = 'clawback-executors';

/**
 * Opens the embedded stores, or those on servers. An adapter of a server is loaded only when it is used.
 * @param instance names a process that takes the place of another; without it the name is a new one.
 */
export async function openStores(
  config: Config,
  listener: ConnectionListener,
  instance = newInstance(config),
): Promise<Stores> {
  const { eventStoreUrl, mongoUrl } = config.stores;
  const { events, queue } =
    eventStoreUrl === undefined
      ? embeddedEvents(config, listener)
      : await serverEvents(config, eventStoreUrl, listener);
  const { readStore, viewStore } =
    mongoUrl === undefined ? embeddedViews(config) : await serverViews(config, mongoUrl, instance);
  return {
    events,
    readStore,
    viewStore,
    queue,
    instance,
    async close() {
      await readStore.close();
      if (viewStore !== readStore) await viewStore.close();
      await events.close();
    },
  };
}

const newInstance = ({ stores }: Config): string =>
  stores.eventStoreUrl === undefined
    ? 'embedded'
    : `${hostname()}-${String(process.pid)}-${randomUUID().slice(0, 8)}`;

const embeddedEvents = (
  { data }: Config,
  listener: ConnectionListener,
): { events: EventStore; queue: undefined } => ({
  events: new SqliteEventStore(join(data.directory, 'events.db'), {
    onState: (state) => {
      listener.onSubscription(state);
    },
  }),
  queue: undefined,
});

async function serverEvents(
  { stores, executor }: Config,
  connectionString: string,
  listener: ConnectionListener,
): Promise<{ events: EventStore; queue: WorkQueue }> {
  const { EventStoreDbEventStore, PersistentWorkQueue } = await import('#libs/event-store/eventstoredb');
  const connection = {
    connectionString,
    ...(stores.eventStoreCaFile === undefined ? {} : { caFile: stores.eventStoreCaFile }),
  };
  const deliveries = new PersistentWorkQueue({
    ...connection,
    group: GROUP,
    streamPrefix: 'remediationBatch-',
    eventTypes: ['BatchReleased'],
    concurrency: executor.batchesInFlight,
    // Long enough for a batch with a copy that uses up its deadline: sooner it would be given to a second executor.
    messageTimeoutMs: 2 * executor.copyDeadlineMs + 30_000,
    onState: (state) => {
      listener.onQueue(state);
    },
  });
  return {
    events: new EventStoreDbEventStore({
      ...connection,
      frequentTypes: copyEventTypes,
      onState: (state) => {
        listener.onSubscription(state);
      },
    }),
    queue: {
      consume: (handler, signal) =>
        deliveries.consume(async (event) => {
          await handler(event);
          return 'ack';
        }, signal),
    },
  };
}

/** One file held all views once. They are made again from the log, each in a file of its own (ADR 0015). */
export function removeOldViews({ stores, data: { directory } }: Config): void {
  if (stores.mongoUrl !== undefined) return;
  for (const suffix of ['', '-wal', '-shm']) rmSync(join(directory, `read.db${suffix}`), { force: true });
}

function embeddedViews({ data }: Config): { readStore: ReadStore; viewStore: ReadStore } {
  const store = new SqliteReadStore(join(data.directory, 'views'));
  return { readStore: store, viewStore: store };
}

async function serverViews(
  config: Config,
  url: string,
  owner: string,
): Promise<{ readStore: ReadStore; viewStore: ReadStore }> {
  const { MongoReadStore } = await import('#libs/read-store/mongodb');
  const database = config.stores.mongoDatabase;
  const readStore = new MongoReadStore({ url, database });
  return {
    readStore,
    viewStore: rolesOf(config).has('projections') ? new MongoReadStore({ url, database, owner }) : readStore,
  };
}
