import type { SubscriptionState, WorkQueueState } from '#libs/event-store';
import { errorClass, type JsonLogger } from '#libs/platform';

/** Told by the stores how what they keep open is doing. */
export interface ConnectionListener {
  onSubscription(state: SubscriptionState): void;
  onQueue(state: WorkQueueState): void;
}

/** Something that is kept open for ever, and how it is doing. */
export interface ConnectionReport<State extends string> {
  readonly name: string;
  readonly state: State;
  /** The class of the fault that it has not got over yet. */
  readonly lastError: string | undefined;
  /** Faults since the start, by their class. */
  readonly errors: ReadonlyMap<string, number>;
}

type Log = Pick<JsonLogger, 'log' | 'warn'>;

/**
 * The subscriptions of this process that have a name, and its part of the work queue. Logs the first fault after things
 * were well, and that they are well again: a server that is away for an hour is not a thousand lines.
 */
export class Connections implements ConnectionListener {
  private readonly bySubscriber = new Map<string, Subscriber>();
  private consumer: Connection<WorkQueueState['state']> | undefined;

  constructor(private readonly log: Log) {}

  get subscriptions(): readonly ConnectionReport<SubscriptionState['state']>[] {
    return [...this.bySubscriber.values()];
  }

  /** Undefined where there is none. */
  get queue(): ConnectionReport<WorkQueueState['state']> | undefined {
    return this.consumer;
  }

  onSubscription({ name, subscription, state, lastError }: SubscriptionState): void {
    if (name === undefined) return;
    const known = this.bySubscriber.get(name) ?? new Subscriber(name, 'catchingUp', this.log);
    this.bySubscriber.set(name, known);
    known.has(subscription, state, lastError);
  }

  onQueue({ state, lastError }: WorkQueueState): void {
    this.consumer ??= new Connection('workQueue', state, this.log);
    if (state !== 'consuming' || lastError === undefined) {
      this.consumer.become(state, state === 'consuming', lastError);
    } else if (errorClass(lastError) !== 'AbortError') {
      // A handler's, not the connection's: the event comes again. Those that a shutdown has ended go to somebody else.
      this.consumer.count(lastError);
      this.log.warn('work that was handed out could not be taken', { err: lastError });
    }
  }
}

class Connection<State extends string> implements ConnectionReport<State> {
  readonly errors = new Map<string, number>();
  lastError: string | undefined;

  constructor(
    readonly name: string,
    public state: State,
    private readonly log: Log,
  ) {}

  /** @param well it does what it is for: what was wrong is over. */
  become(state: State, well: boolean, error: unknown): void {
    this.state = state;
    if (error !== undefined) {
      if (this.lastError === undefined) {
        this.log.warn('a connection was lost, and is made again', { connection: this.name, err: error });
      }
      this.lastError = errorClass(error);
      this.count(error);
    } else if (well && this.lastError !== undefined) {
      this.log.log('a connection is there again', { connection: this.name, after: this.lastError });
      this.lastError = undefined;
    }
  }

  count(error: unknown): void {
    const name = errorClass(error);
    this.errors.set(name, (this.errors.get(name) ?? 0) + 1);
  }
}

/** From the worst on. One that has ended is left out while there is another. */
const WORST_FIRST: readonly SubscriptionState['state'][] = ['reconnecting', 'catchingUp', 'live'];

/** Begins anew when a subscription ends by a fault, and may have several: it is as well as the worst of them. */
class Subscriber extends Connection<SubscriptionState['state']> {
  private readonly open = new Map<number, SubscriptionState['state']>();

  has(subscription: number, state: SubscriptionState['state'], error: unknown): void {
    if (state === 'ended') this.open.delete(subscription);
    else this.open.set(subscription, state);
    const states = new Set(this.open.values());
    const worst = WORST_FIRST.find((each) => states.has(each)) ?? 'ended';
    this.become(worst, worst === 'live', error);
  }
}
