import type { Bench } from './bench.js';

/** Every bench by its name, with its file; the files are loaded only when they are used. */
const FILES = {
  f1: 'f1-record-outcomes',
  f2: 'f2-rebuild-views',
  f3: 'f3-remediate',
  f4: 'f4-memory',
  f5: 'f5-export',
  f6: 'f6-emmett',
  f7: 'f7-deep-page',
  f8: 'f8-freshness',
  f9: 'f9-small-submissions',
  f10: 'f10-provider-limits',
} as const;

export type BenchName = keyof typeof FILES;

export const BENCH_NAMES = Object.keys(FILES) as BenchName[];

export const isBenchName = (name: string): name is BenchName => Object.hasOwn(FILES, name);

export async function loadBench(name: BenchName): Promise<Bench> {
  const { bench } = (await import(`../${FILES[name]}.js`)) as { bench: Bench };
  return bench;
}
