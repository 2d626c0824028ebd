import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BENCH_NAMES } from './benches.js';
import { ROOT } from './machine.js';
import { keptResults, type Result } from './result.js';
import { machineText, markdownTable } from './tables.js';

const NOTES = join(ROOT, 'bench/notes');
const DOCUMENT = join(ROOT, 'docs/performance.md');

/** Writes docs/performance.md from the kept results and the notes that were written by hand. */
export function writeDocument(): string {
  const results = keptResults();
  const sections = BENCH_NAMES.map((name) => {
    const own = results.filter(({ bench }) => bench === name);
    return own.length === 0 ? [] : [section(own), note(name)];
  }).flat();
  const parts = [note('introduction'), ...sections, note('end')].filter((part) => part !== '');
  writeFileSync(DOCUMENT, `${parts.join('\n\n')}\n`);
  return DOCUMENT;
}

function section(results: readonly Result[]): string {
  const [first] = results;
  if (first === undefined) return '';
  return [
    `## ${first.bench.toUpperCase()}: ${first.title}`,
    `Baseline: ${first.baseline}.`,
    ...results.flatMap((result) => [
      `**${result.store}**, ${sizeOf(result)}, ${String(result.runs)} run${result.runs === 1 ? '' : 's'}, ${result.date}`,
      markdownTable(result),
      `<sub>${machineText(result.machine)}</sub>`,
    ]),
  ].join('\n\n');
}

const sizeOf = ({ size, fullSize }: Result): string =>
  fullSize === undefined ? size : `${size} (not the full size, which is ${fullSize})`;

function note(name: string): string {
  const file = join(NOTES, `${name}.md`);
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
}
