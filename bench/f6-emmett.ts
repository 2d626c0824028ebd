import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { actionLogView, copiesView, historyView } from '#libs/action-center';
import type { DomainEvent, RecordedEvent } from '#libs/event-store';
import { SqliteEventStore } from '#libs/event-store/sqlite';
import { Projector, type Projection, type Stored } from '#libs/read-store';
import { SqliteReadStore } from '#libs/read-store/sqlite';
import type { SqlValue } from '#libs/sqlite';
import {
  batchCodecs,
  batchDecider,
  batchStream,
  decideAndAppend,
  metadataOf,
  remediationCodecs,
  remediationDecider,
  remediationStream,
  type BatchCommand,
  type Decider,
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

const PROJECTIONS = [actionLogView, copiesView, historyView] as const;
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
  const store = new SqliteReadStore(join(directory, 'read.db'));
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
  readonly fileName: string;
  readonly types: readonly string[];
  readonly streams: readonly {
    readonly stream: string;
    readonly decider: Readonly<Record<keyof Decider<never, never, never>, unknown>>;
    readonly commands: readonly unknown[];
  }[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly upserts: (events: readonly DomainEvent[], query: Query) => AsyncIterable<Upsert>;
}

type Query = (sql: string, values: readonly unknown[]) => Promise<readonly StoredRow[]>;

interface StoredRow {
  readonly id: string;
  readonly position: number;
  readonly doc: string;
}

interface Upsert {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

async function emmett({ size, directory }: PartInput) {
  const { remediation, batches } = workload(size);
  const fileName = join(directory, 'emmett.db');
  const tables = PROJECTIONS.map((view) => new ViewTable(view));
  const db = openRawSqlite(fileName, 'NORMAL');
  for (const table of tables) db.exec(table.schema);
  db.close();
  const { run } = (await import(pathToFileURL(join(PEER, 'workload.mjs')).href)) as {
    run: (work: PeerWork) => Promise<number>;
  };
  const seconds = await run({
    fileName,
    types: [...batchCodecs.types, ...remediationCodecs.types],
    streams: [
      { ...remediation, decider: remediationDecider },
      ...batches.map((batch) => ({ ...batch, decider: batchDecider })),
    ],
    metadata: { ...metadataOf(contextOf('emmett')), schemaVersion: '1' },
    upserts: upsertsInto(tables),
  });
  return { perSecond: size / seconds };
}

/** The rows that events make: those of one append are folded first, which spares the peer most of its writes. */
function upsertsInto(tables: readonly ViewTable[]): PeerWork['upserts'] {
  let position = 0n;
  return async function* (events, query) {
    const recorded = events.map((event): RecordedEvent => {
      position += 1n;
      return { id: '', stream: '', revision: 0n, position, metadata: {}, ...event };
    });
    for (const [index, table] of tables.entries()) {
      const view = PROJECTIONS[index] as Projection<unknown>;
      const changes = recorded.flatMap((event) =>
        view.project(event).map((change) => ({ ...change, position: event.position })),
      );
      const ids = new Set(changes.map(({ id }) => id));
      const rows = ids.size === 0 ? [] : await query(table.getMany, [JSON.stringify([...ids])]);
      const documents = new Map<string, Stored<unknown>>(
        rows.map(({ id, position: at, doc }) => [
          id,
          { id, position: BigInt(at), doc: JSON.parse(doc) as unknown },
        ]),
      );
      const touched = new Set<string>();
      for (const { id, apply, position: at } of changes) {
        const before = documents.get(id)?.doc;
        const doc = apply(before);
        if (doc === undefined || doc === before) continue;
        documents.set(id, { id, position: at, doc });
        touched.add(id);
      }
      for (const id of touched) {
        const document = documents.get(id);
        if (document === undefined) continue;
        // The peer's driver binds no bigint.
        const values = table
          .row(view, document)
          .map((value) => (typeof value === 'bigint' ? Number(value) : value));
        yield { sql: table.upsert, values };
      }
    }
  };
}

/** Installs the peer, in a full run only: it takes minutes, and its driver may have to be compiled. */
function missing(quick: boolean): string | undefined {
  if (existsSync(join(PEER, 'node_modules'))) return undefined;
  if (quick) return 'emmett is not installed; npm ci in bench/emmett, or a run without --quick, installs it';
  try {
    execFileSync('npm', ['ci', '--legacy-peer-deps', '--no-audit', '--no-fund'], {
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
  baseline: 'emmett 0.38.5 on its SQLite store, with an inline projection into the same tables',
  stores: ['sqlite'],
  counts: 'outcomes in batches of 500',
  sizes: { full: 50_000, quick: 2_000 },
  runs: 5,
  missing,
  parts: { ours, emmett },
  rows: [
    plain('Clawback', 'outcomes/s', 'ours', 'perSecond'),
    plain('emmett', 'outcomes/s', 'emmett', 'perSecond'),
    {
      label: 'Clawback ÷ emmett',
      unit: '×',
      of: (parts) => figure(parts, 'ours', 'perSecond') / figure(parts, 'emmett', 'perSecond'),
      aim: () => atLeast(5),
    },
  ],
};
