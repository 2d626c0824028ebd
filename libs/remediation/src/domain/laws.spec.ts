import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isClawbackError } from '#libs/kernel';
import { RETRYABLE, type Retryable } from '../commands/index.js';
import { emailOf } from '../../../../test/support/examples.js';
import { InMemoryTenant, type CopyPlace } from '../../../../test/support/in-memory-tenant.js';
import { RemediationWorld, TENANT, type Watch } from '../../../../test/support/remediation-world.js';
import {
  ACTIONS,
  COPY_KINDS,
  DIRECTIONS,
  LOCATIONS,
  OUTCOMES,
  PlanCounter,
  addToTally,
  allowsSendersCopy,
  closePending,
  copiesIn,
  copiesOfBatch,
  copyKeyOf,
  emailKeyOf,
  emptyTally,
  hasBegun,
  isFinished,
  isUndoable,
  ofOutcome,
  pendingTargets,
  planner,
  sendersCopyInScope,
  sumTallies,
  type CopyResult,
  type KnownRemediation,
  type PlanRules,
  type PlannedCopy,
  type SelectedEmail,
  type Submission,
  type Tally,
} from './index.js';

// What has to hold whatever happens, and in whatever order it happens.

const people = ['ann', 'kim', 'lee'].map((name) => `${name}@fabrikam.example`);
/** A message has one sender and one direction, whoever received it. */
const messages = fc.uniqueArray(
  fc.record({
    networkMessageId: fc.constantFrom('m1', 'm2', 'm3'),
    sender: fc.constantFrom(...people),
    direction: fc.constantFrom(...DIRECTIONS),
  }),
  { minLength: 1, selector: (message) => message.networkMessageId },
);
/** A selection as the planner is given it: every email once, in the order of the keys. */
const selection: fc.Arbitrary<SelectedEmail[]> = messages
  .chain((all) =>
    fc.uniqueArray(
      fc
        .record({
          message: fc.constantFrom(...all),
          recipientEmailAddress: fc.constantFrom(...people),
          location: fc.constantFrom(...LOCATIONS, 'inboxFolder', 'inboxFolder', 'junkFolder'),
        })
        .map(({ message, ...email }) => emailOf({ ...message, ...email })),
      { minLength: 1, selector: emailKeyOf },
    ),
  )
  .map((emails) => [...emails].sort((a, b) => (emailKeyOf(a) < emailKeyOf(b) ? -1 : 1)));
const rules = fc.record({ action: fc.constantFrom(...ACTIONS), sendersCopy: fc.boolean() });

describe('every plan', () => {
  const plan = (emails: SelectedEmail[], by: PlanRules) => {
    const open = planner(by);
    return [...emails.flatMap((email) => open.add(email)), ...open.end()];
  };
  const messagesOf = (copies: readonly PlannedCopy[]) => copies.map((copy) => copy.message.networkMessageId);

  it('has one recipient’s copy an email, one sender’s copy a message in scope, and nothing else', () => {
    fc.assert(
      fc.property(selection, rules, (emails, by) => {
        const copies = plan(emails, by);
        const senders = copies.filter((copy) => copy.kind === 'sender');
        const recipients = copies.filter((copy) => copy.kind === 'recipient');

        expect(recipients.map(({ message, mailbox }) => [message.networkMessageId, mailbox])).toEqual(
          emails.map((email) => [email.networkMessageId, email.recipientEmailAddress]),
        );
        const asked = by.sendersCopy && allowsSendersCopy(by.action);
        const inScope = emails.filter(({ direction }) => asked && sendersCopyInScope(direction));
        expect(messagesOf(senders)).toEqual([...new Set(inScope.map((email) => email.networkMessageId))]);
        expect(senders.filter(({ message }) => message.direction === 'inbound')).toEqual([]);
        expect(senders.every(({ message, mailbox }) => mailbox === message.sender)).toBe(true);
      }),
    );
  });

  it('conserves its numbers: nothing is counted twice, nothing is left out', () => {
    fc.assert(
      fc.property(selection, rules, (emails, by) => {
        const counter = new PlanCounter();
        const copies = plan(emails, by);
        for (const copy of copies) counter.add(copy);
        const totals = counter.totals(emails.length);

        expect(totals.copies).toBe(copies.length);
        expect(totals.copies).toBe(totals.emails + totals.sendersCopies);
        expect(totals.copies).toBe(totals.recipientCopies + totals.sendersCopies);
        expect(totals.copies).toBe(totals.remediable + totals.nonRemediable);
        expect(totals.nonRemediable).toBe(Object.values(totals.reasons).reduce((sum, n) => sum + n, 0));
        expect(copiesIn(counter.startingTally())).toBe(totals.copies);
      }),
    );
  });
});

