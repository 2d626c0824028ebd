import { ClawbackError, assertNever } from '#libs/kernel';

/** The life of the builds of one version of a view. Numbers of builds are never used again. */
export type ViewBuildsEvent =
  /** A build is begun beside the active one. */
  | {
      readonly type: 'ViewRebuildRequested';
      readonly data: ViewRef & { readonly build: number; readonly acceptDifferences: boolean };
    }
  /** It has come as far as the active one, and both were compared. */
  | { readonly type: 'ViewBuildCompared'; readonly data: ViewRef & BuildComparison }
  /** Queries read it from now on; the one before is kept up to date, for the way back. */
  | {
      readonly type: 'ViewBuildActivated';
      readonly data: ViewRef & { readonly build: number; readonly previous: number };
    }
  | { readonly type: 'ViewBuildDiscarded'; readonly data: ViewRef & { readonly build: number } }
  /** It could not be finished, and is discarded. */
  | {
      readonly type: 'ViewRebuildFailed';
      readonly data: ViewRef & { readonly build: number; readonly problem: string };
    };

export interface ViewRef {
  readonly view: string;
  readonly version: number;
}

export interface BuildSummary {
  readonly build: number;
  readonly documents: number;
  readonly checksum: string;
}

/** Both builds at the moment when one could take the other's place. */
export interface BuildComparison {
  readonly built: BuildSummary;
  readonly active: BuildSummary;
  /** How many documents are in one of them only, or differ. */
  readonly differing: number;
  /** Ids of some of those. */
  readonly examples: readonly string[];
}

export type ViewBuildsCommand =
  | { readonly type: 'RequestRebuild'; readonly acceptDifferences: boolean }
  | { readonly type: 'RecordComparison'; readonly comparison: BuildComparison }
  | { readonly type: 'RecordFailure'; readonly build: number; readonly problem: string }
  /** Makes the build that stands by the active one. */
  | { readonly type: 'Switch' }
  /** Gives up the build that stands by or is being built. */
  | { readonly type: 'Discard' };

export interface ViewBuilds extends ViewRef {
  readonly active: number;
  /** Kept up to date beside the active one: what was active before, or a build that differs. */
  readonly standby?: number;
  readonly building?: { readonly build: number; readonly acceptDifferences: boolean };
  readonly newest: number;
  readonly lastComparison?: BuildComparison;
  readonly lastFailure?: { readonly build: number; readonly problem: string };
}

export const initialViewBuilds = ({ view, version }: ViewRef): ViewBuilds => ({
  view,
  version,
  active: 1,
  newest: 1,
});

/** @throws {ClawbackError} kind `conflict` when the state does not allow the command; nothing is recorded then. */
export function decideViewBuilds(state: ViewBuilds, command: ViewBuildsCommand): ViewBuildsEvent[] {
  const { view, version, active, standby, building } = state;
  const ref = { view, version };
  switch (command.type) {
    case 'RequestRebuild':
      if (building !== undefined) throw underWay(view, building.build);
      return [
        ...(standby === undefined ? [] : [discarded(ref, standby)]),
        {
          type: 'ViewRebuildRequested',
          data: { ...ref, build: state.newest + 1, acceptDifferences: command.acceptDifferences },
        },
      ];
    case 'RecordComparison': {
      const { comparison } = command;
      const { build } = comparison.built;
      // Another process was faster, or the build was given up meanwhile.
      if (building?.build !== build || comparison.active.build !== active) return [];
      const good = comparison.differing === 0 || building.acceptDifferences;
      return [
        { type: 'ViewBuildCompared', data: { ...ref, ...comparison } },
        ...(good ? [{ type: 'ViewBuildActivated' as const, data: { ...ref, build, previous: active } }] : []),
      ];
    }
    case 'RecordFailure': {
      const { build, problem } = command;
      return building?.build === build
        ? [{ type: 'ViewRebuildFailed', data: { ...ref, build, problem } }]
        : [];
    }
    case 'Switch':
      if (building !== undefined) throw underWay(view, building.build);
      if (standby === undefined) throw nothingBeside(view);
      return [{ type: 'ViewBuildActivated', data: { ...ref, build: standby, previous: active } }];
    case 'Discard': {
      const build = building?.build ?? standby;
      if (build === undefined) throw nothingBeside(view);
      return [discarded(ref, build)];
    }
    default:
      return assertNever(command);
  }
}

/** Folds an event in. */
export function evolveViewBuilds(state: ViewBuilds, event: ViewBuildsEvent): ViewBuilds {
  const { standby, building, ...rest } = state;
  const kept = {
    ...(standby === undefined ? {} : { standby }),
    ...(building === undefined ? {} : { building }),
  };
  switch (event.type) {
    case 'ViewRebuildRequested': {
      const { build, acceptDifferences } = event.data;
      return { ...rest, ...kept, newest: build, building: { build, acceptDifferences } };
    }
    case 'ViewBuildCompared': {
      const { built, active, differing, examples } = event.data;
      return { ...rest, standby: built.build, lastComparison: { built, active, differing, examples } };
    }
    case 'ViewBuildActivated':
      return { ...rest, active: event.data.build, standby: event.data.previous };
    case 'ViewBuildDiscarded': {
      const { build } = event.data;
      return {
        ...rest,
        ...(standby === undefined || standby === build ? {} : { standby }),
        ...(building === undefined || building.build === build ? {} : { building }),
      };
    }
    case 'ViewRebuildFailed':
      return {
        ...rest,
        ...(standby === undefined ? {} : { standby }),
        lastFailure: { build: event.data.build, problem: event.data.problem },
      };
    default:
      return assertNever(event);
  }
}

/** The builds that there should be. */
export const buildsOf = ({ active, standby, building }: ViewBuilds): readonly number[] => [
  active,
  ...(standby === undefined ? [] : [standby]),
  ...(building === undefined ? [] : [building.build]),
];

const discarded = (ref: ViewRef, build: number): ViewBuildsEvent => ({
  type: 'ViewBuildDiscarded',
  data: { ...ref, build },
});

const underWay = (view: string, build: number): ClawbackError =>
  new ClawbackError('conflict', 'rebuildUnderWay', `build ${build} of the view ${view} is being made`, {
    view,
    build,
  });

const nothingBeside = (view: string): ClawbackError =>
  new ClawbackError('conflict', 'noOtherBuild', `the view ${view} has no build beside the active one`, {
    view,
  });
