import { describe, expect, it } from '@jest/globals';
import { appendEvents } from '#libs/event-store';
import {
  batchCodecs,
  batchStream,
  emptyTally,
  remediationStream,
  type BatchEvent,
  type Submission,
} from '#libs/remediation';
import { type ExecutorScene, endingScenes, isOf, names } from '../../../test/support/executor-scene.js';
import { TENANT } from '../../../test/support/remediation-world.js';
import { ScriptedGateway, gate, hang } from '../../../test/support/scripted-gateway.js';
import type { Executor, ExecutorDependencies, ExecutorState, Facts } from './executor.js';

const newScene = endingScenes();

/** What was told of faults, and a way to wait for the n-th. */
class Faults {
  readonly all: { readonly error: unknown; readonly what: string; readonly facts: Facts | undefined }[] = [];
  private readonly waiting: { readonly count: number; readonly tell: () => void }[] = [];
  readonly deps: Partial<ExecutorDependencies> = {
    onError: (error, what, facts) => {
      this.all.push({ error, what, facts });
      for (const { count, tell } of this.waiting) if (this.all.length >= count) tell();
    },
  };

  reach(count: number): Promise<void> {
    if (this.all.length >= count) return Promise.resolve();
    const { opened, open } = gate();
    this.waiting.push({ count, tell: open });
    return opened;
  }
}

const untilState = async (
  executor: Executor,
  holds: (state: ExecutorState) => boolean,
): Promise<ExecutorState> => {
  for (;;) {
    const state = executor.state();
    if (holds(state)) return state;
    await new Promise((resolve) => setImmediate(resolve));
  }
};

describe('the state of an executor', () => {
  it('shows what is under way, and nothing when all is done', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(3), { batchCopies: 1 });
    const [asked, hold] = [gate(), gate()];
    const gateway = new ScriptedGateway(async (request, signal) => {
      asked.open();
      await hold.opened;
      return scene.tenant.move(request, signal);
    });
    const executor = await scene.start(gateway, { batchesInFlight: 1 });
    await asked.opened;
    const busy = await untilState(executor, ({ batches }) => batches.waiting === 2);
    expect(busy).toMatchObject({
      coordination: { state: 'following' },
      remediations: 1,
      batches: { running: 1, waiting: 2, retrying: 0, claimed: 1 },
    });

    hold.open();
    await scene.finished(submission);
    const head = await scene.world.store.head();
    expect(await untilState(executor, ({ position }) => position === head)).toEqual({
      coordination: { state: 'following' },
      position: head,
      remediations: 0,
      batches: { running: 0, waiting: 0, deferred: 0, retrying: 0, claimed: 3 },
    });
  });

  it('counts the claims that it has won, not those that others have', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(6), { batchCopies: 1 });
    const first = await scene.start(scene.tenant, { worker: 'worker-1' });
    const second = await scene.start(scene.tenant, { worker: 'worker-2' });
    await scene.finished(submission);
    expect(first.state().batches.claimed + second.state().batches.claimed).toBe(6);
  });

  it('waits while the log is away, and says so with the reason', async () => {
    const scene = newScene();
    const faults = new Faults();
    const executor = await scene.start(scene.tenant, {}, faults.deps);
    scene.world.store.goDown();
    await faults.reach(1);
    expect(executor.state().coordination).toEqual({
      state: 'waiting',
      since: scene.clock.now(),
      error: faults.all[0]?.error,
    });
    scene.world.store.comeBack();
    await untilState(executor, ({ coordination }) => coordination.state === 'following');
  });

  it('shows a batch that is tried again after a fault, which belongs to its remediation', async () => {
    const scene = newScene();
    const submission = await scene.submit(['m1']);
    const faults = new Faults();
    let broken = true;
    const gateway = new ScriptedGateway((request, signal) => {
      if (broken) throw new TypeError('a defect');
      return scene.tenant.move(request, signal);
    });
    const executor = await scene.start(gateway, {}, faults.deps);
    await faults.reach(1);
    expect(executor.state()).toMatchObject({
      coordination: { state: 'following' },
      batches: { running: 1, retrying: 1 },
    });
    expect(faults.all[0]?.facts).toEqual({
      stream: batchStream(submission.planId, 0),
      correlationId: submission.approvalId,
      causationId: (await scene.event((event) => event.type === 'RemediationApproved')).id,
    });

    broken = false;
    await scene.finished(submission);
    await untilState(executor, ({ batches }) => batches.running === 0 && batches.retrying === 0);
  });
});

