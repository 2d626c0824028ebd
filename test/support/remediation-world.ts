import { decideAndAppend, load, type CommandContext, type Decider } from '#libs/event-store';
import { FoundTouches, actionLogView, historyView } from '#libs/action-center';
import { BatchRunner } from '#libs/executor';
import { Clock, START, idFrom, type Position } from '#libs/kernel';
import type { MailboxGateway } from '#libs/mailbox';
import { changed, type Projection } from '#libs/read-store';
import {
  ActiveRemediations,
  ApprovalPolicies,
  ApproveRemediation,
  ApproveRemediationHandler,
  CopyStates,
  PlanCounter,
  RemediationLimits,
  RetryRemediation,
  RetryRemediationHandler,
  UndoRemediation,
  UndoRemediationHandler,
  batchCodecs,
  batchDecider,
  batchStream,
  batchWriter,
  batcher,
  planner,
  recordSubmission,
  remediationCodecs,
  remediationDecider,
  remediationStream,
  sumTallies,
  type BatchCommand,
  type BatchEvent,
  type BatchState,
  type MovedCopy,
  type KnownRemediation,
  type PlanRules,
  type Remediation,
  type RemediationCommand,
  type RemediationEvent,
  type Retryable,
  type SelectedEmail,
  type Submission,
  type Tally,
} from '#libs/remediation';
import { MailboxLanes } from '../../libs/executor/src/mailbox-lanes.js';
import { InMemoryEventStore } from './in-memory-event-store.js';
import { TestClock } from './test-clock.js';

export const TENANT = 'fabrikam';
const EXPIRE_MS = 7 * 24 * 3_600_000;
const LIMITS = new RemediationLimits(100, 1000, 100, 50, 1_000_000, 1000, 0.4, 1000);

export interface SubmitOptions {
  readonly approve?: boolean;
  readonly batchCopies?: number;
  /** What else the submission says. */
  readonly terms?: Partial<Submission>;
}

/** The documents of a view, folded event by event from the log: what a projector makes, without a store. */
export class Fold<Doc> {
  readonly docs = new Map<string, Doc>();
  private position: Position = START;

  constructor(
    private readonly store: InMemoryEventStore,
    private readonly projection: Projection<Doc>,
  ) {}

  async catchUp(): Promise<void> {
    for await (const event of this.store.readAll(this.position)) {
      for (const change of this.projection.project(event)) {
        const doc = changed(change, this.docs.get(change.id));
        if (doc !== undefined) this.docs.set(change.id, doc);
      }
      this.position = event.position;
    }
  }
}

/** Stands between a command and its decider, for instance to look over its shoulder. */
export type Watch = <State, Command, Event>(
  decider: Decider<State, Command, Event>,
) => Decider<State, Command, Event>;

/** The write side and the views over one log in memory, with a clock that moves with every command. */
export class RemediationWorld {
  readonly store = new InMemoryEventStore();
  readonly history = new Fold(this.store, historyView);
  readonly actionLog = new Fold(this.store, actionLogView);
  /** Approval IDs in the order of their submission. */
  readonly submitted: string[] = [];
  now = new Date('2025-03-07T08:00:00.000Z');
  private commands = 0;
  private readonly undos: UndoRemediationHandler;
  private readonly retries: RetryRemediationHandler;
  private readonly approvals: ApproveRemediationHandler;
  private readonly remediation: Decider<Remediation, RemediationCommand, RemediationEvent>;
  private readonly batch: Decider<BatchState, BatchCommand, BatchEvent>;

  constructor(watch: Watch = (decider) => decider) {
    this.remediation = watch(remediationDecider);
    this.batch = watch(batchDecider);
    this.undos = new UndoRemediationHandler(
      this.store,
      new FoldedCopyStates(this.actionLog),
      new NothingActive(),
      LIMITS,
    );
    this.retries = new RetryRemediationHandler(this.store, new NothingActive(), LIMITS, new NoPolicy());
    this.approvals = new ApproveRemediationHandler(
      this.store,
      new NothingActive(),
      LIMITS,
      new ClockOfWorld(() => this.now),
    );
  }

