import { isReached, type Result, type ResultRow } from './result.js';
import type { Machine } from './machine.js';

/** As many digits as are worth reading. */
export const shown = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)));

const aimOf = ({ aim }: ResultRow): string => (aim === undefined ? '' : `${aim.op} ${shown(aim.value)}`);

const verdictOf = (row: ResultRow): string => {
  const reached = isReached(row);
  return reached === undefined ? '' : reached ? 'reached' : 'missed';
};

const HEAD = ['measure', 'unit', 'median', 'min', 'max', 'aim', ''];

const cells = (row: ResultRow): string[] => [
  row.label,
  row.unit,
  shown(row.median),
  shown(row.min),
  shown(row.max),
  aimOf(row),
  verdictOf(row),
];

/** For the terminal. */
export function textTable({ bench, title, store, size, runs, rows, baseline }: Result): string {
  const lines = [HEAD, ...rows.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const body = lines.map((line) =>
    line
      .map((cell, column) =>
        column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
  return [
    `${bench.toUpperCase()}  ${title}`,
    `    ${store}, ${size}, ${String(runs)} run${runs === 1 ? '' : 's'}; baseline: ${baseline}`,
    ...body.map((line) => `    ${line}`),
  ].join('\n');
}

export function markdownTable({ rows }: Result): string {
  const lines = [HEAD, HEAD.map((_, column) => (column < 2 ? '---' : '---:')), ...rows.map(cells)];
  return lines.map((line) => `| ${line.join(' | ')} |`).join('\n');
}

export const machineText = (machine: Machine): string =>
  [
    `${machine.cpu}, ${String(machine.cores)} cores, ${String(machine.memoryGiB)} GiB, ${machine.system}`,
    `Node ${machine.node}, SQLite ${machine.sqlite}, ` +
      Object.entries(machine.drivers)
        .map(([name, version]) => `${name} ${version}`)
        .join(', '),
    `Clawback ${machine.commit}`,
  ].join('; ');
