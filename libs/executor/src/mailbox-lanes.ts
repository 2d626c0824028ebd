import type { Clock } from '#libs/kernel';

/** The mailbox has asked not to be called before then (milliseconds since 1970). */
export interface Closed {
  readonly kind: 'closed';
  readonly until: number;
}

interface Lane {
  running: number;
  /** Of each that waits for a place: called without a word when it has one. */
  readonly waiting: ((closed?: Closed) => void)[];
}

/**
 * Keeps the calls to each mailbox to a few at a time; further ones wait in order. Mailboxes do not wait for each other.
 * Nothing waits for a mailbox that has asked to be left in peace: whoever comes is told until when.
 */
export class MailboxLanes {
  private readonly lanes = new Map<string, Lane>();
  /** Until when each lane is closed, roughly in that order. */
  private readonly closed = new Map<string, number>();

  constructor(
    private readonly perMailbox: number,
    private readonly clock: Clock,
  ) {}

  /** Whether a task would begin at once. */
  hasPlace(mailbox: string): boolean {
    return (this.lanes.get(mailbox)?.running ?? 0) < this.perMailbox;
  }

  /** Does the task when there is a place; not at all when the lane is closed, or is closed before there is one. */
  async run<T>(mailbox: string, task: () => Promise<T>): Promise<T | Closed> {
    const closed = this.closedNow(mailbox);
    if (closed !== undefined) return closed;
    const lane = this.lanes.get(mailbox) ?? { running: 0, waiting: [] };
    this.lanes.set(mailbox, lane);
    if (!this.hasPlace(mailbox)) {
      // The one who leaves hands its place over, so that `running` stays right.
      const turnedAway = await new Promise<Closed | undefined>((resolve) => {
        lane.waiting.push(resolve);
      });
      if (turnedAway !== undefined) return turnedAway;
    } else {
      lane.running += 1;
    }
    try {
      return await task();
    } finally {
      const next = lane.waiting.shift();
      if (next !== undefined) next();
      else {
        lane.running -= 1;
        if (lane.running === 0) this.lanes.delete(mailbox);
      }
    }
  }

  /** Begins no more calls before then, and sends away who waits. A lane that is closed for longer stays so. */
  close(mailbox: string, until: number): Closed {
    this.forgetOpened();
    const closed: Closed = { kind: 'closed', until: Math.max(until, this.closed.get(mailbox) ?? 0) };
    this.closed.delete(mailbox);
    this.closed.set(mailbox, closed.until);
    for (const turnAway of this.lanes.get(mailbox)?.waiting.splice(0) ?? []) turnAway(closed);
    return closed;
  }

  /** Whether the lane is closed, and until when. */
  closedNow(mailbox: string): Closed | undefined {
    const until = this.closed.get(mailbox);
    if (until === undefined) return undefined;
    if (until > this.clock.now().getTime()) return { kind: 'closed', until };
    this.closed.delete(mailbox);
    return undefined;
  }

  /** Of mailboxes that nobody asks for again nothing is kept for long. */
  private forgetOpened(): void {
    const now = this.clock.now().getTime();
    for (const [mailbox, until] of this.closed) {
      if (until > now) return;
      this.closed.delete(mailbox);
    }
  }
}
