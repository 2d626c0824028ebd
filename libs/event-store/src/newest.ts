import type { Position } from '#libs/kernel';

/** What there is to know of an item. */
export interface Weighing<T> {
  /** Of its end. */
  readonly position: (item: T) => Position;
  readonly weight: (item: T) => number;
}

/** The newest items of a log without a gap, in order, up to some weight; the very last one is kept whatever it weighs. */
export class Newest<T> {
  private items: T[] = [];
  private weight = 0;

  constructor(
    private first: Position,
    private readonly maxWeight: number,
    private readonly of: Weighing<T>,
  ) {}

  /** Before the first item. */
  get from(): Position {
    return this.first;
  }

  /** The last position that is in here. */
  get end(): Position {
    const last = this.items.at(-1);
    return last === undefined ? this.first : this.of.position(last);
  }

  /** At most so many items that end behind a position. */
  behind(position: Position, maxCount = Infinity): readonly T[] {
    let [low, high] = [0, this.items.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.of.position(this.items[middle] as T) <= position) low = middle + 1;
      else high = middle;
    }
    return this.items.slice(low, low + maxCount);
  }

  /** Forgets everything, and goes on from here. */
  beginAt(position: Position): void {
    this.items = [];
    this.weight = 0;
    this.first = position;
  }

  /** Takes in what follows on the end, and forgets the oldest. */
  add(items: readonly T[]): void {
    for (const item of items) {
      this.items.push(item);
      this.weight += this.of.weight(item);
    }
    let forgotten = 0;
    for (; this.weight > this.maxWeight && forgotten < this.items.length - 1; forgotten += 1) {
      const oldest = this.items[forgotten] as T;
      this.weight -= this.of.weight(oldest);
      this.first = this.of.position(oldest);
    }
    if (forgotten > 0) this.items = this.items.slice(forgotten);
  }
}
