import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { retryAfterMs, retryDelayMs } from './retry.js';

const policy = { firstMs: 1000, longestMs: 60_000, giveUpMs: 1 };

describe('the wait between two attempts', () => {
  it('doubles up to a cap, half of it random', () => {
    expect([1, 2, 3, 6, 7, 8, 1000].map((failures) => retryDelayMs(policy, failures, undefined, 1))).toEqual([
      1000, 2000, 4000, 32_000, 60_000, 60_000, 60_000,
    ]);
    expect(retryDelayMs(policy, 3, undefined, 0)).toBe(2000);
  });

  it('is never shorter than the receiver asks, up to an hour, and never absurd', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.option(fc.nat(), { nil: undefined }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (failures, asked, random) => {
          const delay = retryDelayMs(policy, failures, asked, random);
          expect(delay).toBeGreaterThanOrEqual(Math.min(asked ?? 0, 3_600_000));
          expect(delay).toBeGreaterThanOrEqual(500);
          expect(delay).toBeLessThanOrEqual(3_600_000);
        },
      ),
    );
  });
});

describe('Retry-After', () => {
  const now = new Date('2026-03-02T08:00:00Z');
  it.each([
    ['120', 120_000],
    ['0', 0],
    ['Mon, 02 Mar 2026 08:01:00 GMT', 60_000],
    ['Mon, 02 Mar 2026 07:00:00 GMT', 0],
    ['soon', undefined],
    ['', undefined],
    ['-5x', undefined],
    [undefined, undefined],
  ])('%s is %s ms', (header, expected) => {
    expect(retryAfterMs(header, now)).toBe(expected);
  });
});
