import Papa from 'papaparse';
import type { LogRow } from './action-center.js';

/** The columns of the exported action log, in order; the name `IsSendersCopy` is the announcement's (MC794815). */
export const LOG_COLUMNS = [
  'ApprovalId',
  'NetworkMessageId',
  'InternetMessageId',
  'Subject',
  'Sender',
  'Direction',
  'ReceivedTime',
  'Mailbox',
  'IsSendersCopy',
  'Action',
  'Status',
  'Reason',
  'Detail',
  'FromFolder',
  'ToFolder',
  'Time',
] as const;

/**
 * How a cell begins that a spreadsheet may take for a formula, full-width forms included: it is given a leading
 * apostrophe. Our own expression, since the library's default overlooks a formula with a line break in it.
 */
const FORMULA = /^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/;

const cells = (row: LogRow): readonly (string | null)[] => [
  row.approvalId,
  row.networkMessageId,
  row.internetMessageId,
  row.subject,
  row.sender,
  row.direction,
  row.receivedAt,
  row.mailbox,
  String(row.isSendersCopy),
  row.action,
  row.outcome,
  row.reason,
  row.detail,
  row.fromFolder,
  row.toFolder,
  row.time,
];

const csv = (rows: readonly (readonly (string | null)[])[]): string =>
  `${Papa.unparse(rows as (string | null)[][], { newline: '\r\n', escapeFormulae: FORMULA })}\r\n`;

/** RFC 4180, a header line and one row a copy, streamed: memory does not grow with the log. */
export async function* logCsv(batches: AsyncIterable<readonly LogRow[]>): AsyncGenerator<string> {
  yield csv([LOG_COLUMNS]);
  for await (const rows of batches) if (rows.length > 0) yield csv(rows.map(cells));
}
