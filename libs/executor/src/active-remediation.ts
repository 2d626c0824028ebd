import type { Loaded, RecordedEvent } from '#libs/event-store';
import type { KnownRemediation, Remediation, Submission, Tally, Withdrawal } from '#libs/remediation';

/** What a coordinator knows of a remediation that is under way. */
export class ActiveRemediation {
  /** Batches below this one are given out or withdrawn, as far as this coordinator has seen to it. */
  released = 0;
  /** Whether it is known that somebody works on it. */
  begun = false;
  /** Whether its batches are being given out; before its time they are not. */
  launched = false;
  /** Nothing more is given out: what was not, gets this outcome. */
  stopped: Withdrawal | undefined;
  /** Milliseconds since 1970. */
  deadline: number | undefined;
  /** Its stream as this coordinator has seen it last; it may have moved on. */
  life: Loaded<Remediation> | undefined;
  readonly submission: Submission;
  private readonly settled = new Map<number, Tally>();
  /** When a released batch without a result may be given to somebody else: its claim's deadline, or a while after its release. */
  private readonly due = new Map<number, number>();
  /** Until when released batches wait for their mailboxes (milliseconds since 1970). They hold nobody up. */
  private readonly deferred = new Map<number, number>();

  constructor(
    readonly approval: RecordedEvent,
    private readonly state: KnownRemediation,
  ) {
    this.submission = state.submission;
  }

  /** When it may begin, in milliseconds since 1970. */
  get startsAt(): number {
    return Date.parse(this.submission.startAt ?? '') || 0;
  }

  /** Only a part was approved; the rest is not to run. Once it is stopped, all of it comes to its end. */
  get isPart(): boolean {
    return this.state.approvedBatches !== undefined && this.stopped === undefined;
  }

  /** How many batches may be given out. */
  get limit(): number {
    return this.isPart ? (this.state.approvedBatches ?? 0) : this.submission.batches;
  }

  /** How many batches have run as a part that was approved before the rest. */
  get partBatches(): number {
    return this.state.partBatches ?? 0;
  }

  get allSettled(): boolean {
    return this.settled.size >= this.limit;
  }

  get tallies(): Iterable<Tally> {
    return this.settled.values();
  }

  /** How many batches wait for their mailboxes. */
  get waiting(): number {
    return this.deferred.size;
  }

  /** The next batches to release, so that at most `ahead` are released and neither settled nor deferred. */
  toRelease(ahead: number): number[] {
    return this.upTo(Math.min(this.limit, this.settled.size + this.deferred.size + ahead));
  }

  /** The deferred batches whose time has come: as many as leave at most `ahead` given out, the first ones first. */
  toResume(ahead: number, now: number): number[] {
    const givenOut = this.released - this.settled.size - this.deferred.size;
    const come = [...this.deferred].filter(([, until]) => until <= now).map(([batch]) => batch);
    return come.sort((a, b) => a - b).slice(0, Math.max(0, ahead - givenOut));
  }

  /** When the next deferred batch is to go on after now; infinity when none is. */
  nextResume(now: number): number {
    return Math.min(...[...this.deferred.values()].filter((until) => until > now));
  }

  /** The batches that will never be given out, or not be given out again. */
  toWithdraw(): number[] {
    return [...this.deferred.keys(), ...this.upTo(this.submission.batches)];
  }

  settle(batch: number, tally: Tally): void {
    this.settled.set(batch, tally);
    this.due.delete(batch);
    this.deferred.delete(batch);
  }

  /** Nobody else needs to look at this batch before then (milliseconds since 1970). */
  expect(batch: number, until: number): void {
    this.deferred.delete(batch);
    if (!this.settled.has(batch)) this.due.set(batch, until);
  }

  /** Nobody works on this batch before then. */
  defer(batch: number, until: number): void {
    this.due.delete(batch);
    if (!this.settled.has(batch)) this.deferred.set(batch, until);
  }

  /** Released batches that should have settled by now. */
  overdue(now: number): number[] {
    return [...this.due].filter(([, until]) => until < now).map(([batch]) => batch);
  }

  private upTo(end: number): number[] {
    return Array.from({ length: Math.max(0, end - this.released) }, (_, index) => this.released + index);
  }
}
