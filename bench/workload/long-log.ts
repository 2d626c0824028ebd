import { createHash } from 'node:crypto';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ActionCenter, actionLogView, historyView, type HistoryDoc } from '#libs/action-center';
import { type DomainEvent, type EventCodecs, type RecordedEvent, metadataOf } from '#libs/event-store';
import { changed, type Projection, type ReadStore, type Stored } from '#libs/read-store';
import {
  MAX_BATCH_COPIES,
  PlanCounter,
  batchCodecs,
  batchDecider,
  batcher,
  planner,
  remediationCodecs,
  type Batch,
  type Submission,
} from '#libs/remediation';
import type { PartInput } from '../harness/bench.js';
import { dropDatabase, openReadStore } from '../harness/stores.js';
import {
  claimCommand,
  contextOf,
  decided,
  movedCommand,
  planCommand,
  releaseCommand,
  started,
} from './batches.js';
import { mailRecords, selectedEmailOf } from './mail.js';

const APPROVAL_ID = '0199d5f0-7d1c-7000-8000-000000000030';
const PLAN_ID = '0199d5f0-7d1c-7000-8000-000000000031';

interface LongLog {
  readonly approvalId: string;
  readonly planId: string;
  readonly batches: number;
  readonly rows: number;
}

/** The same name for all parts of one run. */
const databaseOf = (prepared: string): string =>
  `clawback_bench_${createHash('sha256').update(prepared).digest('hex').slice(0, 32)}`;

/**
 * A remediation of so many copies that has run, as its views show it: written by the projections' own functions, without
 * a log.
 */
export async function prepareLongLog({ size, target, directory }: PartInput) {
  const { store, close } = await openLongLogStore({ target, directory, prepared: directory });
  await store.prepare(actionLogView);
  await store.prepare(historyView);
  const counter = new PlanCounter();
  let position = 0n;
  let batches = 0;
  for (const batch of movable(size)) {
    const before = position;
    const plan = decided(
      batchDecider.initial,
      planCommand(batch, { approvalId: APPROVAL_ID, planId: PLAN_ID }),
      releaseCommand,
      claimCommand,
    );
    const outcome = decided(plan.state, movedCommand(started(plan.state)));
    const events = recorded(batchCodecs, [...plan.events, ...outcome.events], before);
    position += BigInt(events.length);
    await store.commit(actionLogView, folded(actionLogView, events), position);
    for (const target of batch.targets) {
      const message = batch.messages[target.message];
      if (message !== undefined)
        counter.add({ ...target, onlyFrom: '', notRemediable: 'movedSince', message });
    }
    batches += 1;
  }
  const life = recorded(remediationCodecs, lifeOf(counter, batches), position);
  await store.commit(historyView, folded(historyView, life), position + 10n);
  await store.commit(actionLogView, [], position + 10n);
  await close();
  const log: LongLog = { approvalId: APPROVAL_ID, planId: PLAN_ID, batches, rows: size };
  await writeFile(join(directory, 'log.json'), JSON.stringify(log));
  return { batches };
}

/** Batches of copies that can all be moved, one at a time. */
function* movable(copies: number): Generator<Batch> {
  const plan = planner({ action: 'softDelete', sendersCopy: false });
  const cutter = batcher({ copies: MAX_BATCH_COPIES, bytes: Number.MAX_SAFE_INTEGER });
  for (const record of mailRecords(copies)) {
    for (const copy of plan.add({ ...selectedEmailOf(record), location: 'inboxFolder' })) {
      const done = cutter.add(copy);
      if (done !== undefined) yield done;
    }
  }
  const last = cutter.end();
  if (last !== undefined) yield last;
}

const lifeOf = (counter: PlanCounter, batches: number) => {
  const plan = counter.totals(0);
  const submission: Submission = {
    approvalId: APPROVAL_ID,
    planId: PLAN_ID,
    name: 'Bench',
    description: '',
    severity: 'high',
    action: 'softDelete',
    sendersCopy: true,
    surface: 'threatExplorer',
    selection: { by: 'query', query: {}, excluding: 0 },
    selectionHash: 'bench',
    plan,
    tally: counter.startingTally(),
    batches,
    requestHash: 'bench',
  };
  return [
    { type: 'RemediationSubmitted' as const, data: submission },
    { type: 'RemediationApproved' as const, data: { approvalId: APPROVAL_ID, selectionHash: 'bench' } },
    { type: 'RemediationStarted' as const, data: { approvalId: APPROVAL_ID } },
    { type: 'RemediationCompleted' as const, data: { approvalId: APPROVAL_ID, tally: submission.tally } },
  ];
};

const recorded = <E extends DomainEvent>(
  codecs: EventCodecs<E>,
  events: readonly E[],
  after: bigint,
): RecordedEvent[] =>
  events.map((event, index) => ({
    ...codecs.encode(event, String(index), metadataOf(contextOf('long log'))),
    stream: 'bench',
    revision: BigInt(index),
    position: after + BigInt(index + 1),
  }));

function folded<Doc>(view: Projection<Doc>, events: readonly RecordedEvent[]): Stored<Doc>[] {
  const documents = new Map<string, Stored<Doc>>();
  for (const event of events) {
    for (const change of view.project(event)) {
      const { id } = change;
      const doc = changed(change, documents.get(id)?.doc);
      if (doc !== undefined) documents.set(id, { id, position: event.position, doc });
    }
  }
  return [...documents.values()];
}

/** Opens the prepared views; on a server the database stays until {@link dropLongLog}. */
export async function openLongLogStore({
  target,
  directory,
  prepared,
}: Pick<PartInput, 'target' | 'directory' | 'prepared'>): Promise<{
  store: ReadStore;
  close: () => Promise<void>;
}> {
  const { store } = await openReadStore(target, directory, databaseOf(prepared));
  return { store, close: () => store.close() };
}

/** The prepared views, for reading; and the entry of the remediation. */
export async function readLongLog(
  input: PartInput,
): Promise<{ center: ActionCenter; entry: HistoryDoc; log: LongLog; close: () => Promise<void> }> {
  const log = JSON.parse(await readFile(join(input.prepared, 'log.json'), 'utf8')) as LongLog;
  const { store, close } = await openLongLogStore({ ...input, directory: input.prepared });
  await store.prepare(actionLogView);
  await store.prepare(historyView);
  const center = new ActionCenter(store);
  const entry = await center.entry(contextOf('').tenant, log.approvalId);
  if (entry === undefined) throw new Error('the prepared remediation is not there');
  return { center, entry, log, close };
}

/** What a server is started on: a copy of the prepared files, or the prepared database. */
export async function longLogFor({ target, directory, prepared }: PartInput): Promise<string | undefined> {
  if (target.mongoUrl !== undefined) return databaseOf(prepared);
  await cp(prepared, directory, { recursive: true, filter: (path) => basename(path) !== 'log.json' });
  return undefined;
}

export async function dropLongLog({ target, prepared }: PartInput) {
  if (target.mongoUrl !== undefined) await dropDatabase(target.mongoUrl, databaseOf(prepared));
  return {};
}

export { APPROVAL_ID as LONG_LOG_ID, PLAN_ID as LONG_LOG_PLAN, databaseOf as longLogDatabase };
