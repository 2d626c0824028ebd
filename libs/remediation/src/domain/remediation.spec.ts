import { describe, expect, it } from '@jest/globals';
import { submissionOf, tallyOf } from '../../../../test/support/examples.js';
import { given as givenPast } from '../../../../test/support/given-when-then.js';
import {
  REMEDIATION_ACTIONS,
  STATUSES,
  closePending,
  copiesIn,
  decideRemediation,
  evolveRemediation,
  hasBegun,
  hasFailed,
  initialRemediation,
  isFinished,
  type KnownRemediation,
  type RemediationAction,
  type RemediationCommand,
  type RemediationEvent,
  type Tally,
} from './index.js';

const decider = { initial: initialRemediation, decide: decideRemediation, evolve: evolveRemediation };
const given = (...past: RemediationEvent[]) => givenPast(decider, past);

const KIM = 'kim@fabrikam.example';
const LEE = 'lee@fabrikam.example';
const now = new Date('2025-03-07T08:00:00.000Z');
const tooLate = new Date('2025-03-14T08:00:00.000Z');
const expiresAt = tooLate.toISOString();

const approvalId = 'r1';
const submission = submissionOf({ approvalId, submittedBy: KIM, expiresAt });
const { selectionHash } = submission;
const done = tallyOf({ recipient: { succeeded: 1 }, sender: { succeeded: 1 } });
const lost = tallyOf({ recipient: { failed: 1 }, sender: { timedOut: 1 } });
const half = tallyOf({ recipient: { succeeded: 1 }, sender: { pending: 1 } });
const cut = tallyOf({ recipient: { succeeded: 1 }, sender: { cancelled: 1 } });
const undoOf = (id: string, over = {}) =>
  submissionOf({ approvalId: id, planId: `plan-${id}`, action: 'undo', undoOf: approvalId, ...over });
const undo = undoOf('u1');
const part = { selectionHash, emails: 1, planId: 'p2', batches: 2, approvedBatches: 1 };

const submitted: RemediationEvent = { type: 'RemediationSubmitted', data: submission };
const approved: RemediationEvent = { type: 'RemediationApproved', data: { approvalId, selectionHash } };
const partlyApproved: RemediationEvent = { type: 'RemediationPartlyApproved', data: { approvalId, ...part } };
const partFinished: RemediationEvent = { type: 'RemediationPartFinished', data: { approvalId, tally: half } };
const rejected: RemediationEvent = { type: 'RemediationRejected', data: { approvalId, reason: 'a drill' } };
const expired: RemediationEvent = { type: 'RemediationExpired', data: { approvalId } };
const queued: RemediationEvent = { type: 'RemediationQueued', data: { approvalId } };
const started: RemediationEvent = { type: 'RemediationStarted', data: { approvalId } };
const overdue: RemediationEvent = { type: 'RemediationOverdue', data: { approvalId } };
const cancelAsked: RemediationEvent = {
  type: 'RemediationCancelRequested',
  data: { approvalId, reason: 'the wrong query' },
};
const cancelled = (tally: Tally): RemediationEvent => ({
  type: 'RemediationCancelled',
  data: { approvalId, tally },
});
const completed: RemediationEvent = { type: 'RemediationCompleted', data: { approvalId, tally: done } };
const failed: RemediationEvent = { type: 'RemediationFailed', data: { approvalId, tally: lost } };
const undone: RemediationEvent = { type: 'RemediationUndone', data: { approvalId, undo } };

const running = [submitted, approved, queued, started];
const partRunning = [submitted, partlyApproved, queued, started];
const partHasRun = [...partRunning, partFinished];

