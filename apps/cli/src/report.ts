import { OUTCOMES, type Counts, type Plan, type Remediation } from './api.js';
import { Table, counted, facts, formatCount, printable } from './output.js';

/** What a remediation will touch, for people. */
export function planText(plan: Plan): string {
  const { emails, copies, recipientCopies, sendersCopies, remediable, nonRemediable, reasons } = plan;
  const kinds = `${formatCount(recipientCopies)} of recipients, ${formatCount(sendersCopies)} of senders`;
  const lines = [
    `Emails          ${formatCount(emails)}`,
    `Copies          ${formatCount(copies)} (${kinds})`,
    `Remediable      ${formatCount(remediable)}`,
    `Not remediable  ${formatCount(nonRemediable)}`,
    ...Object.entries(reasons)
      .sort(([, a], [, b]) => b - a)
      .map(([reason, count]) => `  ${printable(reason)}: ${formatCount(count)}`),
  ];
  return lines.join('\n');
}

/** Submitted = the sum of all outcomes, in all and for each kind of copy; and the kinds add up to the whole. */
export function addsUp(counts: Counts): boolean {
  const { recipientCopies, sendersCopies } = counts;
  const parts = [counts, recipientCopies, sendersCopies];
  const sums = parts.every(
    (part) => part.submitted === OUTCOMES.reduce((sum, outcome) => sum + part[outcome], 0),
  );
  return (
    sums &&
    (['submitted', ...OUTCOMES] as const).every(
      (name) => counts[name] === recipientCopies[name] + sendersCopies[name],
    )
  );
}

/** The counts as a table, with the line that says whether they add up. */
export function countsText(counts: Counts): string {
  const rows = [...OUTCOMES.filter((outcome) => counts[outcome] > 0), 'submitted' as const];
  const table = new Table<(typeof rows)[number]>([
    { title: 'outcome', of: (name) => name },
    { title: 'total', of: (name) => counts[name], right: true },
    { title: "recipients'", of: (name) => counts.recipientCopies[name], right: true },
    { title: "senders'", of: (name) => counts.sendersCopies[name], right: true },
  ]);
  return `${table.add(rows)}\nsubmitted = sum of outcomes: ${addsUp(counts) ? 'OK' : 'WRONG'}`;
}

/** A remediation with all that is known of it, for people. */
export function remediationText(remediation: Remediation): string {
  const { cancelReason, retryOf, startAt, deadline, lateArrivalsUntil } = remediation as Readonly<
    Record<string, unknown>
  >;
  const { description, decidedBy, decidedAt, startedAt, finishedAt, rejectionReason, sendersCopy } =
    remediation as Readonly<Record<string, unknown>>;
  const optional = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
  return [
    facts([
      ['Approval ID', remediation.approvalId],
      ['Name', remediation.name],
      ['Description', optional(description)],
      ['Status', remediation.status],
      ['Action', `${remediation.action}${sendersCopy === true ? ", with senders' copies" : ''}`],
      ['Severity', remediation.severity],
      ['Emails', remediation.plan.emails],
      ['Submitted', `${remediation.submittedAt} by ${remediation.submittedBy}`],
      ['Decided', [optional(decidedAt), optional(decidedBy)].filter(Boolean).join(' by ')],
      ['Rejected because', optional(rejectionReason)],
      ['Cancelled because', optional(cancelReason)],
      ['Starts at', optional(startAt)],
      ['Nothing after', optional(deadline)],
      ['Late arrivals until', optional(lateArrivalsUntil)],
      ['Started', optional(startedAt)],
      ['Finished', optional(finishedAt)],
      ['Selection hash', remediation.selectionHash],
      ['Undo of', remediation.undoOf],
      ['Retry of', optional(retryOf)],
      ['Undone by', remediation.undoneBy.join(', ')],
    ]),
    countsText(remediation.counts),
  ].join('\n\n');
}

/** One line about how it ended. */
export function resultText({ status, counts }: Remediation): string {
  const { failed, timedOut, notFound } = counts;
  const lost = [
    ...(failed > 0 ? [`${formatCount(failed)} failed`] : []),
    ...(timedOut > 0 ? [`${formatCount(timedOut)} timed out`] : []),
    ...(notFound > 0 ? [`${formatCount(notFound)} not found`] : []),
  ];
  const moved = `${counted(counts.succeeded, 'copy', 'copies')} moved`;
  return `${printable(status)}: ${[moved, ...lost].join(', ')}`;
}
