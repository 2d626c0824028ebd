import { afterEach, describe, expect, it } from '@jest/globals';
import type { RecordedEvent } from '#libs/event-store';
import { START, type Position } from '#libs/kernel';
import type { MailboxGateway, MoveResult } from '#libs/mailbox';
import {
  batchCodecs,
  batchStream,
  remediationStream,
  type SelectedEmail,
  type Submission,
} from '#libs/remediation';
import { emailOf } from '../../../test/support/examples.js';
import { InMemoryTenant } from '../../../test/support/in-memory-tenant.js';
import { RemediationWorld, TENANT } from '../../../test/support/remediation-world.js';
import { ScriptedGateway, gate, hang } from '../../../test/support/scripted-gateway.js';
import { TestClock } from '../../../test/support/test-clock.js';
import { Executor, type CheckpointStore, type ExecutorDependencies } from './executor.js';
import type { ExecutorOptions } from './batch-runner.js';

const options: ExecutorOptions = {
  worker: 'worker-1',
  copyDeadlineMs: 30_000,
  maxAttempts: 1,
  claimMs: 60_000,
  batchesInFlight: 2,
  remediationsInFlight: 4,
  mailboxConcurrency: 4,
  flushMs: 5,
};
const softDelete = { action: 'softDelete', sendersCopy: false } as const;

/** A message of its own for each name. */
const emails = (...ids: string[]): SelectedEmail[] =>
  ids.map((networkMessageId) => emailOf({ networkMessageId }));

class Checkpoints implements CheckpointStore {
  readonly saves: Position[] = [];
  /** Fails the next save. */
  fail = false;
  private saved = START;

  load(): Promise<Position> {
    return Promise.resolve(this.saved);
  }

  save(position: Position): Promise<void> {
    if (this.fail) {
      this.fail = false;
      return Promise.reject(new Error('the checkpoint cannot be written'));
    }
    this.saves.push(position);
    this.saved = position;
    return Promise.resolve();
  }
}

const open: Executor[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((executor) => executor.stop()));
});

/** One tenant whose mail lies in the inboxes, and the executors that a test starts on it. */
class Scene {
  readonly world = new RemediationWorld();
  readonly tenant = new InMemoryTenant();
  readonly checkpoints = new Checkpoints();
  readonly errors: string[] = [];

  async start(
    gateway: MailboxGateway = this.tenant,
    over: Partial<ExecutorOptions> = {},
    deps: Partial<ExecutorDependencies> = {},
  ): Promise<Executor> {
    const executor = new Executor(
      {
        store: this.world.store,
        gateway,
        checkpoints: this.checkpoints,
        clock: new TestClock(),
        mailboxesReady: () => Promise.resolve(),
        onError: (error, what) => this.errors.push(`${what}: ${String(error)}`),
        ...deps,
      },
      { ...options, ...over },
    );
    await executor.start();
    open.push(executor);
    return executor;
  }

  /** Delivers the emails and submits their soft delete. */
  submit(
    ids: readonly string[],
    over: { approve?: boolean; batchCopies?: number } = {},
  ): Promise<Submission> {
    const all = emails(...ids);
    for (const { networkMessageId, recipientEmailAddress } of all) {
      const mailbox = recipientEmailAddress;
      this.tenant.put({ tenant: TENANT, networkMessageId, mailbox, copyKind: 'recipient' }, 'Inbox');
    }
    return this.world.submit(all, softDelete, over);
  }

  folderOf(networkMessageId: string): string | undefined {
    const mailbox = emailOf().recipientEmailAddress;
    return this.tenant.locate({ tenant: TENANT, networkMessageId, mailbox, copyKind: 'recipient' });
  }

  /** The first event that fulfils the condition, as soon as there is one. */
  async event(condition: (event: RecordedEvent) => boolean): Promise<RecordedEvent> {
    const { signal } = new AbortController();
    for await (const { events } of this.world.store.subscribe({ after: START, signal })) {
      const found = events.find(condition);
      if (found !== undefined) return found;
    }
    throw new Error('the log has ended');
  }

  /** When this remediation has finished: the type of its last event. */
  async finished({ approvalId }: Submission): Promise<string> {
    const types = ['RemediationCompleted', 'RemediationFailed'];
    const last = await this.event(
      (event) => event.stream === remediationStream(approvalId) && types.includes(event.type),
    );
    return last.type;
  }

  async typesOf(stream: string): Promise<string[]> {
    const types: string[] = [];
    for await (const event of this.world.store.readStream(stream)) types.push(event.type);
    return types;
  }
}

