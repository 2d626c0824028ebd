import { decideAndAppend, load, type EventStore, type RecordedEvent } from '#libs/event-store';
import { idFrom, pause, START, type Clock, type Position } from '#libs/kernel';
import {
  compareBuilds,
  isWriterWaiting,
  Projector,
  type AnyProjection,
  type Comparison,
  type ReadStore,
  type ViewState,
} from '#libs/read-store';
import { viewBuildsCodecs, viewBuildsDecider, viewBuildsStream } from './codecs.js';
import { buildsOf, type BuildComparison, type ViewBuilds, type ViewBuildsCommand } from './domain/index.js';

export interface ViewKeeperOptions {
  readonly events: EventStore;
  readonly store: ReadStore;
  readonly projections: readonly AnyProjection[];
  readonly clock: Clock;
  /** Names this process in what it records. */
  readonly instance: string;
  /**
   * How long a build that is to be discarded is still kept, for processes that have not noticed yet that another one is
   * read; default 5 s.
   */
  readonly graceMs?: number;
  /** As {@link Projector} tells it. */
  readonly onState?: (state: ViewState) => void;
  readonly onError: (error: unknown, what: string) => void;
}

interface Builder {
  readonly build: number;
  readonly stopping: AbortController;
  readonly done: Promise<void>;
}

const GRACE_MS = 5000;
const AGAIN_MS = 1000;
/** A build may take as long as it takes; what a timer can count. */
const FOR_EVER_MS = 2 ** 31 - 1;

/**
 * Keeps the views up to date, and makes, compares, switches and discards builds of them as the log says. Whatever it does
 * can be done again: after a crash, and by several processes at once, of which one records the outcome.
 */
export class ViewKeeper {
  private readonly stopping = new AbortController();
  private projector: Projector | undefined;
  /** What is going on about each view, one after the other. */
  private readonly work = new Map<string, Promise<void>>();
  private readonly builders = new Map<string, Builder>();

  constructor(private readonly options: ViewKeeperOptions) {}

  /**
   * Follows the builds that are read at once, and the others when the log has been asked for them.
   * @throws {Error} a view cannot be prepared, and what the read store throws.
   */
  async start(): Promise<void> {
    const { events, store, projections } = this.options;
    const kept: AnyProjection[] = [];
    for (const projection of projections) {
      await store.prepare(projection);
      kept.push({ ...projection, build: (await store.builds(projection)).active });
    }
    if (this.stopping.signal.aborted) return;
    this.projector = new Projector({
      events,
      store,
      projections: kept,
      onDelivered: (delivered) => {
        this.look(delivered);
      },
      alsoTypes: new Set(viewBuildsCodecs.types),
      ...(this.options.onState === undefined ? {} : { onState: this.options.onState }),
    });
    await this.projector.start();
    for (const projection of projections) this.wake(projection);
  }

  /** Ends all work; what is not finished goes on at the next start. */
  async stop(): Promise<void> {
    this.stopping.abort();
    for (const { stopping } of this.builders.values()) stopping.abort();
    // First: work that waits for a store in there ends by it.
    await this.projector?.stop();
    await Promise.all(this.work.values());
    await Promise.all([...this.builders.values()].map(({ done }) => done));
  }

  /** Of every build that follows the events; not of one that is still far behind. */
  state(): readonly ViewState[] {
    return this.projector?.state() ?? [];
  }

  private look(delivered: readonly RecordedEvent[]): void {
    for (const recorded of delivered) {
      if (!viewBuildsCodecs.types.includes(recorded.type)) continue;
      const projection = this.options.projections.find((one) => viewBuildsStream(one) === recorded.stream);
      if (projection !== undefined) this.wake(projection);
    }
  }

  /** Has a look at the view, after whatever is going on about it. */
  private wake(projection: AnyProjection): void {
    const before = this.work.get(projection.name) ?? Promise.resolve();
    this.work.set(
      projection.name,
      before.then(() => this.patiently(`the builds of ${projection.name}`, () => this.reconcile(projection))),
    );
  }

  /** Makes the builds that there are those that there should be. */
  private async reconcile(projection: AnyProjection): Promise<void> {
    const { state, position } = await this.load(projection);
    const builder = this.builders.get(projection.name);
    if (builder !== undefined && builder.build !== state.building?.build) {
      builder.stopping.abort();
      await builder.done;
    }
    const { signal } = this.stopping;
    for (const build of settledBuildsOf(state)) await this.keep(projection, build, signal);
    if (signal.aborted) return;
    if (position !== undefined) await this.options.store.activate(projection, state.active, position);
    await this.discardOthers(projection, state);
    this.build(projection, state);
  }

  /** Removes the builds that have been given up. One that the state does not know of has been begun since. */
  private async discardOthers(projection: AnyProjection, state: ViewBuilds): Promise<void> {
    const { store, graceMs = GRACE_MS } = this.options;
    const wanted = buildsOf(state);
    const isGivenUp = (build: number) => build <= state.newest && !wanted.includes(build);
    for (const { view, build } of this.state()) {
      if (view === projection.name && build !== undefined && isGivenUp(build)) {
        await this.projector?.remove(view, build);
      }
    }
    const { builds } = await store.builds(projection);
    const left = builds.map(({ build }) => build).filter(isGivenUp);
    if (left.length === 0) return;
    await pause(graceMs, this.stopping.signal);
    if (this.stopping.signal.aborted) return;
    for (const build of left) await store.discard(projection, build);
  }

