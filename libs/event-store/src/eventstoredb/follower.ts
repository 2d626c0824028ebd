import type { Position } from '#libs/kernel';
import type { Delivery, SubscribeOptions, SubscriptionState } from '../event-store.js';
import { CatchUp, DEFAULT_MAX_BATCH, type CallListener } from './catch-up.js';
import type { AllEvents } from './all-events.js';
import { LogTail } from './log-tail.js';

/** The tail that the followers of one store share: there is one while anybody follows it. */
export class SharedTail {
  private current: LogTail | undefined;

  constructor(
    readonly log: AllEvents,
    readonly silenceMs: number,
  ) {}

  /** Whether somebody who has come so far can go on with the others. */
  covers(position: Position): boolean {
    return this.current?.isOpen === true && this.current.covers(position);
  }

  /** The one that there is, or a new one from here. */
  from(position: Position): LogTail {
    if (this.current?.isOpen !== true) this.current = new LogTail(this.log, this.silenceMs, position);
    return this.current;
  }
}

/**
 * One subscription: by a call of its own until it has come up with the others, then with them, and by a call of its own
 * again whenever it has fallen too far behind. Ends by its signal only, or by an event that cannot be read.
 */
export class Follower {
  private reached: Position;
  private toldCaughtUp = false;
  private readonly signal: AbortSignal;
  private readonly maxBatch: number;
  private readonly types: ReadonlySet<string> | undefined;
  private state: SubscriptionState['state'] | undefined;

  constructor(
    private readonly shared: SharedTail,
    options: SubscribeOptions,
    private readonly report: (state: Omit<SubscriptionState, 'subscription' | 'name'>) => void,
  ) {
    this.reached = options.after;
    this.signal = options.signal;
    this.maxBatch = options.maxBatch ?? DEFAULT_MAX_BATCH;
    this.types = options.types;
  }

  async *deliveries(): AsyncGenerator<Delivery> {
    let fault: unknown;
    try {
      for (let again = false; !this.signal.aborted; again = true) {
        yield* this.alone(again);
        yield* this.withOthers();
      }
    } catch (error) {
      fault = error;
      throw error;
    } finally {
      this.tell('ended', fault);
    }
  }

  /**
   * Until it has come up with the log or, not for the first time, with the others: what those have come to says nothing to
   * somebody who has not once heard from the server that he has seen everything.
   */
  private async *alone(again: boolean): AsyncGenerator<Delivery> {
    const options = { after: this.reached, signal: this.signal, maxBatch: this.maxBatch };
    const tell: CallListener = (state, lastError) => {
      this.tell(state, lastError);
    };
    const { log, silenceMs } = this.shared;
    for await (const delivery of new CatchUp(log, silenceMs, options, tell).deliveries()) {
      this.took(delivery);
      yield this.wanted(delivery);
      if (delivery.caughtUp || (again && this.shared.covers(this.reached))) return;
    }
  }

  /** Until it has fallen behind what the others have. */
  private async *withOthers(): AsyncGenerator<Delivery> {
    const tail = this.shared.from(this.reached);
    const listener: CallListener = (state, lastError) => {
      // That the shared call begins somewhere says nothing of this one.
      if (state !== 'catchingUp' || this.state === 'reconnecting') this.tell(state, lastError);
    };
    tail.join(listener);
    try {
      while (!this.signal.aborted) {
        const events = tail.after(this.reached, this.maxBatch);
        if (events === undefined) return;
        const position = events.at(-1)?.position ?? this.reached;
        const caughtUp = tail.caughtUpAt(position);
        if (events.length > 0 || (caughtUp && !this.toldCaughtUp)) {
          const delivery = { events, position, caughtUp };
          this.took(delivery);
          if (this.state !== 'reconnecting') this.tell(caughtUp ? 'live' : 'catchingUp');
          yield this.wanted(delivery);
        } else {
          tail.throwFailure();
          if (!tail.isOpen) return;
          await tail.more(this.signal);
        }
      }
    } finally {
      tail.leave(listener);
    }
  }

  private took({ position, caughtUp }: Delivery): void {
    this.reached = position;
    this.toldCaughtUp = caughtUp;
  }

  /** All followers share what is read, so each leaves out for itself what it has no use for. */
  private wanted(delivery: Delivery): Delivery {
    const { types } = this;
    if (types === undefined) return delivery;
    return { ...delivery, events: delivery.events.filter(({ type }) => types.has(type)) };
  }

  private tell(state: SubscriptionState['state'], lastError?: unknown): void {
    if (state === this.state && lastError === undefined) return;
    this.state = state;
    this.report({ state, position: this.reached, ...(lastError === undefined ? {} : { lastError }) });
  }
}
