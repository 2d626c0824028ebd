import { type EventStore, appendEvents, load, type CommandContext } from '#libs/event-store';
import { ClawbackError, idFrom, inFlight, newId, type Position } from '#libs/kernel';
import { batchCodecs, batchStream, remediationCodecs, remediationStream } from '../codecs.js';
import {
  copiesOfBatch,
  type Batch,
  type BatchEvent,
  type BatchRef,
  type KnownRemediation,
  type PlannedCopy,
  type Remediation,
  type RemediationAction,
  type Submission,
  type Tally,
} from '../domain/index.js';
import { batchDecider, remediationDecider } from './deciders.js';

/** What a caller gets back for a submission, a repeated one included. */
export interface Submitted {
  readonly submission: Submission;
  /** Whether it runs at once; otherwise it waits in Pending. */
  readonly approved: boolean;
  /** Views that have come this far show it. */
  readonly position: Position;
}

/** The same key gives the same remediation, for ever; without a key each request is a new one. */
export const approvalIdFor = (tenant: string, idempotencyKey: string | undefined): string =>
  idempotencyKey === undefined ? newId() : idFrom('remediation', tenant, idempotencyKey);

/** Appends of batches that are under way at once while planning: they share commits, and memory stays small. */
const BATCH_APPENDS_IN_FLIGHT = 4;

/** Writes each batch of a plan to its own stream. Until the submission names the plan nobody will ever run them. */
export function batchWriter(
  store: EventStore,
  action: RemediationAction,
  plan: Omit<BatchRef, 'batch'>,
  context: CommandContext,
): { write(batch: Batch): Promise<void>; drain(): Promise<void> } {
  const appends = inFlight(BATCH_APPENDS_IN_FLIGHT);
  return {
    write: (batch) =>
      appends.add(async () => {
        const ref = { ...plan, batch: batch.number };
        const events = batchDecider.decide(batchDecider.initial, { type: 'Plan', ref, action, batch });
        await appendEvents(store, batchCodecs, batchStream(plan.planId, batch.number), 'noStream', events, {
          ...context,
          commandId: idFrom('plan', plan.planId, String(batch.number)),
        });
      }),
    drain: () => appends.drain(),
  };
}

/** @throws {ClawbackError} `remediationNotFound` */
export async function knownRemediation(store: EventStore, approvalId: string): Promise<KnownRemediation> {
  const { state } = await loadRemediation(store, approvalId);
  if (state.status === 'none') throw remediationNotFound();
  return state;
}

export const remediationNotFound = (): ClawbackError =>
  new ClawbackError('notFound', 'remediationNotFound', 'there is no remediation with this approval ID');

/** The plan of one batch: the first event of its stream. */
export async function plannedBatch(
  store: EventStore,
  planId: string,
  batch: number,
): Promise<Extract<BatchEvent, { type: 'BatchPlanned' }>['data']> {
  for await (const recorded of store.readStream(batchStream(planId, batch), { maxCount: 1 })) {
    const event = batchCodecs.decode(recorded);
    if (event?.type === 'BatchPlanned') return event.data;
  }
  throw new Error(`batch ${String(batch)} of plan ${planId} was not planned`);
}

const ENDS: ReadonlySet<string> = new Set<BatchEvent['type']>(['BatchSettled', 'BatchWithdrawn']);

/** The tally of a batch that has come to its end: its last event says everything, the others need not be read. */
export async function settledTally(
  store: EventStore,
  planId: string,
  batch: number,
): Promise<Tally | undefined> {
  const newestFirst = { direction: 'backwards', maxCount: 1 } as const;
  for await (const recorded of store.readStream(batchStream(planId, batch), newestFirst)) {
    // Of most batches that is the plan, which takes longer to check than all else here.
    if (!ENDS.has(recorded.type)) return undefined;
    const event = batchCodecs.decode(recorded);
    if (event !== undefined && 'tally' in event.data) return event.data.tally;
  }
  return undefined;
}

/** All copies of a plan in order, a batch in memory at a time. */
export async function* plannedCopies(
  store: EventStore,
  { planId, batches }: Pick<Submission, 'planId' | 'batches'>,
): AsyncGenerator<PlannedCopy> {
  for (let batch = 0; batch < batches; batch += 1) {
    yield* copiesOfBatch(await plannedBatch(store, planId, batch));
  }
}

export const loadRemediation = (
  store: EventStore,
  approvalId: string,
): Promise<{ state: Remediation; revision: bigint | undefined; position: Position | undefined }> =>
  load(store, remediationCodecs, remediationDecider, remediationStream(approvalId));

/**
 * The answer to a request that was submitted before under the same key.
 * @throws {ClawbackError} `idempotencyKeyReused` when that was a different request.
 */
export async function submittedBefore(
  store: EventStore,
  approvalId: string,
  requestHash: string,
): Promise<Submitted | undefined> {
  const { state, position } = await loadRemediation(store, approvalId);
  if (state.status === 'none' || position === undefined) return undefined;
  checkSameRequest(state.submission, requestHash);
  return { submission: state.submission, approved: state.status !== 'pending', position };
}

/** @throws {ClawbackError} `idempotencyKeyReused` when the submission was made by a different request. */
export function checkSameRequest(submission: Submission, requestHash: string): void {
  if (submission.requestHash === requestHash) return;
  throw new ClawbackError(
    'conflict',
    'idempotencyKeyReused',
    'Idempotency-Key: was used for a different request',
    { approvalId: submission.approvalId },
  );
}

/**
 * The last append of a submission: from here on the plan counts. Where another request under the same key (or, for an
 * undo, the executor) was faster, its answer is ours too.
 * @throws {ClawbackError} `idempotencyKeyReused` when the faster one was a different request; and what the store throws.
 */
export async function recordSubmission(
  store: EventStore,
  submission: Submission,
  approve: boolean,
  context: CommandContext,
): Promise<Submitted> {
  const { approvalId, planId, requestHash, fourEyes } = submission;
  const events = remediationDecider.decide(remediationDecider.initial, {
    type: 'Submit',
    submission,
    approve,
  });
  try {
    const { position } = await appendEvents(
      store,
      remediationCodecs,
      remediationStream(approvalId),
      // It is its first append, or somebody was faster.
      'noStream',
      events,
      { ...context, commandId: idFrom('submit', planId) },
    );
    return { submission, approved: approve && fourEyes !== true, position };
  } catch (error) {
    const winner = await submittedBefore(store, approvalId, requestHash);
    if (winner !== undefined) return winner;
    throw error;
  }
}
