import type { HistoryDoc } from '#libs/action-center';
import {
  OUTCOMES,
  copiesIn,
  emptyTally,
  ofOutcome,
  type CopyKind,
  type Outcome,
  type PlanTotals,
  type PlannedCopy,
  type PlannedMessage,
  type SelectedEmail,
  type Submission,
  type Tally,
} from '#libs/remediation';

/** An email of an invented organisation; what a test is about, it names itself. */
export const emailOf = (over: Partial<SelectedEmail> = {}): SelectedEmail => ({
  networkMessageId: 'm1',
  internetMessageId: `<${over.networkMessageId ?? 'm1'}@fabrikam.example>`,
  recipientEmailAddress: 'lee@fabrikam.example',
  sender: 'kim@fabrikam.example',
  subject: 'Invoice overdue',
  direction: 'intraOrg',
  receivedAt: '2025-03-03T09:00:00.000Z',
  location: 'inboxFolder',
  ...over,
});

export const messageOf = (over: Partial<PlannedMessage> = {}): PlannedMessage => {
  const { recipientEmailAddress: _recipient, location: _location, ...message } = emailOf(over);
  return message;
};

/** A copy in a plan: a recipient's, to be soft deleted, unless the test says otherwise. */
export const copyOf = (over: Partial<PlannedCopy> = {}): PlannedCopy => ({
  message: messageOf(),
  kind: 'recipient',
  mailbox: 'lee@fabrikam.example',
  to: 'Recoverable Items/Deletions',
  ...over,
});

/** A tally with these numbers, and nought everywhere else. */
export const tallyOf = (counts: Partial<Record<CopyKind, Partial<Record<Outcome, number>>>>): Tally => ({
  recipient: { ...emptyTally().recipient, ...counts.recipient },
  sender: { ...emptyTally().sender, ...counts.sender },
});

/** The totals of a plan that begins with this tally. */
export const totalsOf = (tally: Tally): PlanTotals => ({
  emails: copiesIn(tally, ['recipient']),
  copies: copiesIn(tally),
  recipientCopies: copiesIn(tally, ['recipient']),
  sendersCopies: copiesIn(tally, ['sender']),
  remediable: ofOutcome(tally, 'pending'),
  nonRemediable: ofOutcome(tally, 'nonRemediable'),
  reasons: {},
});

/** A soft delete of one email and its sender's copy, unless the test says otherwise. */
export const submissionOf = (over: Partial<Submission> = {}): Submission => {
  const tally = over.tally ?? tallyOf({ recipient: { pending: 1 }, sender: { pending: 1 } });
  return {
    approvalId: 'r1',
    planId: 'p1',
    name: 'Invoice fraud',
    description: '',
    severity: 'high',
    action: 'softDelete',
    sendersCopy: true,
    surface: 'threatExplorer',
    selection: { by: 'emails' },
    selectionHash: 'hash-1',
    plan: totalsOf(tally),
    tally,
    batches: 1,
    requestHash: 'request-1',
    ...over,
  };
};

/** Such a submission in the history, started. */
export const historyDocOf = (over: Partial<HistoryDoc> = {}): HistoryDoc => ({
  ...submissionOf(over),
  tenant: 'fabrikam',
  status: 'started',
  submittedBy: 'kim',
  submittedAt: '2026-01-01T00:00:00.000Z',
  undoneBy: [],
  retriedBy: [],
  lateArrivals: [],
  ...over,
});

/** Every outcome but the first one. */
export const FINAL_OUTCOMES = OUTCOMES.filter((outcome) => outcome !== 'pending');
