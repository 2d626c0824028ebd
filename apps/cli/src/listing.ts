import type { Command } from 'commander';
import type { Page, Query } from './api.js';
import { allItems } from './client.js';
import type { Context } from './context.js';
import { ExitCode } from './exit-codes.js';
import { wholeNumber } from './options.js';
import { Table, type Column } from './output.js';

export interface ListingOptions {
  readonly limit?: number;
  readonly cursor?: string;
  readonly all?: boolean;
}

const LARGEST_PAGE = 1000;
const DEFAULT_PAGE = 50;

export const addListingOptions = (command: Command): Command =>
  command
    .option('--limit <n>', `items a page (default: ${DEFAULT_PAGE})`, wholeNumber(1, LARGEST_PAGE))
    .option('--cursor <cursor>', 'go on where an earlier page ended')
    .option('--all', 'every page; with --json an object a line');

/** Shows a page of a listing, or with `--all` every one as it comes. */
export async function showListing<T>(
  { out }: Context,
  options: ListingOptions,
  columns: readonly Column<T>[],
  pageAt: (at: Query) => Promise<Page<T>>,
): Promise<ExitCode> {
  if (options.all === true && out.json) {
    const at = (cursor = options.cursor) => pageAt({ limit: options.limit ?? LARGEST_PAGE, cursor });
    for await (const item of allItems(at)) await out.line(item);
    return ExitCode.ok;
  }
  const table = new Table(columns);
  let { cursor } = options;
  do {
    const limit = options.limit ?? (options.all === true ? LARGEST_PAGE : DEFAULT_PAGE);
    const page = await pageAt({ limit, cursor });
    if (out.json) out.document(page);
    else if (page.items.length > 0) await out.raw(`${table.add(page.items)}\n`);
    cursor = page.nextCursor ?? undefined;
  } while (options.all === true && cursor !== undefined);
  if (table.isEmpty && !out.json) out.note('nothing found');
  if (cursor !== undefined && !out.json) out.note(`there is more: --all, or --cursor ${cursor}`);
  return ExitCode.ok;
}
