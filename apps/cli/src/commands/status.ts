import type { Command } from 'commander';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { remediationText } from '../report.js';

export function registerStatus(program: Command, shell: Shell): void {
  program
    .command('status')
    .summary('one remediation: who, when, and the counts')
    .description('Show a remediation as it is now. The exit code is 0 whatever its status.')
    .argument('<approvalId>')
    .addHelpText('after', '\nExample:\n  clawback status 0197a1c2-5f5e-7000-8000-000000000001 --json')
    .action(
      action(shell, async ({ client, out }, _options, [approvalId = '']) => {
        const entry = await client.remediation(approvalId);
        out.result(entry, remediationText(entry));
        return ExitCode.ok;
      }),
    );
}
