import { describe, expect, it } from '@jest/globals';
import type { Position } from '#libs/kernel';
import type { MoveResult } from '#libs/mailbox';
import { batchCodecs, batchStream, remediationStream, type Submission } from '#libs/remediation';
import { emailOf } from '../../../test/support/examples.js';
import {
  Checkpoints,
  type ExecutorScene,
  endingScenes,
  isOf,
  names,
} from '../../../test/support/executor-scene.js';
import { TENANT } from '../../../test/support/remediation-world.js';
import { ScriptedGateway, gate, hang } from '../../../test/support/scripted-gateway.js';
import type { ExecutorDependencies } from './executor.js';

const newScene = endingScenes();

const positionOf = (scene: ExecutorScene, type: string, { approvalId }: Submission): Promise<Position> =>
  scene
    .event((event) => event.type === type && event.stream === remediationStream(approvalId))
    .then((event) => event.position);

const bySomebody = { by: 'lee@fabrikam.example', now: new Date('2025-03-07T08:00:00.000Z') };
const moved = (to: string): MoveResult => ({ kind: 'moved', from: 'Inbox', to });

describe('an approved remediation', () => {
  it('is started, run batch by batch, and finished', async () => {
    const scene = newScene();
    const submission = await scene.submit(['m1', 'm2', 'm3', 'm4', 'm5'], { batchCopies: 2 });
    expect(submission.batches).toBe(3);

    await scene.start();

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await scene.typesOf(remediationStream(submission.approvalId))).toEqual([
      'RemediationSubmitted',
      'RemediationApproved',
      'RemediationQueued',
      'RemediationStarted',
      'RemediationCompleted',
    ]);
    for (const batch of [0, 1, 2]) {
      expect((await scene.typesOf(batchStream(submission.planId, batch))).at(-1)).toBe('BatchSettled');
    }
    expect(scene.folderOf('m5')).toBe('Recoverable Items/Deletions');
    expect(scene.tenant.moves).toBe(5);
    expect(scene.errors).toEqual([]);
  });

  it('is run also when it is approved while the executor follows the log', async () => {
    const scene = newScene();
    await scene.start();
    const submission = await scene.submit(['m1']);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
  });

  it('has failed when nothing reached its goal', async () => {
    const scene = newScene();
    const submission = await scene.submit(['m1', 'm2']);
    await scene.start(new ScriptedGateway(hang), { copyDeadlineMs: 10 });
    expect(await scene.finished(submission)).toBe('RemediationFailed');
  });

  it('is not run before it is approved, nor when it was rejected', async () => {
    const scene = newScene();
    const pending = await scene.submit(['m1'], { approve: false });
    const rejected = await scene.submit(['m2'], { approve: false });
    await scene.world.decide(rejected.approvalId, { type: 'Reject', reason: 'a drill', ...bySomebody });
    const approved = await scene.submit(['m3']);

    await scene.start();
    await scene.finished(approved);
    expect([scene.folderOf('m1'), scene.folderOf('m2')]).toEqual(['Inbox', 'Inbox']);

    const { selectionHash } = pending;
    await scene.world.decide(pending.approvalId, { type: 'Approve', selectionHash, ...bySomebody });
    await scene.finished(pending);
    expect(scene.folderOf('m1')).toBe('Recoverable Items/Deletions');
    expect(scene.folderOf('m2')).toBe('Inbox');
  });

  it('waits until the mailboxes have what was recorded before its approval', async () => {
    const scene = newScene();
    const submission = await scene.submit(['m1']);
    const [asked, filled] = [gate(), gate()];
    const positions: Position[] = [];
    await scene.start(
      scene.tenant,
      {},
      {
        mailboxesReady: (position) => {
          positions.push(position);
          asked.open();
          return filled.opened;
        },
      },
    );

    await asked.opened;
    expect(scene.tenant.moves).toBe(0);
    expect(positions).toEqual([await positionOf(scene, 'RemediationApproved', submission)]);
    filled.open();
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
  });

  it('that finished is not run again by an executor that has to read the whole log', async () => {
    const scene = newScene();
    const submission = await scene.submit(['m1']);
    await scene.start();
    await scene.finished(submission);
    await scene.stop();

    const gateway = new ScriptedGateway();
    const checkpoints = new Checkpoints();
    await scene.start(gateway, {}, { checkpoints });
    const second = await scene.submit(['m2']);
    await scene.finished(second);

    expect(gateway.requests.map((request) => request.networkMessageId)).toEqual(['m2']);
  });

  it('shares the places of the worker with others', async () => {
    const scene = newScene();
    const submissions: Submission[] = [];
    for (const id of names(6)) submissions.push(await scene.submit([id]));
    const gateway = new ScriptedGateway(async ({ to }) => {
      await new Promise((resolve) => setImmediate(resolve));
      return moved(to);
    });

    await scene.start(gateway, { batchesInFlight: 2, mailboxConcurrency: 10 });
    for (const submission of submissions) await scene.finished(submission);

    expect(gateway.mostAtOnce.get('')).toBe(2);
  });

  it('has so many batches under way at once', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(6), { batchCopies: 1 });
    const gateway = new ScriptedGateway(async ({ to }) => {
      await new Promise((resolve) => setImmediate(resolve));
      return moved(to);
    });

    await scene.start(gateway, { batchesInFlight: 3, mailboxConcurrency: 10 });
    await scene.finished(submission);

    expect(gateway.mostAtOnce.get('')).toBe(3);
  });
});

