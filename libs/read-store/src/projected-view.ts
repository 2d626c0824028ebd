import type { Delivery, RecordedEvent } from '#libs/event-store';
import { isClawbackError, pause, START, type Position } from '#libs/kernel';
import { backoff } from './backoff.js';
import { changed, type Change, type Projection } from './projection.js';
import type { Patch, ReadStore, Stored, Write } from './read-store.js';

/** How far a view has come and how it is. */
export interface ViewState {
  readonly view: string;
  readonly version: number;
  /** Undefined for whichever build is active. */
  readonly build: number | undefined;
  /** The last event in the view; `START` before the first. */
  readonly position: Position;
  /** `failed`: an event could not be projected; the view stays where it is until the program is mended. */
  readonly state: 'catchingUp' | 'live' | 'failed';
  /** Why the view failed, or what it is waiting to heal. */
  readonly error?: string;
  /** What was thrown, for the log. */
  readonly cause?: unknown;
}

interface Waiter {
  readonly position: Position;
  readonly settle: (reached: boolean) => void;
}

interface PlannedEvent {
  readonly event: RecordedEvent;
  readonly changes: readonly Change<unknown>[];
}

/** One view being projected: takes events in order, knows its position, and tells who waits for it. */
export class ProjectedView {
  private current: ViewState;
  private readonly waiters = new Set<Waiter>();
  private closed = false;
  private readonly ending = new AbortController();
  private taking: Promise<void> = Promise.resolve();

  constructor(
    private readonly projection: Projection<unknown>,
    private readonly store: ReadStore,
    private readonly onState: (state: ViewState) => void,
  ) {
    const { name, version, build } = projection;
    this.current = { view: name, version, build, position: START, state: 'catchingUp' };
  }

  get state(): ViewState {
    return this.current;
  }

  get afterOthers(): boolean {
    return this.projection.afterOthers === true;
  }

  /** The events that it takes; undefined: all. */
  get types(): ReadonlySet<string> | undefined {
    return this.projection.types;
  }

  get failed(): boolean {
    return this.current.state === 'failed';
  }

  /** Prepares the view in the store and reads its checkpoint. Waits for the store; {@link end} ends the wait by a throw. */
  async open(): Promise<void> {
    const position = await this.patiently(async () => {
      await this.store.prepare(this.projection);
      return this.store.checkpoint(this.projection);
    });
    this.become({ position, state: 'catchingUp' });
  }

  /**
   * Projects a delivery, events at or below the view's own position left out. An event that cannot be projected makes
   * the view fail; a view that has ended takes nothing.
   * @throws what the store throws, beside being unavailable, when no event of the delivery concerns the view.
   */
  take(delivery: Delivery): Promise<void> {
    this.taking = this.takeAll(delivery);
    return this.taking;
  }

  /** Something outside the view holds it up; cleared by the next delivery. */
  heldUp(cause: unknown): void {
    this.become({ state: 'catchingUp', error: messageOf(cause), cause });
  }

  /** Resolves to true when the view has this position; to false after the timeout, or when it fails or is closed. */
  whenReached(position: Position, timeoutMs: number): Promise<boolean> {
    if (this.current.position >= position) return Promise.resolve(true);
    if (this.failed || this.closed) return Promise.resolve(false);
    return new Promise((resolve) => {
      const settle = (reached: boolean) => {
        clearTimeout(timer);
        this.waiters.delete(waiter);
        resolve(reached);
      };
      const timer = setTimeout(settle, timeoutMs, false);
      const waiter = { position, settle };
      this.waiters.add(waiter);
    });
  }

  /** Ends a wait for the store at once. What is being written is written. */
  end(): void {
    this.ending.abort();
  }

  /** Resolves when nothing is written any more. */
  async close(): Promise<void> {
    this.end();
    await Promise.allSettled([this.taking]);
    this.closed = true;
    this.dismissWaiters();
  }

  private async takeAll({ events, position, caughtUp }: Delivery): Promise<void> {
    if (this.hasEnded()) return;
    const { types } = this;
    const fresh = events.filter(
      (event) => event.position > this.current.position && types?.has(event.type) !== false,
    );
    if (position > this.current.position) await this.project(fresh, position);
    if (!this.failed && !this.hasEnded()) this.become({ state: caughtUp ? 'live' : 'catchingUp' });
  }

  private hasEnded(): boolean {
    return this.ending.signal.aborted;
  }

  /**
   * When a batch fails, its events are taken one by one: all before the bad one count, and it is known by name.
   * @param upTo where the batch ends: its last event, or beyond where the next ones do not concern the view.
   */
  private async project(events: readonly RecordedEvent[], upTo: Position): Promise<void> {
    try {
      await this.projectBatch(events, upTo);
    } catch (error) {
      // The batch is projected again another time.
      if (this.hasEnded()) return;
      const [first, ...others] = events;
      // No event is to blame: the subscription is begun again.
      if (first === undefined) throw error;
      if (others.length > 0) await this.projectEach(events, upTo);
      else this.fail(first, error);
    }
  }

  private async projectEach(events: readonly RecordedEvent[], upTo: Position): Promise<void> {
    for (const event of events) {
      if (this.failed || this.hasEnded()) return;
      const isLast = event === events.at(-1);
      await this.project([event], isLast ? upTo : event.position);
    }
  }

