import { join } from 'node:path';
import { type EventStore, type NewEvent, appendEvents, decideAndAppend, metadataOf } from '#libs/event-store';
import { idsFrom, inFlight } from '#libs/kernel';
import { batchCodecs, batchDecider, type Batch, type BatchCommand } from '#libs/remediation';
import { EventStoreDBClient, jsonEvent, NO_STREAM } from '@eventstore/db-client';
import { atLeast, figure, plain, type Bench, type PartInput } from './harness/bench.js';
import { timed } from './harness/statistics.js';
import { openEventStore, openRawSqlite } from './harness/stores.js';
import {
  claimCommand,
  contextOf,
  decided,
  movableBatches,
  movedCommand,
  planCommand,
  releaseCommand,
  started,
  streamOf,
  type StartedBatch,
} from './workload/batches.js';

/** As many as the product has under way. */
const APPENDS_IN_FLIGHT = 8;

interface Prepared {
  readonly batch: Batch;
  readonly stream: string;
  /** Claimed, with all its copies pending. */
  readonly claimed: StartedBatch;
  /** What the mailboxes answered. */
  readonly moved: BatchCommand;
}

const prepared = (size: number): Prepared[] =>
  movableBatches(size).map((batch) => {
    const { state } = decided(batchDecider.initial, planCommand(batch), releaseCommand, claimCommand);
    const claimed = started(state);
    return { batch, stream: streamOf(batch), claimed, moved: movedCommand(claimed) };
  });

/** Puts the stream of every batch where a worker finds it: planned and released, and claimed if asked for. */
async function writeStreams(
  store: EventStore,
  batches: readonly Prepared[],
  claimed: boolean,
): Promise<void> {
  const commands = [releaseCommand, ...(claimed ? [claimCommand] : [])];
  for (const { batch, stream } of batches) {
    const { events } = decided(batchDecider.initial, planCommand(batch), ...commands);
    await appendEvents(store, batchCodecs, stream, 'noStream', events, contextOf(`plan ${stream}`));
  }
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const running = inFlight(APPENDS_IN_FLIGHT);
  for (const item of items) {
    await running.add(async () => {
      await work(item);
    });
  }
  await running.drain();
}

/** Decides on the results of a batch and appends its outcomes, as a worker does that holds the batch. */
async function record({ size, target, directory }: PartInput) {
  const batches = prepared(size);
  const store = await openEventStore(target, directory);
  await writeStreams(store, batches, true);
  const seconds = await timed(() =>
    inParallel(batches, async ({ stream, claimed, moved }) => {
      const events = batchDecider.decide(claimed, moved);
      await appendEvents(store, batchCodecs, stream, 2n, events, contextOf(`record ${stream}`));
    }),
  );
  await store.close();
  return { perSecond: size / seconds };
}

/** The same from the release on: the batch is loaded, and the claim is decided and appended before. */
async function claimAndRecord({ size, target, directory }: PartInput) {
  const batches = prepared(size);
  const store = await openEventStore(target, directory);
  await writeStreams(store, batches, false);
  const seconds = await timed(() =>
    inParallel(batches, async ({ stream }) => {
      const context = contextOf(`claim ${stream}`);
      const claim = await decideAndAppend(store, batchCodecs, batchDecider, stream, claimCommand, context);
      const state = started(claim.state);
      const events = batchDecider.decide(state, movedCommand(state));
      await appendEvents(
        store,
        batchCodecs,
        stream,
        claim.revision ?? 0n,
        events,
        contextOf(`record ${stream}`),
      );
    }),
  );
  await store.close();
  return { perSecond: size / seconds };
}

/** What the product appends, event by event. */
const recordedEvents = ({ stream, claimed, moved }: Prepared): NewEvent[] => {
  const context = contextOf(`record ${stream}`);
  const events = batchDecider.decide(claimed, moved);
  return batchCodecs.encodeAll(events, idsFrom(context.commandId, stream), metadataOf(context));
};

/** The same events by the driver alone; for a file as texts that were made before, or made while it writes. */
const raw = (text: 'made before' | 'made while writing') => async (input: PartInput) => {
  const appends = prepared(input.size).map((batch) => ({
    stream: batch.stream,
    events: recordedEvents(batch),
  }));
  const seconds =
    input.target.eventStoreUrl === undefined
      ? await rawInFile(join(input.directory, 'events.db'), appends, text)
      : await rawOnServer(input.target.eventStoreUrl, appends);
  return { perSecond: input.size / seconds };
};

interface Append {
  readonly stream: string;
  readonly events: readonly NewEvent[];
}