/** One thing that somebody does. `which` and `batch` are taken modulo what there is. */
type Step =
  | {
      readonly do: 'submit';
      readonly emails: SelectedEmail[];
      readonly rules: PlanRules;
      readonly approve: boolean;
      readonly batchCopies: number;
    }
  | { readonly do: 'approve'; readonly which: number; readonly right: boolean; readonly by: string }
  | { readonly do: 'approvePart'; readonly which: number; readonly emails: number }
  | { readonly do: 'reject'; readonly which: number; readonly by: string }
  /** So many days later, whatever waits for its decision is looked at. */
  | { readonly do: 'expire'; readonly which: number; readonly days: number }
  | { readonly do: 'queue' | 'start' | 'finish' | 'undo'; readonly which: number }
  | { readonly do: 'cancel' | 'runOutOfTime'; readonly which: number }
  /** A coordinator sees that it is to be stopped. */
  | { readonly do: 'withdraw'; readonly which: number }
  | { readonly do: 'retry'; readonly which: number; readonly outcomes: readonly Retryable[] }
  | {
      readonly do: 'claim';
      readonly which: number;
      readonly batch: number;
      readonly worker: string;
      /** Seconds that pass before. */
      readonly after: number;
    }
  /** A worker says that it lives. */
  | { readonly do: 'extend'; readonly which: number; readonly batch: number; readonly worker: string }
  | { readonly do: 'defer'; readonly which: number; readonly batch: number; readonly worker: string }
  | { readonly do: 'crash'; readonly worker: string }
  | {
      readonly do: 'record';
      readonly which: number;
      readonly batch: number;
      readonly worker: string;
      readonly results: readonly { target: number; result: CopyResult }[];
    }
  /** A worker that nothing disturbs: claims every batch and settles it, a few copies at a time. */
  | {
      readonly do: 'work';
      readonly which: number;
      readonly worker: string;
      readonly chunk: number;
      readonly results: readonly CopyResult[];
    };