  private async projectBatch(events: readonly RecordedEvent[], position: Position): Promise<void> {
    const planned = events.map((event) => ({ event, changes: this.projection.project(event) }));
    const ids = idsToRead(planned);
    const stored =
      ids.size === 0 ? [] : await this.patiently(() => this.store.getMany(this.projection, [...ids]));
    const fold = new Fold(ids, stored);
    for (const one of planned) fold.take(one);
    await this.patiently(() => this.store.commit(this.projection, fold.writes, position));
    this.become({ position, state: this.current.state });
    for (const waiter of [...this.waiters]) if (waiter.position <= position) waiter.settle(true);
  }

  /**
   * Tries for ever while the store is unavailable or another process writes the view, and says so in the state. Any other
   * error is thrown.
   */
  private async patiently<T>(work: () => Promise<T>): Promise<T> {
    const { signal } = this.ending;
    for (let failures = 1; ; failures += 1) {
      try {
        return await work();
      } catch (error) {
        if (!isClawbackError(error) || (error.kind !== 'unavailable' && error.code !== 'writerFenced'))
          throw error;
        this.heldUp(error);
        await pause(backoff(failures), signal);
        signal.throwIfAborted();
      }
    }
  }

  private fail({ type, stream, revision }: RecordedEvent, cause: unknown): void {
    const error = `cannot project ${type} of stream ${stream}, revision ${String(revision)}: ${messageOf(cause)}`;
    this.become({ state: 'failed', error, cause });
    this.dismissWaiters();
  }

  private dismissWaiters(): void {
    for (const waiter of [...this.waiters]) waiter.settle(false);
  }

  private become(next: Pick<ViewState, 'state'> & Partial<ViewState>): void {
    const { view, version, build, position, state, error } = this.current;
    this.current = { view, version, build, position, ...next };
    const changed =
      position !== this.current.position || state !== this.current.state || error !== this.current.error;
    if (changed) this.onState(this.current);
  }
}

/** The documents that have to be read. */
function idsToRead(planned: readonly PlannedEvent[]): Set<string> {
  const ids = new Set<string>();
  for (const { changes } of planned) {
    for (const change of changes) if ('apply' in change) ids.add(change.id);
  }
  return ids;
}

/**
 * What the events do to the documents: of those that have been read the whole when it has changed, of others what is set.
 * An event at or below the position of a document is in it already. What one event does to one document counts as one
 * change.
 */
class Fold {
  private readonly documents: Map<string, Stored<unknown>>;
  /** Ids of what was read and was there. */
  private readonly stored: ReadonlySet<string>;
  private readonly touched = new Map<string, Write<unknown>>();
  /** Made here by a change that may go on with it in place. */
  private readonly drafts = new Set<unknown>();

  constructor(
    private readonly read: ReadonlySet<string>,
    stored: readonly Stored<unknown>[],
  ) {
    this.documents = new Map(stored.map((document) => [document.id, document]));
    this.stored = new Set(this.documents.keys());
  }

  get writes(): Write<unknown>[] {
    return [...this.touched.values()];
  }

  take({ event, changes }: PlannedEvent): void {
    const [first, ...others] = changes;
    if (first === undefined) return;
    if (others.length === 0) this.change(first, event.position);
    else for (const change of asOne(changes)) this.change(change, event.position);
  }

  private change(change: Change<unknown>, position: Position): void {
    const { id } = change;
    const document = this.documents.get(id);
    if (document !== undefined && document.position >= position) return;
    if ('put' in change) this.put(id, position, change.put);
    else if ('set' in change) this.set(change, document, position);
    else this.apply(change, document, position);
  }

  private apply(
    { id, apply, amend }: Extract<Change<unknown>, { apply: unknown }>,
    document: Stored<unknown> | undefined,
    position: Position,
  ): void {
    const before = document?.doc;
    if (amend !== undefined && document !== undefined && this.drafts.has(before)) {
      if (amend(before)) this.put(id, position, before);
      return;
    }
    const after = apply(before);
    if (after === undefined || after === before) return;
    if (amend !== undefined) this.drafts.add(after);
    this.put(id, position, after);
  }

  private set(
    { id, set }: Extract<Change<unknown>, { set: object }>,
    document: Stored<unknown> | undefined,
    position: Position,
  ): void {
    if (document !== undefined) this.put(id, position, { ...(document.doc as object), ...set });
    // Read, and not there: there is nothing to set.
    else if (!this.read.has(id)) {
      const before = this.touched.get(id) as Patch<object> | undefined;
      this.touched.set(id, { id, position, set: { ...before?.set, ...set } });
    }
  }

  private put(id: string, position: Position, doc: unknown): void {
    const document = { id, position, doc, isNew: !this.stored.has(id) };
    this.documents.set(id, document);
    this.touched.set(id, document);
  }
}

/** An event may change a document in several ways: the first must not hide the others by its position. */
function asOne(changes: readonly Change<unknown>[]): Iterable<Change<unknown>> {
  const joined = new Map<string, Change<unknown>>();
  for (const change of changes) {
    const before = joined.get(change.id);
    joined.set(change.id, before === undefined ? change : both(before, change));
  }
  return joined.values();
}

/** One after the other. */
function both(first: Change<unknown>, second: Change<unknown>): Change<unknown> {
  if ('put' in second) return second;
  if ('put' in first) return { id: first.id, put: changed(second, first.put) };
  if ('set' in first && 'set' in second) return { id: first.id, set: { ...first.set, ...second.set } };
  return { id: first.id, apply: (doc) => changed(second, changed(first, doc)) };
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