/** A past for every situation that a remediation can be in, and what it amounts to. */
const SITUATIONS = {
  pending: [submitted],
  started: [submitted, approved],
  queued: [submitted, approved, queued],
  inProgress: running,
  completed: [...running, completed],
  failed: [...running, failed],
  cancelled: [...running, cancelAsked, cancelled(cut)],
  'cancelled before it began': [
    submitted,
    cancelAsked,
    cancelled(closePending(submission.tally, 'cancelled')),
  ],
  rejected: [submitted, rejected],
  expired: [submitted, expired],
  'in progress, to be cancelled': [...running, cancelAsked],
  'in progress, out of time': [...running, overdue],
  'partly approved': [submitted, partlyApproved],
  'part queued': [submitted, partlyApproved, queued],
  'part in progress': partRunning,
  'part to be cancelled': [...partRunning, cancelAsked],
  'part out of time': [...partRunning, overdue],
  'part has run': partHasRun,
  'rest approved': [...partHasRun, approved],
  'rest in progress': [...partHasRun, approved, queued, started],
  'rest completed': [...partHasRun, approved, queued, started, completed],
  'rest rejected': [...partHasRun, rejected],
  'rest expired': [...partHasRun, expired],
  'rest cancelled': [...partHasRun, cancelAsked, cancelled(cut)],
} as const satisfies Record<string, readonly RemediationEvent[]>;
type Situation = keyof typeof SITUATIONS;
const ALL = Object.keys(SITUATIONS) as Situation[];
const stateOf = (...past: readonly RemediationEvent[]): KnownRemediation => {
  const state = past.reduce(evolveRemediation, initialRemediation);
  if (state.status === 'none') throw new Error('this was never submitted');
  return state;
};
const statusOf = (situation: Situation) => stateOf(...SITUATIONS[situation]).status;
const where = (holds: (state: KnownRemediation) => boolean) =>
  ALL.filter((situation) => holds(stateOf(...SITUATIONS[situation])));
const except = (...situations: Situation[]) => ALL.filter((each) => !situations.includes(each));
const FINISHED = where(({ status }) => isFinished(status));

const byLee = { by: LEE, now };

