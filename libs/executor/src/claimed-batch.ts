import { appendEvents, fold, type CommandContext, type EventStore } from '#libs/event-store';
import { idFrom, type Clock } from '#libs/kernel';
import {
  batchCodecs,
  batchDecider,
  pendingTargets,
  type BatchCommand,
  type BatchState,
  type CopyResult,
  type Tally,
} from '#libs/remediation';
import type { Closed } from './mailbox-lanes.js';

/** A batch that is planned. */
export type KnownBatch = Exclude<BatchState, { status: 'none' }>;

/** The longest that a batch waits beyond what its mailboxes ask for. */
const LONGEST_EXTRA_MS = 10_000;

/**
 * A batch that this worker has claimed, and what is written about it. One writer at a time: the claim is ours, and appends
 * follow each other. An append that is refused says that somebody else has the batch.
 */
export class ClaimedBatch {
  private readonly results: { readonly target: number; readonly result: CopyResult }[] = [];
  /** Copies that have to wait, and until when (milliseconds since 1970). */
  private readonly waiting = new Map<number, number>();
  private readonly attempt: number;
  private extendAt: number;

  constructor(
    private state: KnownBatch,
    private revision: bigint,
    private readonly stream: string,
    private readonly store: EventStore,
    private readonly clock: Clock,
    private readonly context: Omit<CommandContext, 'commandId' | 'now'>,
    private readonly options: { readonly claimMs: number; readonly throttlePatienceMs: number },
  ) {
    this.attempt = state.attempt?.number ?? 0;
    this.extendAt = this.now() + options.claimMs / 3;
  }

  /** What became of a copy; it is recorded with the next {@link record}. */
  note(target: number, result: CopyResult | Closed): void {
    if (result.kind === 'closed') this.waiting.set(target, result.until);
    else this.results.push({ target, result });
  }

  async record(): Promise<void> {
    const results = this.results.splice(0);
    if (results.length > 0) await this.append({ type: 'RecordResults', attempt: this.attempt, results });
  }

  /** Says in time that this worker lives, whether it had results to record or not. */
  async keep(): Promise<void> {
    const now = this.now();
    if (now < this.extendAt) return;
    this.extendAt = now + this.options.claimMs / 3;
    await this.extend(now + this.options.claimMs);
  }

  /**
   * What there is to say when nothing is under way any more: copies are waited for until the mailboxes answer again, unless
   * patience ends before; of what has been neither done nor put off, the claim is given back, so that another need not wait
   * for its end.
   * @returns the tally when the batch is settled.
   */
  async leave(): Promise<Tally | undefined> {
    const now = this.now();
    const since = Date.parse(this.state.deferredSince ?? '') || now;
    for (const [target, until] of this.waiting) {
      if (until <= since + this.options.throttlePatienceMs) continue;
      this.waiting.delete(target);
      this.note(target, { kind: 'timedOut' });
    }
    await this.record();
    if (this.state.status === 'settled') return this.state.tally;
    if (pendingTargets(this.state).length > this.waiting.size) await this.extend(now);
    else await this.defer(since, now);
    return undefined;
  }

  /** A mailbox that asks for a moment again and again is asked less and less often. */
  private async defer(since: number, now: number): Promise<void> {
    const extra = Math.min((now - since) / 8, LONGEST_EXTRA_MS);
    const until = Math.max(now + extra, Math.min(...this.waiting.values()));
    const times = { since: new Date(since), until: new Date(until) };
    await this.append({ type: 'Defer', attempt: this.attempt, ...times });
  }

  private extend(until: number): Promise<void> {
    return this.append({ type: 'ExtendAttempt', attempt: this.attempt, deadline: new Date(until) });
  }

  private async append(command: BatchCommand): Promise<void> {
    const events = batchDecider.decide(this.state, command);
    if (events.length === 0) return;
    const commandId = idFrom(this.stream, `${command.type}-${String(this.revision)}`);
    const context: CommandContext = { ...this.context, commandId, now: this.clock.now() };
    const { store, stream, revision } = this;
    this.revision = (await appendEvents(store, batchCodecs, stream, revision, events, context)).revision;
    this.state = fold(batchDecider, this.state as BatchState, events) as KnownBatch;
  }

  private now(): number {
    return this.clock.now().getTime();
  }
}
