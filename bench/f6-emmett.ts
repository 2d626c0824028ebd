import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { actionLogView, historyView, messageBatchesView } from '#libs/action-center';
import { type DomainEvent, type RecordedEvent, decideAndAppend, metadataOf } from '#libs/event-store';
import { SqliteEventStore } from '#libs/event-store/sqlite';
import { Projector, changed, type Projection, type Stored } from '#libs/read-store';
import { SqliteReadStore } from '#libs/read-store/sqlite';
import type { SqlValue } from '#libs/sqlite';
import {
  batchCodecs,
  batchDecider,
  batchStream,
  remediationCodecs,
  remediationDecider,
  remediationStream,
  type BatchCommand,
  type RemediationCommand,
} from '#libs/remediation';
import { ViewTable } from '../libs/read-store/src/sqlite/view-table.js';
import { atLeast, figure, plain, type Bench, type PartInput } from './harness/bench.js';
import { ROOT } from './harness/machine.js';
import { timed } from './harness/statistics.js';
import { openRawSqlite } from './harness/stores.js';
import {
  claimCommand,
  contextOf,
  decided,
  movableBatches,
  movedCommand,
  planCommand,
  releaseCommand,
  started,
} from './workload/batches.js';
import { planFor } from './workload/log.js';

const PEER = join(ROOT, 'bench/emmett');

const PROJECTIONS = [actionLogView, messageBatchesView, historyView] as const;
const POSITION_TIMEOUT_MS = 600_000;

interface Workload {
  readonly remediation: { readonly stream: string; readonly commands: readonly RemediationCommand[] };
  readonly batches: readonly { readonly stream: string; readonly commands: readonly BatchCommand[] }[];
}

/** A remediation is submitted; each of its batches is planned, released, claimed, and its outcomes are recorded. */
function workload(size: number): Workload {
  const { submission, batches } = planFor('delete', movableBatches(size));
  return {
    remediation: {
      stream: remediationStream(submission.approvalId),
      commands: [{ type: 'Submit', submission, approve: true }],
    },
    batches: batches.map((batch) => {
      const commands = [planCommand(batch, submission), releaseCommand, claimCommand];
      const { state } = decided(batchDecider.initial, ...commands);
      return {
        stream: batchStream(submission.planId, batch.number),
        commands: [...commands, movedCommand(started(state))],
      };
    }),
  };
}

/** One command after the other; the views are kept by the projector at the same time. */
async function ours({ size, directory }: PartInput) {
  const { remediation, batches } = workload(size);
  const events = new SqliteEventStore(join(directory, 'events.db'));
  const store = new SqliteReadStore(join(directory, 'views'));
  const projector = new Projector({ events, store, projections: PROJECTIONS });
  await projector.start();
  const seconds = await timed(async () => {
    const { stream, commands } = remediation;
    for (const command of commands) {
      const context = contextOf(`${stream} ${command.type}`);
      await decideAndAppend(events, remediationCodecs, remediationDecider, stream, command, context);
    }
    for (const batch of batches) {
      for (const command of batch.commands) {
        const context = contextOf(`${batch.stream} ${command.type}`);
        await decideAndAppend(events, batchCodecs, batchDecider, batch.stream, command, context);
      }
    }
    const head = await events.head();
    for (const { name } of PROJECTIONS) {
      if (!(await projector.whenProjected(name, head, { timeoutMs: POSITION_TIMEOUT_MS }))) {
        throw new Error(`the view ${name} does not get there`);
      }
    }
  });
  await projector.stop();
  await store.close();
  await events.close();
  return { perSecond: size / seconds };
}

