import type { Command } from 'commander';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { wholeNumber } from '../options.js';
import { counted, printable } from '../output.js';
import { remediationText } from '../report.js';

interface ApproveOptions {
  readonly selectionHash?: string;
  readonly first?: number;
  readonly yes?: boolean;
}

export function registerApprove(program: Command, shell: Shell): void {
  program
    .command('approve')
    .summary('approve a pending remediation')
    .description(
      'Approve a pending remediation. Without --selection-hash the proposal is fetched and shown first, and on a ' +
        'terminal you are asked; with it, exactly that selection is approved.',
    )
    .argument('<approvalId>')
    .option('--selection-hash <hash>', 'the selection hash of the proposal that you looked at')
    .option(
      '--first <n>',
      'only the first so many emails, as a canary; the rest goes on waiting',
      wholeNumber(1, 10_000_000),
    )
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExamples:\n  clawback approve ID\n  clawback approve ID --first 20')
    .action(
      action<ApproveOptions>(shell, async (context, options, [approvalId = '']) => {
        const { out, client } = context;
        let { selectionHash } = options;
        if (selectionHash === undefined) {
          const proposal = await client.remediation(approvalId);
          out.note(remediationText(proposal));
          const agreed = !context.interactive || (await context.confirm('approve it?', options.yes));
          if (!agreed) {
            out.note('not approved');
            return ExitCode.interrupted;
          }
          ({ selectionHash } = proposal);
        }
        const { first } = options;
        await client.approve(approvalId, selectionHash, first);
        const what = first === undefined ? '' : `the first ${counted(first, 'email', 'emails')} of `;
        out.result(
          { approvalId, selectionHash, firstEmails: first },
          `approved ${what}${printable(approvalId)}`,
        );
        return ExitCode.ok;
      }),
    );
}
