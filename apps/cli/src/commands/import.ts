import type { Command } from 'commander';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { importText, upload } from '../upload.js';

export function registerImport(program: Command, shell: Shell): void {
  program
    .command('import')
    .summary('import EmailEvents records into the mail catalogue')
    .description(
      "Import a file of Defender's EmailEvents records, a JSON object a line, plain or gzip. Importing the same " +
        'records again changes nothing. A line that is wrong is told and does not stop the others (exit code 3).',
    )
    .argument('<file>', 'the file; - for stdin')
    .addHelpText(
      'after',
      '\nExamples:\n  clawback import samples/fabrikam.ndjson\n  zcat events.json.gz | clawback import -',
    )
    .action(
      action(shell, async (context, _options, [file = '']) => {
        const report = await upload(context, context.client, file);
        context.out.result(report, importText(report));
        return report.rejected > 0 ? ExitCode.linesRejected : ExitCode.ok;
      }),
    );
}
