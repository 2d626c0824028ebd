import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Delivery, EventStore, RecordedEvent } from '#libs/event-store';
import { pause, type Position } from '#libs/kernel';
import { backoff } from './backoff.js';
import { ProjectedView, type ViewState } from './projected-view.js';
import type { Projection } from './projection.js';
import type { ReadStore, ViewSpec } from './read-store.js';

/** A projection of whatever documents: every `Projection<Doc>` is one. */
export interface AnyProjection extends ViewSpec<never> {
  readonly project: (
    event: RecordedEvent,
  ) => readonly { readonly id: string; readonly apply: (doc: never) => unknown }[];
}

export interface ProjectorOptions {
  readonly events: EventStore;
  readonly store: ReadStore;
  readonly projections: readonly AnyProjection[];
  /** At most so many events in one commit; default 500. */
  readonly batchSize?: number;
  /** Told of every change of a view's position, state or error. Must not throw. */
  readonly onState?: (state: ViewState) => void;
}

/**
 * Keeps views up to date with the events: one subscription, from the lowest checkpoint, serves all its views. A view
 * that is far behind therefore holds the others back while it catches up: build a new version of a view by a projector
 * of its own. Starts once and stops once.
 *
 * A store that is unavailable is retried for ever. An event that a view cannot project stops that view alone, in the
 * state `failed`; no event is ever skipped.
 */
export class Projector {
  private readonly views: readonly ProjectedView[];
  private readonly stopping = new AbortController();
  private starting: Promise<void> | undefined;
  private running: Promise<void> | undefined;

  /** @throws {Error} two projections of the same name. */
  constructor(private readonly options: ProjectorOptions) {
    const { projections, store, onState = () => undefined } = options;
    if (new Set(projections.map(({ name }) => name)).size < projections.length) {
      throw new Error('the views of one projector need different names');
    }
    this.views = projections.map(
      (projection) => new ProjectedView(projection as Projection<unknown>, store, onState),
    );
  }

  /**
   * Prepares the views, waiting for the store if need be, and goes on in the background.
   * @throws {Error} a view cannot be prepared: its shape has changed without a new version.
   */
  async start(): Promise<void> {
    if (this.starting !== undefined) throw new Error('a projector starts once');
    this.starting = this.begin();
    await this.starting;
  }

  /** Finishes the batch in hand and ends. A wait for a store ends at once; its batch is projected again another time. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await Promise.allSettled([this.starting]);
    await this.running;
    for (const view of this.views) view.close();
  }

  state(): readonly ViewState[] {
    return this.views.map((view) => view.state);
  }

  /**
   * Waits until a view holds the event at this position (and all before it).
   * @returns false after the timeout, and as soon as the view has failed or the projector has stopped.
   * @throws {Error} no view of that name.
   */
  async whenProjected(
    name: string,
    position: Position,
    { timeoutMs }: { readonly timeoutMs: number },
  ): Promise<boolean> {
    const view = this.views.find(({ state }) => state.view === name);
    if (view === undefined) throw new Error(`no view ${name} in this projector`);
    return await view.whenReached(position, timeoutMs);
  }

  private async begin(): Promise<void> {
    const { signal } = this.stopping;
    try {
      for (const view of this.views) await view.open(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    this.running = this.run(signal);
  }

  /** A subscription that fails or ends is begun again from the lowest checkpoint. */
  private async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!this.isOver()) {
      failures = (await this.follow(signal)) ? 1 : failures + 1;
      if (!this.isOver()) await pause(backoff(failures), signal);
    }
  }

  /** Follows one subscription to its end. Tells whether it delivered anything. */
  private async follow(signal: AbortSignal): Promise<boolean> {
    let delivered = false;
    try {
      for await (const delivery of this.subscribe(signal)) {
        await this.deliver(delivery, signal);
        delivered = true;
        if (this.isOver()) break;
      }
    } catch (error) {
      if (!signal.aborted) for (const view of this.active()) view.heldUp(error);
    }
    return delivered;
  }

  private subscribe(signal: AbortSignal): AsyncIterable<Delivery> {
    const { events, batchSize = 500 } = this.options;
    const after = this.active()
      .map(({ state }) => state.position)
      .reduce((a, b) => (a < b ? a : b));
    return events.subscribe({ after, signal, maxBatch: batchSize });
  }

  /** Lets other work of this process run between the views. */
  private async deliver({ events, caughtUp }: Delivery, signal: AbortSignal): Promise<void> {
    for (const view of this.active()) {
      await view.take(events, caughtUp, signal);
      await nextTurn();
    }
  }

  private isOver(): boolean {
    return this.stopping.signal.aborted || this.active().length === 0;
  }

  private active(): readonly ProjectedView[] {
    return this.views.filter((view) => !view.failed);
  }
}

/**
 * For other processes than the projector's: asks the store until a view holds the event at this position.
 * @returns false after the timeout.
 * @throws {ClawbackError} kind `unavailable`: the store cannot answer.
 */
export async function waitForCheckpoint(
  store: ReadStore,
  view: ViewSpec<never>,
  position: Position,
  { timeoutMs, pollMs = 50 }: { readonly timeoutMs: number; readonly pollMs?: number },
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while ((await store.checkpoint(view)) < position) {
    const left = deadline - performance.now();
    if (left <= 0) return false;
    await pause(Math.min(pollMs, left));
  }
  return true;
}
