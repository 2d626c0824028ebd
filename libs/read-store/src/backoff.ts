const FIRST_MS = 100;
const LONGEST_MS = 15_000;

/** Milliseconds to wait after so many failures in a row: doubling up to a cap, and random, so that nobody marches in step. */
export function backoff(failures: number): number {
  const full = Math.min(LONGEST_MS, FIRST_MS * 2 ** (failures - 1));
  return (full * (1 + Math.random())) / 2;
}