describe('the batches of a remediation', () => {
  /** For each event: how many batches were released and not settled after it. */
  async function unsettled(scene: ExecutorScene, submission: Submission): Promise<number[]> {
    let now = 0;
    return (await scene.log()).map((event) => {
      if (isOf('BatchReleased', submission)(event)) now += 1;
      if (isOf('BatchSettled', submission)(event)) now -= 1;
      return now;
    });
  }

  it.each([
    [1, 1],
    [3, 1],
    [3, 2],
    [5, 3],
  ])('are released in order, once, and never more than %d ahead; executors: %d', async (ahead, executors) => {
    const scene = newScene();
    const submission = await scene.submit(names(12), { batchCopies: 1 });
    for (let number = 1; number <= executors; number += 1) {
      await scene.start(scene.tenant, { worker: `worker-${number}`, batchesAhead: ahead });
    }
    await scene.finished(submission);

    expect(Math.max(...(await unsettled(scene, submission)))).toBe(ahead);
    const released = (await scene.log()).filter(isOf('BatchReleased', submission));
    expect(released.map((event) => event.stream)).toEqual(
      Array.from({ length: 12 }, (_, batch) => batchStream(submission.planId, batch)),
    );
    expect(released[0]?.metadata).toMatchObject({
      tenant: TENANT,
      correlationId: submission.approvalId,
      causationId: (await scene.event((event) => event.type === 'RemediationApproved')).id,
    });
  });

  it('of a small one that comes later are run before those that a large one has still to release', async () => {
    const scene = newScene();
    const large = await scene.submit(names(20, 'large-'), { batchCopies: 1 });
    const [asked, hold] = [gate(), gate()];
    const gateway = new ScriptedGateway(async (request, signal) => {
      asked.open();
      await hold.opened;
      return scene.tenant.move(request, signal);
    });
    await scene.start(gateway, { batchesInFlight: 1, batchesAhead: 3 });
    await asked.opened;
    const small = await scene.submit(['small']);
    await scene.event(isOf('BatchReleased', small));
    hold.open();
    await scene.finished(large);

    const log = await scene.log();
    const turn = log.findIndex(isOf('BatchAttemptStarted', small));
    expect(log.slice(0, turn).filter(isOf('BatchAttemptStarted', large))).toHaveLength(3);
    const end = log.findIndex((event) => event.type === 'RemediationCompleted');
    expect(log[end]?.stream).toBe(remediationStream(small.approvalId));
  });

  it('that were released or settled are known again after a restart', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(8), { batchCopies: 1 });
    const asked = gate();
    const first = new ScriptedGateway((request, signal) => {
      if (request.networkMessageId !== 'm4') return scene.tenant.move(request, signal);
      asked.open();
      return hang(request, signal);
    });
    await scene.start(first, { batchesInFlight: 1, batchesAhead: 2 });
    await asked.opened;
    await scene.event(isOf('BatchReleased', submission, 4));
    await scene.stop();

    const second = new ScriptedGateway((request, signal) => scene.tenant.move(request, signal));
    await scene.start(second, { batchesInFlight: 1, batchesAhead: 2 });

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(second.requests.map((request) => request.networkMessageId)).toEqual([
      ...['m4', 'm5', 'm6', 'm7', 'm8'],
    ]);
    const types = await scene.batchTypes(submission);
    expect(types.map((all) => all.filter((type) => type === 'BatchReleased').length)).toEqual(
      Array(8).fill(1),
    );
    expect(types.map((all) => all.filter((type) => type === 'BatchSettled').length)).toEqual(
      Array(8).fill(1),
    );
    expect(Math.max(...(await unsettled(scene, submission)))).toBe(2);
    expect(scene.tenant.moves).toBe(8);
    expect(scene.errors).toEqual([]);
  });
});