const which = fc.nat(9);
const [KIM, LEE] = ['kim@fabrikam.example', 'lee@fabrikam.example'];
const person = fc.constantFrom(KIM, LEE);
const worker = fc.constantFrom('worker-1', 'worker-2', 'worker-3');
const folder = fc.constantFrom(
  'Inbox',
  'Junk Email',
  'Recoverable Items/Deletions',
  'Sent Items',
  'Quarantine',
);
const result: fc.Arbitrary<CopyResult> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('moved' as const), from: folder, to: folder }) },
  fc.record({ kind: fc.constant('alreadyInDestination' as const), folder }),
  fc.constant({ kind: 'notFound' as const }),
  fc.constant({ kind: 'notRemediable' as const, reason: 'mailboxNotFound' as const }),
  fc.constant({ kind: 'failed' as const, reason: 'mailboxError' as const, detail: 'ErrorAccessDenied' }),
  fc.constant({ kind: 'timedOut' as const }),
);
/** Some of these targets do not exist, some come twice. */
const results = fc.array(fc.record({ target: fc.integer({ min: -1, max: 4 }), result }), { maxLength: 6 });
const submit: fc.Arbitrary<Extract<Step, { do: 'submit' }>> = fc.record({
  do: fc.constant('submit' as const),
  emails: selection,
  rules,
  approve: fc.boolean(),
  batchCopies: fc.integer({ min: 1, max: 4 }),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  submit,
  fc.record({ do: fc.constant('approve' as const), which, right: fc.boolean(), by: person }),
  { weight: 2, arbitrary: fc.record({ do: fc.constant('approvePart' as const), which, emails: fc.nat(1) }) },
  fc.record({ do: fc.constant('reject' as const), which, by: person }),
  fc.record({ do: fc.constant('expire' as const), which, days: fc.constantFrom(0, 0, 0, 8) }),
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('queue' as const, 'start' as const), which }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('cancel' as const, 'runOutOfTime' as const), which }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('withdraw' as const), which }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('retry' as const),
      which,
      outcomes: fc.subarray([...RETRYABLE], { minLength: 1 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('finish' as const, 'undo' as const), which }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('claim' as const),
      which,
      batch: fc.nat(3),
      worker,
      after: fc.constantFrom(0, 0, 30, 90),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('extend' as const, 'defer' as const),
      which,
      batch: fc.nat(3),
      worker,
    }),
  },
  fc.record({ do: fc.constant('crash' as const), worker }),
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('record' as const), which, batch: fc.nat(3), worker, results }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('work' as const),
      which,
      worker,
      chunk: fc.integer({ min: 1, max: 3 }),
      results: fc.array(result, { minLength: 1, maxLength: 5 }),
    }),
  },
);
const work: fc.Arbitrary<Extract<Step, { do: 'work' }>> = fc.record({
  do: fc.constant('work' as const),
  which: fc.constant(0),
  worker,
  chunk: fc.integer({ min: 1, max: 3 }),
  results: fc.array(result, { minLength: 1, maxLength: 5 }),
});
const ofFirst = <What extends 'queue' | 'start' | 'cancel' | 'runOutOfTime' | 'withdraw'>(what: What) => ({
  do: what,
  which: 0,
});
const approveRest = { do: 'approve', which: 0, right: true, by: LEE } as const;
/** What happens to the first one: it is worked on; or a part of it is; or all of it after a part; or it is stopped. */
const OPENINGS: readonly ((first: Extract<Step, { do: 'submit' }>, byWorker: Step, by: string) => Step[])[] =
  [
    (first, byWorker) => [...partOf(first), byWorker],
    (first, byWorker) => [...partOf(first), byWorker, approveRest, ...BEGUN],
    (first, byWorker) => [
      ...partOf(first),
      byWorker,
      { do: 'approve', which: 0, right: true, by: KIM },
      { do: 'reject', which: 0, by: LEE },
    ],
    (first, byWorker) => [...partOf(first), byWorker, { do: 'expire', which: 0, days: 8 }],
    (first) => [...wholeOf(first), ofFirst('cancel'), ofFirst('withdraw')],
    (first) => [...wholeOf(first), ofFirst('runOutOfTime'), ofFirst('withdraw')],
    (first, _, by) => [
      ...wholeOf(first),
      { do: 'claim', which: 0, batch: 0, worker: by, after: 0 },
      { do: 'extend', which: 0, batch: 0, worker: by },
    ],
    ...(['cancel', 'runOutOfTime'] as const).map(
      (stop) => (first: Extract<Step, { do: 'submit' }>, _: Step, by: string) => [
        ...wholeOf(first),
        { do: 'claim', which: 0, batch: 0, worker: by, after: 0 } as const,
        { do: 'defer', which: 0, batch: 0, worker: by } as const,
        ofFirst(stop),
        ofFirst('withdraw'),
      ],
    ),
  ];
const BEGUN = [ofFirst('queue'), ofFirst('start')];
const partOf = (first: Extract<Step, { do: 'submit' }>): Step[] => [
  { ...first, approve: false },
  { do: 'approvePart', which: 0, emails: 0 },
  ...BEGUN,
];
const wholeOf = (first: Extract<Step, { do: 'submit' }>): Step[] => [{ ...first, approve: true }, ...BEGUN];

const opening: fc.Arbitrary<Step[]> = fc
  .tuple(submit, work, fc.constantFrom(...OPENINGS))
  .map(([first, byWorker, open]) => open(first, byWorker, byWorker.worker));
const story = fc
  .tuple(opening, fc.array(step, { maxLength: 24, size: 'max' }))
  .map(([first, rest]): Step[] => [...first, ...rest]);

