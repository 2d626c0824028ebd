import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { START, type Position } from '#libs/kernel';
import { RecentAppends } from './recent-appends.js';
import { StoredAppend } from './stored-append.js';

/** An append of so many events whose last one has this position, padded to a length of JSON. */
const read = (position: number, { count = 1, length = 10 } = {}): StoredAppend => {
  const metadata = '{}';
  const events = `[${Array.from({ length: count }, () => '{}').join(',')}]`.padEnd(length - metadata.length);
  const place = { position, stream: 's', revision: position, count };
  return new StoredAppend({ ...place, types: '[]', metadata, events });
};

const positionsOf = (recent: RecentAppends, after: Position) =>
  recent.after(after)?.map(({ position }) => Number(position));

describe('RecentAppends', () => {
  it('gives what follows on a position, and nothing where it has to be read', () => {
    const recent = new RecentAppends(1000);
    expect(recent.after(START)).toBeUndefined();
    recent.add(10n, [read(11), read(14, { count: 2 }), read(15)]);
    expect(positionsOf(recent, 10n)).toEqual([11, 14, 15]);
    expect(positionsOf(recent, 11n)).toEqual([14, 15]);
    expect(positionsOf(recent, 13n)).toEqual([14, 15]);
    expect(recent.after(15n)).toBeUndefined();
    expect(recent.after(9n)).toBeUndefined();
  });

  it('gives everybody the same events', () => {
    const recent = new RecentAppends(1000);
    recent.add(START, [read(3, { count: 3 })]);
    const [first] = recent.after(1n) ?? [];
    expect(recent.after(2n)?.[0]?.events).toBe(first?.events);
  });

  it('has the beginning of an append that was read from within', () => {
    const recent = new RecentAppends(1000);
    recent.add(12n, [read(14, { count: 4 })]);
    expect(positionsOf(recent, 12n)).toEqual([14]);
    expect(positionsOf(recent, 10n)).toEqual([14]);
    expect(recent.after(9n)).toBeUndefined();
  });

  it('keeps the newest, however many are added', () => {
    const recent = new RecentAppends(100);
    recent.add(START, [read(1, { length: 40 }), read(2, { length: 40 }), read(3, { length: 40 })]);
    expect(recent.after(START)).toBeUndefined();
    expect(positionsOf(recent, 1n)).toEqual([2, 3]);
    recent.add(3n, [read(4, { length: 500 })]);
    expect(positionsOf(recent, 3n)).toEqual([4]);
  });

  it('is not pushed out by a reader of the past, and begins anew after a gap', () => {
    const recent = new RecentAppends(1000);
    recent.add(10n, [read(11)]);
    recent.add(2n, [read(3)]);
    expect(positionsOf(recent, 10n)).toEqual([11]);
    recent.add(20n, [read(21)]);
    expect(positionsOf(recent, 20n)).toEqual([21]);
    expect(recent.after(10n)).toBeUndefined();
  });

  it('never leaves out or repeats an append, whoever reads or appends', () => {
    // A log that an earlier version has written may have gaps between its appends.
    const log = fc.array(fc.record({ gap: fc.nat({ max: 3 }), count: fc.integer({ min: 1, max: 4 }) }), {
      minLength: 1,
      maxLength: 20,
    });
    const step = fc.oneof(
      fc.constant('append' as const),
      fc.record({ after: fc.integer({ min: -1, max: 60 }), count: fc.integer({ min: 1, max: 9 }) }),
    );
    fc.assert(
      fc.property(
        log,
        fc.array(step, { maxLength: 40 }),
        fc.integer({ min: 1, max: 80 }),
        (made, steps, max) => {
          let head = 0;
          const all = made.map(({ gap, count }) => {
            head += gap + count;
            return read(head, { count });
          });
          const written: StoredAppend[] = [];
          const recent = new RecentAppends(max);
          for (const one of steps) {
            if (one === 'append') {
              const next = all[written.length];
              if (next === undefined) continue;
              written.push(next);
              recent.add(next.before, [next]);
            } else {
              const after = BigInt(one.after);
              const fresh = written.filter(({ position }) => position > after);
              const known = recent.after(after);
              if (known === undefined) recent.add(after, fresh.slice(0, one.count));
              else {
                expect(known.length).toBeGreaterThan(0);
                expect(known).toEqual(fresh.slice(0, known.length));
              }
            }
          }
        },
      ),
    );
  });
});
