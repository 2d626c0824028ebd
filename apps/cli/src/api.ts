import { z } from 'zod';

/** The words of the REST interface as this client knows them. Answers may hold others: a newer server is no error. */
export const ROLES = ['viewer', 'proposer', 'approver', 'purger', 'auditor', 'ingest', 'admin'] as const;
export const ACTIONS = [
  'softDelete',
  'hardDelete',
  'moveToInbox',
  'moveToJunk',
  'moveToDeletedItems',
  'moveToQuarantine',
  'releaseFromQuarantine',
] as const;
export const SEVERITIES = ['low', 'medium', 'high'] as const;
export const SURFACES = [
  'threatExplorer',
  'emailEntity',
  'summaryPanel',
  'advancedHunting',
  'graphApi',
] as const;
export const DIRECTIONS = ['inbound', 'outbound', 'intraOrg', 'unknown'] as const;
export const LOCATIONS = [
  'inboxFolder',
  'junkFolder',
  'deletedItems',
  'quarantine',
  'softDeleted',
  'hardDeleted',
  'sentItems',
  'onPremisesExternal',
  'failed',
  'dropped',
  'unknown',
] as const;
export const STATUSES = [
  'pending',
  'started',
  'queued',
  'inProgress',
  'completed',
  'failed',
  'cancelled',
  'rejected',
  'expired',
] as const;
export const OUTCOMES = [
  'pending',
  'succeeded',
  'alreadyInDestination',
  'notFound',
  'nonRemediable',
  'failed',
  'timedOut',
  'cancelled',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

const count = z.int().min(0);
const text = z.string();

const outcomeCounts = z.looseObject({
  submitted: count,
  pending: count,
  succeeded: count,
  alreadyInDestination: count,
  notFound: count,
  nonRemediable: count,
  failed: count,
  timedOut: count,
  cancelled: count,
});
export type OutcomeCounts = Readonly<Record<'submitted' | Outcome, number>>;

const counts = outcomeCounts.extend({ recipientCopies: outcomeCounts, sendersCopies: outcomeCounts });
export type Counts = OutcomeCounts & {
  readonly recipientCopies: OutcomeCounts;
  readonly sendersCopies: OutcomeCounts;
};

const plan = z.looseObject({
  emails: count,
  copies: count,
  recipientCopies: count,
  sendersCopies: count,
  remediable: count,
  nonRemediable: count,
  reasons: z.record(text, count),
});
export type Plan = z.output<typeof plan>;

export const previewAnswer = z.looseObject({ selectionHash: text, plan, undoable: z.boolean() });
export type Preview = z.output<typeof previewAnswer>;

export const submittedAnswer = previewAnswer.extend({ approvalId: text, status: text });
export type Submitted = z.output<typeof submittedAnswer>;

const hunting = z.looseObject({ rows: count, emails: count, duplicates: count, leftOut: count });
export type Hunting = z.output<typeof hunting>;
export const huntingPreviewAnswer = previewAnswer.extend({ hunting });
export type HuntingPreview = z.output<typeof huntingPreviewAnswer>;

/** A result of advanced hunting, as it is sent to the server, which reads it. */
export interface HuntingRows {
  readonly type: 'application/json' | 'text/csv';
  readonly bytes: Uint8Array;
}

/** How a remediation of a hunting result is asked for, beside its rows. */
export type HuntingRequest = Pick<
  RemediationRequest,
  'name' | 'description' | 'severity' | 'action' | 'sendersCopy'
> & { readonly unknownRows?: string };

export const remediationAnswer = z.looseObject({
  selectionHash: text,
  plan,
  approvalId: text,
  status: text,
  name: text,
  severity: text,
  action: text,
  submittedBy: text,
  submittedAt: text,
  undoOf: text.nullish(),
  undoneBy: z.array(text),
  counts,
});
export type Remediation = z.output<typeof remediationAnswer>;

export const emailAnswer = z.looseObject({
  networkMessageId: text,
  recipientEmailAddress: text,
  senderFromAddress: text,
  subject: text,
  direction: text,
  location: text,
  receivedAt: text,
});
export type Email = z.output<typeof emailAnswer>;

export const logRowAnswer = z.looseObject({
  networkMessageId: text,
  mailbox: text,
  isSendersCopy: z.boolean(),
  subject: text,
  outcome: text,
  reason: text.nullish(),
  fromFolder: text.nullish(),
  toFolder: text.nullish(),
});
export type LogRow = z.output<typeof logRowAnswer>;

export const manifestAnswer = z.looseObject({
  rows: count,
  bytes: count,
  sha256: text,
  firstPosition: text,
  lastPosition: text,
  consistent: z.boolean(),
  final: z.boolean(),
  createdAt: text,
});
export type Manifest = z.output<typeof manifestAnswer>;

const durations = z.looseObject({ count, p50Ms: z.number().nullable(), p95Ms: z.number().nullable() });
const figures = z.looseObject({
  remediations: count,
  emails: count,
  copies: counts,
  timeToRemediate: z.looseObject({ sinceSubmission: durations, sinceApproval: durations }),
});
export type Figures = z.output<typeof figures>;
const top = z.looseObject({ items: z.array(z.looseObject({ address: text, copies: count })), error: count });

export const dashboardAnswer = z.looseObject({
  startTime: text,
  endTime: text,
  totals: figures,
  groups: z.array(figures.extend({ key: text })),
  topSenders: top,
  topMailboxes: top,
});
export type Dashboard = z.output<typeof dashboardAnswer>;

export const eventAnswer = z.looseObject({ type: text });
export type RemediationEvent = z.output<typeof eventAnswer>;

export const page = <S extends z.ZodType>(item: S) =>
  z.looseObject({ items: z.array(item), nextCursor: text.nullable() });
export interface Page<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}

