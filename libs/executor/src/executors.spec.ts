import { describe, expect, it, jest } from '@jest/globals';
import { WrongExpectedRevision } from '#libs/event-store';
import { batchStream, remediationStream, type Submission } from '#libs/remediation';
import { CutOffStore } from '../../../test/support/cut-off-store.js';
import { type ExecutorScene, endingScenes, isOf, names } from '../../../test/support/executor-scene.js';
import { ScriptedGateway, gate, hang, type Script } from '../../../test/support/scripted-gateway.js';
import { TestClock } from '../../../test/support/test-clock.js';
import type { ExecutorOptions } from './batch-runner.js';

// Several executors, each a coordinator and a worker, on one log and one set of mailboxes.

/** So short that claims are looked at every few milliseconds; they lapse only when a test moves the clock. */
const CLAIM_MS = 30;
const of = (worker: string, over: Partial<ExecutorOptions> = {}): Partial<ExecutorOptions> => ({
  worker,
  claimMs: CLAIM_MS,
  batchesInFlight: 1,
  batchesAhead: 6,
  ...over,
});

const newScene = endingScenes();

/** The mailboxes of the scene, in a gateway that remembers what this executor asked. */
const honest =
  (scene: ExecutorScene): Script =>
  (request, signal) =>
    scene.tenant.move(request, signal);

const asked = (...gateways: ScriptedGateway[]): string[] =>
  gateways.flatMap((gateway) => gateway.requests.map((request) => request.operationId)).sort();

const operations = ({ planId, batches }: Submission, batchCopies: number): string[] =>
  Array.from({ length: batches * batchCopies }, (_, index) =>
    [planId, Math.floor(index / batchCopies), index % batchCopies].join('/'),
  ).sort();

/** Moved once, told once, settled once; and the remediation was begun and finished once. */
async function expectDoneOnce(scene: ExecutorScene, submission: Submission, batchCopies: number) {
  expect(await scene.typesOf(remediationStream(submission.approvalId))).toEqual([
    ...['RemediationSubmitted', 'RemediationApproved', 'RemediationQueued'],
    ...['RemediationStarted', 'RemediationCompleted'],
  ]);
  for (const types of await scene.batchTypes(submission)) {
    const times = (type: string): number => types.filter((other) => other === type).length;
    expect(['BatchPlanned', 'BatchReleased', 'BatchSettled'].map(times)).toEqual([1, 1, 1]);
    expect(times('RecipientCopySoftDeleted')).toBe(batchCopies);
    expect(types.at(-1)).toBe('BatchSettled');
  }
}

/** The workers that claimed each batch, in the order of the batches. */
async function claims(scene: ExecutorScene, submission: Submission): Promise<string[][]> {
  const log = await scene.log();
  return Array.from({ length: submission.batches }, (_, batch) =>
    log
      .filter(isOf('BatchAttemptStarted', submission, batch))
      .map((event) => (event.data as { worker: string }).worker),
  );
}

describe.each([2, 3])('%d executors', (count) => {
  it('share a remediation: all work on it at the same time, and every copy is moved once', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(40), { batchCopies: 2 });
    const all = gate();
    let first = 0;
    const gateways = Array.from({ length: count }, () => {
      const gateway = new ScriptedGateway(async (request, signal) => {
        // Nobody gets an answer before everybody has something to do.
        if (gateway.requests.length === 1) first += 1;
        if (first === count) all.open();
        await all.opened;
        return scene.tenant.move(request, signal);
      });
      return gateway;
    });
    for (const [index, gateway] of gateways.entries()) await scene.start(gateway, of(`worker-${index}`));

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    await scene.stop();

    expect(asked(...gateways)).toEqual(operations(submission, 2));
    expect(scene.tenant.moves).toBe(40);
    await expectDoneOnce(scene, submission, 2);
    const workers = await claims(scene, submission);
    expect(workers.every((claimed) => claimed.length === 1)).toBe(true);
    expect(new Set(workers.flat()).size).toBe(count);
    expect(scene.errors).toEqual([]);
  });

  it('share many small remediations', async () => {
    const scene = newScene();
    const gateways = Array.from({ length: count }, () => new ScriptedGateway(honest(scene)));
    for (const [index, gateway] of gateways.entries()) await scene.start(gateway, of(`worker-${index}`));
    const submissions: Submission[] = [];
    for (const id of names(12)) submissions.push(await scene.submit([`${id}-a`, `${id}-b`]));
    for (const submission of submissions) {
      expect(await scene.finished(submission)).toBe('RemediationCompleted');
      await expectDoneOnce(scene, submission, 2);
    }
    expect(asked(...gateways)).toEqual(submissions.flatMap((one) => operations(one, 2)).sort());
    expect(scene.errors).toEqual([]);
  });
});