const positionOf = (scene: Scene, type: string, { approvalId }: Submission): Promise<Position> =>
  scene
    .event((event) => event.type === type && event.stream === remediationStream(approvalId))
    .then((event) => event.position);

const moved = (to: string): MoveResult => ({ kind: 'moved', from: 'Inbox', to });

describe('an approved remediation', () => {
  it('is started, run batch by batch, and finished', async () => {
    const scene = new Scene();
    const submission = await scene.submit(['m1', 'm2', 'm3', 'm4', 'm5'], { batchCopies: 2 });
    expect(submission.batches).toBe(3);

    await scene.start();

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await scene.typesOf(remediationStream(submission.approvalId))).toEqual([
      'RemediationSubmitted',
      'RemediationApproved',
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
    const scene = new Scene();
    await scene.start();
    const submission = await scene.submit(['m1']);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
  });

  it('has failed when nothing reached its goal', async () => {
    const scene = new Scene();
    const submission = await scene.submit(['m1', 'm2']);
    await scene.start(new ScriptedGateway(hang), { copyDeadlineMs: 10 });
    expect(await scene.finished(submission)).toBe('RemediationFailed');
  });

  it('is not run before it is approved, nor when it was rejected', async () => {
    const scene = new Scene();
    const pending = await scene.submit(['m1'], { approve: false });
    const rejected = await scene.submit(['m2'], { approve: false });
    await scene.world.decide(rejected.approvalId, { type: 'Reject', reason: 'a drill' });
    const approved = await scene.submit(['m3']);

    await scene.start();
    await scene.finished(approved);
    expect([scene.folderOf('m1'), scene.folderOf('m2')]).toEqual(['Inbox', 'Inbox']);

    const { selectionHash } = pending;
    await scene.world.decide(pending.approvalId, { type: 'Approve', selectionHash });
    await scene.finished(pending);
    expect(scene.folderOf('m1')).toBe('Recoverable Items/Deletions');
    expect(scene.folderOf('m2')).toBe('Inbox');
  });

  it('waits until the mailboxes have what was recorded before its approval', async () => {
    const scene = new Scene();
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
    const scene = new Scene();
    const submission = await scene.submit(['m1']);
    await scene.start();
    await scene.finished(submission);
    await open.pop()?.stop();

    const gateway = new ScriptedGateway();
    const checkpoints = new Checkpoints();
    await scene.start(gateway, {}, { checkpoints });
    const second = await scene.submit(['m2']);
    await scene.finished(second);

    expect(gateway.requests.map((request) => request.networkMessageId)).toEqual(['m2']);
  });

  it('shares the executor with others, so many at once', async () => {
    const scene = new Scene();
    const ids = ['m1', 'm2', 'm3', 'm4', 'm5', 'm6'];
    const submissions: Submission[] = [];
    for (const id of ids) submissions.push(await scene.submit([id]));
    const gateway = new ScriptedGateway(async ({ to }) => {
      await new Promise((resolve) => setImmediate(resolve));
      return moved(to);
    });

    await scene.start(gateway, { remediationsInFlight: 2, mailboxConcurrency: 10 });
    for (const submission of submissions) await scene.finished(submission);

    expect(gateway.mostAtOnce.get('')).toBe(2);
  });

  it('has so many batches under way at once', async () => {
    const scene = new Scene();
    const submission = await scene.submit(['m1', 'm2', 'm3', 'm4', 'm5', 'm6'], { batchCopies: 1 });
    const gateway = new ScriptedGateway(async ({ to }) => {
      await new Promise((resolve) => setImmediate(resolve));
      return moved(to);
    });

    await scene.start(gateway, { batchesInFlight: 3, mailboxConcurrency: 10 });
    await scene.finished(submission);

    expect(gateway.mostAtOnce.get('')).toBe(3);
  });
});

describe('the checkpoint', () => {
  it('never passes a remediation that has not finished, and goes to the end when all have', async () => {
    const scene = new Scene();
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
    await open.pop()?.stop();
    const lastApproval = await positionOf(scene, 'RemediationApproved', next);
    expect(await scene.checkpoints.load()).toBeGreaterThanOrEqual(lastApproval);
    const { saves } = scene.checkpoints;
    expect(saves).toEqual([...saves].sort((a, b) => (a < b ? -1 : 1)));
    expect(scene.errors).toEqual([]);
  });

  it('lets the next executor finish what a stopped one began; every copy is moved once', async () => {
    const scene = new Scene();
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
    await open.pop()?.stop();
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
    const scene = new Scene();
    scene.checkpoints.fail = true;
    await scene.start();
    const submission = await scene.submit(['m1']);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    await open.pop()?.stop();
    expect(scene.errors).toEqual([expect.stringContaining('the checkpoint cannot be written')]);
    const approval = await positionOf(scene, 'RemediationApproved', submission);
    expect(await scene.checkpoints.load()).toBeGreaterThanOrEqual(approval);
  });
});

describe('an undo', () => {
  it('that was recorded and then cut off by a crash is submitted and run by the executor', async () => {
    const scene = new Scene();
    const submission = await scene.submit(['m1', 'm2']);
    await scene.start();
    await scene.finished(submission);
    await open.pop()?.stop();
    await claimUndoOnly(scene, submission);

    await scene.start();
    const last = await scene.event(
      (event) => event.type === 'RemediationCompleted' && event.stream === remediationStream('undo-1'),
    );

    expect(await scene.typesOf(remediationStream('undo-1'))).toEqual([
      'RemediationSubmitted',
      'RemediationApproved',
      'RemediationStarted',
      'RemediationCompleted',
    ]);
    expect(last.metadata).toMatchObject({ tenant: TENANT, correlationId: 'undo-1' });
    expect([scene.folderOf('m1'), scene.folderOf('m2')]).toEqual(['Inbox', 'Inbox']);
  });

  it('that its own request has submitted is run once', async () => {
    const scene = new Scene();
    const submission = await scene.submit(['m1']);
    await scene.start();
    await scene.finished(submission);

    const undo = await scene.world.undo(submission.approvalId);
    expect(await scene.finished(undo)).toBe('RemediationCompleted');

    expect(scene.folderOf('m1')).toBe('Inbox');
    expect(await scene.typesOf(remediationStream(undo.approvalId))).toHaveLength(4);
    expect(scene.tenant.moves).toBe(2);
    expect(scene.errors).toEqual([]);
  });

  /** What a request for an undo leaves behind when it dies before its last append: the batches and the claim. */
  async function claimUndoOnly(scene: Scene, original: Submission): Promise<void> {
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
  function told(scene: Scene, about: string): { first: Promise<void>; deps: Partial<ExecutorDependencies> } {
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
    const scene = new Scene();
    const { first, deps } = told(scene, 'following the event log');
    await scene.start(scene.tenant, {}, deps);
    scene.world.store.goDown();
    await first;
    scene.world.store.comeBack();

    const submission = await scene.submit(['m1']);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
  });

  it('of the log in the middle of a remediation is ridden out, and every copy is moved once', async () => {
    const scene = new Scene();
    const { first, deps } = told(scene, 'running remediation');
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
    const scene = new Scene();
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
    expect(scene.errors).toEqual([`running remediation ${submission.approvalId}: Error: not yet`]);
  });

  it('of the gateway is told and tried again, and is never an outcome', async () => {
    const scene = new Scene();
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
    expect(scene.errors).toEqual([`running remediation ${submission.approvalId}: TypeError: a defect`]);
  });

  it('in one batch lets the others come to their end before the remediation is run again', async () => {
    const scene = new Scene();
    const submission = await scene.submit(['m1', 'm2', 'm3'], { batchCopies: 1 });
    const happened: string[] = [];
    const failed = gate();
    const gateway = new ScriptedGateway(async (request, signal) => {
      if (request.networkMessageId === 'm1' && !happened.includes('failed')) {
        happened.push('failed');
        failed.open();
        throw new TypeError('a defect');
      }
      if (request.networkMessageId === 'm2') {
        await failed.opened;
        // Long enough for a run that does not wait.
        for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
        happened.push('the other batch ended');
      }
      return scene.tenant.move(request, signal);
    });
    await scene.start(gateway, { batchesInFlight: 2 }, { onError: () => happened.push('told') });

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(happened).toEqual(['failed', 'the other batch ended', 'told']);
    expect(await scene.typesOf(batchStream(submission.planId, 1))).toEqual([
      'BatchPlanned',
      'BatchAttemptStarted',
      'RecipientCopySoftDeleted',
      'BatchSettled',
    ]);
  });
});

describe('an executor that is stopped', () => {
  it('does not wait for a mailbox that does not answer, and saves where to go on', async () => {
    const scene = new Scene();
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
      'BatchAttemptStarted',
    ]);
  });

  it('takes no more work', async () => {
    const scene = new Scene();
    const gateway = new ScriptedGateway();
    const executor = await scene.start(gateway);
    await executor.stop();
    await scene.submit(['m1']);
    await new Promise((resolve) => setImmediate(resolve));
    expect(gateway.requests).toEqual([]);
  });
});
