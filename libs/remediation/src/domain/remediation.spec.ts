import { describe, expect, it } from '@jest/globals';
import { submissionOf, tallyOf } from '../../../../test/support/examples.js';
import { given as givenPast } from '../../../../test/support/given-when-then.js';
import {
  cancelPending,
  copiesIn,
  decideRemediation,
  evolveRemediation,
  hasFailed,
  initialRemediation,
  isFinished,
  type RemediationAction,
  type RemediationCommand,
  type RemediationEvent,
  type Status,
  type Tally,
} from './index.js';

const decider = { initial: initialRemediation, decide: decideRemediation, evolve: evolveRemediation };
const given = (...past: RemediationEvent[]) => givenPast(decider, past);

const approvalId = 'r1';
const submission = submissionOf({ approvalId });
const { selectionHash } = submission;
const done = tallyOf({ recipient: { succeeded: 1 }, sender: { succeeded: 1 } });
const lost = tallyOf({ recipient: { failed: 1 }, sender: { timedOut: 1 } });
const undoOf = (id: string, over = {}) =>
  submissionOf({ approvalId: id, planId: `plan-${id}`, action: 'undo', undoOf: approvalId, ...over });
const undo = undoOf('u1');

const submitted: RemediationEvent = { type: 'RemediationSubmitted', data: submission };
const approved: RemediationEvent = { type: 'RemediationApproved', data: { approvalId, selectionHash } };
const rejected: RemediationEvent = { type: 'RemediationRejected', data: { approvalId, reason: 'a drill' } };
const started: RemediationEvent = { type: 'RemediationStarted', data: { approvalId } };
const completed: RemediationEvent = { type: 'RemediationCompleted', data: { approvalId, tally: done } };
const failed: RemediationEvent = { type: 'RemediationFailed', data: { approvalId, tally: lost } };
const undone: RemediationEvent = { type: 'RemediationUndone', data: { approvalId, undo } };

const past: Record<Status, RemediationEvent[]> = {
  pending: [submitted],
  queued: [submitted, approved],
  inProgress: [submitted, approved, started],
  completed: [submitted, approved, started, completed],
  failed: [submitted, approved, started, failed],
  rejected: [submitted, rejected],
};
const ALL = Object.keys(past) as Status[];
const except = (...statuses: Status[]) => ALL.filter((status) => !statuses.includes(status));

