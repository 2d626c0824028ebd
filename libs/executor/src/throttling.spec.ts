import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MailboxError, type MoveResult } from '#libs/mailbox';
import {
  OUTCOMES,
  batchStream,
  copiesIn,
  isFinished,
  ofOutcome,
  remediationStream,
  type Outcome,
  type Submission,
} from '#libs/remediation';
import { emailOf } from '../../../test/support/examples.js';
import { Checkpoints, ExecutorScene, endingScenes, isOf } from '../../../test/support/executor-scene.js';
import { TENANT, type SubmitOptions } from '../../../test/support/remediation-world.js';
import { ScriptedGateway, gate, hang, type Script } from '../../../test/support/scripted-gateway.js';
import type { ExecutorOptions } from './batch-runner.js';
import type { Executor } from './executor.js';

// Mailboxes that say when they answer again, while remediations, their ends and the executors go on.

const MINUTES_10 = 600_000;
const HOUR_MS = 3_600_000;
const ANN = 'ann@fabrikam.example';
const KIM = 'kim@fabrikam.example';
/** Looks at the time every 20 ms; the time itself is the test's. There is one place for batches, and one batch out. */
const narrow: Partial<ExecutorOptions> = { claimMs: 60, batchesAhead: 1, batchesInFlight: 1 };

const newScene = endingScenes();

/** Delivers a message to each of these mailboxes and submits their soft delete, a batch for each. */
function submitTo(scene: ExecutorScene, mailboxes: string[], over: SubmitOptions = {}): Promise<Submission> {
  const emails = mailboxes.map((recipientEmailAddress, index) =>
    emailOf({
      recipientEmailAddress,
      networkMessageId: `r${scene.world.submitted.length + 1}-m${index + 1}`,
    }),
  );
  for (const { networkMessageId, recipientEmailAddress: mailbox } of emails) {
    scene.tenant.put({ tenant: TENANT, networkMessageId, mailbox, copyKind: 'recipient' }, 'Inbox');
  }
  const rules = { action: 'softDelete', sendersCopy: false } as const;
  return scene.world.submit(emails, rules, { batchCopies: 1, ...over });
}

/** Mailboxes that answer nothing before their time, by the clock of the scene: each refusal says how long that is. */
class ThrottledMailboxes {
  /** Calls to a mailbox before its time. */
  burnt = 0;
  private readonly opens = new Map<string, number>();
  private readonly refused = new Set<string>();
  readonly gateway: ScriptedGateway;

  constructor(
    private readonly scene: ExecutorScene,
    then: Script = (request, signal) => scene.tenant.move(request, signal),
  ) {
    this.gateway = new ScriptedGateway((request, signal): MoveResult | Promise<MoveResult> => {
      const wait = (this.opens.get(request.mailbox) ?? 0) - this.now;
      if (wait <= 0) return then(request, signal);
      if (this.refused.has(request.mailbox)) this.burnt += 1;
      this.refused.add(request.mailbox);
      throw new MailboxError('TooManyRequests', 'slow down', true, wait);
    });
  }

  /** From now on, and for so long. */
  close(mailbox: string, ms = MINUTES_10): this {
    this.opens.set(mailbox, this.now + ms);
    this.refused.delete(mailbox);
    return this;
  }

  private get now(): number {
    return this.scene.clock.now().getTime();
  }
}

const cancel = (scene: ExecutorScene, { approvalId }: Submission): Promise<void> =>
  scene.world.decide(approvalId, { type: 'Cancel', reason: 'the wrong query' });

/** The numbers of the history, which are also those of the log, copy by copy. Only those that are not nought. */
async function outcomesOf({ world }: ExecutorScene, { approvalId, planId, plan }: Submission) {
  await world.catchUp();
  const { status, tally } = world.history.docs.get(approvalId) ?? { status: undefined, tally: undefined };
  if (tally === undefined) throw new Error(`${approvalId} is not in the history`);
  const items = [...world.actionLog.docs.values()]
    .filter((doc) => doc.planId === planId)
    .flatMap((doc) => doc.items.map(({ outcome }) => outcome));
  expect(copiesIn(tally)).toBe(plan.copies);
  const counts: Partial<Record<Outcome, number>> = {};
  for (const outcome of OUTCOMES) {
    const count = ofOutcome(tally, outcome);
    if (count > 0) counts[outcome] = count;
    expect([outcome, items.filter((item) => item === outcome).length]).toEqual([outcome, count]);
  }
  return { status, ...counts };
}

