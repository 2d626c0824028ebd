import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ClawbackError } from '#libs/kernel';
import { messageOf, tallyOf } from '../../../../test/support/examples.js';
import { given as givenPast } from '../../../../test/support/given-when-then.js';
import {
  REASON_CODES,
  decideBatch,
  evolveBatch,
  evolveBatchBy,
  initialBatch,
  isClaimRefused,
  isCopyEvent,
  isPending,
  outcomeOf,
  pendingTargets,
  type BatchCommand,
  type BatchEvent,
  type BatchState,
  type BatchTarget,
  type CopyEvent,
  type CopyResult,
  type Outcome,
  type Withdrawal,
} from './index.js';

const decider = { initial: initialBatch, decide: decideBatch, evolve: evolveBatch };
const given = (...past: BatchEvent[]) => givenPast(decider, past);
const fold = (...past: BatchEvent[]): BatchState => past.reduce(evolveBatch, initialBatch);

const ref = { approvalId: 'r1', planId: 'p1', batch: 0 };
const DELETIONS = 'Recoverable Items/Deletions';
const messages = [messageOf({ networkMessageId: 'm1' }), messageOf({ networkMessageId: 'm2' })];

const recipient = (over: Partial<BatchTarget> = {}): BatchTarget => ({
  message: 0,
  kind: 'recipient',
  mailbox: 'lee@fabrikam.example',
  to: DELETIONS,
  ...over,
});
const sender = (over: Partial<BatchTarget> = {}): BatchTarget =>
  recipient({ kind: 'sender', mailbox: 'kim@fabrikam.example', ...over });

const planned = (...targets: BatchTarget[]): BatchEvent => ({
  type: 'BatchPlanned',
  data: { ...ref, action: 'softDelete', messages, targets },
});

const at = (time: string): Date => new Date(`2025-03-03T${time}.000Z`);
const attempt = (number: number, worker: string, deadline: Date): BatchEvent => ({
  type: 'BatchAttemptStarted',
  data: { ...ref, attempt: number, worker, deadline: deadline.toISOString() },
});
const claim = (worker: string, now: Date, deadline: Date): BatchCommand => ({
  type: 'StartAttempt',
  worker,
  now,
  deadline,
});
const record = (
  attemptNumber: number,
  ...results: { target: number; result: CopyResult }[]
): BatchCommand => ({
  type: 'RecordResults',
  attempt: attemptNumber,
  results,
});

const softDeleted = (target: number, over: Partial<{ mailbox: string }> = {}): BatchEvent => ({
  type: 'RecipientCopySoftDeleted',
  data: {
    ...ref,
    target,
    networkMessageId: 'm1',
    mailbox: 'lee@fabrikam.example',
    from: 'Inbox',
    to: DELETIONS,
    ...over,
  },
});
const settled = (counts: Parameters<typeof tallyOf>[0]): BatchEvent => ({
  type: 'BatchSettled',
  data: { ...ref, tally: tallyOf(counts) },
});

const moved: CopyResult = { kind: 'moved', from: 'Inbox', to: DELETIONS };
const released: BatchEvent = { type: 'BatchReleased', data: ref };
const extended = (number: number, deadline: Date): BatchEvent => ({
  type: 'BatchAttemptExtended',
  data: { ...ref, attempt: number, deadline: deadline.toISOString() },
});
const extend = (number: number, deadline: Date): BatchCommand => ({
  type: 'ExtendAttempt',
  attempt: number,
  deadline,
});

const deferred = (number: number, since: Date, until: Date): BatchEvent => ({
  type: 'BatchDeferred',
  data: {
    ...ref,
    attempt: number,
    worker: 'worker-1',
    since: since.toISOString(),
    until: until.toISOString(),
  },
});
const defer = (number: number, since: Date, until: Date): BatchCommand => ({
  type: 'Defer',
  attempt: number,
  since,
  until,
});

