import type { Command } from 'commander';
import type { Email } from '../api.js';
import { action, type Shell } from '../context.js';
import { addListingOptions, showListing, type ListingOptions } from '../listing.js';
import type { Column } from '../output.js';
import { addFilterOptions, filterOf, type FilterOptions } from '../selection.js';

const COLUMNS: readonly Column<Email>[] = [
  { title: 'received', of: (email) => email.receivedAt },
  { title: 'sender', of: (email) => email.senderFromAddress },
  { title: 'recipient', of: (email) => email.recipientEmailAddress },
  { title: 'direction', of: (email) => email.direction },
  { title: 'location', of: (email) => email.location },
  { title: 'subject', of: (email) => email.subject },
  { title: 'network message id', of: (email) => email.networkMessageId },
];

export function registerSearch(program: Command, shell: Shell): void {
  const command = program
    .command('search')
    .summary('search the mail catalogue, newest first')
    .description('Search the mail catalogue, newest first. All filters hold together.')
    .addHelpText(
      'after',
      '\nExamples:\n  clawback search --sender pay@fabrikam.example --location inboxFolder\n' +
        '  clawback search --subject voucher --start 2026-11-02 --all --json',
    );
  addListingOptions(addFilterOptions(command)).action(
    action<FilterOptions & ListingOptions>(shell, (context, options) =>
      showListing(context, options, COLUMNS, (at) => context.client.searchEmails(filterOf(options), at)),
    ),
  );
}