/** Told first, whatever chance brings after them: every opening, and in the end everything that stories are for. */
const TOLD: readonly [Step[]][] = (() => {
  const first = {
    do: 'submit',
    emails: ['ann', 'kim'].map((name) => emailOf({ recipientEmailAddress: `${name}@fabrikam.example` })),
    rules: { action: 'softDelete', sendersCopy: true },
    approve: true,
    batchCopies: 1,
  } as const;
  const worked = (by: string, ...all: CopyResult[]): Step => ({
    do: 'work',
    which: 0,
    worker: by,
    chunk: 1,
    results: all,
  });
  const moved: CopyResult = { kind: 'moved', from: 'Inbox', to: 'Recoverable Items/Deletions' };
  const claim = (by: string, after: number): Step => ({
    do: 'claim',
    which: 0,
    batch: 0,
    worker: by,
    after,
  });
  const ended: Step[] = [
    ...wholeOf(first),
    { do: 'finish', which: 0 },
    claim('worker-1', 0),
    claim('worker-2', 30),
    claim('worker-2', 90),
    { do: 'record', which: 0, batch: 0, worker: 'worker-1', results: [{ target: 0, result: moved }] },
    worked('worker-2', { kind: 'timedOut' }, moved),
  ];
  return [
    ...OPENINGS.map((open): [Step[]] => [open(first, worked('worker-1', moved), 'worker-1')]),
    [[...ended, { do: 'retry', which: 0, outcomes: ['timedOut'] }]],
    [[...wholeOf(first), worked('worker-1', moved), { do: 'undo', which: 0 }]],
  ];
})();

const CLAIM_MS = 60_000;
const DAY_MS = 24 * 3_600_000;

/** Nothing more of it is to be given out. */
const isStopped = ({ cancelRequested, overdue }: KnownRemediation): boolean =>
  cancelRequested === true || overdue === true;

/** Only the first batches may run, and the others wait for a decision. */
const isPart = (state: KnownRemediation): boolean => state.approvedBatches !== undefined && !isStopped(state);

/** Does what a story says, and what cannot be done is refused: any other error is a defect and ends the test. */
class Narrator {
  /** What happened, to see afterwards that the stories were worth telling. */
  readonly seen = new Set<string>();
  private readonly attempts = new Map<string, number>();

  constructor(readonly world: RemediationWorld) {}

  async tell(next: Step): Promise<void> {
    try {
      await this.act(next);
    } catch (error) {
      if (!isClawbackError(error)) throw error;
      this.seen.add(error.code);
    }
  }

  private async act(next: Step): Promise<void> {
    const { world } = this;
    if (next.do === 'submit') {
      await world.submit(next.emails, next.rules, next);
      return;
    }
    if (next.do === 'crash') {
      // What the worker knew of its claims is gone; what it recorded is not.
      for (const key of this.attempts.keys()) if (key.startsWith(next.worker)) this.attempts.delete(key);
      return;
    }
    const approvalId = world.submitted[next.which % world.submitted.length] ?? '';
    const known = await world.remediationState(approvalId);
    const { status, submission } = known;
    const { now } = world;
    switch (next.do) {
      case 'approve':
        await world.decide(approvalId, {
          type: 'Approve',
          selectionHash: next.right ? submission.selectionHash : 'another',
          by: next.by,
          now,
        });
        if (known.approvedBatches !== undefined) this.seen.add('the rest approved');
        return;
      case 'approvePart':
        await world.approve(approvalId, 1 + next.emails);
        this.seen.add('a part approved');
        return;
      case 'reject':
        await world.decide(approvalId, { type: 'Reject', reason: 'a drill', by: next.by, now });
        this.seen.add('rejected');
        return;
      case 'expire':
        world.now = new Date(now.getTime() + next.days * DAY_MS);
        await world.decide(approvalId, { type: 'Expire', now: world.now });
        if (status !== (await world.remediationState(approvalId)).status) this.seen.add('expired');
        return;
      case 'cancel':
        return world.decide(approvalId, { type: 'Cancel', reason: 'a drill' });
      case 'runOutOfTime':
        return world.decide(approvalId, { type: 'RunOutOfTime' });
      case 'withdraw':
        return this.withdraw(known);
      case 'retry':
        return this.retry(known, next.outcomes);
      case 'queue':
        return world.decide(approvalId, { type: 'Queue', now });
      case 'start':
        return world.decide(approvalId, { type: 'Start' });
      case 'finish':
        return this.finish(approvalId);
      case 'undo':
        await world.undo(approvalId);
        this.seen.add(submission.action === 'undo' ? 'undo of an undo' : 'undo');
        return;
      default:
        break;
    }
    // Workers see only what was approved and begun.
    const batches = isPart(known) ? (known.approvedBatches ?? 0) : submission.batches;
    if (status !== 'inProgress' || batches === 0) return;
    if (next.do === 'work') {
      for (let batch = 0; batch < batches; batch += 1) await this.workOff(submission, batch, next);
      await this.finish(approvalId);
      return;
    }
    const batch = next.batch % batches;
    if (next.do === 'claim') {
      world.now = new Date(world.now.getTime() + next.after * 1000);
      await this.claim(submission, batch, next.worker);
    } else if (next.do === 'defer') {
      await this.defer(submission, batch, next.worker);
    } else if (next.do === 'extend') {
      await this.extend(submission, batch, next.worker);
    } else {
      await this.record(submission, batch, next.worker, next.results);
    }
  }

