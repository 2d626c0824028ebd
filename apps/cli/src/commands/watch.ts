import type { Command } from 'commander';
import { action, type Shell } from '../context.js';
import { followToResult } from '../follow.js';

export function registerWatch(program: Command, shell: Shell): void {
  program
    .command('watch')
    .summary('follow a remediation until it has finished')
    .description(
      'Follow a remediation until it has finished, through short absences of the server. Exit code 0: everything that ' +
        'could be done is done; 1: some copies failed or timed out; 4: it failed as a whole or was rejected.',
    )
    .argument('<approvalId>')
    .addHelpText('after', '\nExample:\n  clawback watch 0197a1c2-5f5e-7000-8000-000000000001')
    .action(
      action(shell, (context, _options, [approvalId = '']) =>
        followToResult(context, context.client, approvalId),
      ),
    );
}
