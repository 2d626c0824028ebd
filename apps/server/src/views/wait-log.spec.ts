import { describe, expect, it } from '@jest/globals';
import { ClawbackError } from '#libs/kernel';
import { createLogger } from '#libs/platform';
import type { ViewState } from '#libs/read-store';
import { waitLog } from './wait-log.js';

describe('the log of views that wait', () => {
  const logged = (states: readonly Partial<ViewState>[]) => {
    const lines: string[] = [];
    const log = waitLog(createLogger({ log: { level: 'info' } }, { write: (line) => lines.push(line) }));
    for (const state of states)
      log({ view: 'history', version: 2, build: undefined, position: 7n, state: 'live', ...state });
    return lines.map((line) => {
      const { level, msg, view, reason } = JSON.parse(line) as Record<string, unknown>;
      return { level, msg, view, ...(reason === undefined ? {} : { reason }) };
    });
  };
  const waiting = (code: string): Partial<ViewState> => ({
    state: 'catchingUp',
    error: code,
    cause: new ClawbackError('unavailable', code, 'away'),
  });
  const waits = (view: string) => ({ level: 40, msg: 'a view waits', view, reason: 'readStoreUnavailable' });
  const goesOn = (view: string) => ({ level: 30, msg: 'a view goes on', view });

  it('says once that a view waits, however often that is told, and once that it goes on', () => {
    const away = waiting('readStoreUnavailable');
    expect(logged([{}, away, { ...away, position: 8n }, away, {}, {}])).toEqual([
      waits('history'),
      goesOn('history'),
    ]);
  });

  it('tells views, and builds of one, apart', () => {
    const away = waiting('readStoreUnavailable');
    const states = [away, { ...away, build: 2 }, { ...away, view: 'emails' }, {}];
    expect(logged(states)).toEqual([waits('history'), waits('history'), waits('emails'), goesOn('history')]);
  });

  it('says nothing of one that waits for its turn to be written, or has stopped', () => {
    expect(logged([waiting('writerWaiting'), {}, { state: 'failed', error: 'broken' }])).toEqual([]);
  });
});