  /** Brings every view to the end of the log. */
  async catchUp(): Promise<void> {
    for (const view of [this.history, this.actionLog]) await view.catchUp();
  }

  /** Plans the emails into batches of so many copies, and submits that. */
  async submit(
    emails: readonly SelectedEmail[],
    rules: PlanRules,
    { approve = true, batchCopies = 3, terms = {} }: SubmitOptions = {},
  ): Promise<Submission> {
    const approvalId = `r${this.submitted.length + 1}`;
    const planId = `plan-${approvalId}`;
    const context = this.context(approvalId);
    const plan = planner(rules);
    const counter = new PlanCounter();
    const cutter = batcher({ copies: batchCopies, bytes: 100_000 });
    const writer = batchWriter(this.store, rules.action, { approvalId, planId }, context);
    let batches = 0;
    const write = async (batch: ReturnType<typeof cutter.end>): Promise<void> => {
      if (batch === undefined) return;
      batches += 1;
      await writer.write(batch);
    };
    for (const copy of [...emails.flatMap((email) => plan.add(email)), ...plan.end()]) {
      counter.add(copy);
      await write(cutter.add(copy));
    }
    await write(cutter.end());
    await writer.drain();
    const submission: Submission = {
      approvalId,
      planId,
      name: `Remediation ${approvalId}`,
      description: '',
      severity: 'low',
      action: rules.action,
      sendersCopy: rules.sendersCopy,
      surface: 'threatExplorer',
      selection: { by: 'emails' },
      selectionHash: `hash-${approvalId}`,
      plan: counter.totals(emails.length),
      tally: counter.startingTally(),
      batches,
      requestHash: `request-${approvalId}`,
      submittedBy: context.actor,
      expiresAt: new Date(context.now.getTime() + EXPIRE_MS).toISOString(),
      ...terms,
    };
    await recordSubmission(this.store, submission, approve, context);
    this.submitted.push(approvalId);
    return submission;
  }

  /** Runs an approved remediation to its end, with the runner that the executor uses. */
  async run(submission: Submission, gateway: MailboxGateway): Promise<void> {
    const { approvalId, planId, batches } = submission;
    const clock = new TestClock();
    const runner = new BatchRunner(this.store, gateway, new MailboxLanes(4, clock), clock, {
      worker: 'worker-1',
      copyDeadlineMs: 10_000,
      throttlePatienceMs: 0,
      maxAttempts: 1,
      claimMs: 60_000,
      batchesInFlight: 1,
      batchesAhead: 1,
      mailboxConcurrency: 4,
      flushMs: 1000,
    });
    const context = { tenant: TENANT, actor: 'kim', correlationId: approvalId, causationId: approvalId };
    await this.decide(approvalId, { type: 'Queue', now: this.now });
    await this.decide(approvalId, { type: 'Start' });
    const tallies: Tally[] = [];
    for (let number = 0; number < batches; number += 1) {
      await this.decideBatch(submission, number, { type: 'Release' });
      const tally = await runner.run(planId, number, context, new AbortController().signal);
      if (tally === undefined) throw new Error(`batch ${number} was not settled`);
      tallies.push(tally);
    }
    await this.decide(approvalId, { type: 'Finish', tally: sumTallies(tallies) });
    await this.catchUp();
  }

  /** Submits the undo of everything that a remediation moved. */
  async undo(approvalId: string): Promise<Submission> {
    const { submission } = await this.undos.execute(
      new UndoRemediation(approvalId, { all: true }, undefined, '', this.context(approvalId)),
    );
    this.submitted.push(submission.approvalId);
    return submission;
  }