describe('an executor that dies', () => {
  /** An executor that is cut off when its mailbox has moved two copies and not answered. */
  async function dead(scene: ExecutorScene, submission: Submission) {
    const store = new CutOffStore(scene.world.store);
    const [silent, answers] = [gate(), gate()];
    let moves = 0;
    const gateway = new ScriptedGateway(async (request, signal) => {
      const result = await scene.tenant.move(request, signal);
      moves += 1;
      if (moves === 2) silent.open();
      await answers.opened;
      return result;
    });
    // The clock of the dead stands still: it says no more that it lives.
    const deps = { store, clock: new TestClock(), onError: () => undefined };
    const executor = await scene.start(gateway, of('the-dead', { batchesInFlight: 2 }), deps);
    await silent.opened;
    store.cutOff();
    const claimed = (await claims(scene, submission)).flatMap((workers, batch) =>
      workers.includes('the-dead') ? [batch] : [],
    );
    expect(claimed).toEqual([0, 1]);
    return { executor, store, answers, gateway };
  }

  it('keeps its batches until its claims lapse; then the others finish them, and every copy is moved once', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(10), { batchCopies: 1 });
    await dead(scene, submission);

    const others = ['worker-1', 'worker-2'].map((worker) => ({
      worker,
      gateway: new ScriptedGateway(honest(scene)),
    }));
    for (const { worker, gateway } of others) await scene.start(gateway, of(worker));
    await scene.event(isOf('BatchSettled', submission), 8);
    expect(asked(...others.map(({ gateway }) => gateway))).toEqual(
      operations(submission, 1).filter((id) => !/\/[01]\/0$/.test(id)),
    );
    scene.clock.advance(CLAIM_MS + 1);

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(asked(...others.map(({ gateway }) => gateway))).toEqual(operations(submission, 1));
    expect(scene.tenant.moves).toBe(10);
    await expectDoneOnce(scene, submission, 1);
    for (const workers of (await claims(scene, submission)).slice(0, 2)) {
      expect(workers).toEqual(['the-dead', expect.stringMatching(/^worker-[12]$/)]);
    }
    expect(scene.errors).toEqual([]);
  });

  it('and comes back records nothing about what was taken over, and works on', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(4), { batchCopies: 1 });
    const { store, answers, gateway } = await dead(scene, submission);
    const other = await scene.start(new ScriptedGateway(honest(scene)), of('worker-1'));
    await scene.event(isOf('BatchSettled', submission), 2);
    scene.clock.advance(CLAIM_MS + 1);
    await scene.finished(submission);
    await scene.stop(other);
    const before = await scene.batchTypes(submission);

    store.mend();
    answers.open();
    // It has two places: both are free again only when it has given up both batches.
    const next = await scene.submit(['next-1', 'next-2'], { batchCopies: 1 });
    expect(await scene.finished(next)).toBe('RemediationCompleted');
    await scene.stop();

    expect(await scene.batchTypes(submission)).toEqual(before);
    await expectDoneOnce(scene, submission, 1);
    expect(await claims(scene, next)).toEqual([['the-dead'], ['the-dead']]);
    const ids = gateway.requests.map((request) => request.networkMessageId);
    expect(ids.sort()).toEqual(['m1', 'm2', 'next-1', 'next-2']);
    expect(scene.tenant.moves).toBe(6);
  });

  it('before it had released everything is replaced as coordinator, too', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(9), { batchCopies: 1 });
    await dead(scene, submission);
    const released = (await scene.log()).filter(isOf('BatchReleased', submission));
    expect(released).toHaveLength(6);

    await scene.start(scene.tenant, of('worker-1', { batchesAhead: 3 }));
    await scene.event(isOf('BatchSettled', submission), 7);
    scene.clock.advance(CLAIM_MS + 1);
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    await expectDoneOnce(scene, submission, 1);
  });

  it('with nothing of its own recorded yet leaves the work to others: an undecided claim is no claim', async () => {
    const scene = newScene();
    const store = new CutOffStore(scene.world.store);
    const ready = gate();
    const waiting = gate();
    await scene.start(scene.tenant, of('the-dead'), {
      store,
      onError: () => undefined,
      mailboxesReady: () => {
        waiting.open();
        return ready.opened;
      },
    });
    const submission = await scene.submit(names(2), { batchCopies: 1 });
    await waiting.opened;
    store.cutOff();
    await scene.start(scene.tenant, of('worker-1'));

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await claims(scene, submission)).toEqual([['worker-1'], ['worker-1']]);
    ready.open();
  });
});

