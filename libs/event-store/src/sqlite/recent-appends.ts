import { START, type Position } from '#libs/kernel';
import type { RecordedEvent } from '../event-store.js';
import { firstBehind } from '../first-behind.js';
import type { StoredAppend } from './stored-append.js';

/**
 * The newest appends without a gap, up to some length of JSON: as they were written, or as the first one read them who
 * follows the log. Those who follow it are close together most of the time: the others need not read, parse and validate
 * the same events again.
 */
export class RecentAppends {
  private appends: StoredAppend[] = [];
  private length = 0;
  /** Before the first of the events. */
  private from: Position = START;

  constructor(private readonly maxLength: number) {}

  /** The last position that is in here; the next appends to add are those after it. */
  get end(): Position {
    return this.appends.at(-1)?.position ?? this.from;
  }

  /**
   * At most so many events after a position, and those of no further append once they are longer than this. Undefined:
   * they are not here any more, or not yet.
   */
  after(position: Position, maxCount: number, enough = Infinity): readonly RecordedEvent[] | undefined {
    if (position < this.from || position >= this.end) return undefined;
    const events: RecordedEvent[] = [];
    let length = 0;
    for (
      let index = firstBehind(this.appends, (append) => append.position, position);
      index < this.appends.length && length <= enough;
      index += 1
    ) {
      for (const event of this.appends[index]?.events ?? []) {
        if (event.position > position) events.push(event);
        if (events.length === maxCount) return events;
      }
      length += this.appends[index]?.length ?? 0;
    }
    return events;
  }

  /** Takes in what follows on a position. What does not follow on what is here takes its place. */
  add(after: Position, appends: readonly StoredAppend[]): void {
    const [first] = appends;
    if (first === undefined) return;
    if (after !== this.end) {
      // A reader of the past does not push out what is new.
      if (after < this.end) return;
      this.appends = [];
      this.length = 0;
      // Whoever has stopped within an append has it all read.
      this.from = first.before < after ? first.before : after;
    }
    for (const append of appends) {
      this.appends.push(append);
      this.length += append.length;
    }
    this.forgetOldest();
  }

  private forgetOldest(): void {
    let count = 0;
    while (this.length > this.maxLength && count < this.appends.length - 1) {
      this.length -= this.appends[count]?.length ?? 0;
      count += 1;
    }
    if (count === 0) return;
    this.from = this.appends[count - 1]?.position ?? this.from;
    this.appends = this.appends.slice(count);
  }
}
