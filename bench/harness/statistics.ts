import { profiled } from './profiler.js';

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** @throws {RangeError} no values. */
export function spreadOf(values: readonly number[]): Spread {
  return { median: percentile(values, 50), min: Math.min(...values), max: Math.max(...values) };
}

/** The value that so many percent of the values do not exceed; between two values, their mean for the median only. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = (percent / 100) * sorted.length;
  const upper = sorted[Math.max(0, Math.ceil(rank) - 1)];
  if (upper === undefined) throw new RangeError('no values');
  const next = sorted[rank];
  return percent === 50 && Number.isInteger(rank) && next !== undefined ? (upper + next) / 2 : upper;
}

/** Seconds that the work takes. With `--profile` it is what is profiled; nothing else of the process is. */
export async function timed(work: () => Promise<void> | void): Promise<number> {
  return await profiled(async () => {
    const began = performance.now();
    await work();
    return (performance.now() - began) / 1000;
  });
}