describe('an executor that is stopped in the middle', () => {
  it('leaves its batch to the others when its claim lapses', async () => {
    const scene = newScene();
    const submission = await scene.submit(names(6), { batchCopies: 2 });
    const silent = gate();
    const first = await scene.start(
      new ScriptedGateway(async (request, signal) => {
        await scene.tenant.move(request, signal);
        silent.open();
        return hang(request, signal);
      }),
      of('worker-1'),
    );
    await silent.opened;
    const second = new ScriptedGateway(honest(scene));
    await scene.start(second, of('worker-2'));
    await scene.stop(first);
    await scene.event(isOf('BatchSettled', submission), 2);
    scene.clock.advance(CLAIM_MS + 1);

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(asked(second)).toEqual(operations(submission, 2));
    expect(scene.tenant.moves).toBe(6);
    await expectDoneOnce(scene, submission, 2);
    expect(scene.errors).toEqual([]);
  });
});

describe('an executor whose mailbox is slow', () => {
  it('keeps its batch for as long as it lives: the claim is extended, and nobody takes over', async () => {
    const scene = newScene();
    const submission = await scene.submit(['m1']);
    const [silent, answer] = [gate(), gate()];
    await scene.start(
      new ScriptedGateway(async (request, signal) => {
        silent.open();
        await answer.opened;
        return scene.tenant.move(request, signal);
      }),
      of('worker-1'),
    );
    await silent.opened;
    const other = new ScriptedGateway(honest(scene));
    const store = new CutOffStore(scene.world.store);
    const reads = jest.spyOn(store, 'readStream');
    await scene.start(other, of('worker-2'), { store });
    for (const extensions of [1, 2, 3, 4, 5, 6]) {
      scene.clock.advance(CLAIM_MS / 3);
      await scene.event(isOf('BatchAttemptExtended', submission), extensions);
    }
    // The other one is awake all the while.
    const next = await scene.submit(['next']);
    expect(await scene.finished(next)).toBe('RemediationCompleted');
    answer.open();

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(other.requests.map((request) => request.networkMessageId)).toEqual(['next']);
    expect(await claims(scene, submission)).toEqual([['worker-1']]);
    // It tried once, when the batch was released: refused claims are not tried again before their time.
    const tries = reads.mock.calls.filter(
      ([stream, options]) =>
        stream === batchStream(submission.planId, 0) && options?.direction === 'backwards',
    );
    expect(tries).toHaveLength(1);
    expect(scene.errors).toEqual([]);
  });
});

describe('a store that does not know a repeated append again', () => {
  class ForgetfulStore extends CutOffStore {
    override async append(...args: Parameters<CutOffStore['append']>) {
      const [stream, expected] = args;
      let actual: bigint | 'noStream' = 'noStream';
      for await (const last of this.readStream(stream, { direction: 'backwards', maxCount: 1 })) {
        actual = last.revision;
      }
      if (actual !== expected) throw new WrongExpectedRevision(stream, expected, actual);
      return super.append(...args);
    }
  }

  it('is no hindrance to several coordinators, nor to one that comes later', async () => {
    const scene = newScene();
    const store = new ForgetfulStore(scene.world.store);
    const submission = await scene.submit(names(8), { batchCopies: 1 });
    const silent = gate();
    const holds = new ScriptedGateway((request, signal) => {
      if (request.networkMessageId !== 'm5') return scene.tenant.move(request, signal);
      silent.open();
      return hang(request, signal);
    });
    const over = { batchesAhead: 2 };
    const first = await scene.start(holds, of('worker-1', over), { store });
    const second = await scene.start(holds, of('worker-2', over), { store });
    await silent.opened;
    await scene.stop(first, second);
    scene.clock.advance(CLAIM_MS + 1);

    await scene.start(scene.tenant, of('worker-3', over), { store });
    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    await expectDoneOnce(scene, submission, 1);
    expect(scene.tenant.moves).toBe(8);
    expect(scene.errors).toEqual([]);
  });
});

