import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { durationsOf } from './dashboard.js';
import { HeavyHitters } from './heavy-hitters.js';

const adds = fc.array(fc.tuple(fc.integer({ min: 0, max: 40 }).map(String), fc.integer({ min: 1, max: 9 })), {
  maxLength: 300,
});

const exactly = (added: readonly (readonly [string, number])[]): Map<string, number> => {
  const counts = new Map<string, number>();
  for (const [address, copies] of added) counts.set(address, (counts.get(address) ?? 0) + copies);
  return counts;
};

describe('the most frequent addresses', () => {
  it('are exact as long as there are no more than are kept', () => {
    fc.assert(
      fc.property(adds, (added) => {
        const hitters = new HeavyHitters(50);
        for (const [address, copies] of added) hitters.add(address, copies);
        const { items, error } = hitters.top(100);
        expect(error).toBe(0);
        expect(new Map(items.map((item) => [item.address, item.copies]))).toEqual(exactly(added));
        expect(items.map((item) => item.copies)).toEqual([...exactly(added).values()].sort((a, b) => b - a));
      }),
    );
  });

  it('are too low by at most the error, which the sum bounds, in bounded memory', () => {
    fc.assert(
      fc.property(adds, fc.integer({ min: 1, max: 10 }), (added, kept) => {
        const hitters = new HeavyHitters(kept);
        for (const [address, copies] of added) hitters.add(address, copies);
        const { items, error } = hitters.top(1000);
        const told = new Map(items.map((item) => [item.address, item.copies]));
        const sum = added.reduce((total, [, copies]) => total + copies, 0);
        expect(items.length).toBeLessThanOrEqual(2 * kept);
        expect(error).toBeLessThanOrEqual(sum / (kept + 1));
        for (const [address, copies] of exactly(added)) {
          expect(told.get(address) ?? 0).toBeLessThanOrEqual(copies);
          expect(told.get(address) ?? 0).toBeGreaterThanOrEqual(copies - error);
        }
      }),
    );
  });
});

describe('times', () => {
  it.each([
    [[], { count: 0, p50Ms: null, p95Ms: null }],
    [[7], { count: 1, p50Ms: 7, p95Ms: 7 }],
    [[30, 10, 20], { count: 3, p50Ms: 20, p95Ms: 30 }],
    [Array.from({ length: 100 }, (_, n) => n + 1), { count: 100, p50Ms: 50, p95Ms: 95 }],
  ])('have their percentiles by nearest rank', (times, durations) => {
    expect(durationsOf(times)).toEqual(durations);
  });
});
