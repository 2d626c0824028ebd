import { afterEach, describe, expect, it } from '@jest/globals';
import { changed } from '#libs/read-store';
import fc from 'fast-check';
import { actionLogView, historyView, type ActionLogDoc, type HistoryDoc } from '#libs/action-center';
import type { RecordedEvent } from '#libs/event-store';
import { isClawbackError } from '#libs/kernel';
import { MailboxError } from '#libs/mailbox';
import {
  RETRYABLE,
  batchCodecs,
  closePending,
  copiesIn,
  hasBegun,
  isCopyEvent,
  isFinished,
  ofOutcome,
  remediationCodecs,
  sumTallies,
  type Retryable,
} from '#libs/remediation';
import { Checkpoints, ExecutorScene, names } from '../../../test/support/executor-scene.js';
import { ScriptedGateway, hang } from '../../../test/support/scripted-gateway.js';

// What has to hold whatever people decide while executors run, come and go.

type Step =
  | {
      readonly do: 'submit';
      readonly emails: number;
      readonly batchCopies: number;
      readonly approve: boolean;
    }
  | { readonly do: 'approve'; readonly which: number; readonly firstEmails: number | undefined }
  | { readonly do: 'reject' | 'cancel' | 'expire' | 'undo' | 'runOutOfTime'; readonly which: number }
  | { readonly do: 'retry'; readonly which: number; readonly outcomes: readonly Retryable[] }
  /** One more executor, which knows the checkpoint or nothing at all. */
  | { readonly do: 'join'; readonly readsAll: boolean }
  | { readonly do: 'leave' }
  /** The executors get so many turns. */
  | { readonly do: 'wait'; readonly turns: number };

const which = fc.nat(5);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('submit' as const),
      emails: fc.integer({ min: 1, max: 5 }),
      batchCopies: fc.integer({ min: 1, max: 2 }),
      approve: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('approve' as const),
      which,
      firstEmails: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined, freq: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom(...(['reject', 'cancel', 'cancel', 'expire', 'undo', 'runOutOfTime'] as const)),
      which,
    }),
  },
  fc.record({
    do: fc.constant('retry' as const),
    which,
    outcomes: fc.subarray([...RETRYABLE], { minLength: 1 }),
  }),
  fc.record({ do: fc.constant('join' as const), readsAll: fc.boolean() }),
  fc.record({ do: fc.constant('leave' as const) }),
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('wait' as const), turns: fc.integer({ min: 1, max: 60 }) }),
  },
);
const story = fc
  .record({ emails: fc.integer({ min: 2, max: 5 }), approve: fc.boolean() })
  .chain((first) =>
    fc
      .array(step, { maxLength: 25, size: 'max' })
      .map((rest): Step[] => [
        { do: 'submit', batchCopies: 1, ...first },
        { do: 'join', readsAll: false },
        ...rest,
      ]),
  );

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const MINUTES_10 = 600_000;
const over = { claimMs: 30, batchesAhead: 1, copyDeadlineMs: 10_000, flushMs: 1 };

class Teller {
  readonly scene = new ExecutorScene();
  readonly seen = new Set<string>();
  private mails = 0;
  private workers = 0;
  private readonly executors: Awaited<ReturnType<ExecutorScene['start']>>[] = [];
  /** Some mailboxes refuse, some take a few turns, some ask to wait first; while the story is told, some hang. */
  private patient = false;
  private readonly askedToWait = new Set<string>();
  private readonly gateway = new ScriptedGateway(async (request, signal) => {
    const kind = Number(request.networkMessageId.replace(/\D/g, '')) % 7;
    if (kind === 3) return { kind: 'notFound' };
    if (kind === 6 && !this.askedToWait.has(request.operationId)) {
      this.askedToWait.add(request.operationId);
      throw new MailboxError('TooManyRequests', 'slow down', true, MINUTES_10);
    }
    for (let left = kind; left > 0; left -= 1) await turn();
    if (kind === 5 && !this.patient) return hang(request, signal);
    return this.scene.tenant.move(request, signal);
  });

  async tell(next: Step): Promise<void> {
    try {
      await this.act(next);
    } catch (error) {
      if (!isClawbackError(error)) throw error;
      this.seen.add(error.code);
    }
  }

  private async act(next: Step): Promise<void> {
    const { scene } = this;
    const { world } = scene;
    switch (next.do) {
      case 'submit': {
        this.mails += 10;
        await scene.submit(names(next.emails, `mail${String(this.mails)}`), next);
        return;
      }
      case 'join': {
        this.workers += 1;
        const worker = `worker-${String(this.workers)}`;
        const deps = next.readsAll ? { checkpoints: new Checkpoints() } : {};
        this.executors.push(await scene.start(this.gateway, { ...over, worker }, deps));
        return;
      }
      case 'leave': {
        const executor = this.executors.shift();
        if (executor !== undefined) await scene.stop(executor);
        return;
      }
      case 'wait':
        for (let left = next.turns; left > 0; left -= 1) await turn();
        return;
      default:
    }
    const approvalId = world.submitted[next.which % world.submitted.length] ?? '';
    switch (next.do) {
      case 'approve':
        await world.approve(approvalId, next.firstEmails);
        return;
      case 'reject': {
        const decision = { by: 'lee@fabrikam.example', now: world.now };
        return world.decide(approvalId, { type: 'Reject', reason: 'a drill', ...decision });
      }
      case 'cancel':
        return world.decide(approvalId, { type: 'Cancel', reason: 'a drill' });
      case 'expire': {
        const now = new Date(world.now.getTime() + 8 * 24 * 3_600_000);
        return world.decide(approvalId, { type: 'Expire', now });
      }
      case 'runOutOfTime':
        return world.decide(approvalId, { type: 'RunOutOfTime' });
      case 'undo':
        await world.undo(approvalId);
        return;
      case 'retry':
        await world.retry(approvalId, next.outcomes);
        return;
    }
  }

