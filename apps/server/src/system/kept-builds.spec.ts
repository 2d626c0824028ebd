import { describe, expect, it } from '@jest/globals';
import type { ViewState } from '#libs/read-store';
import { keptBuilds } from './kept-builds.js';

const state = (build: number | undefined, over: Partial<ViewState> = {}): ViewState => ({
  view: 'history',
  version: 2,
  build,
  position: 5n,
  state: 'live',
  ...over,
});
const other = state(2, { view: 'emails', state: 'failed' });

describe('the builds of a view that a process keeps', () => {
  it('are none where another process keeps them', () => {
    expect(keptBuilds([other], 'history', 1)).toEqual({ active: undefined, stopped: undefined });
  });

  it('tell the one that is read from one that stands by and has stopped', () => {
    const [read, standby] = [state(2), state(1, { state: 'failed' })];
    expect(keptBuilds([standby, other, read], 'history', 2)).toEqual({ active: read, stopped: standby });
  });

  it('have failed when the one that is read has', () => {
    const [read, standby] = [state(2, { state: 'failed' }), state(1)];
    expect(keptBuilds([standby, read], 'history', 2)).toEqual({ active: read, stopped: undefined });
  });

  it('may be whichever is active, under no number', () => {
    const read = state(undefined, { state: 'catchingUp' });
    expect(keptBuilds([read], 'history', 3)).toEqual({ active: read, stopped: undefined });
  });

  it('are as well as the worst of them while the store does not say which one is read', () => {
    const failed = state(1, { state: 'failed' });
    expect(keptBuilds([state(2), failed], 'history', undefined).active).toEqual(failed);
  });
});
