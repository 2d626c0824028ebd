import type { AllStreamResolvedEvent } from '@eventstore/db-client';
import { isClawbackError, pause, type Position } from '#libs/kernel';
import type { Delivery, RecordedEvent, SubscribeOptions, SubscriptionState } from '../event-store.js';
import { type AllEvents } from './all-events.js';
import { isOurs, positionOf, toRecorded } from './encoding.js';
import { type CatchUpCall } from './incoming.js';
import { Backoff } from './patience.js';

const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 5_000;
/** Events of one delivery at most, where nothing else is asked for. */
export const DEFAULT_MAX_BATCH = 500;

type CallState = Exclude<SubscriptionState['state'], 'ended'>;

/** Told of every change of the connection. Must not throw. */
export type CallListener = (state: CallState, lastError?: unknown) => void;

/** The server has events for us and sends none. */
class SilentSubscription extends Error {
  override readonly name = 'SilentSubscription';

  constructor() {
    super('the server has newer events and does not send them');
  }
}

/**
 * One subscription over as many calls as it takes: whenever a call fails, ends or falls silent, the next begins after
 * the last event delivered. Ends by its signal only, or by an event that cannot be read.
 */
export class CatchUp {
  private reached: Position;
  private toldCaughtUp = false;
  private unreadable: { readonly error: unknown } | undefined;
  private readonly signal: AbortSignal;
  private readonly maxBatch: number;
  private state: CallState | undefined;

  constructor(
    private readonly log: AllEvents,
    /** Milliseconds of silence after which we ask whether there is something to hear. */
    private readonly silenceMs: number,
    options: SubscribeOptions,
    private readonly onState: CallListener,
  ) {
    this.reached = options.after;
    this.signal = options.signal;
    this.maxBatch = options.maxBatch ?? DEFAULT_MAX_BATCH;
  }

  async *deliveries(): AsyncGenerator<Delivery> {
    const backoff = new Backoff(FIRST_WAIT_MS, LONGEST_WAIT_MS);
    this.tell('catchingUp');
    while (!this.signal.aborted) {
      try {
        for await (const delivery of this.oneCall()) {
          backoff.reset();
          yield delivery;
        }
      } catch (error) {
        // Only our own errors are about the events themselves.
        if (isClawbackError(error)) throw error;
        this.tell('reconnecting', error);
      }
      await pause(backoff.next(), this.signal);
    }
  }

  /** @throws whatever the client says when the call fails. */
  private async *oneCall(): AsyncGenerator<Delivery> {
    const call = this.log.open(this.reached);
    try {
      while (!this.signal.aborted) {
        const delivery = await this.nextOf(call);
        if (delivery !== undefined) yield delivery;
        else if (call.isOver()) throw new Error('the server has ended the subscription');
        else await this.listen(call);
      }
    } finally {
      call.close();
    }
  }

  private async nextOf(call: CatchUpCall): Promise<Delivery | undefined> {
    const events = this.readable(await call.takeUpTo(this.maxBatch));
    if (this.unreadable !== undefined && events.length === 0) throw this.unreadable.error;
    const caughtUp = call.caughtUp && this.unreadable === undefined;
    // Not before something was heard: a call that was begun tells nothing of the connection.
    if (caughtUp) this.tell('live');
    else if (events.length > 0) this.tell('catchingUp');
    if (events.length === 0 && (!caughtUp || this.toldCaughtUp)) return undefined;
    this.toldCaughtUp = caughtUp;
    return { events, position: this.reached, caughtUp };
  }

  /** What comes before an event that cannot be read is delivered before that is said. */
  private readable(arrived: readonly AllStreamResolvedEvent[]): RecordedEvent[] {
    const events: RecordedEvent[] = [];
    if (this.unreadable !== undefined) return events;
    for (const each of arrived) {
      // A position may be given again by a server that counts it in.
      if (!isOurs(each) || positionOf(each) <= this.reached) continue;
      try {
        events.push(toRecorded(each));
      } catch (error) {
        this.unreadable = { error };
        return events;
      }
      this.reached = positionOf(each);
      this.log.saw(this.reached);
    }
    return events;
  }

  /** Waits for the server; asks it about its last event when it has been silent for long. */
  private async listen(call: CatchUpCall): Promise<void> {
    if (await call.wait(this.silenceMs, this.signal)) return;
    const last = await this.log.lastPosition();
    if (last <= this.reached) call.markCaughtUp();
    else if (!(await call.wait(this.silenceMs, this.signal))) throw new SilentSubscription();
  }

  private tell(state: CallState, lastError?: unknown): void {
    if (state === this.state && lastError === undefined) return;
    this.state = state;
    this.onState(state, lastError);
  }
}
