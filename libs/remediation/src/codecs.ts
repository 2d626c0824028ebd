import { EventCodecs } from '#libs/event-store';
import { z } from 'zod';
import {
  COPY_KINDS,
  DIRECTIONS,
  LOCATIONS,
  OUTCOMES,
  REASON_CODES,
  REMEDIATION_ACTIONS,
  SEVERITIES,
  SURFACES,
  isCopyEvent,
  type BatchEvent,
  type RemediationEvent,
} from './domain/index.js';

// How the events are written. A change of shape is a new version: a new schema here, an upcaster from the old one, and
// a golden file under test/compat. The domain's types and these schemas are checked against each other by the compiler.

const count = z.number().int().nonnegative();
const outcomes = z.strictObject(
  Object.fromEntries(OUTCOMES.map((outcome) => [outcome, count])) as Record<
    (typeof OUTCOMES)[number],
    typeof count
  >,
);
const tally = z.strictObject({ recipient: outcomes, sender: outcomes });
const reason = z.enum(REASON_CODES);
const approvalId = z.string().min(1);

const emailFilter = z.strictObject({
  sender: z.string().exactOptional(),
  recipient: z.string().exactOptional(),
  subject: z.string().exactOptional(),
  direction: z.enum(DIRECTIONS).exactOptional(),
  location: z.enum(LOCATIONS).exactOptional(),
  startTime: z.string().exactOptional(),
  endTime: z.string().exactOptional(),
  networkMessageId: z.string().exactOptional(),
  internetMessageId: z.string().exactOptional(),
  clusterId: z.string().exactOptional(),
});

const submission = z.strictObject({
  approvalId,
  planId: z.string().min(1),
  name: z.string(),
  description: z.string(),
  severity: z.enum(SEVERITIES),
  action: z.enum(REMEDIATION_ACTIONS),
  sendersCopy: z.boolean(),
  surface: z.enum(SURFACES),
  selection: z.discriminatedUnion('by', [
    z.strictObject({ by: z.literal('emails') }),
    z.strictObject({ by: z.literal('query'), query: emailFilter, excluding: count }),
    z.strictObject({ by: z.literal('undo'), of: z.string() }),
    z.strictObject({ by: z.literal('retry'), of: z.string() }),
    z.strictObject({ by: z.literal('lateArrivals'), of: z.string() }),
  ]),
  selectionHash: z.string(),
  plan: z.strictObject({
    emails: count,
    copies: count,
    recipientCopies: count,
    sendersCopies: count,
    remediable: count,
    nonRemediable: count,
    reasons: z.partialRecord(reason, count),
  }),
  tally,
  batches: count,
  undoOf: z.string().optional(),
  retryOf: z.string().optional(),
  lateArrivalOf: z.string().optional(),
  submittedBy: z.string().optional(),
  fourEyes: z.boolean().optional(),
  expiresAt: z.string().optional(),
  startAt: z.string().optional(),
  finishWithinMs: count.optional(),
  lateArrivalsUntil: z.string().optional(),
  requestHash: z.string(),
});

const batchRef = { approvalId, planId: z.string().min(1), batch: count };
const copyRef = { ...batchRef, target: count, networkMessageId: z.string(), mailbox: z.string() };
const copyMoved = z.strictObject({ ...copyRef, from: z.string(), to: z.string() });
const copyEvent = { ...copyRef, kind: z.enum(COPY_KINDS) };

const planned = z.strictObject({
  ...batchRef,
  action: z.enum(REMEDIATION_ACTIONS),
  messages: z.array(
    z.strictObject({
      networkMessageId: z.string(),
      internetMessageId: z.string(),
      sender: z.string(),
      subject: z.string(),
      direction: z.enum(DIRECTIONS),
      receivedAt: z.string(),
    }),
  ),
  targets: z.array(
    z.strictObject({
      message: count,
      kind: z.enum(COPY_KINDS),
      mailbox: z.string(),
      to: z.string(),
      onlyFrom: z.string().optional(),
      notRemediable: reason.optional(),
    }),
  ),
});

