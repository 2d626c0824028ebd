import type { Command } from 'commander';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import {
  addRemediationOptions,
  huntingText,
  wantedRemediation,
  type RemediationOptions,
} from '../remediation-options.js';
import { planText } from '../report.js';
import { HUNTING_FILE_HELP } from '../hunting-file.js';
import { EMAIL_FILE_HELP } from '../selection.js';

export function registerPreview(program: Command, shell: Shell): void {
  const command = program
    .command('preview')
    .summary('what a remediation would touch; changes nothing')
    .description('Plan a remediation and show what it would touch. Changes nothing.')
    .option('--name <name>', 'as it would be shown in the history', 'preview')
    .addHelpText(
      'after',
      `\n${EMAIL_FILE_HELP}\n${HUNTING_FILE_HELP}\n\nExample:\n  clawback preview --subject voucher --senders-copy`,
    );
  addRemediationOptions(command).action(
    action<RemediationOptions>(shell, async (context, options) => {
      const wanted = await wantedRemediation(options, context.io);
      const preview = await wanted.preview(context.client);
      if (preview.hunting !== undefined) context.out.note(huntingText(preview.hunting));
      context.out.result(
        preview,
        `${planText(preview.plan)}\nCan be undone   ${preview.undoable ? 'yes' : 'no, never'}\nSelection hash  ${preview.selectionHash}`,
      );
      return ExitCode.ok;
    }),
  );
}
