import { describe, expect, it } from '@jest/globals';
import type { AppendResult, ExpectedRevision, NewEvent } from '#libs/event-store';
import {
  OUTCOMES,
  batchStream,
  copiesIn,
  emptyTally,
  ofOutcome,
  remediationStream,
  type Outcome,
  type Submission,
} from '#libs/remediation';
import { CutOffStore } from '../../../test/support/cut-off-store.js';
import {
  Checkpoints,
  type ExecutorScene,
  endingScenes,
  isOf,
  names,
} from '../../../test/support/executor-scene.js';
import { ScriptedGateway, gate, hang, type Script } from '../../../test/support/scripted-gateway.js';

const newScene = endingScenes();

/** Looks at the time every 20 ms; the time itself is the test's. Of each remediation one batch is out at a time. */
const oneByOne = { claimMs: 60, batchesAhead: 1, batchesInFlight: 4 };
const HOUR_MS = 3_600_000;
const KIM = 'kim@fabrikam.example';
const LEE = 'lee@fabrikam.example';
const DELETIONS = 'Recoverable Items/Deletions';

/** Moves what it is asked to, and holds these messages until the gate is opened. */
function holding(scene: ExecutorScene, ...messages: string[]) {
  const [asked, release] = [gate(), gate()];
  const script: Script = async (request, signal) => {
    if (messages.includes(request.networkMessageId)) {
      asked.open();
      await release.opened;
    }
    return scene.tenant.move(request, signal);
  };
  return { gateway: new ScriptedGateway(script), asked: asked.opened, release: release.open };
}

const cancel = (scene: ExecutorScene, { approvalId }: Submission): Promise<void> =>
  scene.world.decide(approvalId, { type: 'Cancel', reason: 'the wrong query' });
const isLife =
  (type: string, { approvalId }: Submission) =>
  (event: { type: string; stream: string }) =>
    event.type === type && event.stream === remediationStream(approvalId);

/** The numbers of the history, which are also those of the log, copy by copy. Only those that are not nought. */
async function outcomesOf({ world }: ExecutorScene, { approvalId }: Submission) {
  await world.catchUp();
  const history = world.history.docs.get(approvalId);
  const { submission, status } = await world.remediationState(approvalId);
  const logs = [...world.actionLog.docs.values()].filter((doc) => doc.planId === submission.planId);
  const tally = history?.tally ?? emptyTally();
  expect(copiesIn(tally)).toBe(submission.plan.copies);
  const closed = ['rejected', 'expired', 'cancelled'].includes(status);
  const items = logs.flatMap((doc) => doc.items.map(({ outcome }) => outcome));
  const counts: Partial<Record<Outcome, number>> = {};
  for (const outcome of OUTCOMES) {
    const count = ofOutcome(tally, outcome);
    if (count > 0) counts[outcome] = count;
    const shown = items.filter((item) => (closed && item === 'pending' ? 'cancelled' : item) === outcome);
    expect([outcome, shown.length]).toEqual([outcome, count]);
  }
  return { status, ...counts };
}