const untilDeferred = async (executor: Executor, count: number): Promise<void> => {
  while (executor.state().batches.deferred !== count || executor.state().batches.running > 0) {
    await new Promise((resolve) => setImmediate(resolve));
  }
};

describe('a remediation with a mailbox that asks to wait', () => {
  it('waits for it as long as it asks, far beyond the deadline of a copy, and then ends well', async () => {
    const scene = newScene();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN);
    const submission = await submitTo(scene, [ANN, ANN, ANN], { batchCopies: 3 });
    const executor = await scene.start(mailboxes.gateway, { ...narrow, mailboxConcurrency: 1 });
    await untilDeferred(executor, 1);
    // Nothing runs, nothing is lost, and the executor is well.
    expect(executor.state()).toMatchObject({
      coordination: { state: 'following' },
      remediations: 1,
      batches: { running: 0, waiting: 0, deferred: 1, retrying: 0 },
    });
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'inProgress', pending: 3 });

    scene.clock.advance(MINUTES_10);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'completed', succeeded: 3 });
    expect(mailboxes.gateway.requests).toHaveLength(4);
    expect(executor.state().batches.deferred).toBe(0);
    expect(scene.errors).toEqual([]);
  });

  it('goes on with all its others meanwhile, though it has one place and one batch out', async () => {
    const scene = newScene();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN);
    const submission = await submitTo(scene, [ANN, ANN, KIM, ANN, KIM]);
    const executor = await scene.start(mailboxes.gateway, narrow);
    for (const batch of [2, 4]) await scene.event(isOf('BatchSettled', submission, batch));
    await untilDeferred(executor, 3);
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'inProgress', pending: 3, succeeded: 2 });
    // The lane is closed by the first refusal: the other batches do not even ask.
    expect(mailboxes.burnt).toBe(0);

    scene.clock.advance(MINUTES_10);
    await scene.finished(submission);
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'completed', succeeded: 5 });
    const settled = (await scene.log()).filter(isOf('BatchSettled', submission)).map(({ stream }) => stream);
    expect(settled).toEqual([2, 4, 0, 1, 3].map((batch) => batchStream(submission.planId, batch)));
  });

  it('does not hold up other remediations', async () => {
    const scene = newScene();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN);
    const slow = await submitTo(scene, [ANN, ANN]);
    const other = await submitTo(scene, [KIM, KIM]);
    const executor = await scene.start(mailboxes.gateway, narrow);
    expect(await scene.finished(other)).toBe('RemediationCompleted');
    await untilDeferred(executor, 2);
    scene.clock.advance(MINUTES_10);
    expect(await scene.finished(slow)).toBe('RemediationCompleted');
  });

  it('goes on at its time as the others do: a few batches at a time', async () => {
    const scene = newScene();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN);
    const slow = await submitTo(scene, Array<string>(6).fill(ANN));
    const executor = await scene.start(mailboxes.gateway, narrow);
    await untilDeferred(executor, 6);
    const claimed = executor.state().batches.claimed;
    scene.clock.advance(MINUTES_10);
    await scene.finished(slow);
    // Each was taken up once: none was given out before its turn, and refused.
    expect(executor.state().batches.claimed).toBe(claimed + 6);
  });

  it('is given up when patience ends', async () => {
    const scene = newScene();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN);
    const submission = await submitTo(scene, [ANN, KIM]);
    const executor = await scene.start(mailboxes.gateway, { ...narrow, throttlePatienceMs: MINUTES_10 });
    await untilDeferred(executor, 1);
    mailboxes.close(ANN, MINUTES_10 + 1000);
    scene.clock.advance(MINUTES_10);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'completed', succeeded: 1, timedOut: 1 });
  });

  it('is asked for again by a retry', async () => {
    const scene = newScene();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN, 2 * HOUR_MS);
    const submission = await submitTo(scene, [ANN]);
    const executor = await scene.start(mailboxes.gateway, narrow);
    expect(await scene.finished(submission)).toBe('RemediationFailed');
    scene.clock.advance(HOUR_MS);
    const retry = await scene.world.retry(submission.approvalId);
    await untilDeferred(executor, 1);
    scene.clock.advance(HOUR_MS);
    expect(await scene.finished(retry)).toBe('RemediationCompleted');
    expect(scene.tenant.moves).toBe(1);
  });
});

