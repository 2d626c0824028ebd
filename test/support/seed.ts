/**
 * What everything that is left to chance starts from: the laws, the generated requests, the moments of the kills.
 *
 * The same in every run, so that a red run tells of the change it ran on and of nothing else. `CLAWBACK_SEED=random`
 * looks for what no run has met yet, and `CLAWBACK_SEED=<number>` repeats what such a run met.
 */
export const SEED = seedOf(process.env.CLAWBACK_SEED);

function seedOf(said: string | undefined): number {
  if (said === 'random') return Date.now() % 2 ** 31;
  const seed = said === undefined ? 20_815 : Number(said);
  if (Number.isSafeInteger(seed)) return seed;
  throw new RangeError(`CLAWBACK_SEED: must be a whole number or "random", and is ${JSON.stringify(said)}`);
}