describe('a remediation', () => {
  const followUps: RemediationCommand[] = [
    { type: 'Approve', selectionHash, ...byLee },
    { type: 'ApprovePart', part, ...byLee },
    { type: 'Reject', reason: '', ...byLee },
    { type: 'Expire', now: tooLate },
    { type: 'Cancel', reason: '' },
    { type: 'Queue', now },
    { type: 'Start' },
    { type: 'RunOutOfTime' },
    { type: 'FinishPart', tally: half },
    { type: 'Finish', tally: done },
    { type: 'StopLateArrivals' },
    { type: 'ClaimUndo', undo, underWay: [] },
  ];
  it.each(followUps)('that was never submitted is not found: $type', (command) => {
    given().when(command).thenRefused('remediationNotFound');
  });

  const known = { submission, tally: submission.tally, undoneBy: [] };
  const cutAnew = { ...known, submission: { ...submission, planId: 'p2', batches: 2 } };
  const states: Record<Situation, KnownRemediation> = {
    pending: { ...known, status: 'pending' },
    started: { ...known, status: 'started' },
    queued: { ...known, status: 'queued' },
    inProgress: { ...known, status: 'inProgress' },
    completed: { ...known, status: 'completed', tally: done },
    failed: { ...known, status: 'failed', tally: lost },
    cancelled: { ...known, status: 'cancelled', tally: cut, cancelRequested: true },
    'cancelled before it began': {
      ...known,
      status: 'cancelled',
      tally: tallyOf({ recipient: { cancelled: 1 }, sender: { cancelled: 1 } }),
      cancelRequested: true,
    },
    rejected: {
      ...known,
      status: 'rejected',
      tally: tallyOf({ recipient: { cancelled: 1 }, sender: { cancelled: 1 } }),
    },
    expired: {
      ...known,
      status: 'expired',
      tally: tallyOf({ recipient: { cancelled: 1 }, sender: { cancelled: 1 } }),
    },
    'in progress, to be cancelled': { ...known, status: 'inProgress', cancelRequested: true },
    'in progress, out of time': { ...known, status: 'inProgress', overdue: true },
    'partly approved': { ...cutAnew, status: 'started', approvedBatches: 1 },
    'part queued': { ...cutAnew, status: 'queued', approvedBatches: 1 },
    'part in progress': { ...cutAnew, status: 'inProgress', approvedBatches: 1 },
    'part to be cancelled': { ...cutAnew, status: 'inProgress', approvedBatches: 1, cancelRequested: true },
    'part out of time': { ...cutAnew, status: 'inProgress', approvedBatches: 1, overdue: true },
    'part has run': { ...cutAnew, status: 'pending', approvedBatches: 1, tally: half },
    'rest approved': { ...cutAnew, status: 'started', partBatches: 1, tally: half },
    'rest in progress': { ...cutAnew, status: 'inProgress', partBatches: 1, tally: half },
    'rest completed': { ...cutAnew, status: 'completed', partBatches: 1, tally: done },
    'rest rejected': { ...cutAnew, status: 'rejected', approvedBatches: 1, tally: cut },
    'rest expired': { ...cutAnew, status: 'expired', approvedBatches: 1, tally: cut },
    'rest cancelled': {
      ...cutAnew,
      status: 'cancelled',
      approvedBatches: 1,
      tally: cut,
      cancelRequested: true,
    },
  };
  it.each(ALL)('is in this state after its events: %s', (situation) => {
    expect(stateOf(...SITUATIONS[situation])).toEqual(states[situation]);
  });

  it.each(STATUSES)('has finished, or has begun, or waits when %s', (status) => {
    const finished = ['completed', 'failed', 'cancelled', 'rejected', 'expired'].includes(status);
    expect(isFinished(status)).toBe(finished);
    expect(hasBegun(status)).toBe(!finished && status !== 'pending');
  });

  it.each(FINISHED)('that has finished has nothing pending: %s', (situation) => {
    const { tally } = stateOf(...SITUATIONS[situation]);
    expect(tally).toEqual(closePending(tally, 'cancelled'));
    expect(copiesIn(tally)).toBe(submission.plan.copies);
  });

  describe('submit', () => {
    it('waits for its approval', () => {
      given().when({ type: 'Submit', submission, approve: false }).then([submitted]);
    });

    it('is approved at once by who may approve, for the very selection that was submitted', () => {
      given().when({ type: 'Submit', submission, approve: true }).then([submitted, approved]);
    });

    it('waits for a second person where the policy asks for one, whoever submits it', () => {
      const fourEyes = submissionOf({ fourEyes: true });
      given()
        .when({ type: 'Submit', submission: fourEyes, approve: true })
        .then([{ type: 'RemediationSubmitted', data: fourEyes }]);
    });

    it.each(ALL)('is refused a second time: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'Submit', submission, approve: true })
        .thenRefused('alreadySubmitted');
    });
  });

  /** What holds for every decision about a proposal. */
  describe.each<[string, Extract<RemediationCommand, { by: string }>, Situation[]]>([
    ['approve', { type: 'Approve', selectionHash, ...byLee }, ['pending', 'part has run']],
    ['approve a part', { type: 'ApprovePart', part, ...byLee }, ['pending']],
    ['reject', { type: 'Reject', reason: 'a drill', ...byLee }, ['pending', 'part has run']],
  ])('%s', (_title, command, possible) => {
    it.each(possible)('is possible: %s', (situation) => {
      const [event, ...more] = decideRemediation(stateOf(...SITUATIONS[situation]), command);
      expect(more).toEqual([]);
      expect(event?.type).toBe(
        { Approve: approved, ApprovePart: partlyApproved, Reject: rejected }[command.type].type,
      );
    });

    const running: Situation[] = ['partly approved', 'part queued', 'part in progress'];
    it.each(where(({ status }) => status !== 'pending').filter((each) => !running.includes(each)))(
      'is refused: %s',
      (situation) => {
        given(...SITUATIONS[situation])
          .when(command)
          .thenRefused('notPending', { currentStatus: statusOf(situation) });
      },
    );

    it.each(running)(
      'is refused until the part has finished, and says what is left of it: %s',
      (situation) => {
        const currentStatus = statusOf(situation);
        given(...SITUATIONS[situation])
          .when({ ...command, partPending: 7 })
          .thenRefused('partRunning', { currentStatus, pending: 7 });
        expect(() =>
          decideRemediation(stateOf(...SITUATIONS[situation]), { ...command, partPending: 7 }),
        ).toThrow(/7 of its copies are pending.*wait until the status is pending again/);
        given(...SITUATIONS[situation])
          .when(command)
          .thenRefused('partRunning', { currentStatus });
      },
    );

    it.each(possible)('is refused to who proposed it: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ ...command, by: KIM })
        .thenRefused('ownProposal');
    });

    it.each(possible)('is refused when its time is over, to the instant: %s', (situation) => {
      const lastMoment = new Date(tooLate.getTime() - 1);
      const state = stateOf(...SITUATIONS[situation]);
      expect(decideRemediation(state, { ...command, now: lastMoment })).toHaveLength(1);
      given(...SITUATIONS[situation])
        .when({ ...command, now: tooLate })
        .thenRefused('expired', { expiresAt });
    });

    it('is possible for a proposal of before there were these terms', () => {
      const old: RemediationEvent = { type: 'RemediationSubmitted', data: submissionOf() };
      expect(decideRemediation(stateOf(old), { ...command, by: KIM, now: tooLate })).toHaveLength(1);
    });
  });

  describe('approve', () => {
    it('starts what was pending', () => {
      given(submitted)
        .when({ type: 'Approve', selectionHash, ...byLee })
        .then([approved]);
    });

    it('starts the rest after a part', () => {
      given(...partHasRun)
        .when({ type: 'Approve', selectionHash, ...byLee })
        .then([approved]);
    });

    it.each(['pending', 'part has run'] as const)(
      'is refused for another selection than the one submitted, and says which that is: %s',
      (situation) => {
        given(...SITUATIONS[situation])
          .when({ type: 'Approve', selectionHash: 'hash-2', ...byLee })
          .thenRefused('selectionChanged', { selectionHash });
      },
    );
  });

  describe('approve a part', () => {
    it('starts the first emails, with the plan that was cut for them', () => {
      given(submitted)
        .when({ type: 'ApprovePart', part, ...byLee })
        .then([partlyApproved]);
    });

    it('is refused for another selection than the one submitted', () => {
      given(submitted)
        .when({ type: 'ApprovePart', part: { ...part, selectionHash: 'hash-2' }, ...byLee })
        .thenRefused('selectionChanged', { selectionHash });
    });

    it('is refused a second time: then it is the rest or nothing', () => {
      given(...partHasRun)
        .when({ type: 'ApprovePart', part, ...byLee })
        .thenRefused('alreadyPartlyApproved');
    });
  });

  describe('reject', () => {
    it('ends what was pending, with the reason', () => {
      given(submitted)
        .when({ type: 'Reject', reason: 'a drill', ...byLee })
        .then([rejected]);
    });
  });

  describe('expire', () => {
    it.each(['pending', 'part has run'] as const)('ends what nobody has decided in time: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'Expire', now: tooLate })
        .then([expired]);
      given(...SITUATIONS[situation])
        .when({ type: 'Expire', now: new Date(tooLate.getTime() - 1) })
        .thenNothing();
    });

    it('never ends a proposal without a time', () => {
      given({ type: 'RemediationSubmitted', data: submissionOf() })
        .when({ type: 'Expire', now: tooLate })
        .thenNothing();
    });

    it.each(except('pending', 'part has run'))('records nothing: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'Expire', now: tooLate })
        .thenNothing();
    });
  });

  describe('cancel', () => {
    const cancel: RemediationCommand = { type: 'Cancel', reason: 'the wrong query' };

    it('ends a proposal at once', () => {
      given(submitted)
        .when(cancel)
        .then([cancelAsked, cancelled(tallyOf({ recipient: { cancelled: 1 }, sender: { cancelled: 1 } }))]);
    });

    it('ends the rest after a part at once, and keeps what the part has done', () => {
      given(...partHasRun)
        .when(cancel)
        .then([cancelAsked, cancelled(cut)]);
    });

    const underWay = where(({ status, cancelRequested }) => hasBegun(status) && cancelRequested !== true);
    it.each(underWay)('is asked for, and ends nothing itself: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when(cancel)
        .then([cancelAsked]);
    });

    it.each(['in progress, to be cancelled', 'part to be cancelled'] as const)(
      'records nothing when it was asked for before: %s',
      (situation) => {
        given(...SITUATIONS[situation])
          .when(cancel)
          .thenNothing();
      },
    );

    it.each(FINISHED)('is refused: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when(cancel)
        .thenRefused('alreadyFinished', { currentStatus: statusOf(situation) });
    });
  });

  describe('queue', () => {
    it.each(['started', 'partly approved', 'rest approved'] as const)('takes it up: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'Queue', now })
        .then([queued]);
    });

    it('begins the time in which it has to end', () => {
      const hurried: RemediationEvent = {
        type: 'RemediationSubmitted',
        data: submissionOf({ approvalId, finishWithinMs: 60_000 }),
      };
      const deadline = '2025-03-07T08:01:00.000Z';
      const event: RemediationEvent = { type: 'RemediationQueued', data: { approvalId, deadline } };
      given(hurried, approved).when({ type: 'Queue', now }).then([event]);
      expect(stateOf(hurried, approved, event)).toMatchObject({ deadline });
    });

    it.each(except('started', 'partly approved', 'rest approved'))('records nothing: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'Queue', now })
        .thenNothing();
    });
  });

  describe('start', () => {
    it.each(['queued', 'part queued'] as const)('puts it in progress: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'Start' })
        .then([started]);
    });

    it.each(except('queued', 'part queued'))('records nothing: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'Start' })
        .thenNothing();
    });
  });

  describe('run out of time', () => {
    const inTime = where(({ status, overdue: late }) => hasBegun(status) && late !== true);
    it.each(inTime)('is said once: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'RunOutOfTime' })
        .then([overdue]);
    });

    it.each(ALL.filter((situation) => !inTime.includes(situation)))('records nothing: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'RunOutOfTime' })
        .thenNothing();
    });
  });

  describe('finish a part', () => {
    const PARTS: Situation[] = ['partly approved', 'part queued', 'part in progress'];
    it.each(PARTS)('has the rest wait again: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'FinishPart', tally: half })
        .then([partFinished]);
    });

    it('is a defect when a copy is missing', () => {
      given(...partRunning)
        .when({ type: 'FinishPart', tally: tallyOf({ recipient: { succeeded: 1 } }) })
        .thenFails('do not add up to its 2 copies');
    });

    // Of the part that is to be cancelled or out of time, too: what stops it ends the rest with it.
    it.each(except(...PARTS))('records nothing: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'FinishPart', tally: half })
        .thenNothing();
    });
  });

  describe('finish', () => {
    const whole: Situation[] = [
      ...(['started', 'queued', 'inProgress', 'in progress, out of time'] as const),
      ...(['rest approved', 'rest in progress', 'part out of time'] as const),
    ];
    it.each(whole)('completes with its outcomes: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'Finish', tally: done })
        .then([completed]);
    });

    it.each(whole)('fails when nothing reached its goal: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'Finish', tally: lost })
        .then([failed]);
    });

    it.each(['in progress, to be cancelled', 'part to be cancelled'] as const)(
      'ends as cancelled with what was done by then, also when that was everything or failed: %s',
      (situation) => {
        for (const tally of [cut, done, lost]) {
          given(...SITUATIONS[situation])
            .when({ type: 'Finish', tally })
            .then([cancelled(tally)]);
        }
      },
    );

    it.each(['pending', 'part has run'] as const)('is refused: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'Finish', tally: done })
        .thenRefused('notStarted');
    });

    it.each(FINISHED)('records nothing: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'Finish', tally: done })
        .thenNothing();
    });

    const wrong: [string, Tally, string][] = [
      ['a copy is missing', tallyOf({ recipient: { succeeded: 1 } }), 'do not add up to its 2 copies'],
      [
        'there is a copy too many',
        tallyOf({ recipient: { succeeded: 2 }, sender: { succeeded: 1 } }),
        'do not add up to its 2 copies',
      ],
      ['a copy is pending', half, 'has copies that are pending'],
    ];
    it.each(wrong)('is a defect when %s', (_title, tally, says) => {
      given(...SITUATIONS.inProgress)
        .when({ type: 'Finish', tally })
        .thenFails(says);
    });
  });

  describe('stop late arrivals', () => {
    const stopped: RemediationEvent = { type: 'LateArrivalsStopped', data: { approvalId } };
    const goesOn: RemediationEvent = {
      type: 'RemediationSubmitted',
      data: submissionOf({ approvalId, lateArrivalsUntil: '2025-03-08T08:00:00.000Z' }),
    };

    it('is said once', () => {
      given(goesOn, approved).when({ type: 'StopLateArrivals' }).then([stopped]);
      given(goesOn, approved, stopped).when({ type: 'StopLateArrivals' }).thenNothing();
      expect(stateOf(goesOn, stopped).lateArrivalsStopped).toBe(true);
    });

    it('is done by an undo as well', () => {
      given(goesOn, ...running.slice(1), completed, undone)
        .when({ type: 'StopLateArrivals' })
        .thenNothing();
    });

    it.each(ALL)('is refused where nothing goes on: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'StopLateArrivals' })
        .thenRefused('noLateArrivals');
    });
  });

  describe('undo', () => {
    const empty = undoOf('u2', { plan: { ...undo.plan, copies: 0 } });
    const HAS_RUN: Situation[] = [
      ...(['completed', 'failed', 'cancelled', 'cancelled before it began'] as const),
      ...(['rest completed', 'rest rejected', 'rest expired', 'rest cancelled'] as const),
    ];

    it.each(HAS_RUN)('is claimed: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'ClaimUndo', undo, underWay: [] })
        .then([undone]);
    });

    it.each(except(...HAS_RUN))('is refused: %s', (situation) => {
      given(...SITUATIONS[situation])
        .when({ type: 'ClaimUndo', undo, underWay: [] })
        .thenRefused('notFinished');
    });

    it('is refused while an earlier one is under way, and names it', () => {
      given(...SITUATIONS.completed, undone)
        .when({ type: 'ClaimUndo', undo: undoOf('u2'), underWay: ['u1'] })
        .thenRefused('undoInProgress', { undoneBy: ['u1'] });
    });

    it('may follow an earlier one that has finished', () => {
      const second = undoOf('u2');
      given(...SITUATIONS.completed, undone)
        .when({ type: 'ClaimUndo', undo: second, underWay: [] })
        .then([{ type: 'RemediationUndone', data: { approvalId, undo: second } }]);
    });

    it('is refused when an earlier one left nothing to bring back', () => {
      given(...SITUATIONS.completed, undone)
        .when({ type: 'ClaimUndo', undo: empty, underWay: [] })
        .thenRefused('alreadyUndone', { undoneBy: ['u1'] });
    });

    it('is refused when nothing was ever moved', () => {
      given(...SITUATIONS.completed)
        .when({ type: 'ClaimUndo', undo: empty, underWay: [] })
        .thenRefused('nothingToUndo');
    });

    it('records nothing when the same one claims again, also while it is under way', () => {
      given(...SITUATIONS.completed, undone)
        .when({ type: 'ClaimUndo', undo, underWay: ['u1'] })
        .thenNothing();
    });

    it('leaves the undone remediation as finished as it was, and ends what it goes on with', () => {
      expect(stateOf(...SITUATIONS.failed, undone)).toEqual({
        ...states.failed,
        undoneBy: ['u1'],
        lateArrivalsStopped: true,
      });
    });
  });

  it('takes the first submission and no event before it', () => {
    const other: RemediationEvent = { type: 'RemediationSubmitted', data: submissionOf({ name: 'Other' }) };
    expect(stateOf(approved, submitted, other)).toEqual(states.pending);
  });
});

