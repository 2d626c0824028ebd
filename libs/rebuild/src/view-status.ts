import { load, type EventStore } from '#libs/event-store';
import type { Position } from '#libs/kernel';
import type { ReadStore, ViewSpec } from '#libs/read-store';
import { viewBuildsCodecs, viewBuildsDecider, viewBuildsStream } from './codecs.js';
import type { BuildComparison, ViewBuilds } from './domain/index.js';

export interface BuildStatus {
  readonly build: number;
  /** `discarding`: given up, and not removed yet. */
  readonly state: 'active' | 'standby' | 'building' | 'discarding';
  /** The last event that is in it. */
  readonly position: Position;
}

/** One view with its builds. */
export interface ViewStatus {
  readonly name: string;
  readonly version: number;
  /** The last event that there was to take in when this was asked. */
  readonly head: Position;
  /** The one that queries are answered from. Behind the log's decision for a moment after a switch. */
  readonly active: number;
  readonly builds: readonly BuildStatus[];
  /** The number of the build that is being made, whether or not there is anything of it yet. */
  readonly building?: number;
  readonly lastComparison?: BuildComparison;
  readonly lastFailure?: { readonly build: number; readonly problem: string };
}

/** @throws {ClawbackError} kind `unavailable`: a store cannot answer. */
export async function viewStatus(
  events: EventStore,
  store: ReadStore,
  view: ViewSpec<never>,
): Promise<ViewStatus> {
  const head = await events.head();
  const { active, builds } = await store.builds(view);
  // After the builds, so that it knows all of them.
  const { state } = await load(events, viewBuildsCodecs, viewBuildsDecider(view), viewBuildsStream(view));
  return {
    name: view.name,
    version: view.version,
    head,
    active,
    builds: builds.map(({ build, checkpoint }) => ({
      build,
      state: stateOf(state, build),
      position: checkpoint,
    })),
    ...(state.building === undefined ? {} : { building: state.building.build }),
    ...(state.lastComparison === undefined ? {} : { lastComparison: state.lastComparison }),
    ...(state.lastFailure === undefined ? {} : { lastFailure: state.lastFailure }),
  };
}

function stateOf({ active, standby, building }: ViewBuilds, build: number): BuildStatus['state'] {
  switch (build) {
    case active:
      return 'active';
    case standby:
      return 'standby';
    case building?.build:
      return 'building';
    default:
      return 'discarding';
  }
}
