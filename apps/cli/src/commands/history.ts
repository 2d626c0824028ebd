import type { Command } from 'commander';
import { ACTIONS, STATUSES, SURFACES, type Query, type Remediation } from '../api.js';
import { action, type Shell } from '../context.js';
import { addListingOptions, showListing, type ListingOptions } from '../listing.js';
import { choice, instant } from '../options.js';
import type { Column } from '../output.js';

interface HistoryOptions extends ListingOptions {
  readonly status?: string;
  readonly action?: string;
  readonly surface?: string;
  readonly name?: string;
  readonly approvalId?: string;
  readonly approver?: string;
  readonly start?: string;
  readonly end?: string;
  readonly sort?: string;
  readonly order?: string;
}

const COLUMNS: readonly Column<Remediation>[] = [
  { title: 'approval ID', of: (entry) => entry.approvalId },
  { title: 'submitted', of: (entry) => entry.submittedAt },
  { title: 'by', of: (entry) => entry.submittedBy },
  { title: 'status', of: (entry) => entry.status },
  { title: 'action', of: (entry) => entry.action },
  { title: 'emails', of: (entry) => entry.plan.emails, right: true },
  { title: 'copies', of: (entry) => entry.counts.submitted, right: true },
  { title: 'moved', of: (entry) => entry.counts.succeeded, right: true },
  { title: 'name', of: (entry) => entry.name },
];

const SORTS = ['submittedAt', 'name', 'status', 'action', 'severity', 'emails'];

export function registerHistory(program: Command, shell: Shell): void {
  const command = program
    .command('history')
    .summary('the remediations, newest first')
    .description('List the remediations, newest first. All filters hold together.')
    .addOption(choice('--status <status>', 'of this status', STATUSES))
    .addOption(choice('--action <action>', 'of this action', [...ACTIONS, 'undo']))
    .addOption(choice('--surface <surface>', 'from this surface', SURFACES))
    .option('--name <text>', 'a part of the name; case does not matter')
    .option('--approval-id <id>', 'exactly this one')
    .option('--approver <who>', 'approved or rejected by')
    .option('--start <time>', 'submitted at or after this time (ISO 8601, UTC by default)', instant)
    .option('--end <time>', 'submitted before this time', instant)
    .addOption(choice('--sort <field>', 'sort by (default: submittedAt)', SORTS))
    .addOption(choice('--order <order>', 'direction (default: desc)', ['asc', 'desc']))
    .addHelpText('after', '\nExample:\n  clawback history --status pending');
  addListingOptions(command).action(
    action<HistoryOptions>(shell, (context, options) =>
      showListing(context, options, COLUMNS, (at) => context.client.history({ ...filterOf(options), ...at })),
    ),
  );
}

const filterOf = (options: HistoryOptions): Query => {
  const { status, action: what, surface, name, approvalId, approver, start, end, sort, order } = options;
  return {
    status,
    action: what,
    surface,
    name,
    approvalId,
    approver,
    startTime: start,
    endTime: end,
    sort,
    order,
  };
};
