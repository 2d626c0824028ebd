import type { RecordedEvent } from '#libs/event-store';
import { amending, type Change, type Projection } from '#libs/read-store';
import {
  COPY_KINDS,
  batchCodecs,
  closePending,
  draftOf,
  isCopyEvent,
  moveInTally,
  outcomeOf,
  remediationCodecs,
  settleIn,
  type RemediationEvent,
  type Status,
  type Submission,
  type Tally,
  type TallyDraft,
  type Withdrawal,
} from '#libs/remediation';

/** One remediation as the Action Center lists it. */
export interface HistoryDoc extends Submission {
  readonly tenant: string;
  readonly status: Status;
  readonly submittedBy: string;
  readonly submittedAt: string;
  /** Who approved or rejected it, and when. */
  readonly decidedBy?: string;
  readonly decidedAt?: string;
  readonly rejectionReason?: string;
  /** How many emails were approved before the rest. */
  readonly firstEmails?: number;
  readonly cancelRequestedBy?: string;
  readonly cancelRequestedAt?: string;
  readonly cancelReason?: string;
  readonly queuedAt?: string;
  /** Nothing is begun after this. */
  readonly deadline?: string;
  /** It ran out of time: what had not begun by then is timed out. */
  readonly overdue?: boolean;
  readonly startedAt?: string;
  readonly finishedAt?: string;
  /** Approval IDs of the undos of this remediation, in order. */
  readonly undoneBy: readonly string[];
  /** Approval IDs of the retries, in order. */
  readonly retriedBy: readonly string[];
  /** Approval IDs of the remediations of mail that arrived later, in order. */
  readonly lateArrivals: readonly string[];
  readonly lateArrivalsStopped?: boolean;
}

export const historyView: Projection<HistoryDoc> = {
  name: 'history',
  version: 2,
  fields: {
    tenant: { type: 'text', of: (doc) => doc.tenant },
    status: { type: 'text', of: (doc) => doc.status },
    action: { type: 'text', of: (doc) => doc.action },
    surface: { type: 'text', of: (doc) => doc.surface },
    severity: { type: 'text', of: (doc) => doc.severity },
    name: { type: 'text', of: (doc) => doc.name.toLowerCase() },
    approver: { type: 'text', of: (doc) => doc.decidedBy?.toLowerCase() ?? null },
    submittedAt: { type: 'text', of: (doc) => doc.submittedAt },
    emails: { type: 'number', of: (doc) => doc.plan.emails },
    expiresAt: { type: 'text', of: (doc) => doc.expiresAt ?? null },
  },
  indexes: [
    ['tenant', 'submittedAt', 'id'],
    ['tenant', 'status', 'submittedAt', 'id'],
    ['status', 'expiresAt', 'id'],
    // Holds all that the limits on active remediations ask for.
    ['tenant', 'status', 'emails', 'id'],
  ],
  // Who reads here that a remediation has finished finds every outcome in the log.
  afterOthers: true,
  types: new Set([...remediationCodecs.types, ...batchCodecs.types]),
  project,
};

function project(recorded: RecordedEvent): readonly Change<HistoryDoc>[] {
  const life = remediationCodecs.decode(recorded);
  if (life !== undefined) {
    return [
      { id: life.data.approvalId, apply: (doc) => withLife(doc, life, recorded) },
      ...(life.type === 'RemediationSubmitted' ? toldToParents(life.data) : []),
    ];
  }
  const event = batchCodecs.decode(recorded);
  if (event?.type === 'BatchWithdrawn') {
    const { approvalId, outcome, tally } = event.data;
    return [
      {
        id: approvalId,
        apply: (doc) => (doc === undefined ? doc : { ...doc, tally: withdrawn(doc.tally, tally, outcome) }),
      },
    ];
  }
  if (event === undefined || !isCopyEvent(event)) return [];
  const { kind, outcome } = outcomeOf(event);
  const settle = ({ tally }: Draft): boolean => {
    settleIn(tally, kind, outcome);
    return true;
  };
  return [amending(event.data.approvalId, draft, settle)];
}

