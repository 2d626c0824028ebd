import { START, type Position } from '#libs/kernel';
import type { RecordedEvent } from '../event-store.js';

/** One event, and how long its JSON is. */
export interface ReadEvent {
  readonly event: RecordedEvent;
  readonly length: number;
}

/**
 * The newest events as they were read, without a gap, up to some length of JSON. Those who follow the log are close
 * together most of the time: what one of them has read, the others need not read, parse and validate again.
 */
export class RecentEvents {
  private events: ReadEvent[] = [];
  private length = 0;
  /** Before the first of the events. */
  private from: Position = START;

  constructor(private readonly maxLength: number) {}

  /** The last position that is in here; the next events to add are those after it. */
  get end(): Position {
    return this.events.at(-1)?.event.position ?? this.from;
  }

  /** At most so many events after a position. Undefined: they are not here any more, or not yet. */
  after(position: Position, maxCount: number): readonly RecordedEvent[] | undefined {
    if (position < this.from || position >= this.end) return undefined;
    const first = this.firstAfter(position);
    return this.events.slice(first, first + maxCount).map(({ event }) => event);
  }

  /** Takes in what was read after a position. What does not follow on what is here takes its place. */
  add(after: Position, read: readonly ReadEvent[]): void {
    if (read.length === 0) return;
    if (after !== this.end) {
      // A reader of the past does not push out what is new.
      if (after < this.end) return;
      this.events = [];
      this.length = 0;
      this.from = after;
    }
    for (const one of read) {
      this.events.push(one);
      this.length += one.length;
    }
    this.forgetOldest();
  }

  private forgetOldest(): void {
    let count = 0;
    while (this.length > this.maxLength && count < this.events.length - 1) {
      this.length -= this.events[count]?.length ?? 0;
      count += 1;
    }
    if (count === 0) return;
    this.from = this.events[count - 1]?.event.position ?? this.from;
    this.events = this.events.slice(count);
  }

  private firstAfter(position: Position): number {
    let [low, high] = [0, this.events.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.events[middle]?.event.position ?? START) <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