  /** Submits the retry of those copies that had one of these outcomes; approved at once. */
  async retry(
    approvalId: string,
    outcomes: readonly Retryable[] = ['failed', 'timedOut'],
  ): Promise<Submission> {
    const { submission } = await this.retries.execute(
      new RetryRemediation(approvalId, outcomes, undefined, '', this.context(approvalId), true),
    );
    this.submitted.push(submission.approvalId);
    return submission;
  }

  /** Somebody else than the submitter approves a proposal, or the first emails of it. */
  async approve(approvalId: string, firstEmails?: number): Promise<KnownRemediation> {
    const { submission } = await this.remediationState(approvalId);
    const context = { ...this.context(approvalId), actor: 'lee@fabrikam.example' };
    await this.approvals.execute(
      new ApproveRemediation(approvalId, submission.selectionHash, context, firstEmails),
    );
    return this.remediationState(approvalId);
  }

  async decide(approvalId: string, command: RemediationCommand): Promise<void> {
    const stream = remediationStream(approvalId);
    await decideAndAppend(
      this.store,
      remediationCodecs,
      this.remediation,
      stream,
      command,
      this.context(approvalId),
    );
  }

  async decideBatch(
    { approvalId, planId }: Submission,
    number: number,
    command: BatchCommand,
  ): Promise<BatchState> {
    const stream = batchStream(planId, number);
    const context = this.context(approvalId);
    return (await decideAndAppend(this.store, batchCodecs, this.batch, stream, command, context)).state;
  }

  async remediationState(approvalId: string): Promise<KnownRemediation> {
    const { state } = await load(
      this.store,
      remediationCodecs,
      this.remediation,
      remediationStream(approvalId),
    );
    if (state.status === 'none') throw new Error(`${approvalId} was never submitted`);
    return state;
  }

  async batchStates({ planId, batches }: Submission): Promise<Exclude<BatchState, { status: 'none' }>[]> {
    const states: Exclude<BatchState, { status: 'none' }>[] = [];
    for (let number = 0; number < batches; number += 1) {
      const { state } = await load(this.store, batchCodecs, this.batch, batchStream(planId, number));
      if (state.status === 'none') throw new Error(`batch ${number} of ${planId} was never planned`);
      states.push(state);
    }
    return states;
  }

  /** The context of the next command, a second later. */
  private context(correlationId: string): CommandContext {
    this.commands += 1;
    this.now = new Date(this.now.getTime() + 1000);
    const commandId = idFrom('command', String(this.commands));
    return {
      tenant: TENANT,
      actor: 'kim@fabrikam.example',
      correlationId,
      causationId: commandId,
      commandId,
      now: this.now,
    };
  }
}

/** What the real adapter says, from the logs of all batches. */
class FoldedCopyStates extends CopyStates {
  constructor(private readonly logs: RemediationWorld['actionLog']) {
    super();
  }

  ready(): Promise<void> {
    return this.logs.catchUp();
  }

  stillMovedBy<Copy extends MovedCopy>(
    _tenant: string,
    approvalId: string,
    moved: readonly Copy[],
  ): Promise<readonly Copy[]> {
    const found = new FoundTouches(moved);
    for (const log of this.logs.docs.values()) found.add(log);
    return Promise.resolve(found.stillMovedBy(approvalId, moved));
  }

  touchedBy(): Promise<ReadonlySet<string>> {
    throw new Error('nothing here asks this');
  }
}

class ClockOfWorld extends Clock {
  constructor(readonly now: () => Date) {
    super();
  }
}

class NoPolicy extends ApprovalPolicies {
  of(): { fourEyesFrom: undefined; fourEyesForHardDelete: boolean; expireAfterMs: number } {
    return { fourEyesFrom: undefined, fourEyesForHardDelete: false, expireAfterMs: EXPIRE_MS };
  }
}

class NothingActive extends ActiveRemediations {
  active(): Promise<{ remediations: number; emails: number }> {
    return Promise.resolve({ remediations: 0, emails: 0 });
  }
}
