import type { Position } from '#libs/kernel';

/** A flat map of strings: every store can keep it, and no number loses digits on the way. */
export type Metadata = Readonly<Record<string, string>>;

/** An event about to be appended. `data` is JSON; `id` is a UUID derived from the command, so a repeat is recognisable. */
export interface NewEvent {
  readonly id: string;
  readonly type: string;
  readonly data: unknown;
  readonly metadata: Metadata;
}

/** An event as the store gives it back. The first event of a stream has revision 0n in every adapter. */
export interface RecordedEvent extends NewEvent {
  readonly stream: string;
  readonly revision: bigint;
  readonly position: Position;
}

/** The stream must not exist yet, or its last event must have exactly this revision. There is no "any". */
export type ExpectedRevision = 'noStream' | bigint;

export interface AppendResult {
  /** The revision of the last event appended. */
  readonly revision: bigint;
  /** The position of the last event appended. */
  readonly position: Position;
}

/** Some events in order of position, perhaps none. */
export interface Delivery {
  readonly events: readonly RecordedEvent[];
  /** How far the subscription has come: nothing that was asked for is left out up to here. */
  readonly position: Position;
  /** Whether the reader has now seen everything there was. */
  readonly caughtUp: boolean;
}

export interface ReadStreamOptions {
  /** First revision to read; default 0n, or the last one when reading backwards. */
  readonly from?: bigint;
  readonly maxCount?: number;
  readonly direction?: 'forwards' | 'backwards';
}

export interface SubscribeOptions {
  /** Deliver events after this position; `START` for all. */
  readonly after: Position;
  /** Ends the subscription (the iteration simply ends). */
  readonly signal: AbortSignal;
  /** At most so many events in one delivery; default 500. */
  readonly maxBatch?: number;
  /** Only events of these types are delivered; without it all. The others are not even read where the store allows that. */
  readonly types?: ReadonlySet<string>;
  /** Who subscribes; for metrics and health. */
  readonly name?: string;
}

/** How a subscription is doing; for metrics and health. */
export interface SubscriptionState {
  /** Counts the subscriptions of one store. */
  readonly subscription: number;
  /** Who subscribes, if that was said. */
  readonly name?: string;
  /** `reconnecting`: its connection was lost, and nothing has been heard since. `ended` is for good. */
  readonly state: 'catchingUp' | 'live' | 'reconnecting' | 'ended';
  /** The last event delivered. */
  readonly position: Position;
  /** Why the connection was last given up, or what has ended the subscription. */
  readonly lastError?: unknown;
}

/** Bytes of one append, all events together; what EventStoreDB accepts by default. */
export const MAX_APPEND_BYTES = 1024 * 1024;

/**
 * The port to the event log: the single source of truth. An abstract class so that it serves as injection token too.
 * Every adapter passes `describeEventStoreContract`.
 */
export abstract class EventStore {
  /**
   * Appends all events to one stream, atomically and durably: when the promise resolves they survive a power loss.
   *
   * Repeating an append with the same ids *and* the same expected revision succeeds with the first result and writes
   * nothing, also when more events followed. Same ids at another revision is not a repeat.
   *
   * @throws {WrongExpectedRevision} the stream is not where the caller thinks; nothing was written.
   * @throws {ClawbackError} `appendTooLarge` (over {@link MAX_APPEND_BYTES}), `emptyAppend`, or kind `unavailable`.
   */
  abstract append(
    stream: string,
    expected: ExpectedRevision,
    events: readonly NewEvent[],
  ): Promise<AppendResult>;

  /** The events of one stream in order. A stream that does not exist has none. */
  abstract readStream(stream: string, options?: ReadStreamOptions): AsyncIterable<RecordedEvent>;

  /** Every event after a position, in order, up to what there is now. */
  abstract readAll(after: Position): AsyncIterable<RecordedEvent>;

  /**
   * Every event after a position, first the past, then live, until the signal ends it. The next delivery is fetched
   * only when the consumer asks, so a slow consumer holds back nobody and loses nothing. Rides out a lost connection.
   */
  abstract subscribe(options: SubscribeOptions): AsyncIterable<Delivery>;

  /** The position of the last event, `START` when there is none. */
  abstract head(): Promise<Position>;

  abstract close(): Promise<void>;
}

/** The stream was at another revision than expected; nothing was written. */
export class WrongExpectedRevision extends Error {
  override readonly name = 'WrongExpectedRevision';

  constructor(
    readonly stream: string,
    readonly expected: ExpectedRevision,
    readonly actual: ExpectedRevision,
  ) {
    super(`stream ${stream}: expected ${String(expected)}, found ${String(actual)}`);
  }
}

export const isWrongExpectedRevision = (error: unknown): error is WrongExpectedRevision =>
  error instanceof Error && error.name === 'WrongExpectedRevision';
