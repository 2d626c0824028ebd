import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { RecordedEvent } from '#libs/event-store';
import type { KnownRemediation, Submission } from '#libs/remediation';
import { submissionOf, tallyOf } from '../../../test/support/examples.js';
import { ActiveRemediation } from './active-remediation.js';

const approval: RecordedEvent = {
  id: '0d1f6c58-2b7a-5e93-8c40-6f5e4d3c2b1a',
  type: 'RemediationApproved',
  stream: 'remediation-r1',
  revision: 1n,
  position: 7n,
  data: {},
  metadata: {},
};
const tally = tallyOf({ recipient: { succeeded: 1 } });
const knownOf = (over: Partial<Submission>, known: Partial<KnownRemediation> = {}): KnownRemediation => {
  const submission = submissionOf(over);
  return { status: 'started', submission, tally: submission.tally, undoneBy: [], ...known };
};
const remediationOf = (batches: number) => new ActiveRemediation(approval, knownOf({ batches }));

/** Releases what is next. */
function release(remediation: ActiveRemediation, ahead: number): number[] {
  const next = remediation.toRelease(ahead);
  remediation.released += next.length;
  return next;
}

describe('the batches to release', () => {
  it('are so many at first, and one more for each that settles', () => {
    const remediation = remediationOf(5);
    expect(release(remediation, 3)).toEqual([0, 1, 2]);
    expect(remediation.toRelease(3)).toEqual([]);
    remediation.settle(1, tally);
    expect(release(remediation, 3)).toEqual([3]);
    remediation.settle(1, tally);
    expect(remediation.toRelease(3)).toEqual([]);
  });

  it('are never more than there are', () => {
    expect(remediationOf(2).toRelease(16)).toEqual([0, 1]);
    expect(remediationOf(0).toRelease(16)).toEqual([]);
  });

  it('are none when others have released more than this coordinator would have', () => {
    const remediation = remediationOf(9);
    remediation.released = 5;
    expect(remediation.toRelease(3)).toEqual([]);
  });

  it('come one by one in order, whatever settles first, and keep within the window', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 1, max: 10 }),
        fc.infiniteStream(fc.nat()),
        (batches, ahead, choices) => {
          const remediation = remediationOf(batches);
          const released = release(remediation, ahead);
          const open = [...released];
          while (open.length > 0) {
            expect(open.length).toBeLessThanOrEqual(ahead);
            const [settled = 0] = open.splice((choices.next().value ?? 0) % open.length, 1);
            remediation.settle(settled, tally);
            const next = release(remediation, ahead);
            released.push(...next);
            open.push(...next);
          }
          expect(remediation.allSettled).toBe(true);
          expect([...remediation.tallies]).toHaveLength(batches);
          expect(released).toEqual(Array.from({ length: batches }, (_, batch) => batch));
        },
      ),
    );
  });
});

describe('a deferred batch', () => {
  const NOW = 1000;
  /** Three batches are out, of seven; two of them wait. */
  const waiting = (): ActiveRemediation => {
    const remediation = remediationOf(7);
    release(remediation, 3);
    remediation.defer(2, NOW);
    remediation.defer(0, NOW + 500);
    return remediation;
  };

  it('holds up none: another one is released in its place', () => {
    const remediation = waiting();
    expect(remediation.waiting).toBe(2);
    expect(release(remediation, 3)).toEqual([3, 4]);
    expect(remediation.toRelease(3)).toEqual([]);
  });

  it('goes on when its time has come', () => {
    const remediation = waiting();
    expect([remediation.toResume(3, NOW - 1), remediation.nextResume(NOW - 1)]).toEqual([[], NOW]);
    expect([remediation.toResume(3, NOW), remediation.nextResume(NOW)]).toEqual([[2], NOW + 500]);
    expect([remediation.toResume(3, NOW + 500), remediation.nextResume(NOW + 500)]).toEqual([
      [0, 2],
      Infinity,
    ]);
    remediation.expect(2, NOW + 100);
    expect([remediation.toResume(3, NOW), remediation.waiting]).toEqual([[], 1]);
  });

  it('goes on when there is a place for it beside those that are out', () => {
    const remediation = waiting();
    release(remediation, 3);
    expect(remediation.toResume(3, NOW + 500)).toEqual([]);
    remediation.settle(1, tally);
    expect(remediation.toResume(3, NOW + 500)).toEqual([0]);
  });

  it('is overdue for nobody, and can be withdrawn as those that were never released', () => {
    const remediation = waiting();
    remediation.expect(1, NOW);
    expect(remediation.overdue(NOW + 10_000)).toEqual([1]);
    expect(remediation.toWithdraw()).toEqual([2, 0, 3, 4, 5, 6]);
  });

  it('that has settled waits no more, and cannot wait again', () => {
    const remediation = waiting();
    remediation.settle(0, tally);
    remediation.defer(0, NOW + 500);
    expect(remediation.waiting).toBe(1);
  });
});

describe('the end', () => {
  it('is there when every batch has settled, and at once without any', () => {
    const remediation = remediationOf(2);
    remediation.settle(0, tally);
    remediation.settle(0, tally);
    expect(remediation.allSettled).toBe(false);
    remediation.settle(1, tally);
    expect(remediation.allSettled).toBe(true);
    expect(remediationOf(0).allSettled).toBe(true);
  });
});

describe('of a part that was approved', () => {
  const partOf = (known: Partial<KnownRemediation>) =>
    new ActiveRemediation(approval, knownOf({ batches: 5 }, known));

  it('only the batches are released, and they are all there is to settle', () => {
    const remediation = partOf({ approvedBatches: 2 });
    expect(remediation.isPart).toBe(true);
    expect(release(remediation, 9)).toEqual([0, 1]);
    for (const batch of [0, 1]) remediation.settle(batch, tally);
    expect(remediation.allSettled).toBe(true);
    expect(remediation.toRelease(9)).toEqual([]);
  });

  it('the rest comes to its end as well when it is stopped', () => {
    const remediation = partOf({ approvedBatches: 2 });
    release(remediation, 1);
    remediation.settle(0, tally);
    remediation.stopped = 'cancelled';
    expect([remediation.isPart, remediation.allSettled]).toEqual([false, false]);
    expect(remediation.toWithdraw()).toEqual([1, 2, 3, 4]);
  });

  it('it is known how far it came, once the rest was approved', () => {
    const remediation = partOf({ partBatches: 2 });
    expect([remediation.isPart, remediation.partBatches, remediation.limit]).toEqual([false, 2, 5]);
  });
});

describe('the start', () => {
  it('is when it is asked for, else now', () => {
    const startAt = '2025-03-08T08:00:00.000Z';
    expect(new ActiveRemediation(approval, knownOf({ startAt })).startsAt).toBe(Date.parse(startAt));
    expect(remediationOf(1).startsAt).toBe(0);
  });
});

describe('a batch that should have settled by now', () => {
  it('is one whose time has passed, by the newest word on it', () => {
    const remediation = remediationOf(3);
    remediation.expect(0, 100);
    remediation.expect(1, 200);
    expect(remediation.overdue(100)).toEqual([]);
    expect(remediation.overdue(101)).toEqual([0]);
    expect(remediation.overdue(201)).toEqual([0, 1]);
    remediation.expect(0, 300);
    expect(remediation.overdue(201)).toEqual([1]);
  });

  it('is none that has settled, whatever is heard of it later', () => {
    const remediation = remediationOf(2);
    remediation.expect(0, 100);
    remediation.settle(0, tally);
    remediation.expect(0, 100);
    expect(remediation.overdue(1000)).toEqual([]);
  });
});