describe('whether a remediation has failed', () => {
  const recipient = (counts: Parameters<typeof tallyOf>[0]['recipient']) =>
    tallyOf({ recipient: counts ?? {} });
  const DELETES: RemediationAction[] = ['softDelete', 'hardDelete'];
  const MOVES = REMEDIATION_ACTIONS.filter((action) => !DELETES.includes(action));
  /** Whether it has failed as a delete, and as a move. */
  const cases: [string, Tally, boolean, boolean][] = [
    ['nothing to do', tallyOf({}), false, false],
    ['all moved', recipient({ succeeded: 3 }), false, false],
    ['one moved, the others not', recipient({ succeeded: 1, failed: 8, timedOut: 1 }), false, false],
    [
      'one was there already, the others not',
      recipient({ alreadyInDestination: 1, failed: 9 }),
      false,
      false,
    ],
    ['all failed', recipient({ failed: 2 }), true, true],
    ['all timed out', recipient({ timedOut: 2 }), true, true],
    ['only the sender’s copy failed', tallyOf({ sender: { failed: 1 } }), true, true],
    [
      'the sender’s copy failed, the recipient’s moved',
      tallyOf({ recipient: { succeeded: 1 }, sender: { failed: 1 } }),
      false,
      false,
    ],
    ['all are gone', recipient({ notFound: 2 }), false, true],
    ['one is gone, the others failed', recipient({ notFound: 1, failed: 2 }), false, true],
    ['none can be remediated', recipient({ nonRemediable: 4 }), false, false],
    ['none can be remediated but one, which failed', recipient({ nonRemediable: 4, failed: 1 }), true, true],
  ];
  it.each(cases)('%s', (_title, tally, asDelete, asMove) => {
    expect(DELETES.map((action) => hasFailed(action, tally))).toEqual(DELETES.map(() => asDelete));
    expect(MOVES.map((action) => hasFailed(action, tally))).toEqual(MOVES.map(() => asMove));
  });
});

describe('what was pending when a remediation ended', () => {
  it('gets its outcome, kind by kind, and nothing else changes', () => {
    const before = tallyOf({ recipient: { pending: 3, nonRemediable: 2 }, sender: { pending: 1 } });
    const after = closePending(before, 'cancelled');
    expect(after).toEqual(
      tallyOf({ recipient: { cancelled: 3, nonRemediable: 2 }, sender: { cancelled: 1 } }),
    );
    expect(copiesIn(after)).toBe(copiesIn(before));
  });
});
