import type { EventStore, RecordedEvent } from '#libs/event-store';
import { START, idFrom, inFlight, pause, type Clock, type Position } from '#libs/kernel';
import type { MailboxGateway } from '#libs/mailbox';
import {
  decideAndAppend,
  isFinished,
  loadRemediation,
  recordSubmission,
  remediationCodecs,
  remediationDecider,
  remediationStream,
  sumTallies,
  type CommandContext,
  type RemediationCommand,
  type Submission,
  type Tally,
} from '#libs/remediation';
import { BatchRunner, type ExecutorOptions } from './batch-runner.js';
import { MailboxLanes } from './mailbox-lanes.js';

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
  readonly onError: (error: unknown, what: string) => void;
}

/**
 * Runs approved remediations. Driven by the event log alone: it follows the log from its checkpoint, and the checkpoint
 * never passes a remediation that has not finished, so after a crash everything unfinished is seen again. Running
 * anything again is safe (see {@link BatchRunner.run}).
 */
export class Executor {
  private readonly stopping = new AbortController();
  private readonly running = new Map<string, Promise<void>>();
  /** Positions of the approvals whose remediation has not finished, in order. */
  private readonly unfinished = new Map<string, Position>();
  private readonly places: ReturnType<typeof inFlight>;
  private readonly batches: BatchRunner;
  private following: Promise<void> | undefined;
  private seen: Position = START;
  private saved: Position = START;

  constructor(
    private readonly deps: ExecutorDependencies,
    private readonly options: ExecutorOptions,
  ) {
    this.places = inFlight(options.remediationsInFlight);
    this.batches = new BatchRunner(
      deps.store,
      deps.gateway,
      new MailboxLanes(options.mailboxConcurrency),
      deps.clock,
      options,
    );
  }

  /** Begins to follow the log, in the background. */
  async start(): Promise<void> {
    this.seen = this.saved = await this.deps.checkpoints.load();
    this.following = this.follow();
  }

  /** Stops taking work, lets what is known be recorded, saves the checkpoint. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.following;
    await Promise.allSettled(this.running.values());
    await this.saveCheckpoint();
  }

  private async follow(): Promise<void> {
    const { signal } = this.stopping;
    for (let wait = 100; !signal.aborted; wait = Math.min(wait * 2, 5000)) {
      try {
        for await (const delivery of this.deps.store.subscribe({ after: this.seen, signal })) {
          for (const event of delivery.events) {
            await this.react(event);
            this.seen = event.position;
          }
          await this.saveCheckpoint();
          wait = 100;
        }
      } catch (error) {
        this.deps.onError(error, 'following the event log');
        await pause(wait, signal);
      }
    }
  }

  private async react(recorded: RecordedEvent): Promise<void> {
    const event = remediationCodecs.decode(recorded);
    if (event === undefined) return;
    if (event.type === 'RemediationApproved') {
      this.launch(event.data.approvalId, recorded);
    } else if (event.type === 'RemediationUndone') {
      await this.submitUndo(event.data.undo, recorded);
    }
  }

  /** Finishes what an undo began: normally its own request has done so, and this finds nothing to do. */
  private async submitUndo(undo: Submission, recorded: RecordedEvent): Promise<void> {
    const { state } = await loadRemediation(this.deps.store, undo.approvalId);
    if (state.status !== 'none') return;
    await recordSubmission(this.deps.store, undo, true, {
      ...contextOf(recorded, undo.approvalId),
      commandId: undo.planId,
      now: this.deps.clock.now(),
    }).catch(async (error: unknown) => {
      // Its own request was faster after all.
      if ((await loadRemediation(this.deps.store, undo.approvalId)).state.status === 'none') throw error;
    });
  }

  private launch(approvalId: string, approval: RecordedEvent): void {
    if (this.running.has(approvalId)) return;
    this.unfinished.set(approvalId, approval.position);
    const run = this.runUntilFinished(approvalId, approval).finally(() => {
      this.running.delete(approvalId);
    });
    this.running.set(approvalId, run);
  }

  /** Tries again for ever: a fault of a store or mailbox is waited out, it is never an outcome. */
  private async runUntilFinished(approvalId: string, approval: RecordedEvent): Promise<void> {
    const { signal } = this.stopping;
    for (let wait = 200; !signal.aborted; wait = Math.min(wait * 2, 10_000)) {
      const finished = await this.takePlace(() =>
        this.run(approvalId, approval).catch((error: unknown) => {
          this.deps.onError(error, `running remediation ${approvalId}`);
          return false;
        }),
      );
      if (finished) {
        this.unfinished.delete(approvalId);
        await this.saveCheckpoint().catch((error: unknown) => {
          this.deps.onError(error, 'saving the checkpoint');
        });
        return;
      }
      await pause(wait, signal);
    }
  }

  private takePlace<T>(task: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.places.add(() => task().then(resolve, reject)).catch(reject);
    });
  }

  /** One run over all batches. @returns whether the remediation has finished. */
  private async run(approvalId: string, approval: RecordedEvent): Promise<boolean> {
    const { signal } = this.stopping;
    const context = contextOf(approval, approvalId);
    await this.deps.mailboxesReady(approval.position, signal);
    const { state } = await loadRemediation(this.deps.store, approvalId);
    if (state.status === 'none' || isFinished(state.status)) return true;
    await this.decide(approvalId, { type: 'Start' }, context);

    const { planId, batches } = state.submission;
    const tallies: Tally[] = [];
    const lanes = inFlight(this.options.batchesInFlight);
    try {
      for (let number = 0; number < batches; number += 1) {
        if (signal.aborted) break;
        await lanes.add(async () => {
          const tally = await this.batches.run(planId, number, context, signal);
          if (tally !== undefined) tallies.push(tally);
        });
      }
    } finally {
      // When a batch has failed, too: nothing goes on behind the back of the next run.
      await lanes.drain();
    }
    if (tallies.length < batches) return false;
    await this.decide(approvalId, { type: 'Finish', tally: sumTallies(tallies) }, context);
    return true;
  }

  private async decide(
    approvalId: string,
    command: RemediationCommand,
    context: Omit<CommandContext, 'commandId' | 'now'>,
  ): Promise<void> {
    await decideAndAppend(
      this.deps.store,
      remediationCodecs,
      remediationDecider,
      remediationStream(approvalId),
      command,
      { ...context, commandId: idFrom(command.type, approvalId), now: this.deps.clock.now() },
    );
  }

  /** Just before the first unfinished remediation, or as far as was read. */
  private async saveCheckpoint(): Promise<void> {
    let safe = this.seen;
    for (const position of this.unfinished.values()) if (position <= safe) safe = position - 1n;
    if (safe <= this.saved) return;
    await this.deps.checkpoints.save(safe);
    this.saved = safe;
  }
}

const contextOf = (cause: RecordedEvent, approvalId: string): Omit<CommandContext, 'commandId' | 'now'> => ({
  tenant: cause.metadata.tenant ?? '',
  actor: cause.metadata.actor ?? '',
  correlationId: approvalId,
  causationId: cause.id,
});
