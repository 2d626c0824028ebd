import { type EventStore, appendEvents, decideAndAppend } from '#libs/event-store';
import { inGroups, newId, type Position } from '#libs/kernel';
import { catalogCodecs, importStream, type EmailRecord } from '#libs/mail-catalog';
import {
  PlanCounter,
  batchCodecs,
  batchDecider,
  batchStream,
  batcher,
  pendingTargets,
  recordSubmission,
  remediationCodecs,
  remediationDecider,
  remediationStream,
  sumTallies,
  type Batch,
  type PlannedCopy,
  type RemediationCommand,
  type Submission,
  type Tally,
} from '#libs/remediation';
import {
  claimCommand,
  contextOf,
  decided,
  movedCommand,
  movedFrom,
  planCommand,
  releaseCommand,
  started,
} from './batches.js';
import { mailRecords, planOf, selectedEmailOf } from './mail.js';

const IMPORT_CHUNK = 500;

/** Events there are to an email that is imported, soft deleted with its sender's copy, and brought back. */
const EVENTS_PER_EMAIL = 1.5;

/** What a remediation's batches and totals are before it runs. */
interface Plan {
  readonly submission: Submission;
  readonly batches: readonly Batch[];
}

/**
 * Writes about so many events as the product writes them: an import, the soft delete of all of it, and the undo of
 * that. By the deciders, without mailboxes.
 * @returns the number of events and the position of the last.
 */
export async function writeLog(
  store: EventStore,
  events: number,
): Promise<{ readonly events: number; readonly position: Position }> {
  const counted = new CountedAppends(store);
  const emails = Math.ceil(events / EVENTS_PER_EMAIL);
  await importEmails(counted, mailRecords(emails));
  const selected = function* () {
    for (const record of mailRecords(emails)) yield selectedEmailOf(record);
  };
  const first = planFor('delete', planOf(selected()));
  const moved = await run(counted, first);
  const undo = planFor('undo', cutInBatches(moved), first.submission.approvalId);
  await run(counted, undo);
  return { events: counted.events, position: await store.head() };
}

/** Counts what goes through it. */
class CountedAppends {
  events = 0;

  constructor(readonly store: EventStore) {}

  saw(count: number): void {
    this.events += count;
  }
}

async function importEmails(counted: CountedAppends, records: Iterable<EmailRecord>): Promise<void> {
  const stream = importStream('bench');
  let chunk = 0;
  for await (const emails of inGroups(records, IMPORT_CHUNK)) {
    const event = { type: 'EmailsImported' as const, data: { importId: 'bench', emails } };
    const expected = chunk === 0 ? 'noStream' : BigInt(chunk - 1);
    const context = contextOf(`import ${String(chunk)}`);
    await appendEvents(counted.store, catalogCodecs, stream, expected, [event], context);
    counted.saw(1);
    chunk += 1;
  }
}

/** Plans, submits, runs and finishes a remediation. @returns the copies that it moved, as an undo plans them. */
async function run(counted: CountedAppends, { submission, batches }: Plan): Promise<PlannedCopy[]> {
  const { store } = counted;
  const { approvalId, planId, action } = submission;
  const moved: PlannedCopy[] = [];
  const tallies: Tally[] = [];
  for (const batch of batches) {
    const stream = batchStream(planId, batch.number);
    const { events } = decided(batchDecider.initial, planCommand(batch, { approvalId, planId }, action));
    await appendEvents(store, batchCodecs, stream, 'noStream', events, contextOf(`plan ${stream}`));
    counted.saw(events.length);
  }
  await recordSubmission(store, submission, true, contextOf(`submit ${approvalId}`));
  await life(store, approvalId, { type: 'Start' });
  for (const batch of batches) {
    const stream = batchStream(planId, batch.number);
    const plan = decided(batchDecider.initial, planCommand(batch, { approvalId, planId }, action));
    const claim = decided(plan.state, releaseCommand, claimCommand);
    const claimed = started(claim.state);
    for (const target of pendingTargets(claimed)) {
      const planned = batch.targets[target];
      const message = planned === undefined ? undefined : batch.messages[planned.message];
      const result = movedFrom(claimed, target);
      if (planned === undefined || message === undefined || result.kind !== 'moved') continue;
      const { kind, mailbox } = planned;
      moved.push({ message, kind, mailbox, to: result.from, onlyFrom: result.to });
    }
    const outcome = decided(claimed, movedCommand(claimed));
    const events = [...claim.events, ...outcome.events];
    await appendEvents(store, batchCodecs, stream, 0n, events, contextOf(`run ${stream}`));
    counted.saw(events.length);
    tallies.push(started(outcome.state).tally);
  }
  await life(store, approvalId, { type: 'Finish', tally: sumTallies(tallies) });
  counted.saw(4);
  return moved;
}

async function life(store: EventStore, approvalId: string, command: RemediationCommand): Promise<void> {
  await decideAndAppend(
    store,
    remediationCodecs,
    remediationDecider,
    remediationStream(approvalId),
    command,
    contextOf(`${command.type} ${approvalId}`),
  );
}

export function cutInBatches(copies: Iterable<PlannedCopy>): Batch[] {
  const cutter = batcher();
  const batches: Batch[] = [];
  for (const copy of copies) {
    const done = cutter.add(copy);
    if (done !== undefined) batches.push(done);
  }
  const last = cutter.end();
  return last === undefined ? batches : [...batches, last];
}

export function planFor(name: 'delete' | 'undo', batches: readonly Batch[], undoOf?: string): Plan {
  const counter = new PlanCounter();
  for (const { targets, messages } of batches) {
    for (const target of targets) {
      const message = messages[target.message];
      if (message === undefined) throw new Error('a target without its message');
      const { kind, mailbox, to, notRemediable } = target;
      counter.add({ message, kind, mailbox, to, ...(notRemediable === undefined ? {} : { notRemediable }) });
    }
  }
  const totals = counter.totals(0);
  return {
    batches,
    submission: {
      approvalId: newId(),
      planId: newId(),
      name: `Bench ${name}`,
      description: '',
      severity: 'high',
      action: name === 'undo' ? 'undo' : 'softDelete',
      sendersCopy: true,
      surface: 'threatExplorer',
      selection: undoOf === undefined ? { by: 'query', query: {}, excluding: 0 } : { by: 'undo', of: undoOf },
      selectionHash: 'bench',
      plan: { ...totals, emails: totals.recipientCopies },
      tally: counter.startingTally(),
      batches: batches.length,
      requestHash: 'bench',
      ...(undoOf === undefined ? {} : { undoOf }),
    },
  };
}