describe('with a queue that shares released batches out', () => {
  it('each batch is run by the executor to whom it was handed, and claimed by no other', async () => {
    const scene = newScene();
    const queue = scene.queue();
    // The second one is given little, so that it would have time for more.
    const share = (n: number): number => (n % 5 === 4 ? 1 : 0);
    queue.share = share;
    const gateways = ['worker-0', 'worker-1'].map(() => new ScriptedGateway(honest(scene)));
    for (const [index, gateway] of gateways.entries()) {
      await scene.start(gateway, of(`worker-${index}`), { queue });
    }
    const submission = await scene.submit(names(20), { batchCopies: 2 });

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await claims(scene, submission)).toEqual(
      Array.from({ length: 10 }, (_, batch) => [`worker-${share(batch)}`]),
    );
    expect(asked(...gateways)).toEqual(operations(submission, 2));
    await expectDoneOnce(scene, submission, 2);
    expect(scene.errors).toEqual([]);
  });

  it('a batch whose delivery was lost is run all the same, when it has been due for as long as a claim', async () => {
    const scene = newScene();
    const queue = scene.queue();
    queue.loses = (event) => /-[14]$/.test(event.stream);
    for (const worker of ['worker-1', 'worker-2']) await scene.start(scene.tenant, of(worker), { queue });
    const submission = await scene.submit(names(6), { batchCopies: 1 });
    await scene.event(isOf('BatchSettled', submission), 4);
    const lost = ['BatchPlanned', 'BatchReleased'];
    const types = await scene.batchTypes(submission);
    expect([types[1], types[4]]).toEqual([lost, lost]);
    scene.clock.advance(CLAIM_MS + 1);

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    await expectDoneOnce(scene, submission, 1);
    expect(scene.tenant.moves).toBe(6);
    expect(scene.errors).toEqual([]);
  });

  it('batches that were lost together with their coordinator are run, however few another would release', async () => {
    const scene = newScene();
    const queue = scene.queue();
    queue.loses = () => true;
    const store = new CutOffStore(scene.world.store);
    await scene.start(scene.tenant, of('the-dead'), { store, queue, onError: () => undefined });
    const submission = await scene.submit(names(5), { batchCopies: 1 });
    await scene.event(isOf('BatchReleased', submission), 5);
    store.cutOff();

    await scene.start(scene.tenant, of('worker-1', { batchesAhead: 1 }), { queue });
    // What a later remediation has released says that this one's batches were read.
    const next = await scene.submit(['next']);
    await scene.event(isOf('BatchReleased', next));
    scene.clock.advance(CLAIM_MS + 1);

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    await expectDoneOnce(scene, submission, 1);
  });

  it('a batch that is delivered several times, to several, is done once', async () => {
    const scene = newScene();
    const queue = scene.queue();
    queue.copies = 3;
    const gateways = ['worker-0', 'worker-1'].map(() => new ScriptedGateway(honest(scene)));
    for (const [index, gateway] of gateways.entries()) {
      await scene.start(gateway, of(`worker-${index}`), { queue });
    }
    const submission = await scene.submit(names(12), { batchCopies: 2 });

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(asked(...gateways)).toEqual(operations(submission, 2));
    await expectDoneOnce(scene, submission, 2);
  });

  it('what a stopped executor had no turn for goes to another at once', async () => {
    const scene = newScene();
    const queue = scene.queue();
    const silent = gate();
    const first = await scene.start(
      new ScriptedGateway((request, signal) => {
        silent.open();
        return hang(request, signal);
      }),
      of('worker-1'),
      { queue },
    );
    const submission = await scene.submit(names(4), { batchCopies: 1 });
    await silent.opened;
    await scene.event(isOf('BatchReleased', submission), 4);
    await scene.stop(first);

    await scene.start(scene.tenant, of('worker-2'), { queue });
    // No time has passed: these were handed out again, not taken over.
    await scene.event(isOf('BatchSettled', submission), 3);
    scene.clock.advance(CLAIM_MS + 1);

    expect(await scene.finished(submission)).toBe('RemediationCompleted');
    expect(await claims(scene, submission)).toEqual([
      ['worker-1', 'worker-2'],
      ...Array.from({ length: 3 }, () => ['worker-2']),
    ]);
    await expectDoneOnce(scene, submission, 1);
  });
});