interface Draft extends HistoryDoc {
  readonly tally: TallyDraft;
}

const draft = (doc: HistoryDoc): Draft => ({ ...doc, tally: draftOf(doc.tally) });

function withLife(
  doc: HistoryDoc | undefined,
  event: RemediationEvent,
  { metadata }: RecordedEvent,
): HistoryDoc | undefined {
  const at = metadata.occurredAt ?? '';
  const by = metadata.actor ?? '';
  if (event.type === 'RemediationSubmitted') {
    return {
      ...event.data,
      tenant: metadata.tenant ?? '',
      status: 'pending',
      submittedBy: by,
      submittedAt: at,
      undoneBy: [],
      retriedBy: [],
      lateArrivals: [],
    };
  }
  if (doc === undefined) return doc;
  switch (event.type) {
    case 'RemediationApproved':
      return { ...doc, status: 'started', decidedBy: by, decidedAt: at };
    case 'RemediationPartlyApproved': {
      const { planId, batches, emails } = event.data;
      return {
        ...doc,
        status: 'started',
        decidedBy: by,
        decidedAt: at,
        planId,
        batches,
        firstEmails: emails,
      };
    }
    case 'RemediationPartFinished':
      return { ...doc, status: 'pending', tally: event.data.tally };
    case 'RemediationRejected':
      return {
        ...doc,
        status: 'rejected',
        decidedBy: by,
        decidedAt: at,
        finishedAt: at,
        rejectionReason: event.data.reason,
        tally: closePending(doc.tally, 'cancelled'),
      };
    case 'RemediationExpired':
      return { ...doc, status: 'expired', finishedAt: at, tally: closePending(doc.tally, 'cancelled') };
    case 'RemediationQueued': {
      const { deadline } = event.data;
      return { ...doc, status: 'queued', queuedAt: at, ...(deadline === undefined ? {} : { deadline }) };
    }
    case 'RemediationOverdue':
      return { ...doc, overdue: true };
    case 'RemediationCancelRequested':
      return { ...doc, cancelRequestedBy: by, cancelRequestedAt: at, cancelReason: event.data.reason };
    case 'RemediationCancelled':
      return { ...doc, status: 'cancelled', finishedAt: at, tally: event.data.tally };
    case 'LateArrivalsStopped':
      return { ...doc, lateArrivalsStopped: true };
    case 'RemediationStarted':
      return { ...doc, status: 'inProgress', startedAt: at };
    case 'RemediationCompleted':
      return { ...doc, status: 'completed', finishedAt: at, tally: event.data.tally };
    case 'RemediationFailed':
      return { ...doc, status: 'failed', finishedAt: at, tally: event.data.tally };
    case 'RemediationUndone':
      return {
        ...doc,
        lateArrivalsStopped: true,
        undoneBy: [...doc.undoneBy, event.data.undo.approvalId],
      };
  }
}

/** What a new remediation means for the one that it goes on with. */
function toldToParents({ approvalId, retryOf, lateArrivalOf }: Submission): readonly Change<HistoryDoc>[] {
  const told = (parent: string | undefined, list: 'retriedBy' | 'lateArrivals'): Change<HistoryDoc>[] =>
    parent === undefined
      ? []
      : [
          {
            id: parent,
            apply: (doc) => (doc === undefined ? doc : { ...doc, [list]: [...doc[list], approvalId] }),
          },
        ];
  return [...told(retryOf, 'retriedBy'), ...told(lateArrivalOf, 'lateArrivals')];
}

/** The copies of a batch that got this outcome together were pending before. */
function withdrawn(tally: Tally, batch: Tally, outcome: Withdrawal): Tally {
  let result = tally;
  for (const kind of COPY_KINDS) {
    result = moveInTally(result, kind, 'pending', outcome, batch[kind][outcome]);
  }
  return result;
}
