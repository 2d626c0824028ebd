import { pause } from '#libs/kernel';
import { NoAnswer } from './errors.js';

/** Waits that double up to a cap, each shortened at random so that nobody marches in step. */
export class Backoff {
  private failures = 0;

  constructor(
    private readonly firstMs: number,
    private readonly longestMs: number,
  ) {}

  next(): number {
    const full = Math.min(this.longestMs, this.firstMs * 2 ** this.failures++);
    return (full * (1 + Math.random())) / 2;
  }

  reset(): void {
    this.failures = 0;
  }
}

const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 2_000;

/** How long something is tried again. The time begins with the first failure, and anew after progress. */
export class Patience {
  private readonly backoff = new Backoff(FIRST_WAIT_MS, LONGEST_WAIT_MS);
  private until: number | undefined;

  constructor(
    private readonly budgetMs: number,
    private readonly signal: AbortSignal,
  ) {}

  /** Waits a while before the next attempt. @returns false: the time is up, or the signal has fired. */
  async again(): Promise<boolean> {
    const now = performance.now();
    this.until ??= now + this.budgetMs;
    if (now >= this.until) return false;
    await pause(Math.min(this.backoff.next(), this.until - now), this.signal);
    return !this.signal.aborted;
  }

  progress(): void {
    this.until = undefined;
    this.backoff.reset();
  }
}

/** A call that must settle in time. What it does afterwards concerns nobody. @throws {NoAnswer} */
export async function within<T>(ms: number, call: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new NoAnswer(ms));
    }, ms);
  });
  try {
    return await Promise.race([call, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

/** Lets at most so many run at a time; the others wait in the order in which they came. */
export class Places {
  private readonly waiting: (() => void)[] = [];

  constructor(private free: number) {}

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.free > 0) this.free -= 1;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.free += 1;
      else next();
    }
  }
}
