import type { Command } from 'commander';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { printable } from '../output.js';
import { remediationText } from '../report.js';

interface ApproveOptions {
  readonly selectionHash?: string;
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
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  clawback approve ID')
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
        await client.approve(approvalId, selectionHash);
        out.result({ approvalId, selectionHash }, `approved ${printable(approvalId)}`);
        return ExitCode.ok;
      }),
    );
}
