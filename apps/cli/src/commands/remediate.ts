import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import type { Plan, Submitted } from '../api.js';
import { action, type Context, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { NetworkFailure } from '../failure.js';
import { followToResult } from '../follow.js';
import { counted, printable } from '../output.js';
import {
  addRemediationOptions,
  huntingText,
  wantedRemediation,
  type RemediationOptions,
  type Wanted,
} from '../remediation-options.js';
import { planText } from '../report.js';
import { HUNTING_FILE_HELP } from '../hunting-file.js';
import { EMAIL_FILE_HELP } from '../selection.js';

interface RemediateOptions extends RemediationOptions {
  readonly idempotencyKey?: string;
  readonly watch?: boolean;
  readonly yes?: boolean;
}

export function registerRemediate(program: Command, shell: Shell): void {
  const command = program
    .command('remediate')
    .summary('submit a remediation; shows what it will touch first')
    .description(
      'Preview a remediation, ask, and submit it. Prints its approval ID on stdout. It is approved at once when the ' +
        'token has the role approver, else it waits for one. Without a terminal, --yes is needed.',
    )
    .requiredOption('--name <name>', 'shown in the history')
    .option('--idempotency-key <key>', 'the same key gives the same remediation, for ever')
    .option('--watch', 'follow it until it has finished; the exit code tells how')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      `\n${EMAIL_FILE_HELP}\n${HUNTING_FILE_HELP}\n\nExamples:\n` +
        '  clawback remediate --name "Payroll phish" --sender pay@fabrikam.example --senders-copy --watch\n' +
        '  clawback remediate --name "Back again" --action moveToInbox --emails list.csv --yes\n' +
        '  clawback remediate --name "Hunted" --hunting found.csv --senders-copy --watch',
    );
  addRemediationOptions(command).action(
    action<RemediateOptions>(shell, async (context, options) => {
      const { out, client } = context;
      context.requireConsent(options.yes);
      const wanted = await wantedRemediation(options, context.io);
      const { plan, undoable, hunting } = await wanted.preview(client);
      if (hunting !== undefined) out.note(huntingText(hunting));
      out.note(planText(plan));
      if (!undoable) out.note('This cannot be undone, ever.');
      if (!(await context.confirm(question(wanted, plan), options.yes))) {
        out.note('nothing was submitted');
        return ExitCode.interrupted;
      }
      const submitted = await submit(context, wanted, options.idempotencyKey ?? randomUUID());
      out.note(submittedText(submitted));
      if (options.watch !== true) {
        out.result(submitted, printable(submitted.approvalId));
        return ExitCode.ok;
      }
      if (!out.json) out.print(printable(submitted.approvalId));
      return followToResult(context, client, submitted.approvalId);
    }),
  );
}

/** Under one key it is submitted once, so a lost answer is asked for again. */
async function submit(context: Context, wanted: Wanted, key: string): Promise<Submitted> {
  try {
    return await wanted.submit(context.client.patient(context.io.timing.retryDelaysMs), key);
  } catch (error) {
    if (error instanceof NetworkFailure) {
      context.out.note(
        `it may be submitted or not; to be sure, run this again with --idempotency-key ${key}`,
      );
    }
    throw error;
  }
}

const question = ({ action: what, sendersCopy }: Wanted, plan: Plan): string =>
  `${what} ${counted(plan.remediable, 'copy', 'copies')}${sendersCopy ? ", senders' copies included" : ''}?`;

export const submittedText = ({ status, plan }: Submitted): string =>
  status === 'pending'
    ? `submitted with ${counted(plan.copies, 'copy', 'copies')}; it waits for an approver. Approval ID:`
    : `submitted with ${counted(plan.copies, 'copy', 'copies')} and approved. Approval ID:`;
