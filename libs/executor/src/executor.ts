import {
  isWrongExpectedRevision,
  type EventStore,
  type Recorded,
  type RecordedEvent,
  type WorkQueue,
  appendEvents,
  decideAndAppend,
  followLog,
  type CommandContext,
  type Decided,
} from '#libs/event-store';
import { START, idFrom, pause, type Clock, type Position } from '#libs/kernel';
import type { MailboxGateway } from '#libs/mailbox';
import {
  batchCodecs,
  batchStream,
  batchDecider,
  copyEventTypes,
  hasBegun,
  loadRemediation,
  plannedBatch,
  recordSubmission,
  remediationCodecs,
  remediationDecider,
  remediationStream,
  settledTally,
  startingTallyOf,
  sumTallies,
  type BatchEvent,
  type Remediation,
  type RemediationCommand,
  type RemediationEvent,
  type Submission,
  type Withdrawal,
} from '#libs/remediation';
import { ActiveRemediation } from './active-remediation.js';
import { BatchRunner, type ExecutorOptions } from './batch-runner.js';
import { Coordination, type CoordinationState, type EventFacts } from './coordination.js';
import { MailboxLanes } from './mailbox-lanes.js';
import { Workers, type DueBatch } from './workers.js';

/** Where the executor keeps how far it has come in the event log. */
export interface CheckpointStore {
  load(): Promise<Position>;
  save(position: Position): Promise<void>;
}

export interface ExecutorDependencies {
  readonly store: EventStore;
  readonly gateway: MailboxGateway;
  readonly checkpoints: CheckpointStore;
  readonly clock: Clock;
  /** Resolves when the mailboxes have what was recorded up to a position (the sandbox is filled from the events). */
  readonly mailboxesReady: (position: Position, signal: AbortSignal) => Promise<void>;
  /** Told of every fault, with what is known of the event or the work that it concerns. Must not throw. */
  readonly onError: (error: unknown, what: string, facts?: Facts) => void;
  /** Shares released batches out among several executors; without one this executor takes all. */
  readonly queue?: WorkQueue;
}

/** Ties a fault to its cause, for the log. */
export type Facts = Partial<EventFacts>;

/** How an executor is doing; for metrics and health. */
export interface ExecutorState {
  readonly coordination: CoordinationState;
  /** The last event of the log that the coordinator is done with. */
  readonly position: Position;
  /** Remediations that are approved and not finished, as far as the coordinator has seen. */
  readonly remediations: number;
  readonly batches: {
    /** Under way here; those that are tried again after a fault included. */
    readonly running: number;
    /** Taken, and waiting for a place. */
    readonly waiting: number;
    /** Put off until their mailboxes answer again, by whomever. */
    readonly deferred: number;
    /** Ended by a fault and to be tried again. */
    readonly retrying: number;
    /** Claims won since the start. */
    readonly claimed: number;
  };
}

type RequestPart = Omit<CommandContext, 'commandId' | 'now'>;

/** What a coordinator acts on: what becomes of a single copy is its worker's business. */
const COORDINATED: ReadonlySet<string> = new Set([
  ...remediationCodecs.types,
  ...batchCodecs.types.filter((type) => type !== 'BatchPlanned' && !copyEventTypes.has(type)),
]);

/** How often claims are looked at. */
const WATCH_MS = 2000;

/**
 * Runs approved remediations, driven by the event log alone.
 *
 * As *coordinator* it follows the log: an approval starts a remediation and releases its batches, a few ahead of what has
 * settled; the last settlement finishes it. As *worker* it runs released batches. Any number of executors do both at the
 * same time: every step is an append at an expected revision, so doing it twice records it once, and one claim on a batch
 * wins. A batch whose claim has lapsed, or that nobody claimed, is taken over. The checkpoint never passes a remediation
 * that has not finished, so after a crash everything unfinished is seen again.
 */