describe('a remediation that is cancelled', () => {
  it('in the middle runs out what was released, withdraws the rest, and ends as cancelled', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(5), { batchCopies: 1 });
    const { gateway, asked, release } = holding(scene, 'm2');
    await scene.start(gateway, oneByOne);
    await asked;
    await cancel(scene, submission);
    await scene.event(isOf('BatchWithdrawn', submission, 4));
    expect(await scene.world.remediationState(submission.approvalId)).toMatchObject({ status: 'inProgress' });
    release();

    expect(await scene.finished(submission)).toBe('RemediationCancelled');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'cancelled', succeeded: 2, cancelled: 3 });
    expect(gateway.requests.map(({ networkMessageId }) => networkMessageId)).toEqual(['m1', 'm2']);
    expect((await scene.batchTypes(submission)).slice(2)).toEqual(
      Array(3).fill(['BatchPlanned', 'BatchWithdrawn']),
    );
    expect(scene.errors).toEqual([]);
  });

  it('when everything was released ends with everything done, and still as cancelled', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(2), { batchCopies: 1 });
    const { gateway, asked, release } = holding(scene, 'm1');
    await scene.start(gateway, { ...oneByOne, batchesAhead: 2 });
    await asked;
    await scene.event(isOf('BatchReleased', submission, 1));
    await cancel(scene, submission);
    release();
    expect(await scene.finished(submission)).toBe('RemediationCancelled');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'cancelled', succeeded: 2 });
  });

  it('before anybody took it up moves nothing', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(3), { batchCopies: 1 });
    await cancel(scene, submission);
    await scene.start();
    expect(await scene.finished(submission)).toBe('RemediationCancelled');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'cancelled', cancelled: 3 });
    expect(scene.tenant.moves).toBe(0);
    expect((await scene.log()).some(isOf('BatchReleased', submission))).toBe(false);
  });

  it('while it waits for its time moves nothing, and ends at once', async () => {
    const scene = newScene();
    const startAt = new Date(scene.clock.now().getTime() + HOUR_MS).toISOString();
    const submission = await scene.submit(names(2), { terms: { startAt } });
    const executor = await scene.start(scene.tenant, oneByOne);
    await cancel(scene, submission);
    expect(await scene.finished(submission)).toBe('RemediationCancelled');
    expect(scene.tenant.moves).toBe(0);
    expect(executor.state().remediations).toBe(0);
  });

  it.each<[string, (scene: ExecutorScene, submission: Submission) => Promise<void>]>([
    [
      'asked for while nobody is there',
      async (scene, submission) => {
        await scene.stop();
        await cancel(scene, submission);
      },
    ],
    [
      'asked for and withdrawn, and then nobody is there',
      async (scene, submission) => {
        await cancel(scene, submission);
        await scene.event(isOf('BatchWithdrawn', submission, 3));
        await scene.stop();
      },
    ],
  ])('%s, is ended by the next executor', async (_when, interrupt) => {
    for (const readsAll of [false, true]) {
      const scene = newScene();
      const submission = await scene.submit(names(4), { batchCopies: 1 });
      const asked = gate();
      const stuck = new ScriptedGateway((request, signal) => {
        if (request.networkMessageId !== 'm2') return scene.tenant.move(request, signal);
        asked.open();
        return hang(request, signal);
      });
      await scene.start(stuck, oneByOne);
      await asked.opened;
      await interrupt(scene, submission);

      await scene.start(scene.tenant, oneByOne, readsAll ? { checkpoints: new Checkpoints() } : {});
      expect(await scene.finished(submission)).toBe('RemediationCancelled');
      expect(await outcomesOf(scene, submission)).toEqual({
        status: 'cancelled',
        succeeded: 2,
        cancelled: 2,
      });
      expect(scene.tenant.moves).toBe(2);
    }
  });

  it('is not ended before a batch of a dead worker was taken over and run', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(3), { batchCopies: 1 });
    const asked = gate();
    const dead = new ScriptedGateway((request, signal) => {
      asked.open();
      return hang(request, signal);
    });
    await scene.start(dead, { ...oneByOne, worker: 'worker-0' });
    await asked.opened;
    await cancel(scene, submission);
    await scene.event(isOf('BatchWithdrawn', submission, 2));
    await scene.stop();
    await scene.start(scene.tenant, { ...oneByOne, worker: 'worker-1' });
    scene.clock.advance(oneByOne.claimMs + 1);
    expect(await scene.finished(submission)).toBe('RemediationCancelled');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'cancelled', succeeded: 1, cancelled: 2 });
  });
});

/** Holds back the appends of these events. */
class HeldStore extends CutOffStore {
  private readonly held = gate();
  private readonly reached = gate();
  /** When the first such append was asked for. */
  readonly isHeld = this.reached.opened;
  readonly release = this.held.open;

  constructor(
    scene: ExecutorScene,
    private readonly isMeant: (stream: string, type: string) => boolean,
  ) {
    super(scene.world.store);
  }

  override async append(
    stream: string,
    expected: ExpectedRevision,
    events: readonly NewEvent[],
  ): Promise<AppendResult> {
    if (events.some(({ type }) => this.isMeant(stream, type))) {
      this.reached.open();
      await this.held.opened;
    }
    return super.append(stream, expected, events);
  }
}

