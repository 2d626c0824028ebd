import { MongoClient, type Collection, type CollectionOptions, type Document } from 'mongodb';
import { within } from './faults.js';

export interface MongoConnectionOptions {
  /** As `mongodb://user:password@host:27017/?replicaSet=rs0&tls=true`. */
  readonly url: string;
  readonly database: string;
  /** How long a server that answers nothing is waited for, each time one is asked. */
  readonly timeoutMs: number;
}

/** Where collections are had from. */
export type Collections = Pick<MongoConnection, 'collection'>;

/** A client of the driver, and its looks at servers that have not come to an end. */
interface Watched {
  readonly client: MongoClient;
  /** When each began, by the address of the server; as `performance.now()`. */
  readonly looks: ReadonlyMap<string, number>;
}

const SELECTION_MS = 5_000;
/** The driver allows no less. */
const LOOK_EVERY_AT_LEAST_MS = 500;

/**
 * The driver's client for one database, and a new one in its place when that one is lost. The driver (7.9) has a look at
 * a server that never ends: one that is sent on a connection whose socket is gone already, and whose end has not been
 * told yet. It begins no other look while that one lasts, so that a server which died once is away for good.
 */
export class MongoConnection {
  private readonly selectionMs: number;
  private current: Watched;
  /** Of the clients that were given up. */
  private ended: Promise<unknown> = Promise.resolve();

  /** Connects when first used. @throws {Error} the url is none. */
  constructor(private readonly options: MongoConnectionOptions) {
    this.selectionMs = Math.min(SELECTION_MS, options.timeoutMs);
    this.current = this.connect();
  }

  /** To be asked for anew for each piece of work: it is of the client that is in use. */
  collection<Doc extends Document>(name: string, options?: CollectionOptions): Collection<Doc> {
    return this.current.client.db(this.options.database).collection<Doc>(name, options);
  }

  /**
   * To be called when something was not answered: makes a new client where a look of this one takes longer than any can.
   * A look connects and asks, or waits for news; each part has its time.
   */
  renewIfLost(): void {
    const { client, looks } = this.current;
    const begunBefore = performance.now() - 2 * this.selectionMs;
    if (![...looks.values()].some((begun) => begun < begunBefore)) return;
    this.current = this.connect();
    this.ended = Promise.allSettled([this.ended, this.end(client)]);
  }

  /** Waits for no server any longer than for an answer. */
  async close(): Promise<void> {
    await Promise.allSettled([this.ended, this.end(this.current.client)]);
  }

  private end(client: MongoClient): Promise<void> {
    return within(this.options.timeoutMs, client.close());
  }

  /** No call waits for ever: not for a server, a connection, an answer, or the other members of the set. */
  private connect(): Watched {
    const { url, timeoutMs } = this.options;
    const client = new MongoClient(url, {
      appName: 'clawback',
      serverSelectionTimeoutMS: this.selectionMs,
      connectTimeoutMS: this.selectionMs,
      heartbeatFrequencyMS: Math.max(this.selectionMs, LOOK_EVERY_AT_LEAST_MS),
      waitQueueTimeoutMS: timeoutMs,
      socketTimeoutMS: timeoutMs,
      writeConcern: { w: 'majority', journal: true, wtimeoutMS: timeoutMs },
    });
    const looks = new Map<string, number>();
    client.on('serverHeartbeatStarted', ({ connectionId }) => looks.set(connectionId, performance.now()));
    client.on('serverHeartbeatSucceeded', ({ connectionId }) => looks.delete(connectionId));
    client.on('serverHeartbeatFailed', ({ connectionId }) => looks.delete(connectionId));
    client.on('serverClosed', ({ address }) => looks.delete(address));
    return { client, looks };
  }
}
