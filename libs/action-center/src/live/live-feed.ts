import { ClawbackError, type Position } from '#libs/kernel';
import { LiveHub, type LiveOptions } from './live-hub.js';
import { NOTHING_WAITS, NOTIFYING, digest, released, type Notification } from './notification.js';
import { concerns, type Audience, type LiveItem } from './subscriber.js';

export interface LiveRequest extends Audience {
  /** Everything after it; by default what happens from now on. */
  readonly after?: Position;
  readonly signal: AbortSignal;
  /** Called when the subscriber is too slow for what happens and is let go: it may come again. */
  readonly onLetGo?: () => void;
}

/**
 * What happens to remediations, as it happens: in order of position, each notification once, and only when the history
 * shows what it tells. All subscribers of a process share one subscription to the log, which there is only while
 * somebody listens; who asks for the past reads it by himself until he has caught up.
 */
export class LiveFeed {
  private hub: Promise<LiveHub> | undefined;
  private listeners = 0;
  private readonly endings = new Set<Promise<void>>();
  private isClosed = false;

  constructor(private readonly options: LiveOptions) {}

  /**
   * The first item says where the subscription begins. Ends when the signal fires, when the subscriber is let go, and
   * when the feed is closed.
   * @throws {ClawbackError} kind `unavailable`
   */
  async *subscribe({ after, signal, onLetGo, ...audience }: LiveRequest): AsyncGenerator<LiveItem> {
    const hub = await this.join();
    const ending = AbortSignal.any([signal, hub.signal]);
    try {
      let reached = after ?? hub.position;
      yield { position: reached };
      while (reached < hub.since && !ending.aborted) {
        for await (const item of this.past(hub, audience, reached, ending)) {
          reached = item.position;
          yield item;
        }
      }
      const inbox = hub.attach(audience, reached, onLetGo);
      try {
        yield* inbox.items(this.options.quietMs ?? 15_000, ending);
      } finally {
        hub.detach(inbox);
      }
    } catch (error) {
      if (!ending.aborted) throw error;
    } finally {
      this.leave();
    }
  }

  /** Lets everybody go; resolves when nothing is read any more. */
  async close(): Promise<void> {
    this.isClosed = true;
    this.end();
    await Promise.all(this.endings);
  }

  /** Reads the log from a position to where the hub's memory begins. The last item says how far it came. */
  private async *past(
    hub: LiveHub,
    audience: Audience,
    after: Position,
    signal: AbortSignal,
  ): AsyncGenerator<LiveItem> {
    let waiting = NOTHING_WAITS;
    let read = after;
    for await (const delivery of this.options.events.subscribe({ after, signal, types: NOTIFYING })) {
      const digested = digest(waiting, delivery.events);
      waiting = digested.waiting;
      read = delivery.position;
      yield* this.ready(hub, audience, digested.told, signal);
      if (read >= hub.since) break;
    }
    yield* this.ready(hub, audience, released(waiting), signal);
    yield { position: read };
  }

  /** Those that concern the audience, each once the history shows it. */
  private async *ready(
    hub: LiveHub,
    audience: Audience,
    notifications: readonly Notification[],
    signal: AbortSignal,
  ): AsyncGenerator<LiveItem> {
    for (const notification of notifications) {
      if (!concerns(audience, notification)) continue;
      await hub.untilShown(notification.position, signal);
      for (const counted of await hub.counted([notification])) {
        yield { position: counted.position, notification: counted };
      }
    }
  }

  private async join(): Promise<LiveHub> {
    if (this.isClosed)
      throw new ClawbackError('unavailable', 'shuttingDown', 'this process is shutting down');
    this.listeners += 1;
    this.hub ??= LiveHub.start(this.options);
    try {
      return await this.hub;
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  private leave(): void {
    this.listeners -= 1;
    if (this.listeners === 0) this.end();
  }

  private end(): void {
    const ending = this.hub?.then(
      (hub) => hub.stop(),
      () => undefined,
    );
    this.hub = undefined;
    if (ending === undefined) return;
    this.endings.add(ending);
    void ending.then(() => this.endings.delete(ending));
  }
}