describe('of a release and a withdrawal of the same batch at the same time', () => {
  const meant =
    (wanted: string, { planId }: Submission) =>
    (stream: string, type: string) =>
      type === wanted && stream === batchStream(planId, 1);

  it('the withdrawal wins when it is first: nobody runs the batch', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(3), { batchCopies: 1 });
    const store = new HeldStore(scene, meant('BatchReleased', submission));
    await scene.start(scene.tenant, { ...oneByOne, worker: 'worker-1' }, { store });
    await store.isHeld;
    await cancel(scene, submission);
    await scene.start(scene.tenant, { ...oneByOne, worker: 'worker-2' }, { checkpoints: new Checkpoints() });
    await scene.event(isOf('BatchWithdrawn', submission, 1));
    store.release();

    expect(await scene.finished(submission)).toBe('RemediationCancelled');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'cancelled', succeeded: 1, cancelled: 2 });
    expect((await scene.batchTypes(submission))[1]).toEqual(['BatchPlanned', 'BatchWithdrawn']);
    expect(scene.tenant.moves).toBe(1);
    expect(scene.errors).toEqual([]);
  });

  it('the release wins when it is first: the batch runs, and the end waits for it', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(3), { batchCopies: 1 });
    const slow = new HeldStore(scene, meant('BatchReleased', submission));
    await scene.start(scene.tenant, { ...oneByOne, worker: 'worker-1' }, { store: slow });
    await slow.isHeld;
    await cancel(scene, submission);
    const second = new HeldStore(scene, meant('BatchWithdrawn', submission));
    await scene.start(
      scene.tenant,
      { ...oneByOne, worker: 'worker-2' },
      { store: second, checkpoints: new Checkpoints() },
    );
    await second.isHeld;
    slow.release();
    await scene.event(isOf('BatchReleased', submission, 1));
    second.release();

    expect(await scene.finished(submission)).toBe('RemediationCancelled');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'cancelled', succeeded: 2, cancelled: 1 });
    const types = await scene.batchTypes(submission);
    expect(types[1]).not.toContain('BatchWithdrawn');
    expect(types[1]?.at(-1)).toBe('BatchSettled');
    expect(scene.tenant.moves).toBe(2);
    expect(scene.errors).toEqual([]);
  });
});

describe('a remediation with a deadline', () => {
  const inAnHour = { batchCopies: 1, terms: { finishWithinMs: HOUR_MS } };

  it('begins nothing more after it, and says of the rest that time was up', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(4), inAnHour);
    const { gateway, asked, release } = holding(scene, 'm2');
    await scene.start(gateway, oneByOne);
    await asked;
    scene.clock.advance(HOUR_MS - 1);
    await scene.event(isOf('BatchAttemptExtended', submission, 1));
    expect((await scene.log()).some(isLife('RemediationOverdue', submission))).toBe(false);
    scene.clock.advance(1);
    await scene.event(isLife('RemediationOverdue', submission));
    release();

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'completed', succeeded: 2, timedOut: 2 });
    const { world } = scene;
    expect(world.history.docs.get(submission.approvalId)).toMatchObject({ overdue: true });
    const items = [...world.actionLog.docs.values()].flatMap((doc) => doc.items);
    expect(items.map(({ reason }) => reason)).toEqual([
      ...[undefined, undefined, 'remediationDeadline', 'remediationDeadline'],
    ]);

    const retry = await world.retry(submission.approvalId);
    expect(await scene.finished(retry)).toBe('RemediationCompleted');
    expect(await outcomesOf(scene, retry)).toEqual({ status: 'completed', succeeded: 2 });
    expect(scene.tenant.moves).toBe(4);
    expect(scene.errors).toEqual([]);
  });

  it('has failed when nothing was moved by then', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(2), inAnHour);
    const { gateway, asked } = holding(scene, 'm1');
    await scene.start(gateway, { ...oneByOne, copyDeadlineMs: 300 });
    await asked;
    scene.clock.advance(HOUR_MS);
    expect(await scene.finished(submission)).toBe('RemediationFailed');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'failed', timedOut: 2 });
  });

  it('does not hear of it when it has finished in time', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(2), inAnHour);
    await scene.start(scene.tenant, oneByOne);
    await scene.finished(submission);
    scene.clock.advance(2 * HOUR_MS);
    await scene.finished(await scene.submit(['later']));
    expect((await scene.log()).some(isLife('RemediationOverdue', submission))).toBe(false);
  });

  it('keeps it through a restart, also when it passes in between', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(3), inAnHour);
    const asked = gate();
    await scene.start(
      new ScriptedGateway((request, signal) => {
        if (request.networkMessageId !== 'm2') return scene.tenant.move(request, signal);
        asked.open();
        return hang(request, signal);
      }),
      oneByOne,
    );
    await asked.opened;
    await scene.stop();
    scene.clock.advance(HOUR_MS);

    const { gateway, release } = holding(scene, 'm2');
    await scene.start(gateway, oneByOne);
    await scene.event(isOf('BatchWithdrawn', submission, 2));
    release();
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'completed', succeeded: 2, timedOut: 1 });
  });

  it('is cancelled, when that is asked for, with what had run out of time by then', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(3), inAnHour);
    const { gateway, asked, release } = holding(scene, 'm1');
    await scene.start(gateway, oneByOne);
    await asked;
    scene.clock.advance(HOUR_MS);
    await scene.event(isOf('BatchWithdrawn', submission, 2));
    await cancel(scene, submission);
    release();
    expect(await scene.finished(submission)).toBe('RemediationCancelled');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'cancelled', succeeded: 1, timedOut: 2 });
  });
});

