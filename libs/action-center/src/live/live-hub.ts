import type { Delivery, EventStore } from '#libs/event-store';
import { pause, type Position } from '#libs/kernel';
import type { Counts } from '../counts.js';
import {
  NOTHING_WAITS,
  NOTIFYING,
  digest,
  released,
  type Notification,
  type Waiting,
} from './notification.js';
import { Inbox, type Audience } from './subscriber.js';

export interface LiveOptions {
  readonly events: EventStore;
  /** How far the history shows the log. @throws {ClawbackError} kind `unavailable` */
  readonly shownUpTo: () => Promise<Position>;
  /** What the history shows of these remediations. @throws {ClawbackError} kind `unavailable` */
  readonly counts: (approvalIds: readonly string[]) => Promise<ReadonlyMap<string, Counts>>;
  /** Told of what ends a subscription to the log; it is begun again. */
  readonly onError: (error: unknown, what: string) => void;
  /** Progress of a remediation is told at most once in so many milliseconds; default 250. */
  readonly progressMs?: number;
  /** How many notifications are kept for those who come later; default 1,000. */
  readonly kept?: number;
  /** How many may wait for one subscriber; default 1,000. */
  readonly inboxLimit?: number;
  /** After so many quiet milliseconds a subscriber is told how far everything was told; default 15,000. */
  readonly quietMs?: number;
}

/** How often the history is asked how far it has come, while somebody waits for it. */
const LOOK_MS = 20;
const LONGEST_PAUSE_MS = 15_000;

/**
 * One subscription to the log for all who listen: each notification is told when the history shows it, to everyone it
 * concerns, and the last ones are kept so that who has caught up to them joins without a gap.
 */
export class LiveHub {
  private readonly recent: Notification[] = [];
  private readonly inboxes = new Set<Inbox>();
  private readonly stopping = new AbortController();
  private waiting: Waiting = NOTHING_WAITS;
  /** The last event that was taken in. */
  private read: Position;
  /** What the history is known to show. */
  private shown: Position;
  /** Everything after it is among those kept. */
  private begin: Position;
  /** Everything up to it has been told. */
  private told: Position;
  private lastProgress = Number.NEGATIVE_INFINITY;
  private readonly running: Promise<void>;

  /** Begins where the history is. @throws {ClawbackError} kind `unavailable` */
  static async start(options: LiveOptions): Promise<LiveHub> {
    return new LiveHub(options, await options.shownUpTo());
  }

  private constructor(
    private readonly options: LiveOptions,
    from: Position,
  ) {
    this.read = this.shown = this.begin = this.told = from;
    this.running = this.run(this.stopping.signal);
  }

  get since(): Position {
    return this.begin;
  }

  get position(): Position {
    return this.told;
  }

  get signal(): AbortSignal {
    return this.stopping.signal;
  }

  /** From now on the inbox gets everything after its position. That must not lie before {@link since}. */
  attach(audience: Audience, after: Position, onLetGo?: () => void): Inbox {
    const inbox = new Inbox(audience, after, this.options.inboxLimit ?? 1000, onLetGo);
    for (const notification of this.recent) inbox.put(notification);
    inbox.mark(this.told);
    this.inboxes.add(inbox);
    return inbox;
  }

  detach(inbox: Inbox): void {
    this.inboxes.delete(inbox);
  }

  /** Lets everybody go. */
  async stop(): Promise<void> {
    this.stopping.abort();
    for (const inbox of this.inboxes) inbox.end();
    await this.running;
  }

  /** Waits, as long as it takes, until the history shows a position. @throws when the signal fires, or `unavailable`. */
  async untilShown(position: Position, signal: AbortSignal): Promise<void> {
    while (this.shown < position) {
      const now = await this.options.shownUpTo();
      if (now > this.shown) this.shown = now;
      signal.throwIfAborted();
      if (this.shown < position) await pause(LOOK_MS, signal);
    }
  }

  /** The notifications with the counts that progress lacks. */
  async counted(notifications: readonly Notification[]): Promise<readonly Notification[]> {
    const progress = notifications.filter(({ type }) => type === 'remediation.progress');
    if (progress.length === 0) return notifications;
    const counts = await this.options.counts(progress.map(({ approvalId }) => approvalId));
    return notifications.map((notification) => {
      const now = counts.get(notification.approvalId);
      return notification.type !== 'remediation.progress' || now === undefined
        ? notification
        : { ...notification, facts: { counts: now } };
    });
  }

  /** A subscription that fails is begun again where it stood; nothing is left out. */
  private async run(signal: AbortSignal): Promise<void> {
    let wait = LOOK_MS;
    while (!signal.aborted) {
      const before = this.read;
      await this.follow(signal).catch((error: unknown) => {
        if (!signal.aborted) this.options.onError(error, 'the live feed was interrupted');
      });
      wait = this.read > before ? LOOK_MS : Math.min(LONGEST_PAUSE_MS, wait * 2);
      await pause(wait, signal);
    }
  }

  private async follow(signal: AbortSignal): Promise<void> {
    const wanted = { after: this.read, signal, types: NOTIFYING };
    const deliveries = this.options.events.subscribe(wanted)[Symbol.asyncIterator]();
    let next = awaited(deliveries.next());
    while (!signal.aborted) {
      const result = await this.untilDue(next);
      if (result === undefined) await this.tellProgress(signal);
      else if (result.done === true) return;
      else {
        await this.take(result.value, signal);
        next = awaited(deliveries.next());
      }
    }
  }

  /** The next delivery, or undefined when progress that waits has waited long enough. */
  private async untilDue(
    next: Promise<IteratorResult<Delivery>>,
  ): Promise<IteratorResult<Delivery> | undefined> {
    if (this.waiting.size === 0) return next;
    const timer = new AbortController();
    const due = this.lastProgress + (this.options.progressMs ?? 250) - performance.now();
    try {
      return await Promise.race([next, pause(Math.max(0, due), timer.signal).then(() => undefined)]);
    } finally {
      timer.abort();
    }
  }

  private async take({ events, position }: Delivery, signal: AbortSignal): Promise<void> {
    const { told, waiting } = digest(this.waiting, events);
    await this.tell(told, signal);
    this.waiting = waiting;
    this.read = position;
    this.mark();
  }

  private async tellProgress(signal: AbortSignal): Promise<void> {
    await this.tell(released(this.waiting), signal);
    this.waiting = NOTHING_WAITS;
    this.lastProgress = performance.now();
    this.mark();
  }

  /** All of them or, when a store cannot answer, none. */
  private async tell(notifications: readonly Notification[], signal: AbortSignal): Promise<void> {
    const last = notifications.at(-1);
    if (last === undefined) return;
    await this.untilShown(last.position, signal);
    for (const notification of await this.counted(notifications)) {
      this.recent.push(notification);
      for (const inbox of this.inboxes) inbox.put(notification);
    }
    const tooMany = this.recent.length - (this.options.kept ?? 1000);
    if (tooMany > 0) this.begin = this.recent.splice(0, tooMany).at(-1)?.position ?? this.begin;
  }

  /** What waits has not been told: until it has, nobody may go on after it. */
  private mark(): void {
    if (this.waiting.size > 0) return;
    this.told = this.read;
    for (const inbox of this.inboxes) inbox.mark(this.told);
  }
}

/** Whoever waits for it hears of its failure; that nobody does, when something else failed first, is no surprise. */
function awaited<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
