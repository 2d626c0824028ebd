import {
  BACKWARDS,
  END,
  FORWARDS,
  NO_STREAM,
  type AppendExpectedRevision,
  type EventData,
  type WrongExpectedVersionError,
} from '@eventstore/db-client';
import { collect, isClawbackError, type Position } from '#libs/kernel';
import { checkCount } from '../append-rules.js';
import {
  EventStore,
  isWrongExpectedRevision,
  WrongExpectedRevision,
  type AppendResult,
  type Delivery,
  type ExpectedRevision,
  type NewEvent,
  type ReadStreamOptions,
  type RecordedEvent,
  type SubscribeOptions,
  type SubscriptionState,
} from '../event-store.js';
import { AllEvents, each } from './all-events.js';
import { openConnection, type Connection, type ConnectionOptions } from './connection.js';
import { encodeAppend, exact, isOurs, positionOf, revisionOf, toRecorded, type Arrived } from './encoding.js';
import {
  closedError,
  isPassing,
  isStreamNotFound,
  isWrongExpectedVersion,
  NoAnswer,
  storeError,
} from './errors.js';
import { Follower, SharedTail } from './follower.js';
import { BUFFERED, incomingRead } from './incoming.js';
import { Patience, Places, within } from './patience.js';

export interface EventStoreDbOptions extends ConnectionOptions {
  /** At most so many appends are under way; the others wait here. Default 16. */
  readonly appendsInFlight?: number;
  /** Milliseconds during which a failed call is repeated, from its first failure on; default 30,000. */
  readonly patienceMs?: number;
  /** Milliseconds of silence after which a subscription asks the server for its last event; default 10,000. */
  readonly silenceMs?: number;
  /**
   * Types of letters and digits, of which there are so many events that those who subscribe to other types are not even
   * sent them. The rest comes twice to a process that has subscribers of both kinds. Default none.
   */
  readonly frequentTypes?: ReadonlySet<string>;
  /** Told of every change of a subscription. Must not throw. */
  readonly onState?: (state: SubscriptionState) => void;
}

const DEFAULT_APPENDS_IN_FLIGHT = 16;
const DEFAULT_PATIENCE_MS = 30_000;
const DEFAULT_SILENCE_MS = 10_000;
/** How long closing waits for the client to let go of its calls. */
const DISPOSE_MS = 2_000;
/** Any stream that is not there will do: the answer shows that the connection works. */
const PROBE_STREAM = 'clawback-probe';

/**
 * The event log on an EventStoreDB server or cluster.
 *
 * Every append is a call of its own, has a deadline, and is repeated with the same ids and the same expected revision
 * for as long as its outcome is unknown: that pair is what the server recognises. Reads go on where they were broken
 * off, subscriptions for ever. A position is the commit position of an event, which equals its prepare position.
 *
 * What the server writes itself (streams and types that begin with `$`) is left out everywhere; {@link head} is
 * therefore always the position of an event that a subscriber is given.
 */
export class EventStoreDbEventStore extends EventStore {
  private readonly connection: Connection;
  private readonly log: AllEvents;
  private readonly places: Places;
  private readonly patienceMs: number;
  private readonly tail: SharedTail;
  /** Without the events of frequent types. */
  private readonly tailOfTheRest: SharedTail;
  private readonly frequentTypes: ReadonlySet<string>;
  private readonly onState: (state: SubscriptionState) => void;
  private readonly closing = new AbortController();
  private readonly appending = new Set<Promise<unknown>>();
  private subscriptions = 0;
  private warm: Promise<void> | undefined;

  /** Connects at the first call. @throws {ClawbackError} `invalidConnectionString` */
  constructor(options: EventStoreDbOptions) {
    super();
    this.connection = openConnection(options);
    this.log = new AllEvents(this.connection);
    this.places = new Places(options.appendsInFlight ?? DEFAULT_APPENDS_IN_FLIGHT);
    this.patienceMs = options.patienceMs ?? DEFAULT_PATIENCE_MS;
    const { silenceMs = DEFAULT_SILENCE_MS, frequentTypes = new Set() } = options;
    this.frequentTypes = frequentTypes;
    this.tail = new SharedTail(this.log, silenceMs);
    this.tailOfTheRest = new SharedTail(new AllEvents(this.connection, frequentTypes), silenceMs);
    this.onState = options.onState ?? (() => undefined);
  }

  async append(
    stream: string,
    expected: ExpectedRevision,
    events: readonly NewEvent[],
  ): Promise<AppendResult> {
    this.checkOpen();
    const encoded = encodeAppend(stream, expected, events);
    const appending = this.appendPatiently(stream, expected, encoded);
    const settled = appending.catch(() => undefined).finally(() => this.appending.delete(settled));
    this.appending.add(settled);
    const result = await appending;
    this.log.saw(result.position);
    return result;
  }

