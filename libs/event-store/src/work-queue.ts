import type { RecordedEvent } from './event-store.js';

/** How a consumer is doing; for metrics and health. */
export interface WorkQueueState {
  readonly state: 'consuming' | 'reconnecting' | 'ended';
  /** Why the connection was given up, or what a handler has thrown. */
  readonly lastError?: unknown;
}

/**
 * The port to work that several processes share: each event goes to one of them. Delivery is only a hint, at least once
 * and in no order; what must happen once is decided by an append.
 */
export abstract class WorkQueue {
  /**
   * Hands events to `handler`, several at a time, until the signal ends it. An event whose handler rejects comes again,
   * here or elsewhere. Rides out a lost connection; never rejects.
   */
  abstract consume(handler: (event: RecordedEvent) => Promise<void>, signal: AbortSignal): Promise<void>;
}