describe('a remediation', () => {
  const followUps: [string, RemediationCommand][] = [
    ['approve', { type: 'Approve', selectionHash }],
    ['reject', { type: 'Reject', reason: '' }],
    ['start', { type: 'Start' }],
    ['finish', { type: 'Finish', tally: done }],
    ['undo', { type: 'ClaimUndo', undo, underWay: [] }],
  ];
  it.each(followUps)('that was never submitted is not found: %s', (_title, command) => {
    given().when(command).thenRefused('remediationNotFound');
  });

  it.each(ALL)('is %s after these events', (status) => {
    const state = past[status].reduce(evolveRemediation, initialRemediation);
    expect(state).toEqual({ status, submission, undoneBy: [] });
  });

  it.each(ALL)('has finished or not when %s', (status) => {
    expect(isFinished(status)).toBe(['completed', 'failed', 'rejected'].includes(status));
  });

  describe('submit', () => {
    it('waits for its approval', () => {
      given().when({ type: 'Submit', submission, approve: false }).then([submitted]);
    });

    it('is approved at once by who may approve, for the very selection that was submitted', () => {
      given().when({ type: 'Submit', submission, approve: true }).then([submitted, approved]);
    });

    it.each(ALL)('is refused a second time when %s', (status) => {
      given(...past[status])
        .when({ type: 'Submit', submission, approve: true })
        .thenRefused('alreadySubmitted');
    });
  });

  describe('approve', () => {
    it('queues what was pending', () => {
      given(submitted).when({ type: 'Approve', selectionHash }).then([approved]);
    });

    it('is refused for another selection than the one submitted, and says which that is', () => {
      given(submitted)
        .when({ type: 'Approve', selectionHash: 'hash-2' })
        .thenRefused('selectionChanged', { selectionHash });
    });

    it.each(except('pending'))('is refused when %s', (status) => {
      given(...past[status])
        .when({ type: 'Approve', selectionHash })
        .thenRefused('notPending', { currentStatus: status });
    });
  });

  describe('reject', () => {
    it('ends what was pending, with the reason', () => {
      given(submitted).when({ type: 'Reject', reason: 'a drill' }).then([rejected]);
    });

    it.each(except('pending'))('is refused when %s', (status) => {
      given(...past[status])
        .when({ type: 'Reject', reason: 'too late' })
        .thenRefused('notPending', { currentStatus: status });
    });
  });

  describe('start', () => {
    it('puts what was queued in progress', () => {
      given(...past.queued)
        .when({ type: 'Start' })
        .then([started]);
    });

    it.each(except('queued'))('records nothing when %s', (status) => {
      given(...past[status])
        .when({ type: 'Start' })
        .thenNothing();
    });
  });

  describe('finish', () => {
    it('completes with its outcomes', () => {
      given(...past.inProgress)
        .when({ type: 'Finish', tally: done })
        .then([completed]);
    });

    it('fails when nothing reached its goal', () => {
      given(...past.inProgress)
        .when({ type: 'Finish', tally: lost })
        .then([failed]);
    });

    it.each(['pending', 'queued'] as const)('is refused when %s', (status) => {
      given(...past[status])
        .when({ type: 'Finish', tally: done })
        .thenRefused('notStarted');
    });

    it.each(['completed', 'failed', 'rejected'] as const)('records nothing when %s', (status) => {
      given(...past[status])
        .when({ type: 'Finish', tally: done })
        .thenNothing();
    });

    const wrong: [string, Tally][] = [
      ['a copy is missing', tallyOf({ recipient: { succeeded: 1 } })],
      ['there is a copy too many', tallyOf({ recipient: { succeeded: 2 }, sender: { succeeded: 1 } })],
      ['a copy is pending', tallyOf({ recipient: { succeeded: 1 }, sender: { pending: 1 } })],
    ];
    it.each(wrong)('is a defect when %s', (_title, tally) => {
      given(...past.inProgress)
        .when({ type: 'Finish', tally })
        .thenFails('do not add up to its 2 copies');
    });
  });

  describe('undo', () => {
    const empty = undoOf('u2', { plan: { ...undo.plan, copies: 0 } });

    it.each(['completed', 'failed'] as const)('is claimed on one that is %s', (status) => {
      given(...past[status])
        .when({ type: 'ClaimUndo', undo, underWay: [] })
        .then([undone]);
    });

    it.each(except('completed', 'failed'))('is refused when %s', (status) => {
      given(...past[status])
        .when({ type: 'ClaimUndo', undo, underWay: [] })
        .thenRefused('notFinished');
    });

    it('is refused while an earlier one is under way, and names it', () => {
      given(...past.completed, undone)
        .when({ type: 'ClaimUndo', undo: undoOf('u2'), underWay: ['u1'] })
        .thenRefused('undoInProgress', { undoneBy: ['u1'] });
    });

    it('may follow an earlier one that has finished', () => {
      const second = undoOf('u2');
      given(...past.completed, undone)
        .when({ type: 'ClaimUndo', undo: second, underWay: [] })
        .then([{ type: 'RemediationUndone', data: { approvalId, undo: second } }]);
    });

    it('is refused when an earlier one left nothing to bring back', () => {
      given(...past.completed, undone)
        .when({ type: 'ClaimUndo', undo: empty, underWay: [] })
        .thenRefused('alreadyUndone', { undoneBy: ['u1'] });
    });

    it('is refused when nothing was ever moved', () => {
      given(...past.completed)
        .when({ type: 'ClaimUndo', undo: empty, underWay: [] })
        .thenRefused('nothingToUndo');
    });

    it('records nothing when the same one claims again, also while it is under way', () => {
      given(...past.completed, undone)
        .when({ type: 'ClaimUndo', undo, underWay: ['u1'] })
        .thenNothing();
    });

    it('leaves the undone remediation as finished as it was', () => {
      const state = [...past.failed, undone].reduce(evolveRemediation, initialRemediation);
      expect(state).toEqual({ status: 'failed', submission, undoneBy: ['u1'] });
    });
  });

  it('takes the first submission and no event before it', () => {
    const other: RemediationEvent = { type: 'RemediationSubmitted', data: submissionOf({ name: 'Other' }) };
    expect([approved, submitted, other].reduce(evolveRemediation, initialRemediation)).toEqual({
      status: 'pending',
      submission,
      undoneBy: [],
    });
  });
});

