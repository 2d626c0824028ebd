import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Delivery, EventStore, RecordedEvent } from '#libs/event-store';
import { inFlight, pause, START, type Position } from '#libs/kernel';
import { backoff } from './backoff.js';
import { ProjectedView, type ViewState } from './projected-view.js';
import type { Projection } from './projection.js';
import type { ReadStore, ViewSpec } from './read-store.js';

/** A projection of whatever documents: every `Projection<Doc>` is one. */
export interface AnyProjection extends ViewSpec<never> {
  readonly project: (
    event: RecordedEvent,
  ) => readonly (
    | { readonly id: string; readonly apply: (doc: never) => unknown }
    | { readonly id: string; readonly set: object }
    | { readonly id: string; readonly put: unknown }
  )[];
  readonly types?: ReadonlySet<string>;
  readonly afterOthers?: true;
}

export interface ProjectorOptions {
  readonly events: EventStore;
  readonly store: ReadStore;
  readonly projections: readonly AnyProjection[];
  /** At most so many events in one commit; default 2,000: a view that is behind catches up in fewer commits. */
  readonly batchSize?: number;
  /** Told of every change of a view's position, state or error. Must not throw. */
  readonly onState?: (state: ViewState) => void;
  /**
   * Told of events after the views have taken them, some of them again after an interruption; also when every view has
   * failed. Must not throw.
   */
  readonly onDelivered?: (events: readonly RecordedEvent[]) => void;
  /** What {@link onDelivered} is to be told of beside the events that the views take. */
  readonly alsoTypes?: ReadonlySet<string>;
}

/**
 * Keeps views up to date with the events: one subscription, from the lowest checkpoint, serves all its views. A view
 * that is far behind therefore holds the others back while it catches up: let a new build come near by a projector of its
 * own before it is added. Starts once and stops once.
 *
 * A store that is unavailable is retried for ever. An event that a view cannot project stops that view alone, in the
 * state `failed`; no event is ever skipped.
 */
export class Projector {
  private readonly views: ProjectedView[];
  /** Being opened, to be taken on. */
  private readonly joining = new Set<ProjectedView>();
  private readonly stopping = new AbortController();
  /** Of the subscription that is being followed. */
  private round = new AbortController();
  /** The last event delivered: where to go on when there is no view that takes any. */
  private delivered: Position = START;
  private starting: Promise<void> | undefined;
  private running: Promise<void> | undefined;

  /** @throws {Error} the same build of a view twice. */
  constructor(private readonly options: ProjectorOptions) {
    this.views = options.projections.map((projection) => this.viewOf(projection));
    if (new Set(this.views.map(({ state }) => nameOfBuild(state))).size < this.views.length) {
      throw new Error('the views of one projector need different names or builds');
    }
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
    this.round.abort();
    for (const view of [...this.views, ...this.joining]) view.end();
    await Promise.allSettled([this.starting]);
    await this.running;
    for (const view of this.views) await view.close();
  }

  /**
   * Takes on a view, or another build of one, next to the builds that are there; it goes on from its own checkpoint.
   * Waits for the store if need be.
   * @throws {Error} it is there already, or cannot be prepared, or the projector stops.
   */
  async add(projection: AnyProjection): Promise<void> {
    const { signal } = this.stopping;
    signal.throwIfAborted();
    const view = this.viewOf(projection);
    const isSame = ({ state }: ProjectedView) => nameOfBuild(state) === nameOfBuild(view.state);
    if ([...this.views, ...this.joining].some(isSame)) {
      throw new Error(`this projector has the view ${nameOfBuild(view.state)} already`);
    }
    this.joining.add(view);
    try {
      await view.open();
    } finally {
      this.joining.delete(view);
    }
    signal.throwIfAborted();
    const last = this.views.findLastIndex(({ state }) => state.view === projection.name);
    this.views.splice(last < 0 ? this.views.length : last + 1, 0, view);
    this.round.abort();
  }

  /** Lets go of one build of a view. When this resolves, it is written no more. */
  async remove(name: string, build: number): Promise<void> {
    const index = this.views.findIndex(({ state }) => state.view === name && state.build === build);
    const [view] = index < 0 ? [] : this.views.splice(index, 1);
    await view?.close();
    this.round.abort();
  }