  async *readStream(stream: string, options: ReadStreamOptions = {}): AsyncGenerator<RecordedEvent> {
    this.checkOpen();
    const { direction = 'forwards', maxCount = Number.MAX_SAFE_INTEGER } = options;
    checkCount('maxCount', maxCount, 0);
    let from = options.from ?? (direction === 'forwards' ? 0n : undefined);
    if (direction === 'backwards' && from !== undefined) from = await this.notBeyondTheEnd(stream, from);
    else if (from !== undefined && from < 0n) from = 0n;
    let left = maxCount;
    yield* this.patiently(
      (event) => {
        left -= 1;
        from = direction === 'forwards' ? event.revision + 1n : event.revision - 1n;
      },
      () => {
        const noneLeft = left === 0 || (from !== undefined && from < 0n);
        return noneLeft ? undefined : recorded(this.readOnce(stream, from, left, direction));
      },
      stream,
    );
  }

  async *readAll(after: Position): AsyncGenerator<RecordedEvent> {
    const head = await this.head();
    let reached = after;
    yield* this.patiently(
      (event) => {
        reached = event.position;
      },
      () => (reached < head ? this.readAllOnce(reached, head) : undefined),
    );
  }

  async *subscribe(options: SubscribeOptions): AsyncGenerator<Delivery> {
    this.checkOpen();
    checkCount('maxBatch', options.maxBatch ?? 1, 1);
    const signal = AbortSignal.any([options.signal, this.closing.signal]);
    const subscription = ++this.subscriptions;
    const { name } = options;
    const report = (state: Omit<SubscriptionState, 'subscription' | 'name'>) => {
      this.onState({ subscription, ...(name === undefined ? {} : { name }), ...state });
    };
    yield* new Follower(this.tailFor(options), { ...options, signal }, report).deliveries();
    if (!options.signal.aborted) throw closedError();
  }

  async head(): Promise<Position> {
    this.checkOpen();
    return await this.repeated(() => this.log.lastPosition());
  }

  /**
   * Waits for the appends under way, each at most its deadline; those that wait for their turn or for the server end
   * as `unavailable`, and so does whatever is called later, and a read or a subscription still open.
   */
  async close(): Promise<void> {
    this.closing.abort();
    await Promise.all(this.appending);
    await within(DISPOSE_MS, this.connection.client.dispose()).catch(() => undefined);
  }

  private tailFor({ types }: SubscribeOptions): SharedTail {
    const frequent = [...this.frequentTypes];
    const wantsAll = frequent.length === 0 || types === undefined || frequent.some((type) => types.has(type));
    return wantsAll ? this.tail : this.tailOfTheRest;
  }

  private async appendPatiently(
    stream: string,
    expected: ExpectedRevision,
    events: EventData[],
  ): Promise<AppendResult> {
    const patience = new Patience(this.patienceMs, this.closing.signal);
    for (;;) {
      try {
        return await this.appendOnce(stream, expected, events);
      } catch (error) {
        if (isWrongExpectedVersion(error)) return await this.refused(stream, expected, events, error);
        if (!isPassing(error)) throw storeError(error, stream);
        if (!(await patience.again())) return await this.readOutcome(stream, expected, events, error);
      }
    }
  }

  /** @throws the client's own errors, for a lost connection and everything else. */
  private appendOnce(stream: string, expected: ExpectedRevision, events: EventData[]): Promise<AppendResult> {
    const { client, credentials, deadlineMs } = this.connection;
    return this.places.run(async () => {
      this.checkOpen();
      const warm = (this.warm ??= this.probe());
      try {
        await warm;
        const { nextExpectedRevision, position } = await within(
          deadlineMs,
          client.appendToStream(stream, events, {
            expectedRevision: toServer(expected),
            credentials,
            deadline: deadlineMs,
          }),
        );
        const revision = exact(nextExpectedRevision);
        return {
          revision,
          position: position === undefined ? await this.positionAt(stream, revision) : exact(position.commit),
        };
      } catch (error) {
        if (!isWrongExpectedVersion(error) && this.warm === warm) this.warm = undefined;
        throw error;
      }
    });
  }

  /** Many appends at once on a connection that does not stand yet have hung: one small call goes first. */
  private async probe(): Promise<void> {
    await firstOf(this.readOnce(PROBE_STREAM, undefined, 1, 'backwards'));
  }

  private async positionAt(stream: string, revision: bigint): Promise<Position> {
    const event = await firstOf(this.readOnce(stream, revision, 1, 'forwards'));
    if (event === undefined) throw new NoAnswer(this.connection.deadlineMs);
    return positionOf(event);
  }

  /** A conflict, unless it is our own earlier attempt that stands there. */
  private async refused(
    stream: string,
    expected: ExpectedRevision,
    events: readonly EventData[],
    error: WrongExpectedVersionError,
  ): Promise<AppendResult> {
    const { actualVersion } = error;
    const actual = actualVersion === NO_STREAM ? 'noStream' : exact(actualVersion);
    const own = await this.repeated(() => this.findOwn(stream, expected, events), stream);
    if (own.result !== undefined) return own.result;
    throw new WrongExpectedRevision(stream, expected, actual);
  }