describe('the checkpoint', () => {
  it('never passes a remediation that has not finished, and goes to the end when all have', async () => {
    const scene = newScene();
    const slow = await scene.submit(['m1']);
    const slowApproval = await positionOf(scene, 'RemediationApproved', slow);
    const [asked, release] = [gate(), gate()];
    await scene.start(
      new ScriptedGateway(async (request, signal) => {
        if (request.networkMessageId === 'm1') {
          asked.open();
          await release.opened;
        }
        return scene.tenant.move(request, signal);
      }),
    );
    await asked.opened;

    const quick = await scene.submit(['m2']);
    await scene.finished(quick);
    const next = await scene.submit(['m3']);
    await scene.finished(next);
    expect(scene.checkpoints.saves.filter((position) => position >= slowApproval)).toEqual([]);

    release.open();
    await scene.finished(slow);
    await scene.stop();
    const lastApproval = await positionOf(scene, 'RemediationApproved', next);
    expect(await scene.checkpoints.load()).toBeGreaterThanOrEqual(lastApproval);
    const { saves } = scene.checkpoints;
    expect(saves).toEqual([...saves].sort((a, b) => (a < b ? -1 : 1)));
    expect(scene.errors).toEqual([]);
  });

  it('lets the next executor finish what a stopped one began; every copy is moved once', async () => {
    const scene = newScene();
    const submission = await scene.submit(['m1', 'm2', 'm3', 'm4'], { batchCopies: 2 });
    const asked = gate();
    await scene.start(
      new ScriptedGateway(async (request, signal) => {
        const result = await scene.tenant.move(request, signal);
        if (request.networkMessageId !== 'm2') return result;
        // It took place, and nobody will hear of it.
        asked.open();
        return hang(request, signal);
      }),
    );
    await asked.opened;
    await scene.stop();
    expect(await scene.typesOf(remediationStream(submission.approvalId))).not.toContain(
      'RemediationCompleted',
    );
    const approval = await positionOf(scene, 'RemediationApproved', submission);
    expect(await scene.checkpoints.load()).toBeLessThan(approval);

    await scene.start();

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(scene.tenant.moves).toBe(4);
    const outcomes: unknown[] = [];
    for (const batch of [0, 1]) {
      for await (const event of scene.world.store.readStream(batchStream(submission.planId, batch))) {
        if (batchCodecs.decode(event)?.type === 'RecipientCopySoftDeleted') outcomes.push(event.data);
      }
    }
    expect(outcomes).toHaveLength(4);
    expect(outcomes).toEqual(outcomes.map(() => expect.objectContaining({ from: 'Inbox' })));
  });

  it('that cannot be written is told, and work goes on', async () => {
    const scene = newScene();
    scene.checkpoints.fail = true;
    await scene.start();
    const submission = await scene.submit(['m1']);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    await scene.stop();
    expect(scene.errors).toEqual([expect.stringContaining('the checkpoint cannot be written')]);
    const approval = await positionOf(scene, 'RemediationApproved', submission);
    expect(await scene.checkpoints.load()).toBeGreaterThanOrEqual(approval);
  });
});