describe('a remediation that is to start later', () => {
  const startAtOf = (scene: ExecutorScene) => new Date(scene.clock.now().getTime() + HOUR_MS).toISOString();

  it('is not taken up before, whatever else runs, and then it runs', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(2), { terms: { startAt: startAtOf(scene) } });
    await scene.start(scene.tenant, oneByOne);
    scene.clock.advance(HOUR_MS - 1);
    await scene.finished(await scene.submit(['now']));
    expect(await scene.typesOf(remediationStream(submission.approvalId))).toEqual([
      'RemediationSubmitted',
      'RemediationApproved',
    ]);
    expect(scene.folderOf('m1')).toBe('Inbox');

    scene.clock.advance(1);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'completed', succeeded: 2 });
  });

  it('waits through a restart, and holds the checkpoint', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(2), { terms: { startAt: startAtOf(scene) } });
    await scene.start(scene.tenant, oneByOne);
    await scene.finished(await scene.submit(['now']));
    await scene.stop();
    const approval = await scene.event(isLife('RemediationApproved', submission));
    expect(await scene.checkpoints.load()).toBeLessThan(approval.position);

    scene.clock.advance(HOUR_MS);
    await scene.start(scene.tenant, oneByOne);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(scene.tenant.moves).toBe(3);
  });

  it('is taken up once by several executors', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(4), {
      batchCopies: 1,
      terms: { startAt: startAtOf(scene) },
    });
    for (const worker of ['worker-1', 'worker-2', 'worker-3']) {
      await scene.start(scene.tenant, { ...oneByOne, worker }, { checkpoints: new Checkpoints() });
    }
    scene.clock.advance(HOUR_MS);
    await scene.finished(submission);
    expect(await scene.typesOf(remediationStream(submission.approvalId))).toEqual([
      ...['RemediationSubmitted', 'RemediationApproved', 'RemediationQueued'],
      ...['RemediationStarted', 'RemediationCompleted'],
    ]);
    expect(scene.tenant.moves).toBe(4);
  });
});

