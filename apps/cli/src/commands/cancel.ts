import type { Command } from 'commander';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { printable } from '../output.js';

export function registerCancel(program: Command, shell: Shell): void {
  program
    .command('cancel')
    .summary('cancel a remediation')
    .description(
      'Cancel a remediation: what is under way ends and keeps its outcome, the rest is not begun. What was moved stays ' +
        'moved until it is undone.',
    )
    .argument('<approvalId>')
    .requiredOption('--reason <text>', 'why')
    .addHelpText('after', '\nExample:\n  clawback cancel ID --reason "wrong sender"')
    .action(
      action<{ readonly reason: string }>(shell, async ({ client, out }, { reason }, [approvalId = '']) => {
        const entry = await client.cancel(approvalId, reason);
        out.result(entry, `asked to cancel ${printable(approvalId)}; it is ${printable(entry.status)}`);
        return ExitCode.ok;
      }),
    );
}
