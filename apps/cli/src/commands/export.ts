import { resolve } from 'node:path';
import type { Command } from 'commander';
import { action, type Shell } from '../context.js';
import { saveCsv } from '../csv-file.js';
import { ExitCode } from '../exit-codes.js';
import { usageError } from '../failure.js';
import { addLogOptions, logFilterOf, type LogOptions } from '../log-options.js';
import { counted } from '../output.js';

interface ExportOptions extends LogOptions {
  readonly output?: string;
}

export function registerExport(program: Command, shell: Shell): void {
  const command = program
    .command('export')
    .summary('the action log as CSV')
    .description(
      'Write the action log of a remediation as CSV. The file appears under its name only when it is complete.',
    )
    .argument('<approvalId>')
    .option('--output <file>', 'the file (default: clawback-<approvalId>.csv here); - for stdout')
    .addHelpText(
      'after',
      '\nExamples:\n  clawback export ID --output log.csv\n  clawback export ID --output - | wc -l',
    );
  addLogOptions(command).action(
    action<ExportOptions>(shell, async ({ client, out, io }, options, [approvalId = '']) => {
      const chunks = client.exportLog(approvalId, logFilterOf(options));
      if (options.output === '-') {
        if (out.json) throw usageError('stdout cannot hold both CSV and JSON: give --output a file');
        for await (const chunk of chunks) await out.raw(chunk);
        return ExitCode.ok;
      }
      const file = resolve(io.cwd, options.output ?? csvNameOf(approvalId));
      const rows = await saveCsv(file, chunks);
      out.result({ approvalId, file, rows }, `${counted(rows, 'row', 'rows')} in ${file}`);
      return ExitCode.ok;
    }),
  );
}

/** An approval ID from the command line may hold anything; a file name may not. */
export const csvNameOf = (approvalId: string): string =>
  `clawback-${approvalId.replace(/[^\w.-]/g, '_')}.csv`;
