import type { Position } from '#libs/kernel';
import {
  EventStore,
  type AppendResult,
  type Delivery,
  type ExpectedRevision,
  type NewEvent,
  type ReadStreamOptions,
  type RecordedEvent,
  type SubscribeOptions,
} from './event-store.js';

/** The same store as one of its subscribers has it: that one's subscriptions carry its name, unless they have one. */
export class NamedSubscriber extends EventStore {
  constructor(
    private readonly store: EventStore,
    private readonly name: string,
  ) {
    super();
  }

  append(stream: string, expected: ExpectedRevision, events: readonly NewEvent[]): Promise<AppendResult> {
    return this.store.append(stream, expected, events);
  }

  readStream(stream: string, options?: ReadStreamOptions): AsyncIterable<RecordedEvent> {
    return this.store.readStream(stream, options);
  }

  readAll(after: Position): AsyncIterable<RecordedEvent> {
    return this.store.readAll(after);
  }

  subscribe(options: SubscribeOptions): AsyncIterable<Delivery> {
    return this.store.subscribe({ name: this.name, ...options });
  }

  head(): Promise<Position> {
    return this.store.head();
  }

  close(): Promise<void> {
    return this.store.close();
  }
}
