import type { RecordedEvent } from '#libs/event-store';
import type { Change, Projection } from '#libs/read-store';
import {
  batchCodecs,
  cancelPending,
  isCopyEvent,
  moveInTally,
  outcomeOf,
  remediationCodecs,
  type RemediationEvent,
  type Status,
  type Submission,
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
  readonly startedAt?: string;
  readonly finishedAt?: string;
  /** Approval IDs of the undos of this remediation, in order. */
  readonly undoneBy: readonly string[];
}

export const historyView: Projection<HistoryDoc> = {
  name: 'history',
  version: 1,
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
  },
  indexes: [
    ['tenant', 'submittedAt', 'id'],
    ['tenant', 'status', 'submittedAt', 'id'],
  ],
  project,
};

function project(recorded: RecordedEvent): readonly Change<HistoryDoc>[] {
  const life = remediationCodecs.decode(recorded);
  if (life !== undefined) {
    return [{ id: life.data.approvalId, apply: (doc) => withLife(doc, life, recorded) }];
  }
  const event = batchCodecs.decode(recorded);
  if (event === undefined || !isCopyEvent(event)) return [];
  const { kind, outcome } = outcomeOf(event);
  return [
    {
      id: event.data.approvalId,
      apply: (doc) =>
        doc === undefined ? doc : { ...doc, tally: moveInTally(doc.tally, kind, 'pending', outcome) },
    },
  ];
}

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
    };
  }
  if (doc === undefined) return doc;
  switch (event.type) {
    case 'RemediationApproved':
      return { ...doc, status: 'queued', decidedBy: by, decidedAt: at };
    case 'RemediationRejected':
      return {
        ...doc,
        status: 'rejected',
        decidedBy: by,
        decidedAt: at,
        finishedAt: at,
        rejectionReason: event.data.reason,
        tally: cancelPending(doc.tally),
      };
    case 'RemediationStarted':
      return { ...doc, status: 'inProgress', startedAt: at };
    case 'RemediationCompleted':
      return { ...doc, status: 'completed', finishedAt: at, tally: event.data.tally };
    case 'RemediationFailed':
      return { ...doc, status: 'failed', finishedAt: at, tally: event.data.tally };
    case 'RemediationUndone':
      return { ...doc, undoneBy: [...doc.undoneBy, event.data.undo.approvalId] };
  }
}