export const remediationCodecs = new EventCodecs<RemediationEvent>({
  RemediationSubmitted: { schema: submission },
  RemediationApproved: { schema: z.strictObject({ approvalId, selectionHash: z.string() }) },
  RemediationRejected: { schema: z.strictObject({ approvalId, reason: z.string() }) },
  RemediationPartlyApproved: {
    schema: z.strictObject({
      approvalId,
      selectionHash: z.string(),
      emails: count,
      planId: z.string().min(1),
      batches: count,
      approvedBatches: count,
    }),
  },
  RemediationPartFinished: { schema: z.strictObject({ approvalId, tally }) },
  RemediationExpired: { schema: z.strictObject({ approvalId }) },
  RemediationQueued: { schema: z.strictObject({ approvalId, deadline: z.string().optional() }) },
  RemediationOverdue: { schema: z.strictObject({ approvalId }) },
  RemediationCancelRequested: { schema: z.strictObject({ approvalId, reason: z.string() }) },
  RemediationCancelled: { schema: z.strictObject({ approvalId, tally }) },
  LateArrivalsStopped: { schema: z.strictObject({ approvalId }) },
  RemediationStarted: { schema: z.strictObject({ approvalId }) },
  RemediationCompleted: { schema: z.strictObject({ approvalId, tally }) },
  RemediationFailed: { schema: z.strictObject({ approvalId, tally }) },
  RemediationUndone: { schema: z.strictObject({ approvalId, undo: submission }) },
});

export const batchCodecs = new EventCodecs<BatchEvent>({
  BatchPlanned: { schema: planned },
  BatchReleased: { schema: z.strictObject(batchRef) },
  BatchAttemptExtended: {
    schema: z.strictObject({ ...batchRef, attempt: count, deadline: z.string() }),
  },
  BatchAttemptStarted: {
    schema: z.strictObject({ ...batchRef, attempt: count, worker: z.string(), deadline: z.string() }),
  },
  BatchDeferred: {
    schema: z.strictObject({
      ...batchRef,
      attempt: count,
      worker: z.string(),
      since: z.string(),
      until: z.string(),
    }),
  },
  RecipientCopySoftDeleted: { schema: copyMoved },
  SenderCopySoftDeleted: { schema: copyMoved },
  RecipientCopyRestored: { schema: copyMoved },
  SenderCopyRestored: { schema: copyMoved },
  RecipientCopyMoved: { schema: copyMoved },
  RecipientCopyHardDeleted: { schema: copyMoved },
  CopyAlreadyInDestination: { schema: z.strictObject({ ...copyEvent, folder: z.string() }) },
  CopyNotFound: { schema: z.strictObject(copyEvent) },
  CopyNotRemediable: { schema: z.strictObject({ ...copyEvent, reason }) },
  CopyRemediationFailed: { schema: z.strictObject({ ...copyEvent, reason, detail: z.string() }) },
  CopyRemediationTimedOut: { schema: z.strictObject(copyEvent) },
  CopyRemediationCancelled: { schema: z.strictObject(copyEvent) },
  BatchWithdrawn: {
    schema: z.strictObject({ ...batchRef, outcome: z.enum(['cancelled', 'timedOut']), tally }),
  },
  BatchSettled: { schema: z.strictObject({ ...batchRef, tally }) },
});

/** Every type of event that tells of one copy. They are many: they are told apart by type, and so unread. */
export const copyEventTypes: ReadonlySet<string> = new Set(
  batchCodecs.types.filter((type) => isCopyEvent({ type } as BatchEvent)),
);

/** The stream that holds the life of one remediation. */
export const remediationStream = (approvalIdOf: string): string => `remediation-${approvalIdOf}`;

/** The stream of one batch of a plan. */
export const batchStream = (planId: string, number: number): string =>
  `remediationBatch-${planId}-${String(number)}`;
