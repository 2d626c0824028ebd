import {
  eventTypeFilter,
  persistentSubscriptionToAllSettingsFromDefaults,
  START,
  streamNameFilter,
  type Filter,
  type PersistentSubscriptionToAll,
  type PersistentSubscriptionToAllResolvedEvent,
} from '@eventstore/db-client';
import { pause } from '#libs/kernel';
import type { RecordedEvent } from '../event-store.js';
import type { WorkQueueState } from '../work-queue.js';
import { openConnection, type Connection, type ConnectionOptions } from './connection.js';
import { isOurs, toRecorded } from './encoding.js';
import { typeOf } from './errors.js';
import { Incoming } from './incoming.js';
import { Backoff, within } from './patience.js';

export interface WorkQueueOptions extends ConnectionOptions {
  /** Consumers of one group share the events. */
  readonly group: string;
  /** Events of the streams whose name begins so. Has effect when the group is created, like all that follows. */
  readonly streamPrefix: string;
  /** Only events of these types. */
  readonly eventTypes?: readonly string[];
  /** An event that is neither done nor refused for so many milliseconds is given to another consumer; default 30,000. */
  readonly messageTimeoutMs?: number;
  /** Deliveries of one event before the server parks it; default without end, as far as the server can count. */
  readonly maxRetries?: number;
  /** Events that this consumer works on at a time; default 1. */
  readonly concurrency?: number;
  /** Milliseconds of silence after which we ask the server whether it still knows this consumer; default 10,000. */
  readonly silenceMs?: number;
  /** Told of every change. Must not throw. */
  readonly onState?: (state: WorkQueueState) => void;
}

/** `ack`: done. `retry`: give it again, to whomever. `park`: put it aside for a person. */
export type Verdict = 'ack' | 'retry' | 'park';

export type WorkHandler = (event: RecordedEvent) => Promise<Verdict>;

type Delivered = PersistentSubscriptionToAllResolvedEvent;

const DEFAULT_SILENCE_MS = 10_000;
const DEFAULT_MESSAGE_TIMEOUT_MS = 30_000;
/** What the server calls a connection whose name it does not know. */
const NAMELESS = ['', '<unknown>'];
/** How long the client gets to let go of its calls. */
const DISPOSE_MS = 2_000;
const MOST_RETRIES = 2 ** 31 - 1;
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 5_000;
/** How many events the server reads ahead for a group, and how many at a time: the first must be the larger number. */
const READ_AHEAD = { historyBufferSize: 100, liveBufferSize: 100, readBatchSize: 20 };
/** What has been done since the last checkpoint is delivered again after a restart of the server. */
const CHECKPOINTS = { checkPointAfter: 1_000, checkPointLowerBound: 1, checkPointUpperBound: 100 };

/**
 * Work shared by competing consumers: a persistent subscription to the whole log. Every event is delivered at least
 * once, sometimes twice or out of order: only one claim on it may win, which is the caller's to see to. Deliver few
 * events that mean much work, for the server hands out about a thousand a second.
 */
export class PersistentWorkQueue {
  private connection: Connection;
  private readonly concurrency: number;
  private readonly silenceMs: number;
  private readonly onState: (state: WorkQueueState) => void;

  /** Connects when consumed. @throws {ClawbackError} `invalidConnectionString` */
  constructor(private readonly options: WorkQueueOptions) {
    this.connection = openConnection(options);
    this.concurrency = options.concurrency ?? 1;
    this.silenceMs = options.silenceMs ?? DEFAULT_SILENCE_MS;
    this.onState = options.onState ?? (() => undefined);
  }

  /**
   * Hands events to the handler until the signal fires, over as many connections as it takes; then waits for the
   * handlers at work, as it does before it makes good a lost connection. A handler that throws has said `retry`. May be
   * called once.
   */
  async consume(handler: WorkHandler, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(FIRST_WAIT_MS, LONGEST_WAIT_MS);
    while (!signal.aborted) {
      try {
        await this.ensureGroup();
        this.onState({ state: 'consuming' });
        await this.session(handler, signal, backoff);
      } catch (error) {
        this.onState({ state: 'reconnecting', lastError: error });
      }
      await this.disconnect();
      await pause(backoff.next(), signal);
    }
    this.onState({ state: 'ended' });
  }

