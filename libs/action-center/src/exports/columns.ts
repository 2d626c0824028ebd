import { type EmailDoc } from '#libs/mail-catalog';
import { sendersCopyInScope, type PlannedMessage } from '#libs/remediation';
import type { LogRow } from '../action-center.js';
import { countsOf } from '../counts.js';
import type { HistoryDoc } from '../history.view.js';
import type { ExportColumn } from './table.js';

const names = <Row>(columns: readonly ExportColumn<Row>[]): readonly string[] =>
  columns.map(({ name }) => name);

/** A row a copy; the name `IsSendersCopy` is the announcement's (MC794815). */
export const logColumns: readonly ExportColumn<LogRow>[] = [
  { name: 'ApprovalId', of: (row) => row.approvalId },
  { name: 'NetworkMessageId', of: (row) => row.networkMessageId },
  { name: 'InternetMessageId', of: (row) => row.internetMessageId },
  { name: 'Subject', of: (row) => row.subject },
  { name: 'Sender', of: (row) => row.sender },
  { name: 'Direction', of: (row) => row.direction },
  { name: 'ReceivedTime', of: (row) => row.receivedAt },
  { name: 'Mailbox', of: (row) => row.mailbox },
  { name: 'IsSendersCopy', of: (row) => row.isSendersCopy },
  { name: 'Action', of: (row) => row.action },
  { name: 'Status', of: (row) => row.outcome },
  { name: 'AlreadyInDestination', of: (row) => row.outcome === 'alreadyInDestination' },
  { name: 'Reason', of: (row) => row.reason },
  { name: 'Detail', of: (row) => row.detail },
  { name: 'FromFolder', of: (row) => row.fromFolder },
  { name: 'ToFolder', of: (row) => row.toFolder },
  { name: 'Time', of: (row) => row.time },
];

/** A row a remediation. */
export const historyColumns: readonly ExportColumn<HistoryDoc>[] = [
  { name: 'ApprovalId', of: (entry) => entry.approvalId },
  { name: 'Name', of: (entry) => entry.name },
  { name: 'Description', of: (entry) => entry.description },
  { name: 'Severity', of: (entry) => entry.severity },
  { name: 'Action', of: (entry) => entry.action },
  { name: 'SendersCopy', of: (entry) => entry.sendersCopy },
  { name: 'Surface', of: (entry) => entry.surface },
  { name: 'Status', of: (entry) => entry.status },
  { name: 'SubmittedBy', of: (entry) => entry.submittedBy },
  { name: 'SubmittedTime', of: (entry) => entry.submittedAt },
  { name: 'DecidedBy', of: (entry) => entry.decidedBy ?? null },
  { name: 'DecidedTime', of: (entry) => entry.decidedAt ?? null },
  { name: 'StartedTime', of: (entry) => entry.startedAt ?? null },
  { name: 'FinishedTime', of: (entry) => entry.finishedAt ?? null },
  { name: 'Emails', of: (entry) => entry.plan.emails },
  { name: 'Copies', of: ({ tally }) => countsOf(tally).submitted },
  { name: 'SendersCopies', of: ({ tally }) => countsOf(tally).sendersCopies.submitted },
  { name: 'Pending', of: ({ tally }) => countsOf(tally).pending },
  { name: 'Succeeded', of: ({ tally }) => countsOf(tally).succeeded },
  { name: 'AlreadyInDestination', of: ({ tally }) => countsOf(tally).alreadyInDestination },
  { name: 'NotFound', of: ({ tally }) => countsOf(tally).notFound },
  { name: 'NonRemediable', of: ({ tally }) => countsOf(tally).nonRemediable },
  { name: 'Failed', of: ({ tally }) => countsOf(tally).failed },
  { name: 'TimedOut', of: ({ tally }) => countsOf(tally).timedOut },
  { name: 'Cancelled', of: ({ tally }) => countsOf(tally).cancelled },
  { name: 'UndoOf', of: (entry) => entry.undoOf ?? null },
  { name: 'RetryOf', of: (entry) => entry.retryOf ?? null },
];

/** An email that a query finds, or that a remediation has selected. */
export interface SelectedRow {
  /** Null for a query. */
  readonly approvalId: string | null;
  readonly message: PlannedMessage;
  readonly recipient: string;
  /** What the catalogue says of it by now. */
  readonly email: EmailDoc | undefined;
}

/** A row an email. Where Defender's advanced hunting has a column for it, it has that name. */
export const selectionColumns: readonly ExportColumn<SelectedRow>[] = [
  { name: 'ApprovalId', of: (row) => row.approvalId },
  { name: 'Timestamp', of: ({ message }) => message.receivedAt },
  { name: 'NetworkMessageId', of: ({ message }) => message.networkMessageId },
  { name: 'InternetMessageId', of: ({ message }) => message.internetMessageId },
  { name: 'SenderFromAddress', of: ({ message }) => message.sender },
  { name: 'RecipientEmailAddress', of: (row) => row.recipient },
  { name: 'Subject', of: ({ message }) => message.subject },
  { name: 'EmailDirection', of: ({ message }) => message.direction },
  { name: 'SendersCopyInScope', of: ({ message }) => sendersCopyInScope(message.direction) },
  { name: 'DeliveryLocation', of: ({ email }) => email?.record.deliveryLocation ?? null },
  { name: 'LatestLocation', of: ({ email }) => email?.location ?? null },
  { name: 'ThreatTypes', of: ({ email }) => email?.record.threatTypes ?? null },
  { name: 'EmailClusterId', of: ({ email }) => email?.record.emailClusterId ?? null },
];

export const LOG_COLUMNS = names(logColumns);
export const HISTORY_COLUMNS = names(historyColumns);
export const SELECTION_COLUMNS = names(selectionColumns);