async function rawInFile(
  path: string,
  appends: readonly Append[],
  text: Parameters<typeof raw>[0],
): Promise<number> {
  const db = openRawSqlite(path, 'FULL');
  db.exec(
    `CREATE TABLE events (position INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, revision INTEGER NOT NULL,
       id TEXT NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL, metadata TEXT NOT NULL,
       UNIQUE (stream, revision)) STRICT`,
  );
  const insert = db.prepare(
    'INSERT INTO events (stream, revision, id, type, data, metadata) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const written = ({ id, type, data, metadata }: NewEvent) => ({
    id,
    type,
    data: JSON.stringify(data),
    metadata: JSON.stringify(metadata),
  });
  const ready = appends.map(({ stream, events }) => ({ stream, events: events.map(written) }));
  return await secondsInGroups(db, ready, ({ stream, events: made }, index) => {
    const events = text === 'made before' ? made : appends[index]?.events.map(written);
    events?.forEach(({ id, type, data, metadata }, revision) => {
      insert.run(stream, revision, id, type, data, metadata);
    });
  });
}

/** Writes as many appends to a transaction as the product has under way, and closes the file. */
async function secondsInGroups<T>(
  db: ReturnType<typeof openRawSqlite>,
  appends: readonly T[],
  write: (append: T, index: number) => void,
): Promise<number> {
  const seconds = await timed(() => {
    for (let first = 0; first < appends.length; first += APPENDS_IN_FLIGHT) {
      db.exec('BEGIN IMMEDIATE');
      appends.slice(first, first + APPENDS_IN_FLIGHT).forEach((append, index) => {
        write(append, first + index);
      });
      db.exec('COMMIT');
    }
  });
  db.close();
  return seconds;
}

/** As the product lays them out: a row for each append, its JSON made while it is written. */
async function rawAppendsInFile({ size, directory }: PartInput) {
  const appends = prepared(size).map((batch) => ({ stream: batch.stream, events: recordedEvents(batch) }));
  const db = openRawSqlite(join(directory, 'events.db'), 'FULL');
  db.exec(
    `CREATE TABLE appends (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, revision INTEGER NOT NULL,
       count INTEGER NOT NULL, events TEXT NOT NULL, metadata TEXT NOT NULL, UNIQUE (stream, revision)) STRICT`,
  );
  const insert = db.prepare(
    'INSERT INTO appends (position, stream, revision, count, events, metadata) VALUES (?, ?, ?, ?, ?, ?)',
  );
  let position = 0;
  const seconds = await secondsInGroups(db, appends, ({ stream, events }) => {
    const json = JSON.stringify(events.map(({ id, type, data }) => ({ id, type, data })));
    const metadata = JSON.stringify(events[0]?.metadata);
    position += events.length;
    insert.run(position, stream, events.length - 1, events.length, json, metadata);
  });
  return { perSecond: size / seconds };
}

/** A server keeps events as it likes: there it is the same as {@link raw}. */
const rawAppends = (input: PartInput) =>
  input.target.eventStoreUrl === undefined ? rawAppendsInFile(input) : raw('made while writing')(input);

async function rawOnServer(url: string, appends: readonly Append[]): Promise<number> {
  const client = EventStoreDBClient.connectionString(url);
  // A call of its own for every append, as the product has it; over plain text nothing of this is sent.
  const credentials = { username: 'bench', password: 'bench' };
  const seconds = await timed(() =>
    inParallel(appends, ({ stream, events }) =>
      client.appendToStream(
        `raw-${stream}`,
        events.map(({ id, type, data, metadata }) => jsonEvent({ id, type, data: data as never, metadata })),
        { expectedRevision: NO_STREAM, credentials },
      ),
    ),
  );
  await client.dispose();
  return seconds;
}

export const bench: Bench = {
  title: 'outcomes recorded a second, through decide and append',
  baseline:
    'the same events appended by the driver of the store alone, in the same groups; on SQLite a row for each event',
  stores: ['sqlite', 'eventstoredb'],
  counts: 'outcomes in batches of 500',
  sizes: { full: 200_000, quick: 1_000 },
  runs: 5,
  parts: {
    record,
    raw: raw('made before'),
    rawWithJson: raw('made while writing'),
    rawAppends,
    claimAndRecord,
  },
  rows: [
    plain('outcomes recorded', '1/s', 'record', 'perSecond'),
    plain('the driver alone, texts made before', '1/s', 'raw', 'perSecond'),
    plain('the driver alone, JSON made while writing', '1/s', 'rawWithJson', 'perSecond'),
    {
      label: 'recorded ÷ driver alone',
      unit: '×',
      of: (parts) => figure(parts, 'record', 'perSecond') / figure(parts, 'raw', 'perSecond'),
      aim: ({ store }) => atLeast(store === 'eventstoredb' ? 0.7 : 0.8),
    },
    {
      label: 'recorded ÷ driver alone with JSON',
      unit: '×',
      of: (parts) => figure(parts, 'record', 'perSecond') / figure(parts, 'rawWithJson', 'perSecond'),
    },
    {
      label: 'recorded ÷ driver alone with JSON, a row for each append as ours',
      unit: '×',
      of: (parts) => figure(parts, 'record', 'perSecond') / figure(parts, 'rawAppends', 'perSecond'),
    },
    {
      label: 'claimed and recorded ÷ driver alone',
      unit: '×',
      of: (parts) => figure(parts, 'claimAndRecord', 'perSecond') / figure(parts, 'raw', 'perSecond'),
    },
  ],
};
