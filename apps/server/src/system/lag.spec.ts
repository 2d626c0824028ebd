import { describe, expect, it } from '@jest/globals';
import { newId, START } from '#libs/kernel';
import { InMemoryEventStore } from '../../../../test/support/in-memory-event-store.js';
import { LagMeter } from './lag.js';

const NOW = new Date('2026-03-02T08:00:00.000Z');
const secondsAgo = (seconds: number): string => new Date(NOW.getTime() - seconds * 1000).toISOString();

/** A log with one event for each of these times. */
async function logOf(...times: readonly string[]): Promise<InMemoryEventStore> {
  const store = new InMemoryEventStore();
  for (const occurredAt of times) {
    await store.append(newId(), 'noStream', [
      { id: newId(), type: 'Tested', data: {}, metadata: { occurredAt } },
    ]);
  }
  return store;
}

describe('the lag of a view', () => {
  const { signal } = new AbortController();

  it('is nought for one that holds the last event, and for one that holds more than there was a moment ago', async () => {
    const store = await logOf(secondsAgo(9), secondsAgo(3));
    const head = await store.head();
    const meter = new LagMeter(store, head, NOW, signal);
    expect(await meter.of(head)).toEqual({ positions: 0n, seconds: 0 });
    expect(await meter.of(head + 5n)).toEqual({ positions: 0n, seconds: 0 });
    expect(await new LagMeter(await logOf(), START, NOW, signal).of(START)).toEqual({
      positions: 0n,
      seconds: 0,
    });
  });

  it('is the age of the first event that it lacks, however young the last one is', async () => {
    const store = await logOf(secondsAgo(90), secondsAgo(60), secondsAgo(1));
    const head = await store.head();
    const meter = new LagMeter(store, head, NOW, signal);
    expect(await meter.of(START)).toEqual({ positions: head - START, seconds: 90 });
    expect(await meter.of(head - 2n)).toEqual({ positions: 2n, seconds: 60 });
    expect(await meter.of(head - 1n)).toEqual({ positions: 1n, seconds: 1 });
  });

  it('is never less than nought, whatever another machine’s clock says', async () => {
    const store = await logOf(secondsAgo(-30));
    const meter = new LagMeter(store, await store.head(), NOW, signal);
    expect((await meter.of(START)).seconds).toBe(0);
  });

  it('has no seconds where nobody can tell them', async () => {
    const timeless = await logOf('');
    expect(await new LagMeter(timeless, await timeless.head(), NOW, signal).of(START)).toMatchObject({
      seconds: undefined,
    });
    const away = await logOf(secondsAgo(9));
    const head = await away.head();
    away.goDown();
    expect(await new LagMeter(away, head, NOW, signal).of(START)).toEqual({
      positions: head - START,
      seconds: undefined,
    });
  });

  it('takes one look at the log for all views at one place', async () => {
    const store = await logOf(secondsAgo(9), secondsAgo(3));
    let looks = 0;
    const subscribe = store.subscribe.bind(store);
    store.subscribe = (options) => {
      looks += 1;
      return subscribe(options);
    };
    const meter = new LagMeter(store, await store.head(), NOW, signal);
    const lags = await Promise.all([meter.of(START), meter.of(START), meter.of(START)]);
    expect(new Set(lags.map(({ seconds }) => seconds))).toEqual(new Set([9]));
    expect(looks).toBe(1);
  });
});