  /** What stops it is seen by a coordinator: of its batches those are withdrawn of which nothing is under way. */
  private async withdraw(known: KnownRemediation): Promise<void> {
    if (!hasBegun(known.status) || !isStopped(known)) return;
    const outcome = known.cancelRequested === true ? 'cancelled' : 'timedOut';
    const states = await this.world.batchStates(known.submission);
    for (let batch = 0; batch < known.submission.batches; batch += 1) {
      const before = await this.world.store.head();
      await this.world.decideBatch(known.submission, batch, { type: 'Withdraw', outcome });
      if ((await this.world.store.head()) === before) continue;
      if (states[batch]?.status === 'deferred') this.seen.add(`deferred, and then ${outcome}`);
      this.seen.add(`withdrawn: ${outcome}`);
      await expectConservation(this.world);
    }
    await this.finish(known.submission.approvalId);
  }

  /** A retry has the copies that had these outcomes, and no others. */
  private async retry({ submission }: KnownRemediation, outcomes: readonly Retryable[]): Promise<void> {
    const { world } = this;
    await world.catchUp();
    const wanted = [...world.actionLog.docs.values()]
      .filter((doc) => doc.planId === submission.planId)
      .flatMap(({ messages, items }) =>
        items
          .filter(({ outcome }) =>
            // Of a finished remediation, what has no outcome of its own ended with it.
            outcomes.some((one) => one === (outcome === 'pending' ? 'cancelled' : outcome)),
          )
          .map(
            ({ message, kind, mailbox }) =>
              `${String(messages[message]?.networkMessageId)}/${kind}/${mailbox}`,
          ),
      );
    const retry = await world.retry(submission.approvalId, outcomes);
    const copies = (await world.batchStates(retry)).flatMap((batch) => copiesOfBatch(batch));
    expect(copies.map(({ message, ...copy }) => copyKeyOf({ ...message, ...copy }))).toEqual(wanted);
    expect(retry).toMatchObject({ retryOf: submission.approvalId, action: submission.action });
    this.seen.add('retry');
  }

  /**
   * The batch is released first, again and again: only the first time counts. When the remediation is to be stopped,
   * there may still be a coordinator that has not heard of it; when the batch was withdrawn first, it is too late.
   */
  private async claim(submission: Submission, batch: number, by: string): Promise<number[]> {
    await this.world.decideBatch(submission, batch, { type: 'Release' });
    const { now } = this.world;
    const deadline = new Date(now.getTime() + CLAIM_MS);
    const state = await this.world.decideBatch(submission, batch, {
      type: 'StartAttempt',
      worker: by,
      now,
      deadline,
    });
    if (state.status === 'attempted' && state.attempt !== undefined) {
      if (state.attempt.number > 1) this.seen.add('a second attempt');
      this.attempts.set(`${by}/${submission.planId}/${String(batch)}`, state.attempt.number);
    }
    return pendingTargets(state);
  }

