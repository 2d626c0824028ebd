import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { START, type Position } from '#libs/kernel';
import { RecentEvents, type ReadEvent } from './recent-events.js';

const read = (position: number, length = 1): ReadEvent => ({
  event: {
    id: String(position),
    type: 'Happened',
    data: {},
    metadata: {},
    stream: 's',
    revision: 0n,
    position: BigInt(position),
  },
  length,
});

const positionsOf = (recent: RecentEvents, after: Position, count = 100) =>
  recent.after(after, count)?.map(({ position }) => Number(position));

describe('RecentEvents', () => {
  it('gives what follows on a position, and nothing where it has to be read', () => {
    const recent = new RecentEvents(100);
    expect(recent.after(START, 10)).toBeUndefined();
    recent.add(10n, [read(11), read(14), read(15)]);
    expect(positionsOf(recent, 10n)).toEqual([11, 14, 15]);
    expect(positionsOf(recent, 12n)).toEqual([14, 15]);
    expect(positionsOf(recent, 10n, 2)).toEqual([11, 14]);
    expect(recent.after(15n, 10)).toBeUndefined();
    expect(recent.after(9n, 10)).toBeUndefined();
  });

  it('keeps the newest, however many are added', () => {
    const recent = new RecentEvents(10);
    recent.add(START, [read(1, 4), read(2, 4), read(3, 4)]);
    expect(recent.after(START, 10)).toBeUndefined();
    expect(positionsOf(recent, 1n)).toEqual([2, 3]);
    recent.add(3n, [read(4, 50)]);
    expect(positionsOf(recent, 3n)).toEqual([4]);
  });

  it('is not pushed out by a reader of the past, and begins anew after a gap', () => {
    const recent = new RecentEvents(100);
    recent.add(10n, [read(11)]);
    recent.add(2n, [read(3)]);
    expect(positionsOf(recent, 10n)).toEqual([11]);
    recent.add(20n, [read(21)]);
    expect(positionsOf(recent, 20n)).toEqual([21]);
    expect(recent.after(10n, 10)).toBeUndefined();
  });

  it('never leaves out or repeats an event, whoever reads where', () => {
    const log = fc.uniqueArray(fc.integer({ min: 0, max: 60 }), { maxLength: 40 });
    const steps = fc.array(
      fc.record({ after: fc.integer({ min: -1, max: 60 }), count: fc.integer({ min: 1, max: 9 }) }),
    );
    fc.assert(
      fc.property(log, steps, fc.integer({ min: 1, max: 12 }), (unsorted, looks, maxLength) => {
        const positions = [...unsorted].sort((a, b) => a - b);
        const recent = new RecentEvents(maxLength);
        for (const { after, count } of looks) {
          const expected = positions.filter((position) => position > after).slice(0, count);
          const known = positionsOf(recent, BigInt(after), count);
          if (known === undefined)
            recent.add(
              BigInt(after),
              expected.map((position) => read(position)),
            );
          else expect(known).toEqual(expected.slice(0, known.length));
          if (known !== undefined) expect(known.length).toBeGreaterThan(0);
        }
      }),
    );
  });
});