describe('the end of a remediation that waits for its mailboxes', () => {
  const half = { batchCopies: 2 };

  it('by a cancellation is at once: what moved has moved, the rest is cancelled', async () => {
    const scene = newScene();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN);
    const submission = await submitTo(scene, [ANN, KIM, ANN, KIM, KIM], half);
    const executor = await scene.start(mailboxes.gateway, { ...narrow, batchesAhead: 3 });
    await scene.event(isOf('BatchSettled', submission, 2));
    await untilDeferred(executor, 2);
    await cancel(scene, submission);

    expect(await scene.finished(submission)).toBe('RemediationCancelled');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'cancelled', succeeded: 3, cancelled: 2 });
    expect(mailboxes.gateway.requests.filter(({ mailbox }) => mailbox === ANN)).toHaveLength(1);
    expect((await scene.batchTypes(submission))[1]?.slice(2)).toEqual([
      ...['BatchAttemptStarted', 'RecipientCopySoftDeleted', 'BatchDeferred'],
      ...['CopyRemediationCancelled', 'BatchSettled'],
    ]);

    // What was cancelled can be tried again, and what was moved be undone, each for itself.
    scene.clock.advance(MINUTES_10);
    const retry = await scene.world.retry(submission.approvalId, ['cancelled']);
    await scene.finished(retry);
    expect(await outcomesOf(scene, retry)).toEqual({ status: 'completed', succeeded: 2 });
    await scene.finished(await scene.world.undo(submission.approvalId));
    expect([...scene.tenant.snapshot().values()].filter((folder) => folder === 'Inbox')).toHaveLength(3);
    expect(scene.errors).toEqual([]);
  });

  it('by a cancellation comes also when it is asked for while other copies of the batch are under way', async () => {
    const scene = newScene();
    const slow = gate();
    const mailboxes = new ThrottledMailboxes(scene, async (request, signal) => {
      await slow.opened;
      return scene.tenant.move(request, signal);
    }).close(ANN);
    const submission = await submitTo(scene, [ANN, KIM, KIM, ANN], half);
    await scene.start(mailboxes.gateway, narrow);
    await scene.event(isOf('BatchAttemptStarted', submission, 0));
    await cancel(scene, submission);
    await scene.event(isOf('BatchWithdrawn', submission, 1));
    slow.open();

    expect(await scene.finished(submission)).toBe('RemediationCancelled');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'cancelled', succeeded: 1, cancelled: 3 });
  });

  it('by its own deadline is at its time', async () => {
    const scene = newScene();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN);
    const terms = { finishWithinMs: MINUTES_10 / 2 };
    const submission = await submitTo(scene, [ANN, KIM, ANN, ANN], { ...half, terms });
    const executor = await scene.start(mailboxes.gateway, narrow);
    await untilDeferred(executor, 2);
    scene.clock.advance(MINUTES_10 / 2);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'completed', succeeded: 1, timedOut: 3 });
    expect(scene.tenant.moves).toBe(1);
  });

  it('of its approved part waits for the mailboxes as well', async () => {
    const scene = newScene();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN);
    const submission = await submitTo(scene, [ANN, KIM, KIM], { approve: false });
    await scene.world.approve(submission.approvalId, 1);
    const executor = await scene.start(mailboxes.gateway, narrow);
    await untilDeferred(executor, 1);
    expect(mailboxes.gateway.requests).toHaveLength(1);
    scene.clock.advance(MINUTES_10);
    await scene.event(
      ({ type, stream }) =>
        type === 'RemediationPartFinished' && stream === remediationStream(submission.approvalId),
    );
    await scene.world.approve(submission.approvalId);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(scene.tenant.moves).toBe(3);
  });
});

