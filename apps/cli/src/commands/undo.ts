import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { followToResult } from '../follow.js';
import { counted, printable } from '../output.js';
import { EMAIL_FILE_HELP, readEmailFile } from '../selection.js';
import { submittedText } from './remediate.js';

interface UndoOptions {
  readonly emails?: string;
  readonly name?: string;
  readonly description?: string;
  readonly idempotencyKey?: string;
  readonly watch?: boolean;
  readonly yes?: boolean;
}

export function registerUndo(program: Command, shell: Shell): void {
  program
    .command('undo')
    .summary('bring back what a remediation moved')
    .description(
      'Bring the copies that a remediation moved back to where they were: all, or those of some emails with the ' +
        "senders' copies of their messages. The undo is a remediation of its own; its approval ID goes to stdout.",
    )
    .argument('<approvalId>')
    .option('--emails <file>', 'only the emails that a file lists; - for stdin')
    .option('--name <name>', 'shown in the history (default: that of what is undone)')
    .option('--description <text>', 'why it is done')
    .option('--idempotency-key <key>', 'the same key gives the same undo, for ever')
    .option('--watch', 'follow it until it has finished; the exit code tells how')
    .option('--yes', 'do not ask')
    .addHelpText('after', `\n${EMAIL_FILE_HELP}\n\nExample:\n  clawback undo ID --watch --yes`)
    .action(
      action<UndoOptions>(shell, async (context, options, [approvalId = '']) => {
        const { out, client, io } = context;
        context.requireConsent(options.yes);
        const { emails: file, name, description } = options;
        const emails = file === undefined ? undefined : await readEmailFile(file, io);
        const entry = await client.remediation(approvalId);
        const what =
          emails === undefined
            ? `everything that "${printable(entry.name)}" moved (${counted(entry.counts.succeeded, 'copy', 'copies')})`
            : counted(emails.length, 'email', 'emails');
        if (!(await context.confirm(`bring back ${what}?`, options.yes))) {
          out.note('nothing was submitted');
          return ExitCode.interrupted;
        }
        const submitted = await client.patient(io.timing.retryDelaysMs).undo(
          approvalId,
          {
            ...(emails === undefined ? {} : { emails }),
            ...(name === undefined ? {} : { name }),
            ...(description === undefined ? {} : { description }),
          },
          options.idempotencyKey ?? randomUUID(),
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
