import { setImmediate as nextTurn } from 'node:timers/promises';
import type { AllStreamResolvedEvent, AllStreamSubscription, StreamingRead } from '@eventstore/db-client';

/** So many events wait here for the reader; then the server is held back. */
export const BUFFERED = { highWaterMark: 64 };

const nothing = (): void => undefined;

/** What is needed here of the client's streams. */
interface Source {
  readonly readableLength: number;
  read(): unknown;
  on(event: string, listener: (error: unknown) => void): unknown;
  off(event: string, listener: () => void): unknown;
  resume(): unknown;
}

/**
 * What the server sends on one call, taken at the pace of the reader. Listens for errors to its very end: the client
 * emits some of them after the reader has gone.
 */
export class Incoming<T> {
  protected taken = 0;
  private failure: { readonly error: unknown } | undefined;
  private ended = false;
  private wake = nothing;

  constructor(
    protected readonly stream: Source,
    private readonly cancel: () => Promise<void>,
  ) {
    const end = () => {
      this.ended = true;
      this.touch();
    };
    stream.on('readable', this.touch);
    stream.on('end', end);
    stream.on('close', end);
    stream.on('error', (error: unknown) => {
      this.failure ??= { error };
      this.touch();
    });
  }

  /** The next item if there is one already. */
  take(): T | undefined {
    const item = this.stream.read() as T | null;
    if (item === null) return undefined;
    this.taken += 1;
    return item;
  }

  /** What there is already, at most so many items; waits for none. */
  async takeUpTo(count: number): Promise<T[]> {
    const items: T[] = [];
    for (;;) {
      while (items.length < count) {
        const item = this.take();
        if (item === undefined) break;
        items.push(item);
      }
      if (items.length === 0 || items.length >= count) return items;
      await nextTurn();
      if (this.stream.readableLength === 0) return items;
    }
  }

  /** Nothing will come any more. @throws what ended it, if it was no good end. */
  isOver(): boolean {
    if (!this.isAtEnd()) return false;
    if (this.failure !== undefined) throw this.failure.error;
    return true;
  }

  /** Waits for a change. @returns false: nothing was heard of the server for so many milliseconds. */
  wait(ms: number, signal?: AbortSignal): Promise<boolean> {
    if (this.stream.readableLength > 0 || this.isAtEnd() || signal?.aborted === true)
      return Promise.resolve(true);
    return new Promise((resolve) => {
      const done = (heard: boolean) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', woken);
        this.wake = nothing;
        resolve(heard);
      };
      const woken = () => {
        done(true);
      };
      const timer = setTimeout(done, ms, false);
      signal?.addEventListener('abort', woken, { once: true });
      this.wake = woken;
    });
  }

  /** Ends a {@link wait}: something was heard, or has to be looked at. */
  readonly touch = (): void => {
    this.wake();
  };

  /** Tells the server to stop, and lets the client see the end: it waits for that when it is disposed of. */
  close(): void {
    this.cancel().catch(nothing);
    this.stream.off('readable', this.touch);
    this.stream.resume();
  }

  private isAtEnd(): boolean {
    return this.stream.readableLength === 0 && (this.ended || this.failure !== undefined);
  }
}

/** The answer to a read. */
export const incomingRead = <T>(read: StreamingRead<T>): Incoming<T> =>
  new Incoming<T>(read, () => read.cancel());

/** A catch-up subscription: past events first, and word of the moment when there are no more of those. */
export class CatchUpCall extends Incoming<AllStreamResolvedEvent> {
  /** The reader has caught up when it has taken so many. */
  private caughtUpAfter: number | undefined;

  constructor(subscription: AllStreamSubscription) {
    super(subscription, () => subscription.unsubscribe());
    subscription.on('caughtUp', () => {
      this.markCaughtUp();
      this.touch();
    });
    subscription.on('fellBehind', () => {
      this.caughtUpAfter = undefined;
    });
  }

  /** Whether the reader has now taken everything there was. */
  get caughtUp(): boolean {
    return (
      this.caughtUpAfter !== undefined && this.taken >= this.caughtUpAfter && this.stream.readableLength === 0
    );
  }

  /** What waits here is the last of the past. */
  markCaughtUp(): void {
    this.caughtUpAfter = this.taken + this.stream.readableLength;
  }
}