const two = planned(recipient(), recipient({ mailbox: 'max@fabrikam.example' }));
/** Everything that may befall a batch of two copies. */
const whole = [two, released, attempt(1, 'worker-1', at('10:05:00')), softDeleted(0), softDeleted(1)];
const end = settled({ recipient: { succeeded: 2 } });
const first = attempt(1, 'worker-1', at('10:05:00'));

describe('a batch', () => {
  describe('plan', () => {
    const plan: BatchCommand = {
      type: 'Plan',
      ref,
      action: 'softDelete',
      batch: { number: 0, messages, targets: [recipient(), sender()] },
    };

    it('records the targets and their messages', () => {
      given()
        .when(plan)
        .then([planned(recipient(), sender())]);
    });

    it.each([
      ['planned', [two]],
      ['released', [two, released]],
      ['attempted', [two, released, first]],
      [
        'settled',
        [two, released, first, softDeleted(0), softDeleted(1), settled({ recipient: { succeeded: 2 } })],
      ],
    ])('is made once: a defect when %s', (_status, past) => {
      given(...past)
        .when(plan)
        .thenFails('planned once');
    });

    it.each([
      ['release', { type: 'Release' }],
      ['claim', claim('worker-1', at('10:00:00'), at('10:05:00'))],
      ['withdraw', { type: 'Withdraw', outcome: 'cancelled' }],
      ['extend', extend(1, at('10:05:00'))],
      ['defer', defer(1, at('10:05:00'), at('10:05:00'))],
      ['record', record(1, { target: 0, result: moved })],
    ] satisfies [string, BatchCommand][])('comes first: to %s without one is a defect', (_title, command) => {
      given().when(command).thenFails('never planned');
    });

    it('leaves every copy pending but those that it calls not remediable', () => {
      const state = fold(planned(recipient(), recipient({ notRemediable: 'deliveryFailed' }), sender()));
      expect(pendingTargets(state)).toEqual([0, 2]);
      expect(state).toMatchObject({
        status: 'planned',
        tally: tallyOf({ recipient: { pending: 1, nonRemediable: 1 }, sender: { pending: 1 } }),
      });
    });

    it('counts once: a second one in the stream changes nothing', () => {
      expect(fold(two, planned(sender()))).toEqual(fold(two));
    });

    it('has nothing pending before there is one', () => {
      expect(pendingTargets(initialBatch)).toEqual([]);
    });
  });

  describe('release', () => {
    it('is recorded once, for a batch that nobody could run before', () => {
      given(two).when({ type: 'Release' }).then([released]);
      expect(fold(two, released)).toMatchObject({ status: 'released', ref });
    });

    it.each([
      ['released', [two, released]],
      ['attempted', [two, released, first]],
      ['settled', [...whole, end]],
    ])('is nothing when it is %s', (_status, past) => {
      given(...past)
        .when({ type: 'Release' })
        .thenNothing();
    });

    it('changes nothing about copies', () => {
      expect(fold(two, released)).toEqual({ ...fold(two), status: 'released' });
    });

    it('that comes late in the stream takes nothing back', () => {
      expect(fold(...whole, end, released)).toEqual(fold(...whole, end));
      expect(fold(two, released, first, released)).toEqual(fold(two, released, first));
    });
  });

  describe('withdrawal', () => {
    const withdrawn = (outcome: Withdrawal, counts: Parameters<typeof tallyOf>[0]): BatchEvent => ({
      type: 'BatchWithdrawn',
      data: { ...ref, outcome, tally: tallyOf(counts) },
    });
    const lost = withdrawn('cancelled', { recipient: { cancelled: 2 } });

    it.each(['cancelled', 'timedOut'] as const)(
      'gives every copy that is pending its outcome, at once: %s',
      (outcome) => {
        const mixed = planned(recipient(), recipient({ notRemediable: 'deliveryFailed' }), sender());
        const counts = { recipient: { [outcome]: 1, nonRemediable: 1 }, sender: { [outcome]: 1 } };
        const event = withdrawn(outcome, counts);
        given(mixed).when({ type: 'Withdraw', outcome }).then([event]);
        const state = fold(mixed, event);
        expect(state).toMatchObject({ status: 'settled', tally: tallyOf(counts) });
        expect(pendingTargets(state)).toEqual([]);
        expect(state.status !== 'none' && [...state.outcomes]).toEqual([
          [0, outcome],
          [2, outcome],
        ]);
      },
    );

    it.each([
      ['released', [two, released]],
      ['attempted', [two, released, first]],
      ['half recorded', [two, released, first, softDeleted(0)]],
      ['settled', [...whole, end]],
      ['withdrawn', [two, lost]],
    ])('comes too late when %s', (_status, past) => {
      given(...past)
        .when({ type: 'Withdraw', outcome: 'timedOut' })
        .thenNothing();
    });

    it.each([
      ['released', { type: 'Release' }],
      ['claimed', claim('worker-1', at('10:00:00'), at('10:05:00'))],
      ['extended', extend(1, at('10:05:00'))],
      ['recorded', record(1, { target: 0, result: moved })],
    ] satisfies [string, BatchCommand][])('is the end: after it nothing is %s', (_title, command) => {
      given(two, lost).when(command).thenNothing();
    });
  });

  describe('deferral', () => {
    const since = at('10:01:00');
    const until = at('10:20:00');
    const past = [two, released, first, softDeleted(0), deferred(1, since, until)];

    it('ends the attempt, and says since when and until when the batch waits', () => {
      given(two, released, first)
        .when(defer(1, since, until))
        .then([deferred(1, since, until)]);
      expect(fold(...past)).toMatchObject({
        status: 'deferred',
        deferredSince: since.toISOString(),
        tally: tallyOf({ recipient: { pending: 1, succeeded: 1 } }),
      });
      expect(pendingTargets(fold(...past))).toEqual([1]);
    });

    it.each(['worker-1', 'worker-2'])('lets nobody claim the batch before its time: %s', (worker) => {
      given(...past)
        .when(claim(worker, at('10:19:59'), at('10:24:59')))
        .thenRefused('claimHeld');
      given(...past)
        .when(claim(worker, until, at('10:25:00')))
        .then([attempt(2, worker, at('10:25:00'))]);
    });

    it('is remembered by the attempts after it', () => {
      const again = fold(...past, attempt(2, 'worker-2', at('10:25:00')));
      expect(again).toMatchObject({ status: 'attempted', deferredSince: since.toISOString() });
    });

    it.each([
      ['recorded', record(1, { target: 1, result: moved })],
      ['extended', extend(1, at('10:30:00'))],
      ['deferred again', defer(1, since, at('10:30:00'))],
    ] satisfies [string, BatchCommand][])(
      'is the end of its attempt: after it nothing is %s',
      (_title, command) => {
        given(...past)
          .when(command)
          .thenRefused('claimLost');
      },
    );

    it('is no business of another attempt', () => {
      given(two, released, first)
        .when(defer(2, since, until))
        .thenRefused('claimLost');
      expect(fold(two, released, first, deferred(2, since, until))).toEqual(fold(two, released, first));
    });

    it.each([
      ['cancelled', 'CopyRemediationCancelled'],
      ['timedOut', 'CopyRemediationTimedOut'],
    ] as const)('can be withdrawn, since nothing is under way: each pending copy is %s', (outcome, type) => {
      const { mailbox } = recipient({ mailbox: 'max@fabrikam.example' });
      given(...past)
        .when({ type: 'Withdraw', outcome })
        .then([
          { type, data: { ...ref, target: 1, networkMessageId: 'm1', mailbox, kind: 'recipient' } },
          settled({ recipient: { succeeded: 1, [outcome]: 1 } }),
        ]);
    });

    it('that comes late in the stream takes nothing back', () => {
      expect(fold(...whole, end, deferred(1, since, until))).toEqual(fold(...whole, end));
    });
  });

  describe('claim', () => {
    it('is a defect before the release: nobody has approved it', () => {
      given(two)
        .when(claim('worker-1', at('10:00:00'), at('10:05:00')))
        .thenFails('not approved');
    });

    it('is the first attempt of whoever comes first', () => {
      given(two, released)
        .when(claim('worker-1', at('10:00:00'), at('10:05:00')))
        .then([first]);
    });

    it('is refused to another worker until its deadline, and says when that is', () => {
      given(two, released, first)
        .when(claim('worker-2', at('10:04:59'), at('10:09:59')))
        .thenRefused('claimHeld', { deadline: at('10:05:00').toISOString() });
    });

    it('is taken over by another worker from its deadline on', () => {
      given(two, released, first)
        .when(claim('worker-2', at('10:05:00'), at('10:10:00')))
        .then([attempt(2, 'worker-2', at('10:10:00'))]);
    });

    it('is renewed by its own worker at any time, as after a restart', () => {
      given(two, released, first)
        .when(claim('worker-1', at('10:00:01'), at('10:05:01')))
        .then([attempt(2, 'worker-1', at('10:05:01'))]);
    });

    it('belongs to the newest attempt: the first worker cannot take back at once what was taken over', () => {
      given(two, released, first, attempt(2, 'worker-2', at('10:10:00')))
        .when(claim('worker-1', at('10:06:00'), at('10:11:00')))
        .thenRefused('claimHeld');
    });

    it('settles at once what has nothing to do: all copies are not remediable', () => {
      const plan = planned(
        recipient({ notRemediable: 'deliveryFailed' }),
        sender({ notRemediable: 'onPremisesExternal' }),
      );
      given(plan, released)
        .when(claim('worker-1', at('10:00:00'), at('10:05:00')))
        .then([first, settled({ recipient: { nonRemediable: 1 }, sender: { nonRemediable: 1 } })]);
    });

    it('settles what a crash left recorded but not settled', () => {
      given(two, released, first, softDeleted(0), softDeleted(1))
        .when(claim('worker-2', at('11:00:00'), at('11:05:00')))
        .then([attempt(2, 'worker-2', at('11:05:00')), settled({ recipient: { succeeded: 2 } })]);
    });

    it('on a settled batch records nothing', () => {
      given(two, released, first, softDeleted(0), softDeleted(1), settled({ recipient: { succeeded: 2 } }))
        .when(claim('worker-2', at('10:00:01'), at('10:05:01')))
        .thenNothing();
    });
  });

  describe('extension', () => {
    it('of the newest attempt moves the deadline of the claim', () => {
      given(two, released, first)
        .when(extend(1, at('10:09:00')))
        .then([extended(1, at('10:09:00'))]);
      expect(fold(two, released, first, extended(1, at('10:09:00')))).toMatchObject({
        status: 'attempted',
        attempt: { number: 1, worker: 'worker-1', deadline: at('10:09:00').toISOString() },
      });
    });

    it('keeps others out until the new deadline, and not for longer', () => {
      const past = [two, released, first, extended(1, at('10:09:00'))];
      given(...past)
        .when(claim('worker-2', at('10:08:59'), at('10:13:59')))
        .thenRefused('claimHeld', { deadline: at('10:09:00').toISOString() });
      given(...past)
        .when(claim('worker-2', at('10:09:00'), at('10:14:00')))
        .then([attempt(2, 'worker-2', at('10:14:00'))]);
    });

    it.each([
      ['another worker has taken over', [two, released, first, attempt(2, 'worker-2', at('10:10:00'))]],
      ['the same worker has begun anew', [two, released, first, attempt(2, 'worker-1', at('10:10:00'))]],
      ['there is no claim', [two, released]],
      ['nothing was released', [two]],
    ])('is refused when %s', (_title, past) => {
      given(...past)
        .when(extend(1, at('10:11:00')))
        .thenRefused('claimLost');
    });

    it('is nothing on a settled batch', () => {
      given(...whole, end)
        .when(extend(1, at('10:11:00')))
        .thenNothing();
    });

    it('of an attempt that was taken over counts for nothing', () => {
      const past = [two, released, first, attempt(2, 'worker-2', at('10:10:00'))];
      expect(fold(...past, extended(1, at('11:00:00')))).toEqual(fold(...past));
    });
  });

  describe('record', () => {
    it('gives one event a copy, in the order of the results', () => {
      given(planned(recipient(), sender(), recipient({ mailbox: 'max@fabrikam.example' })), released, first)
        .when(record(1, { target: 2, result: moved }, { target: 0, result: moved }))
        .then([softDeleted(2, { mailbox: 'max@fabrikam.example' }), softDeleted(0)]);
    });

    it('settles with the last copy', () => {
      given(two, released, first, softDeleted(1))
        .when(record(1, { target: 0, result: moved }))
        .then([softDeleted(0), settled({ recipient: { succeeded: 2 } })]);
    });

    it('counts the copies that the plan called not remediable when it settles', () => {
      given(planned(recipient(), recipient({ notRemediable: 'deliveryDropped' })), released, first)
        .when(record(1, { target: 0, result: moved }))
        .then([softDeleted(0), settled({ recipient: { succeeded: 1, nonRemediable: 1 } })]);
    });

    it('names the message of the copy', () => {
      given(planned(recipient(), recipient({ message: 1 })), released, first)
        .when(record(1, { target: 1, result: { kind: 'notFound' } }))
        .then([
          {
            type: 'CopyNotFound',
            data: {
              ...ref,
              target: 1,
              networkMessageId: 'm2',
              mailbox: 'lee@fabrikam.example',
              kind: 'recipient',
            },
          },
        ]);
    });

    it('takes the first of two results for one copy', () => {
      given(two, released, first)
        .when(record(1, { target: 0, result: moved }, { target: 0, result: { kind: 'timedOut' } }))
        .then([softDeleted(0)]);
    });

    const nothing: [string, BatchEvent[], number][] = [
      ['a copy that has its outcome', [two, released, first, softDeleted(0)], 0],
      [
        'a copy that the plan called not remediable',
        [planned(recipient({ notRemediable: 'deliveryFailed' }), sender()), released, first],
        0,
      ],
      ['a copy behind the last', [two, released, first], 2],
      ['a copy before the first', [two, released, first], -1],
      ['no whole copy', [two, released, first], 0.5],
    ];
    it.each(nothing)('is nothing for %s', (_title, past, target) => {
      given(...past)
        .when(record(1, { target, result: moved }))
        .thenNothing();
    });

    it('is nothing without results', () => {
      given(two, released, first).when(record(1)).thenNothing();
    });

    it('is nothing on a settled batch, whoever comes', () => {
      const past = [
        two,
        released,
        first,
        softDeleted(0),
        softDeleted(1),
        settled({ recipient: { succeeded: 2 } }),
      ];
      given(...past)
        .when(record(7, { target: 0, result: moved }))
        .thenNothing();
    });

    it('is refused once another worker has taken over', () => {
      given(two, released, first, attempt(2, 'worker-2', at('10:10:00')))
        .when(record(1, { target: 0, result: moved }))
        .thenRefused('claimLost');
    });

    it('is refused once the same worker has begun anew', () => {
      given(two, released, first, attempt(2, 'worker-1', at('10:10:00')))
        .when(record(1, { target: 0, result: moved }))
        .thenRefused('claimLost');
    });

    it('is refused without a claim', () => {
      given(two, released)
        .when(record(1, { target: 0, result: moved }))
        .thenRefused('claimLost');
    });

    it('is taken after the deadline as long as nobody has taken over', () => {
      const late = attempt(1, 'worker-1', at('00:00:01'));
      given(two, released, late)
        .when(record(1, { target: 0, result: moved }))
        .then([softDeleted(0)]);
    });
  });

  describe('the event of a copy', () => {
    const place = { ...ref, target: 0, networkMessageId: 'm1' };
    const theirs = { ...place, mailbox: 'lee@fabrikam.example' };
    const senders = { ...place, mailbox: 'kim@fabrikam.example' };

    const moves: [BatchTarget['kind'], string, string, CopyEvent['type']][] = [
      ['recipient', 'Inbox', DELETIONS, 'RecipientCopySoftDeleted'],
      ['recipient', 'Quarantine', DELETIONS, 'RecipientCopySoftDeleted'],
      ['recipient', DELETIONS, 'Inbox', 'RecipientCopyRestored'],
      ['recipient', DELETIONS, 'Projects/2025', 'RecipientCopyRestored'],
      ['recipient', 'Junk Email', 'Inbox', 'RecipientCopyMoved'],
      ['recipient', 'Inbox', 'Junk Email', 'RecipientCopyMoved'],
      ['recipient', 'Inbox', 'Quarantine', 'RecipientCopyMoved'],
      ['recipient', 'Quarantine', 'Inbox', 'RecipientCopyMoved'],
      ['recipient', 'Inbox', 'Recoverable Items/Purges', 'RecipientCopyHardDeleted'],
      ['recipient', DELETIONS, 'Recoverable Items/Purges', 'RecipientCopyHardDeleted'],
      ['sender', 'Sent Items', DELETIONS, 'SenderCopySoftDeleted'],
      ['sender', DELETIONS, 'Sent Items', 'SenderCopyRestored'],
      ['sender', 'Deleted Items', 'Sent Items', 'SenderCopyRestored'],
      ['sender', 'Sent Items', 'Deleted Items', 'SenderCopyRestored'],
    ];
    it.each(moves)('%s moved from %s to %s: %s', (kind, from, to, type) => {
      const target = kind === 'sender' ? sender({ to }) : recipient({ to });
      const data = { ...(kind === 'sender' ? senders : theirs), from, to };
      given(planned(target, recipient()), released, first)
        .when(record(1, { target: 0, result: { kind: 'moved', from, to } }))
        .then([{ type, data } as BatchEvent]);
    });

    const others: [CopyResult, CopyEvent['type'], object][] = [
      [
        { kind: 'alreadyInDestination', folder: DELETIONS },
        'CopyAlreadyInDestination',
        { folder: DELETIONS },
      ],
      [{ kind: 'notFound' }, 'CopyNotFound', {}],
      [
        { kind: 'notRemediable', reason: 'mailboxNotFound' },
        'CopyNotRemediable',
        { reason: 'mailboxNotFound' },
      ],
      [
        { kind: 'failed', reason: 'mailboxError', detail: 'ErrorAccessDenied' },
        'CopyRemediationFailed',
        { reason: 'mailboxError', detail: 'ErrorAccessDenied' },
      ],
      [{ kind: 'timedOut' }, 'CopyRemediationTimedOut', {}],
      [{ kind: 'cancelled' }, 'CopyRemediationCancelled', {}],
    ];
    describe.each(others)('%j', (result, type, more) => {
      it('of a recipient', () => {
        given(planned(recipient(), recipient()), released, first)
          .when(record(1, { target: 0, result }))
          .then([{ type, data: { ...theirs, kind: 'recipient', ...more } } as BatchEvent]);
      });

      it('of a sender', () => {
        given(planned(sender(), recipient()), released, first)
          .when(record(1, { target: 0, result }))
          .then([{ type, data: { ...senders, kind: 'sender', ...more } } as BatchEvent]);
      });
    });
  });

  describe('the outcome of a copy', () => {
    const results: [CopyResult, Outcome, object][] = [
      [moved, 'succeeded', { from: 'Inbox', to: DELETIONS }],
      [
        { kind: 'alreadyInDestination', folder: DELETIONS },
        'alreadyInDestination',
        { reason: 'alreadyInDestination', from: DELETIONS, to: DELETIONS },
      ],
      [{ kind: 'notFound' }, 'notFound', { reason: 'notFoundInMailbox' }],
      [{ kind: 'notRemediable', reason: 'movedSince' }, 'nonRemediable', { reason: 'movedSince' }],
      [{ kind: 'failed', reason: 'mailboxError', detail: 'x' }, 'failed', { reason: 'mailboxError' }],
      [{ kind: 'timedOut' }, 'timedOut', { reason: 'deadlineExceeded' }],
      [{ kind: 'cancelled' }, 'cancelled', {}],
    ];
    const kinds = ['recipient', 'sender'] as const;
    const cases = results.flatMap(([result, outcome, more]) =>
      kinds.map((kind) => ({ title: `${result.kind} of a ${kind}`, kind, result, outcome, more })),
    );
    it.each(cases)('$title', ({ kind, result, outcome, more }) => {
      const past = [planned(kind === 'sender' ? sender() : recipient(), recipient()), released, first];
      const events = decideBatch(fold(...past), record(1, { target: 0, result }));

      expect(events.filter(isCopyEvent).map(outcomeOf)).toEqual([{ kind, outcome, ...more }]);
      const after = fold(...past, ...events);
      expect(after).toMatchObject({
        outcomes: new Map([[0, outcome]]),
        tally: tallyOf(
          kind === 'sender'
            ? { sender: { [outcome]: 1 }, recipient: { pending: 1 } }
            : { recipient: { [outcome]: 1, pending: 1 } },
        ),
      });
      expect(pendingTargets(after)).toEqual([1]);
    });

    it('is explained by a published reason wherever it is neither a success nor a cancellation', () => {
      const events = results.flatMap(([result]) =>
        decideBatch(fold(two, released, first), record(1, { target: 0, result })).filter(isCopyEvent),
      );
      const told = events.map(outcomeOf);
      expect(told).toHaveLength(results.length);
      for (const { outcome, reason } of told) {
        if (outcome === 'succeeded' || outcome === 'cancelled') expect(reason).toBeUndefined();
        else expect(REASON_CODES).toContain(reason);
      }
    });

    it('is not changed by a later event about the same copy', () => {
      const timedOut: BatchEvent = {
        type: 'CopyRemediationTimedOut',
        data: {
          ...ref,
          target: 0,
          networkMessageId: 'm1',
          mailbox: 'lee@fabrikam.example',
          kind: 'recipient',
        },
      };
      expect(fold(two, released, first, softDeleted(0), timedOut)).toEqual(
        fold(two, released, first, softDeleted(0)),
      );
    });

    it('is not told by events about the batch', () => {
      expect([two, released, first, extended(1, at('10:06:00')), settled({})].filter(isCopyEvent)).toEqual(
        [],
      );
    });
  });

  it('ignores events before its plan', () => {
    const early = [released, first, extended(1, at('10:06:00')), softDeleted(0), settled({})];
    expect(fold(...early)).toEqual(initialBatch);
  });

  it('asks only about copies that exist', () => {
    const state = fold(two);
    expect(state.status === 'none' ? [] : [-1, 0, 1, 2].map((target) => isPending(state, target))).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });
});