export class Executor {
  private readonly stopping = new AbortController();
  private readonly active = new Map<string, ActiveRemediation>();
  private readonly workers: Workers;
  private readonly runner: BatchRunner;
  private readonly coordination: Coordination;
  private readonly retrying = new Set<string>();
  private readonly nap = new Nap();
  private background: Promise<unknown> | undefined;
  private seen: Position = START;
  private saved: Position = START;

  constructor(
    private readonly deps: ExecutorDependencies,
    private readonly options: ExecutorOptions,
  ) {
    const lanes = new MailboxLanes(options.mailboxConcurrency, deps.clock);
    this.runner = new BatchRunner(deps.store, deps.gateway, lanes, deps.clock, options);
    this.workers = new Workers(options.batchesInFlight, (due) => this.runBatch(due));
    this.coordination = new Coordination(deps.clock);
  }

  /** Begins to follow the log, in the background. */
  async start(): Promise<void> {
    this.seen = this.saved = await this.deps.checkpoints.load();
    this.background = Promise.all([this.follow(), this.watch(), this.consume()]);
  }

  /** Stops taking work, lets what is known be recorded, saves the checkpoint. */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.nap.end();
    await this.workers.stop();
    await this.background;
    await this.saveCheckpoint();
  }

  state(): ExecutorState {
    return {
      coordination: this.coordination.state,
      position: this.seen,
      remediations: this.active.size,
      batches: {
        running: this.workers.running,
        waiting: this.workers.waiting,
        deferred: [...this.active.values()].reduce((sum, { waiting }) => sum + waiting, 0),
        retrying: this.retrying.size,
        claimed: this.runner.claims,
      },
    };
  }

  private follow(): Promise<void> {
    return followLog(
      this.deps.store,
      { after: () => this.seen, signal: this.stopping.signal, types: COORDINATED },
      async ({ events, position }) => {
        for (const event of events) {
          await this.reactTo(event);
          this.seen = event.position;
        }
        this.seen = position;
        this.coordination.follows();
        await this.saveCheckpoint();
      },
      (error) => {
        const facts = this.coordination.meets(error);
        this.deps.onError(error, 'following the event log', facts);
      },
    );
  }

  private async reactTo(event: RecordedEvent): Promise<void> {
    try {
      await this.react(event);
    } catch (error) {
      this.coordination.stumblesAt(event);
      throw error;
    }
  }

  private async react(recorded: RecordedEvent): Promise<void> {
    const life = remediationCodecs.decode(recorded);
    if (life !== undefined) {
      await this.onLife(life, recorded);
      return;
    }
    const event = batchCodecs.decode(recorded);
    if (event !== undefined) await this.onBatch(event);
  }

  private async onLife(event: Recorded<RemediationEvent>, recorded: RecordedEvent): Promise<void> {
    switch (event.type) {
      case 'RemediationApproved':
      case 'RemediationPartlyApproved':
        await this.begin(event.data.approvalId, recorded);
        break;
      case 'RemediationCancelRequested':
        await this.halt(event.data.approvalId, 'cancelled');
        break;
      case 'RemediationOverdue':
        await this.halt(event.data.approvalId, 'timedOut');
        break;
      case 'RemediationPartFinished':
      case 'RemediationCancelled':
      case 'RemediationCompleted':
      case 'RemediationFailed':
        this.active.delete(event.data.approvalId);
        break;
      case 'RemediationUndone':
        await this.submitUndo(event.data.undo, recorded);
        break;
      default:
    }
  }

  private async onBatch(event: Recorded<BatchEvent>): Promise<void> {
    const remediation = this.active.get(event.data.approvalId);
    if (remediation?.submission.planId !== event.data.planId) return;
    const { batch } = event.data;
    switch (event.type) {
      case 'BatchReleased':
        remediation.released = Math.max(remediation.released, batch + 1);
        remediation.expect(batch, this.now() + this.options.claimMs);
        if (this.deps.queue === undefined) this.take(remediation, batch);
        break;
      case 'BatchAttemptStarted':
        await this.noteWork(remediation);
        remediation.expect(batch, Date.parse(event.data.deadline));
        break;
      case 'BatchAttemptExtended':
        remediation.expect(batch, Date.parse(event.data.deadline));
        break;
      case 'BatchDeferred':
        await this.deferUntil(remediation, event.data);
        break;
      case 'BatchWithdrawn':
      case 'BatchSettled':
        remediation.settle(batch, event.data.tally);
        await this.advance(remediation);
        break;
      default:
    }
  }

  private async begin(approvalId: string, approval: RecordedEvent): Promise<void> {
    const loaded = await loadRemediation(this.deps.store, approvalId);
    const { state } = loaded;
    if (state.status === 'none' || !hasBegun(state.status)) return;
    // The part has run, and the rest was approved by an event further on.
    if (approval.type === 'RemediationPartlyApproved' && state.approvedBatches === undefined) return;
    const remediation = new ActiveRemediation(approval, state);
    remediation.life = loaded;
    if (state.overdue === true) remediation.stopped = 'timedOut';
    if (state.cancelRequested === true) remediation.stopped = 'cancelled';
    this.active.set(approvalId, remediation);
    if (remediation.startsAt <= this.now() || remediation.stopped !== undefined)
      await this.launch(remediation);
  }

  /** Its time has come. */
  private async launch(remediation: ActiveRemediation): Promise<void> {
    remediation.launched = true;
    const { planId } = remediation.submission;
    const now = this.deps.clock.now();
    const { state } = await this.decide(remediation, { type: 'Queue', now }, now);
    if (state.status !== 'none' && state.deadline !== undefined) {
      remediation.deadline = Date.parse(state.deadline);
    }
    for (; remediation.released < remediation.partBatches; remediation.released += 1) {
      const tally = await settledTally(this.deps.store, planId, remediation.released);
      if (tally !== undefined) remediation.settle(remediation.released, tally);
    }
    await this.advance(remediation);
  }

  /** Nothing more of it is begun. */
  private async halt(approvalId: string, outcome: Withdrawal): Promise<void> {
    const remediation = this.active.get(approvalId);
    if (remediation === undefined) return;
    remediation.stopped ??= outcome;
    await (remediation.launched ? this.advance(remediation) : this.launch(remediation));
  }

  /** Somebody has begun to work on it. */
  private async noteWork(remediation: ActiveRemediation): Promise<void> {
    if (remediation.begun) return;
    await this.decide(remediation, { type: 'Start' });
    remediation.begun = true;
  }

  /** While it waits, others have their turn; whoever put it off takes it up again, and somebody else if he is gone. */
  private async deferUntil(
    remediation: ActiveRemediation,
    { batch, worker, until }: { readonly batch: number; readonly worker: string; readonly until: string },
  ): Promise<void> {
    const isOurs = worker === this.options.worker;
    remediation.defer(batch, Date.parse(until) + (isOurs ? 0 : this.options.claimMs));
    await this.advance(remediation);
    this.nap.end();
  }

  /** Releases or takes up again what is next, withdraws what is not to run any more, or finishes. */
  private async advance(remediation: ActiveRemediation): Promise<void> {
    const { approvalId, planId } = remediation.submission;
    if (remediation.allSettled) {
      await this.finish(remediation);
      return;
    }
    if (remediation.stopped !== undefined) {
      await this.withdraw(remediation, remediation.stopped);
      return;
    }
    this.resume(remediation);
    for (const batch of remediation.toRelease(this.options.batchesAhead)) {
      const stream = batchStream(planId, batch);
      const context = this.command(remediation.approval, approvalId, idFrom('release', stream));
      try {
        // The plan is the only event before it, so nothing has to be loaded to decide.
        await appendEvents<BatchEvent>(
          this.deps.store,
          batchCodecs,
          stream,
          0n,
          [{ type: 'BatchReleased', data: { approvalId, planId, batch } }],
          context,
        );
      } catch (error) {
        // Released before: by another executor, or before a crash.
        if (!isWrongExpectedRevision(error)) throw error;
      }
      remediation.released = batch + 1;
      remediation.expect(batch, this.now() + this.options.claimMs);
    }
  }

  /** Of a batch and its release or withdrawal the first one counts: both are appended at the same revision. */
  private async withdraw(remediation: ActiveRemediation, outcome: Withdrawal): Promise<void> {
    const { approvalId, planId } = remediation.submission;
    for (const batch of remediation.toWithdraw()) {
      const stream = batchStream(planId, batch);
      await decideAndAppend(
        this.deps.store,
        batchCodecs,
        batchDecider,
        stream,
        { type: 'Withdraw', outcome },
        this.command(remediation.approval, approvalId, idFrom('withdraw', stream)),
      );
      remediation.released = Math.max(remediation.released, batch + 1);
      // Should it have been given out, and its worker have died.
      remediation.expect(batch, this.now() + this.options.claimMs);
    }
  }

  /** Takes up again what has waited for long enough. */
  private resume(remediation: ActiveRemediation): void {
    if (remediation.stopped !== undefined) return;
    const { planId } = remediation.submission;
    const now = this.now();
    for (const batch of remediation.toResume(this.options.batchesAhead, now)) {
      // It has said that it waits, and is about to leave its place: that is seen then.
      if (this.workers.have(planId, batch)) continue;
      remediation.expect(batch, now + this.options.claimMs);
      this.take(remediation, batch);
    }
  }

  private async finish(remediation: ActiveRemediation): Promise<void> {
    const { approvalId, planId, batches } = remediation.submission;
    const tallies = [...remediation.tallies];
    if (remediation.isPart) {
      for (let batch = remediation.limit; batch < batches; batch += 1) {
        tallies.push(startingTallyOf((await plannedBatch(this.deps.store, planId, batch)).targets));
      }
    }
    const type = remediation.isPart ? 'FinishPart' : 'Finish';
    const { state } = await this.decide(remediation, { type, tally: sumTallies(tallies) });
    // Unless a part has run and something stops the rest as well: that is in the log, and not read yet.
    if (!hasBegun(state.status)) this.active.delete(approvalId);
  }

  /** Finishes what an undo began: normally its own request has done so, and this finds nothing to do. */
  private async submitUndo(undo: Submission, recorded: RecordedEvent): Promise<void> {
    const { state } = await loadRemediation(this.deps.store, undo.approvalId);
    if (state.status !== 'none') return;
    const context = this.command(recorded, undo.approvalId, undo.planId);
    await recordSubmission(this.deps.store, undo, true, context).catch(async (error: unknown) => {
      // Its own request was faster after all.
      if ((await loadRemediation(this.deps.store, undo.approvalId)).state.status === 'none') throw error;
    });
  }

  private async consume(): Promise<void> {
    const { queue } = this.deps;
    if (queue === undefined) return;
    await queue.consume(async (recorded) => {
      const event = batchCodecs.decode(recorded);
      if (event?.type !== 'BatchReleased') return;
      const { approvalId, planId, batch } = event.data;
      await this.work({
        planId,
        batch,
        context: requestPart(recorded, approvalId),
        after: recorded.position,
      });
      // It may have had no turn: then it comes again, to somebody else.
      this.stopping.signal.throwIfAborted();
    }, this.stopping.signal);
  }

  /** Takes over what others have left lying, and takes up again what has waited for its mailboxes. */
  private async watch(): Promise<void> {
    while (!this.isStopping()) {
      await this.nap.take(this.untilNextLook());
      const now = this.now();
      for (const remediation of this.active.values()) {
        await this.watchTime(remediation, now);
        if (this.isStopping()) return;
        this.resume(remediation);
        for (const batch of remediation.overdue(now)) {
          remediation.expect(batch, now + this.options.claimMs);
          this.take(remediation, batch);
        }
      }
    }
  }

  private untilNextLook(): number {
    const now = this.now();
    const next = Math.min(...Array.from(this.active.values(), (remediation) => remediation.nextResume(now)));
    return Math.min(WATCH_MS, this.options.claimMs / 3, next - now);
  }

  /** Begins what is due, and ends what has run out of time. */
  private async watchTime(remediation: ActiveRemediation, now: number): Promise<void> {
    if (this.isStopping()) return;
    try {
      if (!remediation.launched && remediation.startsAt <= now) await this.launch(remediation);
      if (
        remediation.deadline !== undefined &&
        remediation.deadline <= now &&
        remediation.stopped === undefined
      ) {
        await this.decide(remediation, { type: 'RunOutOfTime' });
      }
    } catch (error) {
      const { approvalId } = remediation.submission;
      this.deps.onError(error, 'watching the time of a remediation', { correlationId: approvalId });
    }
  }

  private take(remediation: ActiveRemediation, batch: number): void {
    const { approvalId, planId } = remediation.submission;
    const { approval } = remediation;
    void this.work({
      planId,
      batch,
      context: requestPart(approval, approvalId),
      after: approval.position,
    });
  }

  private async work(due: DueBatch): Promise<void> {
    await this.workers.take(due);
    // Deferred, its time may have come while it was leaving its place.
    this.nap.end();
  }

  /** Tries again for ever: a fault of a store or mailbox is waited out, it is never an outcome. */
  private async runBatch({ planId, batch, context, after }: DueBatch): Promise<void> {
    const { signal } = this.stopping;
    const stream = batchStream(planId, batch);
    const { correlationId, causationId } = context;
    for (let wait = 200; !signal.aborted; wait = Math.min(wait * 2, 10_000)) {
      try {
        await this.deps.mailboxesReady(after, signal);
        await this.runner.run(planId, batch, context, signal);
        break;
      } catch (error) {
        this.retrying.add(stream);
        if (!this.isStopping()) {
          const what = `running batch ${String(batch)} of plan ${planId}`;
          this.deps.onError(error, what, { stream, correlationId, causationId });
        }
        await pause(wait, signal);
      }
    }
    this.retrying.delete(stream);
  }

  private async decide(
    remediation: ActiveRemediation,
    command: RemediationCommand,
    now = this.deps.clock.now(),
  ): Promise<Decided<Remediation, RemediationEvent>> {
    const { approvalId } = remediation.submission;
    const decided = await decideAndAppend(
      this.deps.store,
      remediationCodecs,
      remediationDecider,
      remediationStream(approvalId),
      command,
      // A part and the rest are each approved, queued and started.
      this.command(remediation.approval, approvalId, idFrom(command.type, remediation.approval.id), now),
      { known: remediation.life },
    );
    remediation.life = decided;
    return decided;
  }

  private command(
    cause: RecordedEvent,
    approvalId: string,
    commandId: string,
    now = this.deps.clock.now(),
  ): CommandContext {
    return { ...requestPart(cause, approvalId), commandId, now };
  }

  private isStopping(): boolean {
    return this.stopping.signal.aborted;
  }

  private now(): number {
    return this.deps.clock.now().getTime();
  }

  /** Just before the first unfinished remediation, or as far as was read. */
  private async saveCheckpoint(): Promise<void> {
    let safe = this.seen;
    for (const { approval } of this.active.values()) {
      if (approval.position <= safe) safe = approval.position - 1n;
    }
    if (safe <= this.saved) return;
    try {
      await this.deps.checkpoints.save(safe);
      this.saved = safe;
    } catch (error) {
      // It is saved with the next delivery; until then a restart would only read more.
      this.deps.onError(error, 'saving the checkpoint');
    }
  }
}

/** A pause that others can end. */
class Nap {
  private ending = new AbortController();

  async take(ms: number): Promise<void> {
    this.ending = new AbortController();
    await pause(ms, this.ending.signal);
  }

  end(): void {
    this.ending.abort();
  }
}

const requestPart = (cause: RecordedEvent, approvalId: string): RequestPart => ({
  tenant: cause.metadata.tenant ?? '',
  actor: cause.metadata.actor ?? '',
  correlationId: approvalId,
  causationId: cause.id,
});
