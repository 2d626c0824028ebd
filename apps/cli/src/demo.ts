import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import { pause } from '#libs/kernel';
import type { Counts, ImportReport, Plan, Preview, Remediation, RemediationRequest } from './api.js';
import type { Client } from './client.js';
import { csvNameOf } from './commands/export.js';
import { compareLogs, type Comparison } from './compare-logs.js';
import type { Context } from './context.js';
import { saveCsv } from './csv-file.js';
import { ExitCode } from './exit-codes.js';
import { CliFailure, interrupted } from './failure.js';
import { follow } from './follow.js';
import { formatCount, printable } from './output.js';
import { addsUp, countsText, planText, resultText } from './report.js';
import { importText, upload } from './upload.js';

const REQUEST: RemediationRequest = {
  name: 'Demo: soft delete everything',
  description: "Every email of the catalogue, with the senders' copies.",
  severity: 'high',
  action: 'softDelete',
  sendersCopy: true,
  surface: 'threatExplorer',
  selection: { query: {} },
};

/** A statement about the numbers, and whether it holds. */
export interface Check {
  readonly name: string;
  readonly holds: boolean;
}

interface Report {
  server: string;
  import?: ImportReport;
  preview?: Preview;
  remediation?: Remediation;
  export?: { readonly file: string; readonly rows: number };
  undo?: Remediation;
  back?: Comparison;
  redo?: Remediation;
  deletedAgain?: Comparison;
  checks: Check[];
  reconciled: boolean;
}

/** The whole story against a running server, told as it goes. */
export class Demo {
  private readonly report: Report;
  private step = 0;

  constructor(
    private readonly context: Context,
    private readonly client: Client,
  ) {
    this.report = { server: client.url, checks: [], reconciled: false };
  }

  /** @param file the records to import */
  async run(file: string, roundTrip: boolean): Promise<ExitCode> {
    const { out } = this.context;
    const imported = await this.import(file);
    const preview = await this.preview();
    const remediation = await this.remediate(preview);
    await this.export(remediation);
    if (remediation.counts.succeeded === 0) {
      out.print('\nNothing was moved, so there is nothing to undo.');
    } else {
      await this.undo(remediation, roundTrip);
    }
    this.report.reconciled = this.report.checks.every(({ holds }) => holds);
    this.conclude();
    if (!this.report.reconciled) return ExitCode.incomplete;
    return imported.rejected > 0 ? ExitCode.linesRejected : ExitCode.ok;
  }

  private async import(file: string): Promise<ImportReport> {
    this.title(`Import ${file}`);
    const imported = await upload(this.context, this.client, file);
    this.report.import = imported;
    this.context.out.print(importText(imported));
    return imported;
  }

  private async preview(): Promise<Preview> {
    this.title("Preview a soft delete of everything, with the senders' copies");
    const preview = await this.client.preview(REQUEST);
    this.report.preview = preview;
    this.context.out.print(planText(preview.plan));
    return preview;
  }

  private async remediate(preview: Preview): Promise<Remediation> {
    this.title('Submit it');
    const { approvalId, selectionHash } = await this.client.submit(REQUEST, randomUUID());
    this.context.out.print(`Approval ID ${printable(approvalId)}`);
    const remediation = await this.followed(approvalId);
    this.report.remediation = remediation;
    this.check('the selection is the one of the preview', selectionHash === preview.selectionHash);
    this.check('the outcomes are those of the preview', agrees(preview.plan, remediation.counts));
    return remediation;
  }

  private async export({ approvalId, counts }: Remediation): Promise<void> {
    this.title('Export the log');
    const file = resolve(this.context.io.cwd, csvNameOf(approvalId));
    const rows = await saveCsv(file, this.client.exportLog(approvalId, {}));
    this.report.export = { file, rows };
    this.context.out.print(`${formatCount(rows)} rows in ${file}`);
    this.check('the CSV has a row for every copy', rows === counts.submitted);
  }

  private async undo(remediation: Remediation, roundTrip: boolean): Promise<void> {
    this.title('Undo it');
    const { entry, comparison } = await this.undone(remediation, 'are back where they were');
    this.report.undo = entry;
    this.report.back = comparison;
    if (!roundTrip) return;
    this.title('Undo the undo');
    const again = await this.undone(entry, 'are soft deleted again');
    this.report.redo = again.entry;
    this.report.deletedAgain = again.comparison;
  }

  private async undone(
    remediation: Remediation,
    claim: string,
  ): Promise<{ entry: Remediation; comparison: Comparison }> {
    const { approvalId } = await this.client.undo(remediation.approvalId, {}, randomUUID());
    this.context.out.print(`Approval ID ${printable(approvalId)}`);
    const entry = await this.followed(approvalId);
    this.check(
      'the undo has every copy that was moved',
      entry.counts.submitted === remediation.counts.succeeded,
    );
    this.check('the undo moved every one of them', entry.counts.succeeded === entry.counts.submitted);
    const comparison = await compareLogs(
      this.client.logRows(remediation.approvalId, { outcome: 'succeeded' }),
      this.client.logRows(approvalId, {}),
    );
    const { moved, back, differences } = comparison;
    this.context.out.print(`${formatCount(back)} of ${formatCount(moved)} copies ${claim}`);
    for (const { networkMessageId, mailbox, problem } of differences) {
      this.context.out.print(`  ${printable(`${networkMessageId} in ${mailbox}: ${problem}`)}`);
    }
    this.check(
      `the copies ${claim}, by the two logs`,
      moved === remediation.counts.succeeded && back === moved && differences.length === 0,
    );
    return { entry, comparison };
  }

  private async followed(approvalId: string): Promise<Remediation> {
    const { out } = this.context;
    const entry = await follow(this.context, this.client, approvalId);
    await this.untilLogged(approvalId);
    out.print(countsText(entry.counts));
    out.print(resultText(entry));
    this.check(
      `${entry.action}: submitted = sum of outcomes`,
      addsUp(entry.counts) && entry.counts.pending === 0,
    );
    return entry;
  }

  /** The log is a view of its own and may be a moment behind the history. */
  private async untilLogged(approvalId: string): Promise<void> {
    const { timing, signal } = this.context.io;
    for (let tries = 0; tries < LOG_TRIES; tries += 1) {
      const { items } = await this.client.log(approvalId, { outcome: 'pending' }, { limit: 1 });
      if (items.length === 0) return;
      await pause(timing.pollMs[0], signal);
      if (signal.aborted) throw interrupted();
    }
    throw new CliFailure(ExitCode.unavailable, 'the log does not catch up with the history');
  }

  private title(text: string): void {
    this.step += 1;
    this.context.out.print(`${this.step === 1 ? '' : '\n'}${this.step}. ${printable(text)}`);
  }

  private check(name: string, holds: boolean): void {
    this.report.checks.push({ name, holds });
  }

  private conclude(): void {
    const { out } = this.context;
    this.title('Check');
    for (const { name, holds } of this.report.checks) out.print(`${holds ? 'OK   ' : 'WRONG'}  ${name}`);
    out.print(this.report.reconciled ? '\nEverything adds up.' : '\nSomething does not add up.');
    out.document(this.report);
  }
}

const LOG_TRIES = 600;

/** What the preview called remediable was tried, what it called not remediable was left alone, kind by kind. */
const agrees = (plan: Plan, counts: Counts): boolean =>
  counts.submitted === plan.copies &&
  counts.recipientCopies.submitted === plan.recipientCopies &&
  counts.sendersCopies.submitted === plan.sendersCopies &&
  counts.submitted - counts.nonRemediable === plan.remediable &&
  counts.nonRemediable === plan.nonRemediable;
