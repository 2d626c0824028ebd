import type { Command } from 'commander';
import type { Dashboard, Figures } from '../api.js';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { choice, instant, wholeNumber } from '../options.js';
import { Table, type Column } from '../output.js';

interface DashboardOptions {
  readonly start?: string;
  readonly end?: string;
  readonly by?: string;
  readonly top?: number;
}

type Row = Figures & { readonly key: string };

const COLUMNS: readonly Column<Row>[] = [
  { title: '', of: (row) => row.key },
  { title: 'remediations', of: (row) => row.remediations, right: true },
  { title: 'emails', of: (row) => row.emails, right: true },
  { title: 'copies', of: (row) => row.copies.submitted, right: true },
  { title: 'moved', of: (row) => row.copies.succeeded, right: true },
  { title: 'already there', of: (row) => row.copies.alreadyInDestination, right: true },
  { title: 'not remediable', of: (row) => row.copies.nonRemediable, right: true },
  { title: 'failed', of: (row) => row.copies.failed + row.copies.timedOut, right: true },
  { title: 'pending', of: (row) => row.copies.pending, right: true },
  { title: 'time p50', of: (row) => seconds(row.timeToRemediate.sinceSubmission.p50Ms), right: true },
  { title: 'p95', of: (row) => seconds(row.timeToRemediate.sinceSubmission.p95Ms), right: true },
];

type Top = Dashboard['topSenders']['items'][number];

const topColumns = (title: string): readonly Column<Top>[] => [
  { title, of: (row) => row.address },
  { title: 'copies moved', of: (row) => row.copies, right: true },
];

export function registerDashboard(program: Command, shell: Shell): void {
  program
    .command('dashboard')
    .summary('volumes, outcomes, times to remediate, top senders and mailboxes')
    .description('Show what was submitted in a range of time, and whose copies were moved most.')
    .option('--start <time>', 'submitted at or after this time (default: 30 days before the end)', instant)
    .option('--end <time>', 'submitted before this time (default: now)', instant)
    .addOption(choice('--by <group>', 'a line for each', ['day', 'action', 'surface', 'severity']))
    .option('--top <n>', 'how many senders and mailboxes (default: 10)', wholeNumber(1, 100))
    .addHelpText('after', '\nExample:\n  clawback dashboard --start 2026-11-01 --by action')
    .action(
      action<DashboardOptions>(shell, async ({ client, out }, { start, end, by, top }) => {
        const read = await client.dashboard({ startTime: start, endTime: end, groupBy: by, top });
        const tops = [
          ['sender', read.topSenders.items],
          ['mailbox', read.topMailboxes.items],
        ] as const;
        const parts = [
          `${read.startTime} to ${read.endTime}`,
          new Table(COLUMNS).add([...read.groups, { ...read.totals, key: 'all' }]),
          ...tops
            .filter(([, items]) => items.length > 0)
            .map(([title, items]) => new Table(topColumns(title)).add(items)),
        ];
        out.result(read, parts.join('\n\n'));
        return ExitCode.ok;
      }),
    );
}

const seconds = (ms: number | null): string => (ms === null ? '' : `${(ms / 1000).toFixed(1)} s`);