  /** Whoever was there has gone; somebody else brings everything that was approved to its end. */
  async end(): Promise<void> {
    const { scene } = this;
    await scene.stop();
    this.patient = true;
    await scene.start(this.gateway, { ...over, worker: 'the-last' });
    const isOpen = async (approvalId: string) =>
      hasBegun((await scene.world.remediationState(approvalId)).status);
    while ((await Promise.all(scene.world.submitted.map(isOpen))).includes(true)) {
      // Claims of those who have gone lapse, and mailboxes answer again.
      scene.clock.advance(MINUTES_10 / 10);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await scene.stop();
  }
}

/** Reads the log event by event, and holds everything that it says against what it said before. */
function expectLaws(log: readonly RecordedEvent[], moves: number, seen: Set<string>): void {
  const history = new Map<string, HistoryDoc>();
  const batches = new Map<string, ActionLogDoc>();
  /** How many batches of a plan may run by now. */
  const allowed = new Map<string, number>();
  const told = new Set<string>();
  let moved = 0;
  expect(new Set(log.map(({ id }) => id)).size).toBe(log.length);

  for (const recorded of log) {
    for (const change of historyView.project(recorded)) {
      const doc = changed(change, history.get(change.id));
      if (doc !== undefined) history.set(change.id, doc);
    }
    for (const change of actionLogView.project(recorded)) {
      const doc = changed(change, batches.get(change.id));
      if (doc !== undefined) batches.set(change.id, doc);
    }
    const life = remediationCodecs.decode(recorded);
    if (life !== undefined) seen.add(life.type);
    if (life?.type === 'RemediationPartlyApproved') allowed.set(life.data.planId, life.data.approvedBatches);
    if (life?.type === 'RemediationApproved') {
      const { planId = '', batches: all = 0 } = history.get(life.data.approvalId) ?? {};
      allowed.set(planId, all);
    }
    const event = batchCodecs.decode(recorded);
    if (event?.type === 'BatchDeferred' || event?.type === 'CopyRemediationCancelled') seen.add(event.type);
    if (event !== undefined && event.type !== 'BatchPlanned' && event.type !== 'BatchWithdrawn') {
      // Nothing runs that was not approved.
      expect(event.data.batch).toBeLessThan(allowed.get(event.data.planId) ?? 0);
    }
    if (event?.type === 'BatchWithdrawn') seen.add(`withdrawn: ${event.data.outcome}`);
    if (event !== undefined && isCopyEvent(event)) {
      const key = `${recorded.stream}/${String(event.data.target)}`;
      expect(told).not.toContain(key);
      told.add(key);
      if ('from' in event.data) moved += 1;
    }
    const approvalId = life?.data.approvalId ?? event?.data.approvalId ?? '';
    const entry = history.get(approvalId);
    if (entry !== undefined) expectSums(entry, batches);
  }
  // No copy was moved that the log does not tell of, and none twice.
  expect(moves).toBe(moved);
}

function expectSums(entry: HistoryDoc, batches: ReadonlyMap<string, ActionLogDoc>): void {
  const { status, tally, plan, planId } = entry;
  const rows = sumTallies(
    [...batches.values()].filter((doc) => doc.planId === planId).map((doc) => doc.tally),
  );
  const isClosed = status === 'rejected' || status === 'expired' || status === 'cancelled';
  expect(copiesIn(tally)).toBe(plan.copies);
  expect(tally).toEqual(isClosed ? closePending(rows, 'cancelled') : rows);
  if (isFinished(status)) expect(ofOutcome(tally, 'pending')).toBe(0);
}

const tellers: Teller[] = [];
afterEach(async () => {
  for (const { scene } of tellers.splice(0)) await scene.stop();
});

describe('whatever is decided while executors run, come and go', () => {
  it('counts add up at every instant, only what was approved runs, and no copy is moved twice', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(story, async (steps) => {
        const teller = new Teller();
        tellers.push(teller);
        for (const next of steps) await teller.tell(next);
        await teller.end();
        expectLaws(await teller.scene.log(), teller.scene.tenant.moves, seen);
        expect(teller.scene.errors).toEqual([]);
      }),
      { numRuns: 200 },
    );
    for (const what of [
      ...['RemediationCompleted', 'RemediationCancelled', 'RemediationRejected', 'RemediationExpired'],
      ...['RemediationPartlyApproved', 'RemediationPartFinished', 'RemediationOverdue', 'RemediationUndone'],
      ...['withdrawn: cancelled', 'withdrawn: timedOut', 'BatchDeferred', 'CopyRemediationCancelled'],
    ]) {
      expect(seen).toContain(what);
    }
  });
});