  /** Creates the group; most of the time it is there already. */
  private async ensureGroup(): Promise<void> {
    const { client, deadlineMs: deadline } = this.connection;
    const { group, messageTimeoutMs = DEFAULT_MESSAGE_TIMEOUT_MS, maxRetries = MOST_RETRIES } = this.options;
    const settings = persistentSubscriptionToAllSettingsFromDefaults({
      startFrom: START,
      messageTimeout: messageTimeoutMs,
      maxRetryCount: maxRetries,
      ...READ_AHEAD,
      ...CHECKPOINTS,
    });
    try {
      await within(
        deadline,
        client.createPersistentSubscriptionToAll(group, settings, { deadline, filter: this.filter() }),
      );
    } catch (error) {
      if (typeOf(error) !== 'persistent-subscription-exists') throw error;
    }
  }

  /** The server filters by one of both; {@link isWork} sees to the other. */
  private filter(): Filter {
    const { streamPrefix, eventTypes } = this.options;
    return eventTypes === undefined
      ? streamNameFilter({ prefixes: [streamPrefix] })
      : eventTypeFilter({ regex: `^(${eventTypes.map(literally).join('|')})$` });
  }

  /** One call of the server, to its end. @throws whatever ended it, if it was not the signal. */
  private async session(handler: WorkHandler, signal: AbortSignal, backoff: Backoff): Promise<void> {
    const subscription = this.connection.client.subscribeToPersistentSubscriptionToAll(this.options.group, {
      bufferSize: this.concurrency,
    });
    const call = new Incoming<Delivered>(subscription, () => subscription.unsubscribe());
    const working = new Set<Promise<void>>();
    try {
      while (!signal.aborted) {
        if (working.size >= this.concurrency) {
          await Promise.race(working);
          continue;
        }
        const delivered = call.take();
        if (delivered !== undefined) {
          backoff.reset();
          const work = this.handle(delivered, subscription, handler, signal).finally(() =>
            working.delete(work),
          );
          working.add(work);
        } else if (call.isOver()) {
          throw new Error('the server has ended the subscription');
        } else if (!(await call.wait(this.silenceMs, signal))) {
          await this.checkKnown();
        }
      }
    } finally {
      await Promise.all(working);
      call.close();
    }
  }

  private async handle(
    delivered: Delivered,
    subscription: PersistentSubscriptionToAll,
    handler: WorkHandler,
    signal: AbortSignal,
  ): Promise<void> {
    const verdict = await this.verdictOn(delivered, handler);
    if (verdict === 'retry') await pause(retryWait(delivered.retryCount), signal);
    try {
      await within(
        this.connection.deadlineMs,
        verdict === 'ack'
          ? subscription.ack(delivered)
          : subscription.nack(verdict, `the handler says ${verdict}`, delivered),
      );
    } catch (error) {
      // The server will deliver it once more.
      this.onState({ state: 'consuming', lastError: error });
    }
  }

  private async verdictOn(delivered: Delivered, handler: WorkHandler): Promise<Verdict> {
    if (!this.isWork(delivered)) return 'ack';
    let event: RecordedEvent;
    try {
      event = toRecorded(delivered);
    } catch (error) {
      this.onState({ state: 'consuming', lastError: error });
      return 'park';
    }
    try {
      return await handler(event);
    } catch (error) {
      this.onState({ state: 'consuming', lastError: error });
      return 'retry';
    }
  }

  private isWork(delivered: Delivered): boolean {
    const { streamPrefix, eventTypes } = this.options;
    const { event } = delivered;
    return (
      isOurs(delivered) &&
      event?.streamId.startsWith(streamPrefix) === true &&
      (eventTypes === undefined || eventTypes.includes(event.type))
    );
  }

  /** A consumer may have been forgotten without a word. @throws when it was. */
  private async checkKnown(): Promise<void> {
    const { client, deadlineMs: deadline } = this.connection;
    try {
      const info = await within(
        deadline,
        client.getPersistentSubscriptionToAllInfo(this.options.group, { deadline }),
      );
      const mayBeUs = ({ connectionName }: { readonly connectionName: string }) =>
        [client.connectionName, ...NAMELESS].includes(connectionName);
      if (!info.connections.some(mayBeUs)) throw new Error('the server has forgotten this consumer');
    } catch (error) {
      // Not everybody may look at a group.
      if (typeOf(error) !== 'access-denied') throw error;
    }
  }

  /** A new client, for the old one may go on failing: it remembers a failed question about the server's abilities. */
  private async disconnect(): Promise<void> {
    const { client } = this.connection;
    this.connection = openConnection(this.options);
    await within(DISPOSE_MS, client.dispose()).catch(() => undefined);
  }
}

/** Retries of one event come slower and slower. */
const retryWait = (retryCount: number): number =>
  Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(retryCount, 10));

const literally = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