describe('a coordination that is held up', () => {
  /** Everything that a mended program would go on with. */
  const heldUp = (executor: Executor): Promise<ExecutorState> =>
    untilState(executor, ({ coordination }) => coordination.state === 'heldUp');

  it('by an event that cannot be decoded says which, since when and whose it is, and starts nothing after it', async () => {
    const scene = newScene();
    const bad = remediationStream('r-bad');
    const { position } = await scene.world.store.append(bad, 'noStream', [
      {
        id: '00000000-0000-4000-8000-00000000000b',
        type: 'RemediationApproved',
        data: { approvalId: 7 },
        metadata: { schemaVersion: '1', correlationId: 'r-bad', causationId: 'request-9' },
      },
    ]);
    const after = await scene.submit(['m1']);
    const faults = new Faults();
    const executor = await scene.start(scene.tenant, {}, faults.deps);

    const { coordination, position: reached, remediations } = await heldUp(executor);
    const event = {
      stream: bad,
      revision: '0',
      eventType: 'RemediationApproved',
      correlationId: 'r-bad',
      causationId: 'request-9',
    };
    expect(coordination).toMatchObject({
      since: scene.clock.now(),
      error: { name: 'MalformedEvent', correlationId: 'r-bad' },
      event,
    });
    expect(reached).toBeLessThan(position);
    expect(remediations).toBe(0);

    scene.clock.advance(60_000);
    await faults.reach(2);
    expect(faults.all.map(({ what, facts }) => ({ what, facts }))).toEqual(
      Array(2).fill({ what: 'following the event log', facts: event }),
    );
    // As long as it is the same trouble, it began when it began.
    expect(executor.state().coordination).toEqual(coordination);
    expect(await scene.typesOf(remediationStream(after.approvalId))).not.toContain('RemediationStarted');
  });

  it('by totals that do not add up says so too', async () => {
    const scene = newScene();
    const submission = await scene.submit(['m1', 'm2']);
    const faults = new Faults();
    const asked = gate();
    const gateway = new ScriptedGateway((request, signal) => {
      asked.open();
      return hang(request, signal);
    });
    const executor = await scene.start(gateway, {}, faults.deps);
    await asked.opened;
    await settleWithNothing(scene, submission);

    expect((await heldUp(executor)).coordination).toMatchObject({
      error: { message: expect.stringContaining('do not add up') },
      event: { eventType: 'BatchSettled', correlationId: submission.approvalId },
    });
    expect(faults.all.at(0)?.facts?.correlationId).toBe(submission.approvalId);
  });

  /** What no program of ours writes: a batch that is done, and has outcomes for none of its copies. */
  async function settleWithNothing(scene: ExecutorScene, submission: Submission): Promise<void> {
    const { approvalId, planId } = submission;
    const claim = await scene.event(isOf('BatchAttemptStarted', submission, 0));
    const settled: BatchEvent = {
      type: 'BatchSettled',
      data: { approvalId, planId, batch: 0, tally: emptyTally() },
    };
    await appendEvents(scene.world.store, batchCodecs, claim.stream, claim.revision, [settled], {
      tenant: TENANT,
      actor: 'somebody',
      correlationId: approvalId,
      causationId: 'nobody knows',
      commandId: 'settle-with-nothing',
      now: scene.clock.now(),
    });
  }
});