  private async extend(submission: Submission, batch: number, by: string): Promise<void> {
    const attempt = this.attempts.get(`${by}/${submission.planId}/${String(batch)}`) ?? 0;
    const deadline = new Date(this.world.now.getTime() + CLAIM_MS);
    await this.world.decideBatch(submission, batch, { type: 'ExtendAttempt', attempt, deadline });
    this.seen.add('an extension');
  }

  private async defer(submission: Submission, batch: number, by: string): Promise<void> {
    const attempt = this.attempts.get(`${by}/${submission.planId}/${String(batch)}`) ?? 0;
    const since = this.world.now;
    const until = new Date(since.getTime() + CLAIM_MS);
    await this.world.decideBatch(submission, batch, { type: 'Defer', attempt, since, until });
    this.seen.add('a deferral');
  }

  private async record(
    submission: Submission,
    batch: number,
    by: string,
    known: readonly { target: number; result: CopyResult }[],
  ): Promise<void> {
    const attempt = this.attempts.get(`${by}/${submission.planId}/${String(batch)}`) ?? 0;
    await this.world.decideBatch(submission, batch, { type: 'RecordResults', attempt, results: known });
  }

  private async workOff(
    submission: Submission,
    batch: number,
    { worker: by, chunk, results: known }: Extract<Step, { do: 'work' }>,
  ): Promise<void> {
    const pending = await this.claim(submission, batch, by);
    for (let from = 0; from < pending.length; from += chunk) {
      const part = pending.slice(from, from + chunk).map((target, index) => ({
        target,
        result: known[(from + index) % known.length] as CopyResult,
      }));
      await this.record(submission, batch, by, part);
    }
  }

  private async finish(approvalId: string): Promise<void> {
    const { world } = this;
    const known = await world.remediationState(approvalId);
    const { status, submission } = known;
    const batches = await world.batchStates(submission);
    const tally = sumTallies(batches.map((batch) => batch.tally));
    if (isPart(known) && hasBegun(status)) {
      const part = batches.slice(0, known.approvedBatches);
      if (part.some((batch) => batch.status !== 'settled')) return;
      await world.decide(approvalId, { type: 'FinishPart', tally });
      this.seen.add('a part finished');
      return;
    }
    const finish = () => world.decide(approvalId, { type: 'Finish', tally });
    if (hasBegun(status) && ofOutcome(tally, 'pending') > 0) {
      // Nobody may finish before the end: the numbers refuse it.
      const before = await world.store.head();
      await expect(finish()).rejects.toThrow('has copies that are pending');
      expect(await world.store.head()).toBe(before);
      this.seen.add('finished too early');
      return;
    }
    await finish();
    if (status === 'inProgress') this.seen.add('finished');
  }
}

/** submitted = all outcomes + pending, of each kind and in all; and every number is one. */
function expectSum(tally: Tally, { plan }: Submission): void {
  expect(copiesIn(tally)).toBe(plan.copies);
  expect(copiesIn(tally, ['recipient'])).toBe(plan.recipientCopies);
  expect(copiesIn(tally, ['sender'])).toBe(plan.sendersCopies);
  const numbers = COPY_KINDS.flatMap((kind) => OUTCOMES.map((outcome) => tally[kind][outcome]));
  expect(numbers.filter((number) => !Number.isInteger(number) || number < 0)).toEqual([]);
}

