import type { Command } from 'commander';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { printable } from '../output.js';

export function registerReject(program: Command, shell: Shell): void {
  program
    .command('reject')
    .summary('reject a pending remediation')
    .description('Reject a pending remediation; none of its copies is touched.')
    .argument('<approvalId>')
    .requiredOption('--reason <text>', 'why')
    .addHelpText('after', '\nExample:\n  clawback reject ID --reason "too many emails"')
    .action(
      action<{ readonly reason: string }>(shell, async ({ client, out }, { reason }, [approvalId = '']) => {
        await client.reject(approvalId, reason);
        out.result({ approvalId, reason }, `rejected ${printable(approvalId)}`);
        return ExitCode.ok;
      }),
    );
}