describe('a remediation of which a part was approved', () => {
  const FIRST = 2;
  interface Proposal {
    readonly scene: ExecutorScene;
    readonly submission: Submission;
    readonly gateway: ReturnType<typeof holding>;
  }
  /** Five emails of which two are approved; the last one of each part can be held. */
  async function proposed(...held: string[]): Promise<Proposal> {
    const scene = newScene();
    const submission = await scene.submit(names(5), { approve: false, batchCopies: 2 });
    return { scene, submission, gateway: holding(scene, ...held) };
  }
  const partHasRun = ({ scene, submission }: Proposal) =>
    scene.event(isLife('RemediationPartFinished', submission));
  const decide = ({ scene, submission }: Proposal) => ({
    approve: async () => {
      await scene.world.approve(submission.approvalId);
    },
    reject: () =>
      scene.world.decide(submission.approvalId, {
        type: 'Reject',
        reason: 'a drill',
        by: LEE,
        now: scene.world.now,
      }),
    cancel: () => cancel(scene, submission),
    expire: () =>
      scene.world.decide(submission.approvalId, {
        type: 'Expire',
        now: new Date(scene.world.now.getTime() + 8 * 24 * HOUR_MS),
      }),
  });

  it('runs that part, then waits; nothing else is released', async () => {
    const proposal = await proposed();
    const { scene, submission } = proposal;
    await scene.start(scene.tenant, oneByOne);
    const { submission: cut } = await scene.world.approve(submission.approvalId, FIRST);
    await partHasRun(proposal);

    expect(await outcomesOf(scene, submission)).toEqual({ status: 'pending', succeeded: 2, pending: 3 });
    expect(cut.planId).not.toBe(submission.planId);
    expect(await scene.batchTypes(submission)).toEqual(Array(3).fill(['BatchPlanned']));
    const types = await scene.batchTypes(cut);
    expect(types[0]?.at(-1)).toBe('BatchSettled');
    expect(types[1]).toEqual(['BatchPlanned']);
    await scene.stop();
    const partEnd = await partHasRun(proposal);
    expect(await scene.checkpoints.load()).toBeGreaterThanOrEqual(partEnd.position);
  });

  it.each<['reject' | 'cancel' | 'expire', string]>([
    ['reject', 'rejected'],
    ['cancel', 'cancelled'],
    ['expire', 'expired'],
  ])('whose rest is ended by %s keeps what the part has done', async (step, status) => {
    const proposal = await proposed();
    const { scene, submission } = proposal;
    await scene.start(scene.tenant, oneByOne);
    await scene.world.approve(submission.approvalId, FIRST);
    await partHasRun(proposal);
    await decide(proposal)[step]();

    expect(await outcomesOf(scene, submission)).toEqual({ status, succeeded: 2, cancelled: 3 });
    const undo = await scene.world.undo(submission.approvalId);
    expect(await scene.finished(undo)).toBe('RemediationCompleted');
    expect(undo.plan.copies).toBe(FIRST);
    expect(names(5).map((id) => scene.folderOf(id))).toEqual(Array(5).fill('Inbox'));
    expect(scene.errors).toEqual([]);
  });

  it('is all cancelled when that is asked for while the part runs', async () => {
    const proposal = await proposed('m2');
    const { scene, submission, gateway } = proposal;
    await scene.start(gateway.gateway, oneByOne);
    await scene.world.approve(submission.approvalId, FIRST);
    await gateway.asked;
    await cancel(scene, submission);
    gateway.release();
    expect(await scene.finished(submission)).toBe('RemediationCancelled');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'cancelled', succeeded: 2, cancelled: 3 });
  });

  it('is all cancelled when that is asked for just when the part has run', async () => {
    const proposal = await proposed();
    const { scene, submission } = proposal;
    const store = new HeldStore(scene, (_stream, type) => type === 'RemediationPartFinished');
    await scene.start(scene.tenant, oneByOne, { store });
    await scene.world.approve(submission.approvalId, FIRST);
    await store.isHeld;
    await cancel(scene, submission);
    store.release();
    expect(await scene.finished(submission)).toBe('RemediationCancelled');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'cancelled', succeeded: 2, cancelled: 3 });
    expect((await scene.log()).some(isLife('RemediationPartFinished', submission))).toBe(false);
    expect(scene.errors).toEqual([]);
  });

  it('that runs out of time ends with the rest, as timed out', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(5), { approve: false, terms: { finishWithinMs: HOUR_MS } });
    const { gateway, asked, release } = holding(scene, 'm2');
    await scene.start(gateway, oneByOne);
    await scene.world.approve(submission.approvalId, FIRST);
    await asked;
    scene.clock.advance(HOUR_MS);
    await scene.event((event) => event.type === 'BatchWithdrawn');
    release();
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'completed', succeeded: 2, timedOut: 3 });
  });

  it('has a deadline for each of the two', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(3), { approve: false, terms: { finishWithinMs: HOUR_MS } });
    await scene.start(scene.tenant, oneByOne);
    await scene.world.approve(submission.approvalId, 1);
    await scene.event(isLife('RemediationPartFinished', submission));
    scene.clock.advance(2 * HOUR_MS);
    await scene.world.approve(submission.approvalId);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'completed', succeeded: 3 });
    expect((await scene.log()).some(isLife('RemediationOverdue', submission))).toBe(false);
  });

  /** Ends whoever runs it, and has somebody else go on: from the checkpoint, or from the beginning of the log. */
  const restart = async ({ scene, gateway }: Proposal, readsAll: boolean): Promise<void> => {
    await scene.stop();
    const over = { ...oneByOne, worker: 'worker-1' };
    await scene.start(gateway.gateway, over, readsAll ? { checkpoints: new Checkpoints() } : {});
  };
  const PHASES = ['approved', 'part under way', 'part has run', 'rest approved', 'rest under way'] as const;
  it.each(PHASES.flatMap((phase) => [true, false].map((readsAll) => [phase, readsAll] as const)))(
    'goes on after a restart when it is in this phase: %s; reading the whole log: %s',
    async (phase, readsAll) => {
      const proposal = await proposed(
        ...(phase === 'part under way' ? ['m2'] : []),
        ...(phase === 'rest under way' ? ['m5'] : []),
      );
      const { scene, submission, gateway } = proposal;
      const at = async (now: (typeof PHASES)[number]): Promise<void> => {
        if (now !== phase) return;
        await restart(proposal, readsAll);
        gateway.release();
      };
      const isDown = phase === 'approved';
      if (!isDown) await scene.start(gateway.gateway, oneByOne);
      await scene.world.approve(submission.approvalId, FIRST);
      await at('approved');
      if (phase === 'part under way') await gateway.asked;
      await at('part under way');
      await partHasRun(proposal);
      await at('part has run');
      if (phase === 'rest approved') await scene.stop();
      await scene.world.approve(submission.approvalId);
      await at('rest approved');
      if (phase === 'rest under way') await gateway.asked;
      await at('rest under way');

      expect(await scene.finished(submission)).toBe('RemediationCompleted');
      expect(await outcomesOf(scene, submission)).toEqual({ status: 'completed', succeeded: 5 });
      expect(scene.tenant.moves).toBe(5);
      expect(names(5).map((id) => scene.folderOf(id))).toEqual(Array(5).fill(DELETIONS));
      expect(await scene.typesOf(remediationStream(submission.approvalId))).toEqual([
        ...['RemediationSubmitted', 'RemediationPartlyApproved', 'RemediationQueued', 'RemediationStarted'],
        ...['RemediationPartFinished', 'RemediationApproved', 'RemediationQueued', 'RemediationStarted'],
        'RemediationCompleted',
      ]);
      const ids = (await scene.log()).map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
    },
  );

  it('is run once by several executors, the part as the rest', async () => {
    const proposal = await proposed();
    const { scene, submission } = proposal;
    for (const worker of ['worker-1', 'worker-2', 'worker-3']) {
      await scene.start(scene.tenant, { ...oneByOne, worker }, { checkpoints: new Checkpoints() });
    }
    await scene.world.approve(submission.approvalId, FIRST);
    await partHasRun(proposal);
    await decide(proposal).approve();
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await outcomesOf(scene, submission)).toEqual({ status: 'completed', succeeded: 5 });
    expect(scene.tenant.moves).toBe(5);
    const types = await scene.typesOf(remediationStream(submission.approvalId));
    expect(types.filter((type) => type === 'RemediationPartFinished')).toHaveLength(1);
    expect(types.filter((type) => type === 'RemediationQueued')).toHaveLength(2);
    expect(types.filter((type) => type === 'RemediationCompleted')).toHaveLength(1);
    expect(scene.errors).toEqual([]);
  });

  it('cannot be decided by who proposed it', async () => {
    const { scene, submission } = await proposed();
    const { selectionHash } = submission;
    await expect(
      scene.world.decide(submission.approvalId, {
        type: 'Approve',
        selectionHash,
        by: KIM,
        now: scene.world.now,
      }),
    ).rejects.toMatchObject({ code: 'ownProposal' });
  });
});