  state(): readonly ViewState[] {
    return this.views.map((view) => view.state);
  }

  /**
   * Waits until every build of a view that this projector keeps holds the event at this position (and all before it).
   * @returns false after the timeout, and as soon as the view has failed or the projector has stopped.
   * @throws {Error} no view of that name.
   */
  async whenProjected(
    name: string,
    position: Position,
    { timeoutMs }: { readonly timeoutMs: number },
  ): Promise<boolean> {
    const builds = this.views.filter(({ state }) => state.view === name);
    if (builds.length === 0) throw new Error(`no view ${name} in this projector`);
    const reached = await Promise.all(builds.map((view) => view.whenReached(position, timeoutMs)));
    return reached.every(Boolean);
  }

  private viewOf(projection: AnyProjection): ProjectedView {
    const { store, onState = () => undefined } = this.options;
    return new ProjectedView(projection as Projection<unknown>, store, onState);
  }

  private async begin(): Promise<void> {
    const { signal } = this.stopping;
    try {
      for (const view of [...this.views]) await view.open();
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    this.running = this.run(signal);
  }

  /** A subscription that fails or ends, or whose views have changed, is begun again from the lowest checkpoint. */
  private async run(stopping: AbortSignal): Promise<void> {
    let failures = 0;
    while (!stopping.aborted) {
      this.round = new AbortController();
      const { signal } = this.round;
      failures = (await this.follow(signal)) ? 1 : failures + 1;
      if (!signal.aborted) await pause(backoff(failures), stopping);
    }
  }

  /** Follows one subscription to its end. Tells whether it delivered anything. */
  private async follow(signal: AbortSignal): Promise<boolean> {
    let delivered = false;
    try {
      for await (const delivery of this.subscribe(signal)) {
        await this.deliver(delivery);
        delivered = true;
        if (signal.aborted) break;
      }
    } catch (error) {
      if (!signal.aborted) for (const view of this.active()) view.heldUp(error);
    }
    return delivered;
  }

  private subscribe(signal: AbortSignal): AsyncIterable<Delivery> {
    const { events, batchSize = 2000, alsoTypes } = this.options;
    const active = this.active();
    const [first = this.delivered, ...others] = active.map(({ state }) => state.position);
    const after = others.reduce((a, b) => (a < b ? a : b), first);
    const types = wantedBy(active, alsoTypes);
    return events.subscribe({
      after,
      signal,
      maxBatch: batchSize,
      ...(types === undefined ? {} : { types }),
    });
  }

  /**
   * The views take it beside each other, those that come after others after them: a server works for some while we work on
   * the others. Other work of this process has its turn between them.
   */
  private async deliver(delivery: Delivery): Promise<void> {
    const active = this.active();
    for (const late of [false, true]) {
      const views = active.filter(({ afterOthers }) => afterOthers === late);
      const taking = inFlight(views.length);
      for (const view of views) {
        await taking.add(() => view.take(delivery));
        await nextTurn();
      }
      await taking.drain();
    }
    this.delivered = delivery.position;
    this.options.onDelivered?.(delivery.events);
  }

  private active(): readonly ProjectedView[] {
    return this.views.filter((view) => !view.failed);
  }
}

/** These types and those that at least one of the views takes; undefined when one of them takes all, or there is none. */
function wantedBy(
  views: readonly ProjectedView[],
  also: ReadonlySet<string> = new Set(),
): ReadonlySet<string> | undefined {
  const wanted = views.map(({ types }) => types);
  if (wanted.length === 0 || wanted.includes(undefined)) return undefined;
  return new Set([...also, ...wanted.flatMap((types = new Set()) => [...types])]);
}

/** Tells one build of a view from the others, and from the one that is active whichever that is. */
export const nameOfBuild = ({ view, build }: Pick<ViewState, 'view' | 'build'>): string =>
  `${view}/${build ?? 'active'}`;

/**
 * For other objects than the projector: asks the store until a view holds the event at this position.
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
    await store.untilCommit(view, { pollMs, withinMs: left });
  }
  return true;
}
