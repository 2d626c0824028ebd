import { isWrongExpectedRevision, type RecordedEvent } from '#libs/event-store';
import { isClawbackError, type Clock } from '#libs/kernel';

/** Which event something is about, and what that event belongs to. */
export interface EventFacts {
  readonly stream: string;
  readonly revision: string;
  readonly eventType: string;
  readonly correlationId: string;
  readonly causationId: string;
}

/**
 * Whether remediations get on. `waiting`: something cannot answer just now, and is asked again. `heldUp`: the next event
 * of the log cannot be read, or makes no sense; it is tried again for ever, but only a person can mend it, and until then
 * nothing that comes after it is started, released or finished.
 */
export type CoordinationState =
  | { readonly state: 'following' }
  | {
      readonly state: 'waiting' | 'heldUp';
      readonly since: Date;
      readonly error: unknown;
      /** The event at which it happened, where it is one. */
      readonly event?: EventFacts;
    };

/** Keeps what became of the events that the coordinator reacted to. */
export class Coordination {
  private current: CoordinationState = { state: 'following' };
  private event: EventFacts | undefined;

  constructor(private readonly clock: Clock) {}

  get state(): CoordinationState {
    return this.current;
  }

  /** Everything that was delivered is done. */
  follows(): void {
    this.current = { state: 'following' };
  }

  /** The fault that {@link meets} is about to be told comes from this event. */
  stumblesAt({ stream, revision, type, metadata }: RecordedEvent): void {
    this.event = {
      stream,
      revision: String(revision),
      eventType: type,
      correlationId: metadata.correlationId ?? '',
      causationId: metadata.causationId ?? '',
    };
  }

  /** The log could not be followed further. @returns the facts of the event at which that happened, where it is one. */
  meets(error: unknown): EventFacts | undefined {
    const { event } = this;
    this.event = undefined;
    const state = passes(error) ? 'waiting' : 'heldUp';
    const since = this.current.state === state ? this.current.since : this.clock.now();
    this.current = { state, since, error, ...(event === undefined ? {} : { event }) };
    return event;
  }
}

/** Of a store that is away, and of others who were faster, the next try knows nothing. Everything else stays as it is. */
const passes = (error: unknown): boolean =>
  isWrongExpectedRevision(error) ||
  (isClawbackError(error) && error.kind === 'unavailable' && error.code !== 'eventUnreadable');
