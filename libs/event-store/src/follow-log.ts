import { pause, type Position } from '#libs/kernel';
import type { Delivery, EventStore } from './event-store.js';

const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 5000;

/**
 * Follows the log until the signal fires. What `take` or the store throws is told, and after a while the log is followed
 * again from `after()`, which says how far the follower has come.
 * @param types the events that the follower takes.
 * @param onFault must not throw.
 */
export async function followLog(
  events: EventStore,
  {
    after,
    signal,
    types,
  }: {
    readonly after: () => Position | Promise<Position>;
    readonly signal: AbortSignal;
    readonly types: ReadonlySet<string>;
  },
  take: (delivery: Delivery) => Promise<void>,
  onFault: (error: unknown) => void,
): Promise<void> {
  for (let wait = FIRST_WAIT_MS; !signal.aborted; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    try {
      for await (const delivery of events.subscribe({ after: await after(), signal, types })) {
        await take(delivery);
        wait = FIRST_WAIT_MS;
      }
    } catch (error) {
      onFault(error);
    }
    await pause(wait, signal);
  }
}
