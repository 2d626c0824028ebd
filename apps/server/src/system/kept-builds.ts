import type { ViewState } from '#libs/read-store';

/** The builds of one view that this process keeps. */
export interface KeptBuilds {
  /** The one that queries read; undefined when another process keeps it. */
  readonly active: ViewState | undefined;
  /** One that stands by and has stopped: nobody reads it, but nobody can go back to it either. */
  readonly stopped: ViewState | undefined;
}

/** From the worst on. */
const STATES: readonly ViewState['state'][] = ['failed', 'catchingUp', 'live'];

/**
 * @param states of all builds that the process keeps
 * @param active the build that queries read; undefined when the store does not say, and then any may be it: the worst one
 */
export function keptBuilds(
  states: readonly ViewState[],
  name: string,
  active: number | undefined,
): KeptBuilds {
  const ofView = states
    .filter(({ view }) => view === name)
    .sort((a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state));
  const isRead = ({ build }: ViewState): boolean =>
    active === undefined || build === undefined || build === active;
  return {
    active: ofView.find(isRead),
    stopped: ofView.find((state) => state.state === 'failed' && !isRead(state)),
  };
}
