import { loadBench, type BenchName } from './benches.js';
import type { Figures, PartInput } from './bench.js';

/** What the parent asks of this process. */
export interface PartOrder {
  readonly bench: BenchName;
  /** One of the bench's parts or helpers, or `prepare` or `cleanUp`. */
  readonly part: string;
  readonly input: PartInput;
}

export type PartAnswer = { readonly figures: Figures } | { readonly error: string };

process.once('message', (order: PartOrder) => {
  void perform(order)
    .then(
      (figures): PartAnswer => ({ figures }),
      (error: unknown): PartAnswer => ({
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      }),
    )
    .then((answer) => {
      process.send?.(answer, () => {
        // What a part has left open, when it failed above all, must not keep the run waiting.
        process.exit();
      });
    });
});

// Without a parent nobody takes what it measures.
process.once('disconnect', () => process.exit());

async function perform({ bench: name, part, input }: PartOrder): Promise<Figures> {
  const bench = await loadBench(name);
  const work =
    part === 'prepare' || part === 'cleanUp' ? bench[part] : (bench.parts[part] ?? bench.helpers?.[part]);
  if (work === undefined) throw new Error(`${name} has no part ${part}`);
  const began = performance.now();
  const figures = await work(input);
  return {
    partSeconds: (performance.now() - began) / 1000,
    // In kilobytes, on every system that we run on.
    peakRss: process.resourceUsage().maxRSS * 1024,
    ...figures,
  };
}