describe('executors that come and go while a batch waits', () => {
  const ended = async (scene: ExecutorScene, submission: Submission) => {
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'completed', succeeded: 2 });
    expect(scene.tenant.moves).toBe(2);
    expect(scene.errors).toEqual([]);
  };
  const waiting = async (scene: ExecutorScene, mailboxes: ThrottledMailboxes, worker = 'worker-1') => {
    const submission = await submitTo(scene, [ANN, ANN]);
    const executor = await scene.start(mailboxes.gateway, { ...narrow, worker });
    await untilDeferred(executor, 2);
    return { submission, executor };
  };

  it('stop at once, and leave it as it is', async () => {
    const scene = newScene();
    const { executor } = await waiting(scene, new ThrottledMailboxes(scene).close(ANN));
    const head = await scene.world.store.head();
    await scene.stop(executor);
    expect(await scene.world.store.head()).toBe(head);
  });

  it.each([
    ['the same name', 'worker-1', false],
    ['the same name, and the whole log to read', 'worker-1', true],
    ['another name', 'worker-2', false],
    ['another name, and the whole log to read', 'worker-2', true],
  ])('start again with %s: nothing is asked before the time', async (_title, worker, readsAll) => {
    const scene = newScene();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN);
    const { submission, executor } = await waiting(scene, mailboxes);
    await scene.stop(executor);
    const deps = readsAll ? { checkpoints: new Checkpoints() } : {};
    const next = await scene.start(mailboxes.gateway, { ...narrow, worker }, deps);
    await untilDeferred(next, 2);
    scene.clock.advance(MINUTES_10 - 1);
    // Whoever has finished another remediation has looked at everything before it.
    await scene.finished(await submitTo(scene, [KIM]));
    expect(mailboxes.burnt).toBe(0);

    scene.clock.advance(1);
    if (worker !== 'worker-1') scene.clock.advance(narrow.claimMs ?? 0);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'completed', succeeded: 2 });
    expect(scene.errors).toEqual([]);
  });

  it('take over what another has put off and does not come back for', async () => {
    const scene = newScene();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN);
    const { submission, executor } = await waiting(scene, mailboxes);
    const second = await scene.start(mailboxes.gateway, { ...narrow, worker: 'worker-2' });
    await untilDeferred(second, 2);
    await scene.stop(executor);
    scene.clock.advance(MINUTES_10 + (narrow.claimMs ?? 0));
    await ended(scene, submission);
  });

  it('that work together each learn of it for themselves, and every copy is moved once', async () => {
    const scene = newScene();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN);
    const submission = await submitTo(scene, Array<string>(8).fill(ANN));
    const executors = [];
    for (const worker of ['worker-1', 'worker-2']) {
      executors.push(await scene.start(mailboxes.gateway, { ...narrow, worker, batchesAhead: 4 }));
    }
    for (const executor of executors) await untilDeferred(executor, 8);
    expect(mailboxes.burnt).toBeLessThanOrEqual(1);
    scene.clock.advance(MINUTES_10 + (narrow.claimMs ?? 0));
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(scene.tenant.moves).toBe(8);
    expect(scene.errors).toEqual([]);
  });

  it('and share their work by a queue get on with it, though it hands out each batch once', async () => {
    const scene = newScene();
    const queue = scene.queue();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN);
    const submission = await submitTo(scene, [ANN, ANN]);
    const executor = await scene.start(mailboxes.gateway, narrow, { queue });
    await untilDeferred(executor, 2);
    scene.clock.advance(MINUTES_10);
    await ended(scene, submission);
  });

  it('find it cancelled by somebody who runs no batches of it', async () => {
    const scene = newScene();
    const mailboxes = new ThrottledMailboxes(scene).close(ANN);
    const { submission, executor } = await waiting(scene, mailboxes);
    await scene.stop(executor);
    await cancel(scene, submission);
    await scene.start(new ScriptedGateway(hang), { ...narrow, worker: 'worker-2' });
    expect(await scene.finished(submission)).toBe('RemediationCancelled');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'cancelled', cancelled: 2 });
  });
});