export const DELIVERY_STATES = ['delivered', 'failing', 'givenUp'] as const;

export const webhookAnswer = z.looseObject({
  webhookId: text,
  url: text,
  types: z.array(text),
  description: text,
  status: text,
  pausedBecause: text.nullable(),
  deliveredUpTo: text.nullable(),
  failing: z.looseObject({ error: text }).nullable(),
});
export type Webhook = z.output<typeof webhookAnswer>;

export const newWebhookAnswer = webhookAnswer.extend({ secret: text });

export const deliveryAnswer = z.looseObject({
  position: text,
  type: text,
  approvalId: text,
  state: text,
  nextAttemptAt: text.nullable(),
  attempts: count,
  lastAttempts: z.array(z.looseObject({ status: count.nullable(), error: text.nullable() })),
});
export type Delivery = z.output<typeof deliveryAnswer>;

export const faultsAnswer = z.looseObject({
  items: z.array(z.looseObject({ mailbox: text, fault: z.looseObject({ kind: text }) })),
});
export type Faults = z.output<typeof faultsAnswer>;

const buildSummary = z.looseObject({ build: count, documents: count, checksum: text });

export const viewAnswer = z.looseObject({
  name: text,
  version: count,
  active: count,
  building: count.optional(),
  builds: z.array(z.looseObject({ build: count, state: text, position: text, progress: z.number() })),
  lastComparison: z
    .looseObject({ built: buildSummary, active: buildSummary, differing: count, examples: z.array(text) })
    .optional(),
  lastFailure: z.looseObject({ build: count, problem: text }).optional(),
});
export type View = z.output<typeof viewAnswer>;

export const viewsAnswer = z.looseObject({ items: z.array(viewAnswer) });

const importReport = z.looseObject({
  accepted: count,
  unchanged: count,
  rejected: count,
  rejections: z.array(z.looseObject({ line: count, reason: text })),
});
export type ImportReport = z.output<typeof importReport>;

export const problemAnswer = z.looseObject({
  status: z.int(),
  code: text.default('unknown'),
  detail: text.optional(),
  title: text.optional(),
  requestId: text.optional(),
  errors: z.array(z.looseObject({ field: text, problem: text })).default([]),
});

/** A line of the answer to an import: how far it is, and at the end the report or the problem. */
export const importLine = z.looseObject({
  progress: z.looseObject({ lines: count, accepted: count, unchanged: count, rejected: count }).optional(),
  report: importReport.optional(),
  problem: problemAnswer.optional(),
});

export interface EmailRef {
  readonly networkMessageId: string;
  readonly recipientEmailAddress: string;
}

/** All parts hold together; an empty filter finds every email. */
export type EmailFilter = Partial<
  Readonly<
    Record<
      | 'sender'
      | 'recipient'
      | 'subject'
      | 'direction'
      | 'location'
      | 'startTime'
      | 'endTime'
      | 'networkMessageId'
      | 'internetMessageId'
      | 'clusterId',
      string
    >
  >
>;

export type Selection =
  | { readonly emails: readonly EmailRef[] }
  | { readonly query: EmailFilter; readonly excluding?: readonly EmailRef[] };

export interface RemediationRequest {
  readonly name: string;
  readonly description?: string;
  readonly severity: string;
  readonly action: string;
  readonly sendersCopy: boolean;
  readonly surface: string;
  readonly selection: Selection;
  readonly startAt?: string;
  readonly finishWithinMinutes?: number;
  readonly lateArrivalsHours?: number;
}

/** Parts of a query string; what is undefined is left out. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;
