import type { RecordedEvent } from './event-store.js';

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