  /** Begins to make the build that is to be made, in the background, if that has not begun. */
  private build(projection: AnyProjection, { active, building }: ViewBuilds): void {
    if (building === undefined || this.builders.has(projection.name)) return;
    if (this.stopping.signal.aborted) return;
    const { build } = building;
    const stopping = new AbortController();
    const what = `building ${projection.name} anew`;
    const making = this.patiently(
      what,
      () => this.make(projection, active, build, stopping.signal),
      stopping,
    );
    const done = making.then(() => {
      this.builders.delete(projection.name);
    });
    this.builders.set(projection.name, { build, stopping, done });
  }

  private async make(
    projection: AnyProjection,
    active: number,
    build: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { store } = this.options;
    const { state } = await this.load(projection);
    // Another process was faster, or the build was given up, while this one waited for something.
    if (state.building?.build !== build) return;
    // Takes the right to write the active build: only who has it makes the other one, or two processes with one each
    // would wait for each other.
    await store.commit({ ...projection, build: active }, [], START);
    const problem = await this.catchUp({ ...projection, build, unindexed: true }, signal);
    if (signal.aborted) return;
    if (problem !== undefined) {
      await this.record(projection, build, { type: 'RecordFailure', build, problem });
      return;
    }
    await this.keep(projection, build, signal);
    const comparison = comparisonOf(
      await compareBuilds(store, projection, [active, build], {
        signal,
        reachOf: (one) => this.reachOf(projection.name, one),
      }),
    );
    const problemSince = this.problemOf(projection.name, build);
    await this.record(
      projection,
      build,
      problemSince === undefined
        ? { type: 'RecordComparison', comparison }
        : { type: 'RecordFailure', build, problem: problemSince },
    );
  }

  /**
   * Brings a build from wherever it is to where the log was, by a projector of its own so that it holds nobody up.
   * @returns why it cannot be brought there.
   */
  private async catchUp(projection: AnyProjection, signal: AbortSignal): Promise<string | undefined> {
    if (this.kept(projection.name, projection.build) !== undefined) return undefined;
    const { events, store } = this.options;
    const head = await events.head();
    signal.throwIfAborted();
    const projector = new Projector({ events, store, projections: [projection] });
    const stop = (): void => {
      void projector.stop();
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      await projector.start();
      if (await projector.whenProjected(projection.name, head, { timeoutMs: FOR_EVER_MS })) return undefined;
      return signal.aborted ? undefined : (projector.state()[0]?.error ?? 'it came to an end too early');
    } finally {
      signal.removeEventListener('abort', stop);
      await projector.stop();
    }
  }

  private kept(name: string, build: number | undefined): ViewState | undefined {
    return this.state().find((state) => state.view === name && state.build === build);
  }

  /** Has a build follow the events from now on. One that is far behind is brought near before, and shows how it is after. */
  private async keep(projection: AnyProjection, build: number, signal: AbortSignal): Promise<void> {
    if (this.kept(projection.name, build) !== undefined) return;
    await this.catchUp({ ...projection, build }, signal);
    if (!signal.aborted) await this.projector?.add({ ...projection, build });
  }

  /** How far a build will come without another event. */
  private async reachOf(name: string, build: number): Promise<Position> {
    const kept = this.kept(name, build);
    return kept?.state === 'failed' ? kept.position : await this.options.events.head();
  }

  /** Why a build that follows the events has stopped, if it has. */
  private problemOf(name: string, build: number): string | undefined {
    const kept = this.kept(name, build);
    return kept?.state === 'failed' ? (kept.error ?? 'it has stopped') : undefined;
  }

  private async record(projection: AnyProjection, build: number, command: ViewBuildsCommand): Promise<void> {
    const { events, clock, instance } = this.options;
    const stream = viewBuildsStream(projection);
    await decideAndAppend(events, viewBuildsCodecs, viewBuildsDecider(projection), stream, command, {
      tenant: '',
      actor: instance,
      correlationId: stream,
      causationId: stream,
      commandId: idFrom(command.type, stream, String(build), instance),
      now: clock.now(),
    });
  }

  private load(projection: AnyProjection) {
    const stream = viewBuildsStream(projection);
    return load(this.options.events, viewBuildsCodecs, viewBuildsDecider(projection), stream);
  }

  /** Tries until it is done, or is to end. */
  private async patiently(
    what: string,
    work: () => Promise<void>,
    { signal }: AbortController = this.stopping,
  ): Promise<void> {
    const isOver = () => signal.aborted;
    while (!isOver()) {
      try {
        await work();
        return;
      } catch (error) {
        if (isOver()) return;
        if (!isWriterWaiting(error)) this.options.onError(error, what);
        await pause(AGAIN_MS, signal);
      }
    }
  }
}

/** Those that are complete: the one that is read, and the one beside it. */
const settledBuildsOf = ({ active, standby }: ViewBuilds): readonly number[] =>
  standby === undefined ? [active] : [active, standby];

const comparisonOf = ({ first, second, differing, examples }: Comparison): BuildComparison => ({
  built: second,
  active: first,
  differing,
  examples,
});
