import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { copyKeyOf } from '#libs/remediation';
import { PROJECT_ROOT, REAL_INPUT_FILE, hasRealInput } from './mail-input.js';
import type { CsvTable, LogRowBody } from './server.js';

/** In CI the file may be missing only together with everything that it comes with. */
const isRequired = process.env.CI === 'true' && existsSync(join(PROJECT_ROOT, '../shared'));

/** Whether the suites on the real mail run. Without it they say so. */
export function realInputRuns(): boolean {
  const runs = hasRealInput() || isRequired;
  if (!runs) process.stdout.write(`real input: skipped, there is no ${REAL_INPUT_FILE}\n`);
  return runs;
}

/** What the file's own description says, and the issue. */
export const EMAILS = 14_009;
export const PLAN = {
  emails: EMAILS,
  copies: 15_530,
  recipientCopies: 14_009,
  sendersCopies: 1_521,
  remediable: 11_401,
  nonRemediable: 4_129,
  reasons: { onPremisesExternal: 2_738, deliveryFailed: 1_391 },
};
export const RECIPIENTS_MOVED = 9_880;
export const SENDERS_MOVED = 1_521;

export const keyOfRow = ({ networkMessageId, mailbox, isSendersCopy }: LogRowBody): string =>
  copyKeyOf({ networkMessageId, mailbox, kind: isSendersCopy ? 'sender' : 'recipient' });

/** From where to where each copy was moved, in the order of the copies. */
export const movesOf = (succeeded: readonly LogRowBody[]) =>
  succeeded
    .map((row) => ({ copy: keyOfRow(row), from: row.fromFolder, to: row.toFolder }))
    .sort((a, b) => (a.copy < b.copy ? -1 : 1));

type Rows = CsvTable['rows'];

/** The rows of an export whose subject is not that of their message. */
export const rowsOfOtherSubjects = (rows: Rows, subjects: ReadonlyMap<string, string>): Rows =>
  rows.filter(({ NetworkMessageId = '', Subject }) => Subject !== guarded(subjects.get(NetworkMessageId)));

/** A subject as a cell: an apostrophe keeps a spreadsheet from computing it. */
const guarded = (subject = ''): string => (/^[=+\-@\t\r\n＝＋－＠]/.test(subject) ? `'${subject}` : subject);