describe('an undo', () => {
  it('that was recorded and then cut off by a crash is submitted and run by the executor', async () => {
    const scene = newScene();
    const submission = await scene.submit(['m1', 'm2']);
    await scene.start();
    await scene.finished(submission);
    await scene.stop();
    await claimUndoOnly(scene, submission);

    await scene.start();
    const last = await scene.event(
      (event) => event.type === 'RemediationCompleted' && event.stream === remediationStream('undo-1'),
    );

    expect(await scene.typesOf(remediationStream('undo-1'))).toEqual([
      'RemediationSubmitted',
      'RemediationApproved',
      'RemediationQueued',
      'RemediationStarted',
      'RemediationCompleted',
    ]);
    expect(last.metadata).toMatchObject({ tenant: TENANT, correlationId: 'undo-1' });
    expect([scene.folderOf('m1'), scene.folderOf('m2')]).toEqual(['Inbox', 'Inbox']);
  });

  it('that its own request has submitted is run once', async () => {
    const scene = newScene();
    const submission = await scene.submit(['m1']);
    await scene.start();
    await scene.finished(submission);

    const undo = await scene.world.undo(submission.approvalId);
    expect(await scene.finished(undo)).toBe('RemediationCompleted');

    expect(scene.folderOf('m1')).toBe('Inbox');
    expect(await scene.typesOf(remediationStream(undo.approvalId))).toHaveLength(5);
    expect(scene.tenant.moves).toBe(2);
    expect(scene.errors).toEqual([]);
  });

  /** What a request for an undo leaves behind when it dies before its last append: the batches and the claim. */
  async function claimUndoOnly(scene: ExecutorScene, original: Submission): Promise<void> {
    const { world } = scene;
    const planId = 'undo-plan-1';
    await world.decideBatch({ ...original, approvalId: 'undo-1', planId }, 0, {
      type: 'Plan',
      ref: { approvalId: 'undo-1', planId, batch: 0 },
      action: 'undo',
      batch: {
        number: 0,
        messages: ['m1', 'm2'].map((networkMessageId) => {
          const {
            recipientEmailAddress: _recipient,
            location: _location,
            ...message
          } = emailOf({ networkMessageId });
          return message;
        }),
        targets: [0, 1].map((message) => ({
          message,
          kind: 'recipient',
          mailbox: emailOf().recipientEmailAddress,
          to: 'Inbox',
          onlyFrom: 'Recoverable Items/Deletions',
        })),
      },
    });
    const undo: Submission = {
      ...original,
      approvalId: 'undo-1',
      planId,
      action: 'undo',
      selection: { by: 'undo', of: original.approvalId },
      undoOf: original.approvalId,
      batches: 1,
    };
    await world.decide(original.approvalId, { type: 'ClaimUndo', undo, underWay: [] });
  }
});

describe('a fault', () => {
  /** Resolves at the first error that is told about this. */
  function told(
    scene: ExecutorScene,
    about: string,
  ): { first: Promise<void>; deps: Partial<ExecutorDependencies> } {
    const { opened, open: tell } = gate();
    return {
      first: opened,
      deps: {
        onError: (error, what) => {
          scene.errors.push(`${what}: ${String(error)}`);
          if (what.startsWith(about)) tell();
        },
      },
    };
  }

  it('of the log while nothing is under way is ridden out', async () => {
    const scene = newScene();
    const { first, deps } = told(scene, 'following the event log');
    await scene.start(scene.tenant, {}, deps);
    scene.world.store.goDown();
    await first;
    scene.world.store.comeBack();

    const submission = await scene.submit(['m1']);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
  });

  it('of the log in the middle of a remediation is ridden out, and every copy is moved once', async () => {
    const scene = newScene();
    const { first, deps } = told(scene, 'running batch');
    const submission = await scene.submit(['m1', 'm2', 'm3']);
    let down = false;
    const gateway = new ScriptedGateway((request, signal) => {
      if (!down) scene.world.store.goDown();
      down = true;
      return scene.tenant.move(request, signal);
    });
    await scene.start(gateway, {}, deps);
    await first;
    scene.world.store.comeBack();

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(scene.tenant.moves).toBe(3);
  });

  it('of the mailboxes’ filling is ridden out', async () => {
    const scene = newScene();
    const submission = await scene.submit(['m1']);
    let calls = 0;
    await scene.start(
      scene.tenant,
      {},
      {
        mailboxesReady: () => {
          calls += 1;
          return calls === 1 ? Promise.reject(new Error('not yet')) : Promise.resolve();
        },
      },
    );
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(scene.errors).toEqual([`running batch 0 of plan ${submission.planId}: Error: not yet`]);
  });

  it('of the gateway is told and tried again, and is never an outcome', async () => {
    const scene = newScene();
    const submission = await scene.submit(['m1', 'm2']);
    let calls = 0;
    const gateway = new ScriptedGateway((request, signal) => {
      calls += 1;
      if (calls === 1) throw new TypeError('a defect');
      return scene.tenant.move(request, signal);
    });
    await scene.start(gateway);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(scene.tenant.moves).toBe(2);
    expect(scene.errors).toEqual([`running batch 0 of plan ${submission.planId}: TypeError: a defect`]);
  });

  it('in one batch holds no other batch up, and only that one is run again', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(3), { batchCopies: 1 });
    const othersDone = Promise.all(
      [1, 2].map((batch) => scene.event(isOf('BatchSettled', submission, batch))),
    );
    let faults = 0;
    const gateway = new ScriptedGateway(async (request, signal) => {
      if (request.networkMessageId === 'm1') {
        if (faults === 0) {
          faults += 1;
          throw new TypeError('a defect');
        }
        await othersDone;
      }
      return scene.tenant.move(request, signal);
    });
    await scene.start(gateway, { batchesInFlight: 2 });

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(scene.errors).toEqual([`running batch 0 of plan ${submission.planId}: TypeError: a defect`]);
    const undisturbed = [
      ...['BatchPlanned', 'BatchReleased', 'BatchAttemptStarted'],
      ...['RecipientCopySoftDeleted', 'BatchSettled'],
    ];
    expect(await scene.batchTypes(submission)).toEqual([
      undisturbed.toSpliced(2, 0, 'BatchAttemptStarted'),
      undisturbed,
      undisturbed,
    ]);
  });
});

