import { START, type Position } from '#libs/kernel';
import { Newest } from '../newest.js';
import type { StoredAppend } from './stored-append.js';

/**
 * The newest appends without a gap, up to some length of JSON: as they were written, or as the first one read them who
 * follows the log. Those who follow it are close together most of the time: the others need not read, parse and validate
 * the same events again.
 */
export class RecentAppends {
  private readonly kept: Newest<StoredAppend>;

  constructor(maxLength: number) {
    this.kept = new Newest(START, maxLength, {
      position: (append) => append.position,
      weight: (append) => append.length,
    });
  }

  /** What is here after a position. Undefined: that is not here any more, or not yet. */
  after(position: Position): readonly StoredAppend[] | undefined {
    if (position < this.kept.from || position >= this.kept.end) return undefined;
    return this.kept.behind(position);
  }

  /** Takes in what follows on a position. What does not follow on what is here takes its place. */
  add(after: Position, appends: readonly StoredAppend[]): void {
    const [first] = appends;
    // A reader of the past does not push out what is new.
    if (first === undefined || after < this.kept.end) return;
    // Whoever has stopped within an append has it all read.
    if (after > this.kept.end) this.kept.beginAt(first.before < after ? first.before : after);
    this.kept.add(appends);
  }
}