describe('a refused claim', () => {
  it.each([
    ['held by another', new ClawbackError('conflict', 'claimHeld', ''), true],
    ['taken over by another', new ClawbackError('conflict', 'claimLost', ''), true],
    ['not another refusal', new ClawbackError('conflict', 'notPending', ''), false],
    ['not another error', new Error('claimHeld'), false],
    ['not a text', 'claimHeld', false],
  ])('is %s', (_title, error, expected) => {
    expect(isClaimRefused(error)).toBe(expected);
  });
});

describe('many events at once', () => {
  it('are folded as one after the other, wherever they are cut', () => {
    const targets = [recipient(), recipient({ mailbox: 'sam@fabrikam.example' }), sender()];
    const kinds: readonly CopyResult[] = [{ kind: 'notFound' }, { kind: 'timedOut' }];
    const result = fc.record({ target: fc.nat(3), result: fc.constantFrom(...kinds) });
    fc.assert(
      fc.property(fc.array(result, { maxLength: 8 }), fc.nat(12), (results, cut) => {
        const start = [
          planned(...targets),
          { type: 'BatchReleased' as const, data: ref },
          attempt(1, 'w', at('08:00:15')),
        ];
        const recorded = decideBatch(fold(...start), record(1, ...results));
        // A copy whose outcome comes twice, too.
        const events = [...start, ...recorded, ...recorded];
        const halves = evolveBatchBy(evolveBatchBy(initialBatch, events.slice(0, cut)), events.slice(cut));
        expect(halves).toEqual(fold(...events));
        expect(evolveBatchBy(initialBatch, events)).toEqual(fold(...events));
      }),
    );
  });
});
