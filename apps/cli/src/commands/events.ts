import type { Command } from 'commander';
import { allItems } from '../client.js';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';

const PAGE = 1000;

export function registerEvents(program: Command, shell: Shell): void {
  program
    .command('events')
    .summary('the raw events, a JSON object a line')
    .description('Print every event of a remediation and its batches as recorded, a JSON object a line.')
    .argument('<approvalId>')
    .addHelpText('after', '\nExample:\n  clawback events ID > events.ndjson')
    .action(
      action(shell, async ({ client, out, io }, _options, [approvalId = '']) => {
        const patient = client.patient(io.timing.retryDelaysMs);
        const pages = (cursor: string | undefined) => patient.events(approvalId, { limit: PAGE, cursor });
        for await (const event of allItems(pages)) await out.line(event);
        return ExitCode.ok;
      }),
    );
}