/** Holds every place that counts copies against the plan and against each other. */
async function expectConservation(world: RemediationWorld): Promise<void> {
  await world.catchUp();
  for (const approvalId of world.submitted) {
    const { submission, status, tally: known } = await world.remediationState(approvalId);
    const batches = await world.batchStates(submission);
    const batchTallies = batches.map((batch) => batch.tally);
    const logs = [...world.actionLog.docs.values()].filter((doc) => doc.planId === submission.planId);
    const history = world.history.docs.get(approvalId);
    if (history === undefined) throw new Error(`${approvalId} is not in the history`);

    expect(history.status).toBe(status);
    expectSum(submission.tally, submission);
    expectSum(sumTallies(batchTallies), submission);
    expectSum(sumTallies(logs.map((doc) => doc.tally)), submission);
    expectSum(history.tally, submission);

    expect(logs.map((doc) => doc.tally)).toEqual(batchTallies);
    for (const { items, tally } of logs) {
      expect(items.reduce((sum, item) => addToTally(sum, item.kind, item.outcome), emptyTally())).toEqual(
        tally,
      );
    }
    for (const batch of batches) {
      expect(pendingTargets(batch)).toHaveLength(ofOutcome(batch.tally, 'pending'));
      if (batch.status === 'settled') expect(pendingTargets(batch)).toEqual([]);
    }
    const told = sumTallies(batchTallies);
    const isClosed = status === 'rejected' || status === 'expired' || status === 'cancelled';
    expect(history.tally).toEqual(isClosed ? closePending(told, 'cancelled') : told);
    if (isFinished(status)) {
      expect(ofOutcome(history.tally, 'pending')).toBe(0);
      expect(known).toEqual(history.tally);
    }
  }
}

describe('at every instant of every story', () => {
  it('submitted = the sum of all outcomes + pending: in the streams, in the history and in the action log', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(story, async (steps) => {
        const narrator = new Narrator(new RemediationWorld());
        for (const next of steps) {
          await narrator.tell(next);
          await expectConservation(narrator.world);
        }
        for (const what of narrator.seen) seen.add(what);
      }),
      { numRuns: 60, examples: [...TOLD] },
    );
    for (const what of [
      'finished',
      'finished too early',
      'a part approved',
      'a part finished',
      'the rest approved',
      'rejected',
      'ownProposal',
      'expired',
      'withdrawn: cancelled',
      'withdrawn: timedOut',
      'retry',
      'undo',
      'a second attempt',
      'an extension',
      'a deferral',
      'deferred, and then cancelled',
      'deferred, and then timedOut',
      'claimHeld',
      'claimLost',
    ]) {
      expect(seen).toContain(what);
    }
  });

  it('decide is pure: asked twice it says the same, and neither it nor evolve changes what it was given', async () => {
    let decisions = 0;
    const strict: Watch = (decider) => ({
      initial: deepFreeze(decider.initial),
      evolve: (state, event) => deepFreeze(decider.evolve(deepFreeze(state), deepFreeze(event))),
      decide(state, command) {
        decisions += 1;
        deepFreeze(state);
        deepFreeze(command);
        const answers = [1, 2].map(() => answerOf(() => decider.decide(state, command)));
        expect(answers[1]).toEqual(answers[0]);
        return decider.decide(state, command);
      },
    });
    await fc.assert(
      fc.asyncProperty(story, async (steps) => {
        const narrator = new Narrator(new RemediationWorld(strict));
        for (const next of steps) await narrator.tell(next);
      }),
      { numRuns: 40 },
    );
    expect(decisions).toBeGreaterThan(100);
  });
});

const answerOf = (work: () => unknown): unknown => {
  try {
    return { answered: work() };
  } catch (error) {
    return { thrown: error };
  }
};

