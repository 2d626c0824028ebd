import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { tallyOf } from '../../../../test/support/examples.js';
import {
  ACTIONS,
  ACTIVE_STATUSES,
  COPY_KINDS,
  OUTCOMES,
  addToTally,
  allowsSendersCopy,
  closePending,
  copiesIn,
  emailKeyOf,
  emptyTally,
  isFinished,
  moveInTally,
  ofOutcome,
  sumTallies,
  type Tally,
} from './index.js';

const outcome = fc.constantFrom(...OUTCOMES);
const kind = fc.constantFrom(...COPY_KINDS);
const copies = fc.array(fc.record({ kind, outcome }));
type Copies = readonly { kind: (typeof COPY_KINDS)[number]; outcome: (typeof OUTCOMES)[number] }[];
const tallied = (all: Copies): Tally =>
  all.reduce((tally, copy) => addToTally(tally, copy.kind, copy.outcome), emptyTally());

describe('a tally', () => {
  it('is empty at first', () => {
    expect(copiesIn(emptyTally())).toBe(0);
    expect(emptyTally()).toEqual(tallyOf({}));
  });

  it('counts every copy under its kind and outcome, and in the sum of both kinds', () => {
    fc.assert(
      fc.property(copies, kind, outcome, (all, oneKind, oneOutcome) => {
        const tally = tallied(all);
        const count = (test: (copy: Copies[number]) => boolean) => all.filter(test).length;
        expect(copiesIn(tally)).toBe(all.length);
        expect(copiesIn(tally, [oneKind])).toBe(count((copy) => copy.kind === oneKind));
        expect(ofOutcome(tally, oneOutcome)).toBe(count((copy) => copy.outcome === oneOutcome));
        expect(tally[oneKind][oneOutcome]).toBe(
          count((copy) => copy.kind === oneKind && copy.outcome === oneOutcome),
        );
      }),
    );
  });

  it('keeps its sums when a copy leaves one outcome for another', () => {
    fc.assert(
      fc.property(copies, kind, outcome, outcome, fc.nat(5), (all, oneKind, from, to, count) => {
        const before = tallied(all);
        const after = moveInTally(before, oneKind, from, to, count);
        expect(copiesIn(after)).toBe(copiesIn(before));
        expect(copiesIn(after, [oneKind])).toBe(copiesIn(before, [oneKind]));
        expect(moveInTally(after, oneKind, to, from, count)).toEqual(before);
      }),
    );
  });

  it.each(['cancelled', 'timedOut'] as const)('has nothing pending when all of that is %s', (end) => {
    fc.assert(
      fc.property(copies, (all) => {
        const ended = all.map((copy) => (copy.outcome === 'pending' ? { ...copy, outcome: end } : copy));
        expect(closePending(tallied(all), end)).toEqual(tallied(ended));
      }),
    );
  });

  it('of the whole is the sum of the tallies of its parts', () => {
    fc.assert(
      fc.property(fc.array(copies), (parts) => {
        expect(sumTallies(parts.map(tallied))).toEqual(tallied(parts.flat()));
      }),
    );
  });

  it('is never changed in place', () => {
    const tally = Object.freeze({
      recipient: Object.freeze(emptyTally().recipient),
      sender: Object.freeze(emptyTally().sender),
    });
    addToTally(tally, 'sender', 'pending', 3);
    moveInTally(tally, 'recipient', 'pending', 'succeeded');
    sumTallies([tally, tally]);
    expect(tally).toEqual(tallyOf({}));
  });
});

describe('the words', () => {
  it('count as active what may still move copies, and nothing that has finished', () => {
    expect(ACTIVE_STATUSES).toEqual(['started', 'queued', 'inProgress']);
    expect(ACTIVE_STATUSES.filter(isFinished)).toEqual([]);
  });

  it('allow the sender’s copy option with soft delete and move to Inbox, and with no other action', () => {
    expect(ACTIONS.filter(allowsSendersCopy)).toEqual(['softDelete', 'moveToInbox']);
  });

  it('key an email by message and recipient, whatever the case', () => {
    expect(emailKeyOf({ networkMessageId: 'M-1', recipientEmailAddress: 'Lee@Fabrikam.example' })).toBe(
      'm-1/lee@fabrikam.example',
    );
  });
});
