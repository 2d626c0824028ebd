import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Aim, Bench, Figures, Target } from './bench.js';
import type { BenchName } from './benches.js';
import { describeMachine, ROOT, type Machine } from './machine.js';
import { spreadOf, type Spread } from './statistics.js';

const RESULTS = join(ROOT, 'bench/results');

export interface ResultRow extends Spread {
  readonly label: string;
  readonly unit: string;
  readonly aim?: Aim;
  /** One value a run, in order. */
  readonly values: readonly number[];
}

/** What one bench measured on one store, as it is kept. */
export interface Result {
  readonly bench: BenchName;
  readonly title: string;
  readonly baseline: string;
  readonly store: string;
  readonly size: string;
  /** The full size, when this run had another one. */
  readonly fullSize?: string;
  readonly quick: boolean;
  readonly runs: number;
  readonly date: string;
  readonly machine: Machine;
  readonly rows: readonly ResultRow[];
}

export function resultOf(
  name: BenchName,
  bench: Bench,
  target: Target,
  size: number,
  quick: boolean,
  runs: readonly Readonly<Record<string, Figures>>[],
): Result {
  return {
    bench: name,
    title: bench.title,
    baseline: bench.baseline,
    store: target.label,
    size: `${size.toLocaleString('en')} ${bench.counts}`,
    ...(size === bench.sizes.full ? {} : { fullSize: bench.sizes.full.toLocaleString('en') }),
    quick,
    runs: runs.length,
    date: new Date().toISOString().slice(0, 10),
    machine: describeMachine(),
    rows: bench.rows.map(({ label, unit, of, aim }) => {
      const values = runs.map((parts) => rounded(of(parts)));
      const aimed = aim?.(target);
      return { label, unit, ...(aimed === undefined ? {} : { aim: aimed }), ...spreadOf(values), values };
    }),
  };
}

/** Four digits say all that such a measure knows. */
const rounded = (value: number): number => Number(value.toPrecision(4));

/** Keeps a run for the document. A quick one shows only that the bench runs. */
export function keep(result: Result, target: Target): string {
  mkdirSync(RESULTS, { recursive: true });
  const file = join(RESULTS, `${result.bench}-${target.store}.json`);
  writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
  return file;
}

export const keptResults = (): Result[] =>
  readdirSync(RESULTS)
    .filter((file) => file.endsWith('.json'))
    .map((file) => JSON.parse(readFileSync(join(RESULTS, file), 'utf8')) as Result)
    .sort(
      (a, b) => a.bench.localeCompare(b.bench, 'en', { numeric: true }) || a.store.localeCompare(b.store),
    );

export const isReached = ({ aim, median }: ResultRow): boolean | undefined =>
  aim === undefined ? undefined : aim.op === '≥' ? median >= aim.value : median <= aim.value;