/** Freezes a value and everything in it; a Map refuses to be changed. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  if (value instanceof Map) {
    const refuse = (): never => {
      throw new TypeError('this map must not be changed');
    };
    Object.assign(value, { set: refuse, delete: refuse, clear: refuse });
  }
  if (!(value instanceof Date)) Object.values(value).forEach(deepFreeze);
  return Object.freeze(value);
}

describe('undo', () => {
  const PLACES = [
    'Inbox',
    'Inbox/Suppliers',
    'Junk Email',
    'Deleted Items',
    'Quarantine',
    'Sent Items',
    'Recoverable Items/Deletions',
  ];
  const place = fc.constantFrom(...PLACES);

  /** The copies of some emails, theirs and the senders', each once. */
  const copiesOf = (emails: readonly SelectedEmail[]): CopyPlace[] => {
    const all = emails.flatMap(({ networkMessageId, recipientEmailAddress, sender }) => [
      { tenant: TENANT, networkMessageId, mailbox: recipientEmailAddress, copyKind: 'recipient' as const },
      { tenant: TENANT, networkMessageId, mailbox: sender, copyKind: 'sender' as const },
    ]);
    return [...new Map(all.map((copy) => [JSON.stringify(copy), copy])).values()];
  };

  const refusalOf = async (work: Promise<unknown>): Promise<string> => {
    const error = await work.then(
      () => new Error('expected a refusal'),
      (thrown: unknown) => thrown,
    );
    if (!isClawbackError(error)) throw error;
    return error.code;
  };

  it('restores exactly what was moved and nobody moved since; a second one moves nothing; its undo moves all again', async () => {
    const seen = { restored: 0, leftAlone: 0, nothing: 0, forGood: 0 };
    await fc.assert(
      fc.asyncProperty(
        selection,
        rules,
        // Where each copy is at first, if it exists; and what its user does with some after the remediation.
        fc.array(fc.option(place, { freq: 6 }), { minLength: 12, maxLength: 12 }),
        fc.array(fc.option(place, { freq: 2 }), { minLength: 12, maxLength: 12 }),
        fc.integer({ min: 1, max: 4 }),
        async (emails, by, first, later, batchCopies) => {
          const world = new RemediationWorld();
          const tenant = new InMemoryTenant();
          const copies = copiesOf(emails);
          copies.forEach((copy, index) => {
            const at = first[index % first.length];
            if (at !== undefined && at !== null) tenant.put(copy, at);
          });
          const foldersOf = (which: readonly CopyPlace[]) => which.map((copy) => tenant.locate(copy));
          const before = new Map(copies.map((copy) => [copy, tenant.locate(copy)]));

          const submission = await world.submit(emails, by, { batchCopies });
          await world.run(submission, tenant);

          const after = new Map(copies.map((copy) => [copy, tenant.locate(copy)]));
          const moved = copies.filter((copy) => after.get(copy) !== before.get(copy));
          expect(tenant.moves).toBe(moved.length);

          copies.forEach((copy, index) => {
            const to = later[index % later.length];
            if (to !== undefined && to !== null && after.get(copy) !== undefined) tenant.put(copy, to);
          });
          const untouched = moved.filter((copy) => tenant.locate(copy) === after.get(copy));
          const others = copies.filter((copy) => !untouched.includes(copy));
          const othersBefore = foldersOf(others);

          if (!isUndoable(by.action)) {
            expect(await refusalOf(world.undo(submission.approvalId))).toBe('notUndoable');
            seen.forGood += moved.length;
            return;
          }
          if (moved.length === 0) {
            expect(await refusalOf(world.undo(submission.approvalId))).toBe('nothingToUndo');
            seen.nothing += 1;
            return;
          }
          const undo = await world.undo(submission.approvalId);
          expect(undo.plan.copies).toBe(moved.length);
          expect(await refusalOf(world.undo(submission.approvalId))).toBe('undoInProgress');
          await world.run(undo, tenant);

          expect(foldersOf(untouched)).toEqual(untouched.map((copy) => before.get(copy)));
          expect(foldersOf(others)).toEqual(othersBefore);
          seen.restored += untouched.length;
          seen.leftAlone += moved.length - untouched.length;

          const restored = tenant.snapshot();
          expect(await refusalOf(world.undo(submission.approvalId))).toBe('alreadyUndone');
          expect(tenant.snapshot()).toEqual(restored);

          if (untouched.length === 0) {
            expect(await refusalOf(world.undo(undo.approvalId))).toBe('nothingToUndo');
            return;
          }
          const redo = await world.undo(undo.approvalId);
          await world.run(redo, tenant);
          expect(foldersOf(untouched)).toEqual(untouched.map((copy) => after.get(copy)));
          expect(foldersOf(others)).toEqual(othersBefore);
          await expectConservation(world);
        },
      ),
      { numRuns: 80 },
    );
    expect(Object.entries(seen).filter(([, count]) => count === 0)).toEqual([]);
  });
});
