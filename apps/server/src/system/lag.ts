import { type EventStore, type RecordedEvent } from '#libs/event-store';
import { type Position } from '#libs/kernel';

/** How far a view is behind the log. */
export interface Lag {
  /**
   * The head's position less the view's. With SQLite that is a number of events, with EventStoreDB one of bytes of the
   * log: good for seeing it shrink, and nought means the same everywhere.
   */
  readonly positions: bigint;
  /**
   * How long the oldest event that the view does not hold has been recorded, in seconds; nought without one. Undefined
   * where that event cannot be read.
   */
  readonly seconds: number | undefined;
}

/** Measures the lag of several views at one moment: views at the same place share one look at the log. */
export class LagMeter {
  private readonly recorded = new Map<Position, Promise<number | undefined>>();

  /**
   * @param head the position of the last event
   * @param signal ends the looks; then the seconds are undefined
   */
  constructor(
    private readonly events: EventStore,
    private readonly head: Position,
    private readonly now: Date,
    private readonly signal: AbortSignal,
  ) {}

  async of(position: Position): Promise<Lag> {
    // A view may have taken more events since the head was asked for.
    if (position >= this.head) return { positions: 0n, seconds: 0 };
    const looked = this.recorded.get(position) ?? this.recordedAfter(position);
    this.recorded.set(position, looked);
    const at = await looked;
    return {
      positions: this.head - position,
      // The clocks of two machines may disagree a little.
      seconds: at === undefined ? undefined : Math.max(0, this.now.getTime() - at) / 1000,
    };
  }

  /** When the first event after a position was recorded, in milliseconds since 1970. */
  private async recordedAfter(position: Position): Promise<number | undefined> {
    try {
      const event = await firstAfter(this.events, position, this.signal);
      const at = Date.parse(event?.metadata.occurredAt ?? '');
      return Number.isNaN(at) ? undefined : at;
    } catch {
      // A store that is away and an event that cannot be read are checks of their own: here it is only not known.
      return undefined;
    }
  }
}

/** The first event after a position; waits for one until the signal fires. Reads no more than it needs. */
export async function firstAfter(
  events: EventStore,
  position: Position,
  signal: AbortSignal,
): Promise<RecordedEvent | undefined> {
  for await (const delivery of events.subscribe({ after: position, signal, maxBatch: 1 })) {
    const [event] = delivery.events;
    if (event !== undefined) return event;
  }
  return undefined;
}
