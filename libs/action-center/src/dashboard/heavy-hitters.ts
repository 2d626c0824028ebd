/** An address among the first, with how many copies it has for sure. */
export interface TopAddress {
  readonly address: string;
  readonly copies: number;
}

export interface Top {
  readonly items: readonly TopAddress[];
  /** Every count may be too low by so much, and no other address has more than this. Nought: exact. */
  readonly error: number;
}

/** How many addresses are told apart at least. */
const KEPT = 10_000;

/**
 * The most frequent of any number of addresses, in bounded memory (Misra and Gries, in the form that merges: whenever
 * twice {@link KEPT} addresses are known, the count of the `kept`-th is taken from all, and who has nothing left is
 * forgotten). Exact up to that many; else too low by at most the sum of all counts divided by `kept`.
 */
export class HeavyHitters {
  private readonly counts = new Map<string, number>();
  private error = 0;

  constructor(private readonly kept = KEPT) {}

  add(address: string, copies: number): void {
    this.counts.set(address, (this.counts.get(address) ?? 0) + copies);
    if (this.counts.size > 2 * this.kept) this.forget();
  }

  /** The first `n`; equal counts in the order of their addresses. */
  top(n: number): Top {
    const items = [...this.counts]
      .map(([address, copies]) => ({ address, copies }))
      .sort((a, b) => b.copies - a.copies || (a.address < b.address ? -1 : 1))
      .slice(0, n);
    return { items, error: this.error };
  }

  private forget(): void {
    const sorted = [...this.counts.values()].sort((a, b) => b - a);
    const taken = sorted[this.kept] ?? 0;
    this.error += taken;
    for (const [address, copies] of this.counts) {
      if (copies <= taken) this.counts.delete(address);
      else this.counts.set(address, copies - taken);
    }
  }
}
