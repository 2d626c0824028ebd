import { pause } from '#libs/kernel';
import type { Remediation } from './api.js';
import type { Client } from './client.js';
import type { Context } from './context.js';
import { exitCodeOfResult, type ExitCode } from './exit-codes.js';
import { interrupted } from './failure.js';
import { printable } from './output.js';
import { countsText, resultText } from './report.js';

const FINISHED: readonly string[] = ['completed', 'failed', 'cancelled', 'rejected', 'expired'];

/** Shows the progress of a remediation until it has finished, through short absences of the server. */
export async function follow(context: Context, client: Client, approvalId: string): Promise<Remediation> {
  const { timing, signal } = context.io;
  const patient = client.patient(timing.retryDelaysMs);
  const first = await patient.remediation(approvalId);
  const progress = context.progress({ label: labelOf(first), total: first.counts.submitted });
  let [waitMs] = timing.pollMs;
  try {
    for (let entry = first; ; entry = await patient.remediation(approvalId)) {
      progress.update(entry.counts.submitted - entry.counts.pending, labelOf(entry));
      if (FINISHED.includes(entry.status)) return entry;
      await pause(waitMs, signal);
      if (signal.aborted) throw interrupted();
      waitMs = Math.min(waitMs * 1.5, timing.pollMs[1]);
    }
  } finally {
    progress.stop();
  }
}

const STATUS_LABELS: Readonly<Record<string, string>> = {
  pending: 'to approve',
  started: 'started',
  queued: 'queued',
  inProgress: 'in progress',
};

const labelOf = ({ status }: Remediation): string => STATUS_LABELS[status] ?? status;

/** Follows, then shows the result. */
export async function followToResult(
  context: Context,
  client: Client,
  approvalId: string,
): Promise<ExitCode> {
  const entry = await follow(context, client, approvalId).catch((error: unknown) => {
    if (context.io.signal.aborted) {
      context.out.note(
        `no longer watched; it goes on. Watch it again: clawback watch ${printable(approvalId)}`,
      );
    }
    throw error;
  });
  context.out.result(entry, countsText(entry.counts));
  context.out.note(resultText(entry));
  return exitCodeOfResult(entry);
}