describe('whatever the mailboxes ask for', () => {
  const BOXES = 3;
  /** What a mailbox does about one call after the other: it moves, or asks for so many milliseconds. */
  const answers = fc.array(fc.option(fc.integer({ min: 1, max: 2 * HOUR_MS }), { freq: 2, nil: undefined }), {
    maxLength: 12,
  });
  type Interruption = 'cancel' | 'restart' | 'none';
  const story = fc.record({
    copies: fc.array(fc.nat(BOXES - 1), { minLength: 1, maxLength: 12 }),
    batchCopies: fc.integer({ min: 1, max: 4 }),
    answers: fc.tuple(answers, answers, answers),
    interruptions: fc.array(fc.constantFrom<Interruption>('cancel', 'restart', 'none', 'none', 'none'), {
      maxLength: 4,
    }),
    batchesAhead: fc.integer({ min: 1, max: 3 }),
  });

  it('every copy gets one outcome, they add up at the end, and no mailbox is asked before its time', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        story,
        async ({ copies, batchCopies, answers: scripts, interruptions, batchesAhead }) => {
          const scene = new ExecutorScene();
          const opens = new Map<string, number>();
          const left = new Map(scripts.map((script, box) => [`user${box}@fabrikam.example`, [...script]]));
          let tooEarly = 0;
          const gateway = new ScriptedGateway((request, signal) => {
            const { mailbox } = request;
            const now = scene.clock.now().getTime();
            if (now < (opens.get(mailbox) ?? 0)) tooEarly += 1;
            const wait = left.get(mailbox)?.shift();
            if (wait === undefined) return scene.tenant.move(request, signal);
            opens.set(mailbox, now + wait);
            throw new MailboxError('TooManyRequests', 'slow down', true, wait);
          });
          // One call at a time to a mailbox: those that were under way when it refuses would be too early by its clock.
          const options = { ...narrow, batchesAhead, batchesInFlight: 2, mailboxConcurrency: 1, flushMs: 1 };
          const submission = await submitTo(
            scene,
            copies.map((box) => `user${box}@fabrikam.example`),
            { batchCopies },
          );
          await scene.start(gateway, options);
          const isOver = async () =>
            isFinished((await scene.world.remediationState(submission.approvalId)).status);
          for (let look = 0; !(await isOver()); look += 1) {
            for (let turn = 0; turn < 30; turn += 1) await new Promise((resolve) => setImmediate(resolve));
            const interruption = interruptions[look];
            if (interruption === 'cancel' && !(await isOver())) await cancel(scene, submission);
            if (interruption === 'restart') {
              await scene.stop();
              await scene.start(gateway, { ...options, worker: `worker-${look}` });
            }
            scene.clock.advance(look < interruptions.length ? 60_000 : 200_000);
          }
          await scene.stop();

          const { status, ...counts } = await outcomesOf(scene, submission);
          for (const what of [status, ...Object.keys(counts)]) seen.add(what);
          expect(counts.pending).toBeUndefined();
          expect(scene.tenant.moves).toBe(counts.succeeded ?? 0);
          const log = await scene.log();
          if (log.some(isOf('BatchDeferred', submission))) seen.add('deferred');
          const told = log
            .filter(({ type }) => type.startsWith('Copy') || type.startsWith('RecipientCopy'))
            .map(({ stream, data }) => `${stream}/${String((data as { target: number }).target)}`);
          expect(new Set(told).size).toBe(told.length);
          if (!interruptions.includes('restart')) expect(tooEarly).toBe(0);
          expect(scene.errors).toEqual([]);
        },
      ),
      { numRuns: 60 },
    );
    for (const what of ['deferred', 'completed', 'cancelled', 'failed', 'succeeded', 'timedOut']) {
      expect(seen).toContain(what);
    }
  });
});
