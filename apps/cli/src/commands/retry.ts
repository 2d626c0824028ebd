import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { followToResult } from '../follow.js';
import { choice } from '../options.js';
import { printable } from '../output.js';
import { submittedText } from './remediate.js';

interface RetryOptions {
  readonly outcome?: string;
  readonly name?: string;
  readonly idempotencyKey?: string;
  readonly watch?: boolean;
}

const OUTCOMES = ['failed', 'timedOut', 'cancelled'];

export function registerRetry(program: Command, shell: Shell): void {
  program
    .command('retry')
    .summary('try again what failed or timed out')
    .description(
      'Try those copies of a finished remediation again that failed or timed out, and no others. The retry is a ' +
        'remediation of its own; its approval ID goes to stdout.',
    )
    .argument('<approvalId>')
    .addOption(
      choice('--outcome <outcome>', 'only copies with this outcome (default: failed and timedOut)', OUTCOMES),
    )
    .option('--name <name>', 'shown in the history (default: that of what is retried)')
    .option('--idempotency-key <key>', 'the same key gives the same retry, for ever')
    .option('--watch', 'follow it until it has finished; the exit code tells how')
    .addHelpText('after', '\nExample:\n  clawback retry ID --watch')
    .action(
      action<RetryOptions>(shell, async (context, options, [approvalId = '']) => {
        const { out, client, io } = context;
        const { outcome, name, idempotencyKey = randomUUID() } = options;
        const submitted = await client.patient(io.timing.retryDelaysMs).retry(
          approvalId,
          {
            ...(outcome === undefined ? {} : { outcomes: [outcome] }),
            ...(name === undefined ? {} : { name }),
          },
          idempotencyKey,
        );
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
