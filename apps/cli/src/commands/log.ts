import type { Command } from 'commander';
import type { LogRow } from '../api.js';
import { action, type Shell } from '../context.js';
import { addListingOptions, showListing, type ListingOptions } from '../listing.js';
import { addLogOptions, logFilterOf, type LogOptions } from '../log-options.js';
import type { Column } from '../output.js';

const COLUMNS: readonly Column<LogRow>[] = [
  { title: 'mailbox', of: (row) => row.mailbox },
  { title: 'copy', of: (row) => (row.isSendersCopy ? "sender's" : "recipient's") },
  { title: 'outcome', of: (row) => row.outcome },
  { title: 'reason', of: (row) => row.reason },
  { title: 'from', of: (row) => row.fromFolder },
  { title: 'to', of: (row) => row.toFolder },
  { title: 'subject', of: (row) => row.subject },
  { title: 'network message id', of: (row) => row.networkMessageId },
];

export function registerLog(program: Command, shell: Shell): void {
  const command = program
    .command('log')
    .summary('what happened to every copy')
    .description('Show the action log of a remediation: what happened to every copy.')
    .argument('<approvalId>')
    .addHelpText(
      'after',
      '\nExamples:\n  clawback log ID --outcome failed\n  clawback log ID --senders-copy true --all --json',
    );
  addListingOptions(addLogOptions(command)).action(
    action<LogOptions & ListingOptions>(shell, (context, options, [approvalId = '']) => {
      const client = context.client.patient(context.io.timing.retryDelaysMs);
      const filter = logFilterOf(options);
      return showListing(context, options, COLUMNS, (at) => client.log(approvalId, filter, at));
    }),
  );
}
