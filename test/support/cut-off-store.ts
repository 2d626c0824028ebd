import {
  EventStore,
  type AppendResult,
  type Delivery,
  type ExpectedRevision,
  type NewEvent,
  type ReadStreamOptions,
  type RecordedEvent,
  type SubscribeOptions,
} from '#libs/event-store';
import { ClawbackError, type Position } from '#libs/kernel';

/** One process's connection to a store. Cut off, it is as dead to all others as if it had been killed. */
export class CutOffStore extends EventStore {
  private connection = new AbortController();

  constructor(private readonly store: EventStore) {
    super();
  }

  /** From now on every call and every open subscription fails with kind `unavailable`. */
  cutOff(): void {
    this.connection.abort();
  }

  mend(): void {
    this.connection = new AbortController();
  }

  async append(
    stream: string,
    expected: ExpectedRevision,
    events: readonly NewEvent[],
  ): Promise<AppendResult> {
    this.check();
    return this.store.append(stream, expected, events);
  }

  async *readStream(stream: string, options?: ReadStreamOptions): AsyncGenerator<RecordedEvent> {
    this.check();
    yield* this.store.readStream(stream, options);
  }

  async *readAll(after: Position): AsyncGenerator<RecordedEvent> {
    this.check();
    yield* this.store.readAll(after);
  }

  async *subscribe(options: SubscribeOptions): AsyncGenerator<Delivery> {
    const connection = this.connection.signal;
    const signal = AbortSignal.any([options.signal, connection]);
    for await (const delivery of this.store.subscribe({ ...options, signal })) {
      if (connection.aborted) break;
      yield delivery;
    }
    if (!options.signal.aborted) this.check();
  }

  async head(): Promise<Position> {
    this.check();
    return this.store.head();
  }

  close(): Promise<void> {
    this.cutOff();
    return Promise.resolve();
  }

  private check(): void {
    if (this.connection.signal.aborted) {
      throw new ClawbackError('unavailable', 'eventStoreUnavailable', 'the log cannot be reached');
    }
  }
}