describe('whether a remediation has failed', () => {
  const recipient = (counts: Parameters<typeof tallyOf>[0]['recipient']) =>
    tallyOf({ recipient: counts ?? {} });
  const cases: [string, Tally, Record<RemediationAction, boolean>][] = [
    ['nothing to do', tallyOf({}), { softDelete: false, moveToInbox: false, undo: false }],
    ['all moved', recipient({ succeeded: 3 }), { softDelete: false, moveToInbox: false, undo: false }],
    [
      'one moved, the others not',
      recipient({ succeeded: 1, failed: 8, timedOut: 1 }),
      { softDelete: false, moveToInbox: false, undo: false },
    ],
    [
      'one was there already, the others not',
      recipient({ alreadyInDestination: 1, failed: 9 }),
      { softDelete: false, moveToInbox: false, undo: false },
    ],
    ['all failed', recipient({ failed: 2 }), { softDelete: true, moveToInbox: true, undo: true }],
    ['all timed out', recipient({ timedOut: 2 }), { softDelete: true, moveToInbox: true, undo: true }],
    [
      'only the sender’s copy failed',
      tallyOf({ sender: { failed: 1 } }),
      { softDelete: true, moveToInbox: true, undo: true },
    ],
    [
      'the sender’s copy failed, the recipient’s moved',
      tallyOf({ recipient: { succeeded: 1 }, sender: { failed: 1 } }),
      { softDelete: false, moveToInbox: false, undo: false },
    ],
    ['all are gone', recipient({ notFound: 2 }), { softDelete: false, moveToInbox: true, undo: true }],
    [
      'one is gone, the others failed',
      recipient({ notFound: 1, failed: 2 }),
      { softDelete: false, moveToInbox: true, undo: true },
    ],
    [
      'none can be remediated',
      recipient({ nonRemediable: 4 }),
      { softDelete: false, moveToInbox: false, undo: false },
    ],
    [
      'none can be remediated but one, which failed',
      recipient({ nonRemediable: 4, failed: 1 }),
      { softDelete: true, moveToInbox: true, undo: true },
    ],
  ];
  it.each(cases)('%s', (_title, tally, expected) => {
    expect({
      softDelete: hasFailed('softDelete', tally),
      moveToInbox: hasFailed('moveToInbox', tally),
      undo: hasFailed('undo', tally),
    }).toEqual(expected);
  });
});

describe('what was pending when a remediation was rejected', () => {
  it('is cancelled, kind by kind, and nothing else changes', () => {
    const before = tallyOf({ recipient: { pending: 3, nonRemediable: 2 }, sender: { pending: 1 } });
    const after = cancelPending(before);
    expect(after).toEqual(
      tallyOf({ recipient: { cancelled: 3, nonRemediable: 2 }, sender: { cancelled: 1 } }),
    );
    expect(copiesIn(after)).toBe(copiesIn(before));
  });
});