/** What the peer's own module takes. */
interface PeerWork {
  readonly streams: readonly {
    readonly stream: string;
    readonly decider: Readonly<Record<'initial' | 'decide' | 'evolve', unknown>>;
    readonly commands: readonly unknown[];
  }[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly upserts: (events: readonly DomainEvent[], query: Query) => AsyncIterable<Upsert>;
}

interface PeerModule {
  readonly runOnSqlite: (
    work: PeerWork & { readonly fileName: string; readonly types: readonly string[] },
  ) => Promise<number>;
  readonly runInMemory: (
    work: PeerWork & { readonly query: Query; readonly write: (upserts: readonly Upsert[]) => void },
  ) => Promise<number>;
}

type Query = (sql: string, values: readonly unknown[]) => Promise<readonly StoredRow[]>;

interface StoredRow {
  readonly id: string;
  readonly doc: string;
}

interface Upsert {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

/** On its SQLite store; where that fails, all of it again on its store in memory. */
const emmett =
  (project: 'each event' | 'each append') =>
  async ({ size, directory }: PartInput) => {
    const { remediation, batches } = workload(size);
    const peer = (await import(pathToFileURL(join(PEER, 'workload.mjs')).href)) as PeerModule;
    const tables = PROJECTIONS.map((view) => new ViewTable(view, 1));
    const types = [...batchCodecs.types, ...remediationCodecs.types];
    const work = (): PeerWork => ({
      streams: [
        { ...remediation, decider: remediationDecider },
        ...batches.map((batch) => ({ ...batch, decider: batchDecider })),
      ],
      metadata: { ...metadataOf(contextOf('emmett')), schemaVersion: '1' },
      upserts: upsertsInto(tables, project),
    });
    const fileName = join(directory, 'emmett.db');
    tablesIn(fileName, tables).close();
    try {
      const seconds = await peer.runOnSqlite({ ...work(), fileName, types });
      return { perSecond: size / seconds, storeFailed: 0 };
    } catch (error) {
      process.stderr.write(`emmett's SQLite store failed, its store in memory is used: ${String(error)}\n`);
    }
    const db = tablesIn(join(directory, 'rows.db'), tables);
    const seconds = await peer.runInMemory({
      ...work(),
      query: (sql, [ids]) => Promise.resolve(db.prepare(sql).all(String(ids)) as unknown as StoredRow[]),
      write(upserts) {
        db.exec('BEGIN IMMEDIATE');
        for (const { sql, values } of upserts) db.prepare(sql).run(...values);
        db.exec('COMMIT');
      },
    });
    db.close();
    return { perSecond: size / seconds, storeFailed: 1 };
  };

function tablesIn(fileName: string, tables: readonly ViewTable[]): ReturnType<typeof openRawSqlite> {
  const db = openRawSqlite(fileName, 'NORMAL');
  for (const { schema, indexes } of tables) for (const statement of [schema, ...indexes]) db.exec(statement);
  return db;
}

/**
 * The rows that events make. A projection of the peer takes event by event; to fold those of one append first, by a fold
 * like ours, spares it most of its writes.
 */
function upsertsInto(
  tables: readonly ViewTable[],
  project: 'each event' | 'each append',
): PeerWork['upserts'] {
  let position = 0n;
  return async function* (events, query) {
    const recorded = events.map((event): RecordedEvent => {
      position += 1n;
      return { id: '', stream: '', revision: 0n, position, metadata: {}, ...event };
    });
    const groups = project === 'each append' ? [recorded] : recorded.map((event) => [event]);
    for (const group of groups) {
      for (const [index, table] of tables.entries()) {
        yield* upsertsOf(PROJECTIONS[index] as Projection<unknown>, table, group, query);
      }
    }
  };
}

async function* upsertsOf(
  view: Projection<unknown>,
  table: ViewTable,
  events: readonly RecordedEvent[],
  query: Query,
): AsyncGenerator<Upsert> {
  const changes = events.flatMap((event) =>
    view.project(event).map((change) => ({ change, position: event.position })),
  );
  if (changes.length === 0) return;
  const ids = new Set(changes.map(({ change }) => change.id));
  const rows = await query(table.getMany, [JSON.stringify([...ids])]);
  const documents = new Map(rows.map(({ id, doc }) => [id, JSON.parse(doc) as unknown]));
  const touched = new Map<string, Stored<unknown>>();
  for (const { change, position } of changes) {
    const { id } = change;
    const before = documents.get(id);
    const doc = changed(change, before);
    if (doc === undefined || doc === before) continue;
    documents.set(id, doc);
    touched.set(id, { id, position, doc });
  }
  for (const document of touched.values()) {
    // The peer's driver binds no bigint.
    const values = table
      .row(view, document)
      .map((value) => (typeof value === 'bigint' ? Number(value) : value));
    yield { sql: table.upsert, values };
  }
}

/** Installs the peer, in a full run only: it takes minutes, and its driver may have to be compiled. */
function missing(quick: boolean): string | undefined {
  if (existsSync(join(PEER, 'node_modules'))) return undefined;
  if (quick) return 'emmett is not installed; npm ci in bench/emmett, or a run without --quick, installs it';
  try {
    execFileSync('npm', ['ci', '--no-audit', '--no-fund'], {
      cwd: PEER,
      stdio: 'inherit',
    });
    return undefined;
  } catch {
    return 'emmett cannot be installed here (npm ci in bench/emmett fails)';
  }
}

export const bench: Bench = {
  title: 'the same decisions, appends and rows by emmett, one command after the other',
  baseline:
    'emmett 0.38.5 on its SQLite store, with an inline projection, event by event, into the same tables',
  stores: ['sqlite'],
  counts: 'outcomes in batches of 500',
  sizes: { full: 20_000, quick: 2_000 },
  runs: 5,
  missing,
  parts: { ours, emmett: emmett('each event'), emmettFolded: emmett('each append') },
  rows: [
    plain('Clawback', 'outcomes/s', 'ours', 'perSecond'),
    plain('emmett', 'outcomes/s', 'emmett', 'perSecond'),
    plain('its SQLite store failed (1: on its store in memory)', '', 'emmett', 'storeFailed'),
    plain('emmett, the events of an append folded by us', 'outcomes/s', 'emmettFolded', 'perSecond'),
    plain('there its SQLite store failed', '', 'emmettFolded', 'storeFailed'),
    {
      label: 'Clawback ÷ emmett',
      unit: '×',
      of: (parts) => figure(parts, 'ours', 'perSecond') / figure(parts, 'emmett', 'perSecond'),
      aim: () => atLeast(5),
    },
    {
      label: 'Clawback ÷ emmett with our fold',
      unit: '×',
      of: (parts) => figure(parts, 'ours', 'perSecond') / figure(parts, 'emmettFolded', 'perSecond'),
    },
  ],
};
