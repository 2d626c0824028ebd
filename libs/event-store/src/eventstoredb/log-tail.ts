import type { Position } from '#libs/kernel';
import type { Delivery, RecordedEvent } from '../event-store.js';
import { Newest } from '../newest.js';
import { CatchUp, type CallListener } from './catch-up.js';
import { type AllEvents } from './all-events.js';

/** Events that are kept for those who are not the first, by {@link weightOf}. */
const KEPT_WEIGHT = 20_000;

/**
 * The end of the log as it grows, read once for all who follow it: over the network an event costs more to receive than
 * to work on. It reads on only while somebody waits for more, and keeps the newest events; whoever falls behind those has
 * to read for himself. Begins at a position and ends when the last one leaves.
 */
export class LogTail {
  private readonly stopping = new AbortController();
  private readonly deliveries: AsyncIterator<Delivery>;
  private readonly listeners = new Set<CallListener>();
  private readonly waiting = new Set<() => void>();
  private readonly kept: Newest<RecordedEvent>;
  private reading = false;
  private lastCaughtUp = false;
  private ended = false;
  private failure: { readonly error: unknown } | undefined;

  /** @param after where it begins. */
  constructor(log: AllEvents, silenceMs: number, after: Position) {
    const { signal } = this.stopping;
    this.kept = new Newest(after, KEPT_WEIGHT, { position: (event) => event.position, weight: weightOf });
    const tell: CallListener = (state, lastError) => {
      for (const listener of this.listeners) listener(state, lastError);
    };
    this.deliveries = new CatchUp(log, silenceMs, { after, signal }, tell).deliveries();
  }

  /** Whether it goes on. */
  get isOpen(): boolean {
    return !this.ended && this.failure === undefined;
  }

  /** Whether it has everything after this position that is known of. */
  covers(position: Position): boolean {
    return position >= this.kept.from && position <= this.kept.end;
  }

  /** Whether somebody who has come so far has seen everything there was. */
  caughtUpAt(position: Position): boolean {
    return this.lastCaughtUp && this.failure === undefined && position >= this.kept.end;
  }

  /** At most so many events after a position. Undefined: they are not kept any more. */
  after(position: Position, maxCount: number): readonly RecordedEvent[] | undefined {
    return position < this.kept.from ? undefined : this.kept.behind(position, maxCount);
  }

  /** What has ended it, once everything before that is taken. @throws {ClawbackError} `eventUnreadable` */
  throwFailure(): void {
    if (this.failure !== undefined) throw this.failure.error;
  }

  /** Resolves when there may be more, or the signal fires. */
  more(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    if (!this.reading) {
      this.reading = true;
      void this.read();
    }
    return new Promise((resolve) => {
      const wake = (): void => {
        signal.removeEventListener('abort', wake);
        this.waiting.delete(wake);
        resolve();
      };
      signal.addEventListener('abort', wake, { once: true });
      this.waiting.add(wake);
    });
  }

  join(listener: CallListener): void {
    this.listeners.add(listener);
  }

  /** The last one to leave ends it. */
  leave(listener: CallListener): void {
    this.listeners.delete(listener);
    if (this.listeners.size === 0) this.stop();
  }

  private stop(): void {
    this.ended = true;
    this.stopping.abort();
    // Nobody asks any more: the call is closed here, unless a read under way closes it.
    if (!this.reading) void this.deliveries.return?.();
  }

  private async read(): Promise<void> {
    try {
      const next = await this.deliveries.next();
      if (next.done === true) this.ended = true;
      else {
        this.lastCaughtUp = next.value.caughtUp;
        this.kept.add(next.value.events);
      }
    } catch (error) {
      this.failure = { error };
    }
    this.reading = false;
    for (const wake of [...this.waiting]) wake();
  }
}

/** About how much an event holds: one, and one for each item of its lists. How long it is is not known once it is read. */
function weightOf({ data }: RecordedEvent): number {
  const members = Object.values(data ?? {}) as unknown[];
  return members.reduce<number>((sum, member) => sum + (Array.isArray(member) ? member.length : 0), 1);
}