describe('an executor that is stopped', () => {
  it('does not wait for a mailbox that does not answer, and saves where to go on', async () => {
    const scene = newScene();
    const done = await scene.submit(['m1']);
    const asked = gate();
    const executor = await scene.start(
      new ScriptedGateway((request, signal) => {
        if (request.networkMessageId === 'm1') return moved(request.to);
        asked.open();
        return hang(request, signal);
      }),
    );
    await scene.finished(done);
    const hanging = await scene.submit(['m2']);
    await asked.opened;

    await executor.stop();

    const approval = await positionOf(scene, 'RemediationApproved', hanging);
    expect(await scene.checkpoints.load()).toBe(approval - 1n);
    expect(await scene.typesOf(batchStream(hanging.planId, 0))).toEqual([
      'BatchPlanned',
      'BatchReleased',
      'BatchAttemptStarted',
      'BatchAttemptExtended',
    ]);
  });

  it('begins none of the batches that wait for a place', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(3), { batchCopies: 1 });
    const asked = gate();
    const gateway = new ScriptedGateway((request, signal) => {
      asked.open();
      return hang(request, signal);
    });
    await scene.start(gateway, { batchesInFlight: 1 });
    await asked.opened;
    await scene.event(isOf('BatchReleased', submission, 2));
    await scene.stop();

    const released = ['BatchPlanned', 'BatchReleased'];
    expect(await scene.batchTypes(submission)).toEqual([
      [...released, 'BatchAttemptStarted', 'BatchAttemptExtended'],
      released,
      released,
    ]);
    expect(gateway.requests.map((request) => request.networkMessageId)).toEqual(['m1']);
    expect(scene.errors).toEqual([]);
  });

  it('records the outcomes that are known, and goes on from there when it is started again', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(4), { batchCopies: 4 });
    const asked = gate();
    const first = new ScriptedGateway((request, signal) => {
      if (request.networkMessageId !== 'm4') return scene.tenant.move(request, signal);
      // When the others have their answers.
      setImmediate(asked.open);
      return hang(request, signal);
    });
    await scene.start(first, { flushMs: 60_000 });
    await asked.opened;
    await scene.stop();
    expect((await scene.batchTypes(submission))[0]?.slice(3)).toEqual([
      'RecipientCopySoftDeleted',
      'RecipientCopySoftDeleted',
      'RecipientCopySoftDeleted',
      'BatchAttemptExtended',
    ]);

    const second = new ScriptedGateway((request, signal) => scene.tenant.move(request, signal));
    await scene.start(second);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(second.requests.map((request) => request.networkMessageId)).toEqual(['m4']);
  });

  it('takes no more work', async () => {
    const scene = newScene();
    const gateway = new ScriptedGateway();
    const executor = await scene.start(gateway);
    await executor.stop();
    await scene.submit(['m1']);
    await new Promise((resolve) => setImmediate(resolve));
    expect(gateway.requests).toEqual([]);
  });
});
