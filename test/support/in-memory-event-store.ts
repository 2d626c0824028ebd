import {
  EventStore,
  MAX_APPEND_BYTES,
  WrongExpectedRevision,
  type AppendResult,
  type Delivery,
  type ExpectedRevision,
  type Metadata,
  type NewEvent,
  type ReadStreamOptions,
  type RecordedEvent,
  type SubscribeOptions,
} from '#libs/event-store';
import { ClawbackError, START, type Position } from '#libs/kernel';

/** A recorded event with its JSON written out, so that nobody shares an object with the log. */
interface Row extends Omit<RecordedEvent, 'data' | 'metadata'> {
  readonly data: string;
  readonly metadata: string;
}

/** The log itself; it outlives the stores that were opened on it. */
export class InMemoryLog {
  readonly rows: Row[] = [];
  readonly streams = new Map<string, Row[]>();
}

/** An {@link EventStore} for tests: passes the port's contract, and can be out of order for a while. */
export class InMemoryEventStore extends EventStore {
  private closed = false;
  private outage = false;
  private readonly sleepers = new Set<() => void>();

  constructor(private readonly log = new InMemoryLog()) {
    super();
  }

  /** From now on every call and every open subscription fails with kind `unavailable`. */
  goDown(): void {
    this.outage = true;
    this.wakeAll();
  }

  comeBack(): void {
    this.outage = false;
  }

  async append(
    stream: string,
    expected: ExpectedRevision,
    events: readonly NewEvent[],
  ): Promise<AppendResult> {
    await nextTurn();
    this.checkUp();
    const encoded = encodeAppend(events);
    const rows = this.log.streams.get(stream) ?? [];
    const first = expected === 'noStream' ? 0 : Number(expected) + 1;
    if (rows.length !== first) {
      const there = rows.slice(first, first + events.length);
      const last = there.at(-1);
      if (last !== undefined && events.every((event, index) => event.id === there[index]?.id)) {
        return { revision: last.revision, position: last.position };
      }
      const actual = rows.at(-1)?.revision ?? 'noStream';
      throw new WrongExpectedRevision(stream, expected, actual);
    }
    this.log.streams.set(stream, rows);
    for (const event of encoded) {
      const row = {
        ...event,
        stream,
        revision: BigInt(rows.length),
        position: BigInt(this.log.rows.length),
      };
      rows.push(row);
      this.log.rows.push(row);
    }
    this.wakeAll();
    return { revision: BigInt(rows.length - 1), position: BigInt(this.log.rows.length - 1) };
  }

  async *readStream(stream: string, options: ReadStreamOptions = {}): AsyncGenerator<RecordedEvent> {
    await nextTurn();
    this.checkUp();
    const { direction = 'forwards', from, maxCount } = options;
    const rows = this.log.streams.get(stream) ?? [];
    const chosen =
      direction === 'forwards'
        ? rows.slice(Number(from ?? 0n))
        : rows.slice(0, from === undefined ? undefined : Number(from) + 1).reverse();
    for (const row of chosen.slice(0, maxCount)) yield toRecorded(row);
  }

  async *readAll(after: Position): AsyncGenerator<RecordedEvent> {
    await nextTurn();
    this.checkUp();
    for (const row of this.log.rows.slice(Number(after) + 1)) yield toRecorded(row);
  }

  async *subscribe({ after, signal, maxBatch = 500, types }: SubscribeOptions): AsyncGenerator<Delivery> {
    let next = Number(after) + 1;
    let toldCaughtUp = false;
    for (;;) {
      await nextTurn();
      if (signal.aborted) return;
      this.checkUp();
      const rows = this.log.rows.slice(next, next + maxBatch);
      if (rows.length === 0 && toldCaughtUp) {
        await this.sleep(signal);
        continue;
      }
      next += rows.length;
      toldCaughtUp = next === this.log.rows.length;
      const wanted = rows.filter(({ type }) => types?.has(type) !== false);
      yield { events: wanted.map(toRecorded), position: BigInt(next) - 1n, caughtUp: toldCaughtUp };
    }
  }

  async head(): Promise<Position> {
    await nextTurn();
    this.checkUp();
    return this.log.rows.at(-1)?.position ?? START;
  }

  close(): Promise<void> {
    this.closed = true;
    this.wakeAll();
    return Promise.resolve();
  }

  private checkUp(): void {
    if (this.closed || this.outage) {
      throw new ClawbackError('unavailable', 'eventStoreUnavailable', 'the log cannot answer');
    }
  }

  private wakeAll(): void {
    for (const wake of [...this.sleepers]) wake();
  }

  /** Resolves after the next append, an outage, the close, or when the signal fires. */
  private sleep(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        signal.removeEventListener('abort', wake);
        this.sleepers.delete(wake);
        resolve();
      };
      signal.addEventListener('abort', wake);
      this.sleepers.add(wake);
    });
  }
}

function encodeAppend(events: readonly NewEvent[]): Pick<Row, 'id' | 'type' | 'data' | 'metadata'>[] {
  if (events.length === 0) throw new ClawbackError('invalid', 'emptyAppend', 'an append needs an event');
  if (new Set(events.map(({ id }) => id)).size < events.length) {
    throw new ClawbackError('invalid', 'duplicateEventId', 'two events of one append have the same id');
  }
  const rows = events.map(({ id, type, data, metadata }) => ({
    id,
    type,
    data: JSON.stringify(data),
    metadata: JSON.stringify(metadata),
  }));
  const size = rows.reduce((sum, row) => sum + Buffer.byteLength(Object.values(row).join('')), 0);
  if (size > MAX_APPEND_BYTES) {
    const limit = MAX_APPEND_BYTES;
    throw new ClawbackError(
      'tooLarge',
      'appendTooLarge',
      `an append of ${size} bytes is over the limit of ${limit} bytes`,
      { size, limit },
    );
  }
  return rows;
}

/** No real store answers in the turn in which it is asked. */
const nextTurn = (): Promise<void> => Promise.resolve();

const toRecorded = ({ data, metadata, ...row }: Row): RecordedEvent => ({
  ...row,
  data: JSON.parse(data) as unknown,
  metadata: JSON.parse(metadata) as Metadata,
});
