import type { Command } from 'commander';
import type { View } from '../api.js';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { Table, type Column } from '../output.js';

type Row = View['builds'][number] & { readonly view: string; readonly version: number };

const COLUMNS: readonly Column<Row>[] = [
  { title: 'view', of: (row) => row.view },
  { title: 'version', of: (row) => row.version, right: true },
  { title: 'build', of: (row) => row.build, right: true },
  { title: 'state', of: (row) => row.state },
  { title: 'done', of: (row) => `${String(Math.floor(100 * row.progress))} %`, right: true },
];

export function registerViews(program: Command, shell: Shell): void {
  program
    .command('views')
    .summary('the views that queries are answered from, and how far they are')
    .description(
      'List the views with their builds, and how much of the log is in each. Needs the role admin.',
    )
    .action(
      action(shell, async ({ client, out }) => {
        const { items } = await client.views();
        const rows = items.flatMap(({ name, version, builds }) =>
          builds.map((build) => ({ ...build, view: name, version })),
        );
        out.result({ items }, new Table(COLUMNS).add(rows));
        return ExitCode.ok;
      }),
    );
}
