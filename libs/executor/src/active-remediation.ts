import type { RecordedEvent } from '#libs/event-store';
import type { Submission, Tally } from '#libs/remediation';

/** What a coordinator knows of a remediation that is under way. */
export class ActiveRemediation {
  /** Batches below this one are released, as far as this coordinator has seen to it. */
  released = 0;
  private readonly settled = new Map<number, Tally>();
  /** When a released batch without a result may be given to somebody else: its claim's deadline, or a while after its release. */
  private readonly due = new Map<number, number>();

  constructor(
    readonly approval: RecordedEvent,
    readonly submission: Submission,
  ) {}

  get allSettled(): boolean {
    return this.settled.size === this.submission.batches;
  }

  get tallies(): Iterable<Tally> {
    return this.settled.values();
  }

  /** The next batches to release, so that at most `ahead` are released and not settled. */
  toRelease(ahead: number): number[] {
    const until = Math.min(this.submission.batches, this.settled.size + ahead);
    return Array.from({ length: Math.max(0, until - this.released) }, (_, index) => this.released + index);
  }

  settle(batch: number, tally: Tally): void {
    this.settled.set(batch, tally);
    this.due.delete(batch);
  }

  /** Nobody else needs to look at this batch before then (milliseconds since 1970). */
  expect(batch: number, until: number): void {
    if (!this.settled.has(batch)) this.due.set(batch, until);
  }

  /** Released batches that should have settled by now. */
  overdue(now: number): number[] {
    return [...this.due].filter(([, until]) => until < now).map(([batch]) => batch);
  }
}