  /** What became of an append whose outcome nobody told us in time, as far as a look at the stream shows it. */
  private async readOutcome(
    stream: string,
    expected: ExpectedRevision,
    events: readonly EventData[],
    error: unknown,
  ): Promise<AppendResult> {
    this.checkOpen();
    try {
      const own = await this.findOwn(stream, expected, events);
      if (own.result !== undefined) return own.result;
      if (own.othersAreThere) {
        const last = await firstOf(this.readOnce(stream, undefined, 1, 'backwards'));
        throw new WrongExpectedRevision(stream, expected, last === undefined ? 'noStream' : revisionOf(last));
      }
    } catch (reading) {
      if (!isPassing(reading)) throw isWrongExpectedRevision(reading) ? reading : storeError(reading, stream);
    }
    throw storeError(error, stream);
  }

  /** Looks where these events would have to be. */
  private async findOwn(
    stream: string,
    expected: ExpectedRevision,
    events: readonly EventData[],
  ): Promise<{ readonly result?: AppendResult; readonly othersAreThere: boolean }> {
    const first = expected === 'noStream' ? 0n : expected + 1n;
    const there = await collect(this.readOnce(stream, first, events.length, 'forwards'));
    const last = there.at(-1);
    const own = last !== undefined && events.every(({ id }, index) => id === there[index]?.event?.id);
    return own
      ? { result: { revision: revisionOf(last), position: positionOf(last) }, othersAreThere: false }
      : { othersAreThere: last !== undefined };
  }

  /** Backwards from a revision behind the end means from the end; the server would look there in vain, page by page. */
  private async notBeyondTheEnd(stream: string, from: bigint): Promise<bigint> {
    const last = await this.repeated(() => firstOf(this.readOnce(stream, undefined, 1, 'backwards')), stream);
    return last === undefined || revisionOf(last) > from ? from : revisionOf(last);
  }

  private async *readOnce(
    stream: string,
    from: bigint | undefined,
    maxCount: number,
    direction: 'forwards' | 'backwards',
  ): AsyncGenerator<Arrived> {
    const read = this.connection.client.readStream(
      stream,
      {
        direction: direction === 'forwards' ? FORWARDS : BACKWARDS,
        fromRevision: from ?? END,
        maxCount,
      },
      BUFFERED,
    );
    try {
      yield* each<Arrived>(incomingRead(read), this.connection.deadlineMs);
    } catch (error) {
      if (!isStreamNotFound(error)) throw error;
    }
    // Closing ends a read as if it had come to its end.
    this.checkOpen();
  }

  /** By a subscription that is given up at the head: reads of the whole log know no filter. */
  private async *readAllOnce(after: Position, head: Position): AsyncGenerator<RecordedEvent> {
    const { deadlineMs } = this.connection;
    const call = this.log.open(after);
    try {
      for (;;) {
        const arrived = call.take();
        if (arrived !== undefined) {
          const position = positionOf(arrived);
          if (isOurs(arrived) && position > after && position <= head) yield toRecorded(arrived);
          if (position >= head) return;
        } else if (call.caughtUp) return;
        else if (call.isOver()) break;
        else if (!(await call.wait(deadlineMs))) throw new NoAnswer(deadlineMs);
      }
    } finally {
      call.close();
    }
    this.checkOpen();
    throw new NoAnswer(deadlineMs);
  }

  /**
   * Goes on with a broken read where it was broken off: `begin` has to ask for what comes after the last event seen,
   * and gives `undefined` when that is nothing.
   */
  private async *patiently(
    saw: (event: RecordedEvent) => void,
    begin: () => AsyncIterable<RecordedEvent> | undefined,
    stream?: string,
  ): AsyncGenerator<RecordedEvent> {
    const patience = new Patience(this.patienceMs, this.closing.signal);
    for (;;) {
      try {
        for await (const event of begin() ?? []) {
          patience.progress();
          saw(event);
          yield event;
        }
        return;
      } catch (error) {
        await this.orGiveUp(error, patience, stream);
      }
    }
  }

  private async repeated<T>(call: () => Promise<T>, stream?: string): Promise<T> {
    const patience = new Patience(this.patienceMs, this.closing.signal);
    for (;;) {
      try {
        return await call();
      } catch (error) {
        await this.orGiveUp(error, patience, stream);
      }
    }
  }

  private async orGiveUp(error: unknown, patience: Patience, stream?: string): Promise<void> {
    if (!isClawbackError(error)) this.checkOpen();
    if (!isPassing(error) || !(await patience.again())) throw storeError(error, stream);
  }

  private checkOpen(): void {
    if (this.closing.signal.aborted) throw closedError();
  }
}

const toServer = (expected: ExpectedRevision): AppendExpectedRevision =>
  expected === 'noStream' ? NO_STREAM : expected;

async function* recorded(items: AsyncIterable<Arrived>): AsyncGenerator<RecordedEvent> {
  for await (const item of items) yield toRecorded(item);
}

async function firstOf<T>(items: AsyncIterable<T>): Promise<T | undefined> {
  for await (const item of items) return item;
  return undefined;
}
