import { setMaxListeners } from 'node:events';
import {
  isWrongExpectedRevision,
  type EventStore,
  decideAndAppend,
  type CommandContext,
} from '#libs/event-store';
import { newId, pause, type Clock } from '#libs/kernel';
import {
  Folders,
  isMailboxError,
  type MailboxGateway,
  type MoveRequest,
  type MoveResult,
} from '#libs/mailbox';
import {
  batchCodecs,
  batchDecider,
  batchStream,
  isClaimRefused,
  pendingTargets,
  settledTally,
  type CopyResult,
  type Tally,
} from '#libs/remediation';
import { ClaimedBatch, type KnownBatch } from './claimed-batch.js';
import type { Closed, MailboxLanes } from './mailbox-lanes.js';

export interface ExecutorOptions {
  /** Names this worker in claims. A restarted worker with the same name may take up its own unfinished batches at once. */
  readonly worker: string;
  /** How long one copy may take: waiting for a place at its mailbox, and all attempts. A rest that it asks for is not counted. */
  readonly copyDeadlineMs: number;
  /** How often a copy is tried when its mailbox answers with a fault that may pass, and does not say when. */
  readonly maxAttempts: number;
  /** How long a batch waits in all for mailboxes that say when they answer again. */
  readonly throttlePatienceMs: number;
  /** How long a claim on a batch holds; a living worker extends it in time, a dead one's is taken over after it. */
  readonly claimMs: number;
  /** Batches under way at once in this worker. */
  readonly batchesInFlight: number;
  /** Batches of one remediation that are released ahead of what has settled: small ones get their turn among large ones. */
  readonly batchesAhead: number;
  /** Calls to one mailbox under way at once; Graph allows 4. */
  readonly mailboxConcurrency: number;
  /** Record outcomes at the latest after so many milliseconds, so that progress can be followed. */
  readonly flushMs: number;
}

/** Why a call or a wait is given up. Made once: an error of its own for every batch would take longer than to end the batch. */
const ENDED = new DOMException('the copies of the batch are ended', 'AbortError');

/** A mailbox that asks for less is left in peace for so long all the same. */
const SHORTEST_REST_MS = 100;

/** Runs one batch: claim it, move its copies, record an event per copy, settle it. */
export class BatchRunner {
  private won = 0;

  constructor(
    private readonly store: EventStore,
    private readonly gateway: MailboxGateway,
    private readonly lanes: MailboxLanes,
    private readonly clock: Clock,
    private readonly options: ExecutorOptions,
  ) {}

  /** Claims won so far. */
  get claims(): number {
    return this.won;
  }

  /**
   * Runs the batch to its end, or takes it up where a crash left it. Safe to repeat at any time.
   * @returns the tally when it is settled; undefined when another worker has it, the signal ended the work, or all that is
   * left of it waits for its mailboxes (the log then says until when).
   */
  async run(
    planId: string,
    number: number,
    context: Omit<CommandContext, 'commandId' | 'now'>,
    signal: AbortSignal,
  ): Promise<Tally | undefined> {
    const stream = batchStream(planId, number);
    const settled = await settledTally(this.store, planId, number);
    if (settled !== undefined) return settled;
    const now = this.clock.now();
    try {
      const claim = await decideAndAppend(
        this.store,
        batchCodecs,
        batchDecider,
        stream,
        {
          type: 'StartAttempt',
          worker: this.options.worker,
          now,
          deadline: new Date(now.getTime() + this.options.claimMs),
        },
        // A claim is a new one at each try; what is recorded after it hangs on the revision it follows.
        { ...context, commandId: newId(), now },
      );
      const { state, revision } = claim;
      if (state.status === 'none' || revision === undefined) throw new Error(`${stream} holds no plan`);
      if (state.status === 'settled') return state.tally;
      this.won += 1;
      const { store, clock, options } = this;
      const batch = new ClaimedBatch(state, revision, stream, store, clock, context, options);
      return await this.work(state, batch, context.tenant, signal);
    } catch (error) {
      if (isClaimRefused(error) || isWrongExpectedRevision(error)) return undefined;
      throw error;
    }
  }

  private async work(
    state: KnownBatch,
    batch: ClaimedBatch,
    tenant: string,
    signal: AbortSignal,
  ): Promise<Tally | undefined> {
    let fault: { readonly error: unknown } | undefined;
    const deadlines = new CopyDeadlines(this.options.copyDeadlineMs, signal);
    const moves = Promise.all(
      pendingTargets(state).map(async (target) => {
        try {
          const result = await this.settleCopy(state, target, tenant, deadlines);
          if (result !== undefined) batch.note(target, result);
        } catch (error) {
          fault ??= { error };
        }
      }),
    );
    try {
      while (!(await endsWithin(moves, this.options.flushMs))) {
        await batch.record();
        await batch.keep();
      }
      await batch.record();
    } finally {
      // When an append was refused, too: nothing goes on behind the back of whoever runs the batch next.
      deadlines.close();
      await moves;
    }
    // Not an outcome of any copy: those without one stay pending, and the batch is run again.
    if (fault !== undefined) throw fault.error;
    return batch.leave();
  }

  /**
   * Moves one copy, whatever it takes within its deadline and attempts.
   * @returns closed when its mailbox has asked to be left in peace; undefined when the worker is stopping.
   */
  private settleCopy(
    state: KnownBatch,
    target: number,
    tenant: string,
    deadlines: CopyDeadlines,
  ): Promise<CopyResult | Closed | undefined> {
    if (deadlines.areOver) return Promise.resolve(undefined);
    const request = moveRequest(state, target, tenant);
    const lane = `${tenant}/${request.mailbox}`;
    const beginsAtOnce = this.lanes.hasPlace(lane);
    // Its place in the lane ends as well: a gateway that does not heed the signal must not keep it.
    const settled = this.lanes.run(lane, () => deadlines.within(this.move(request, lane, deadlines.signal)));
    // Who has to wait for a place is ended while waiting.
    return beginsAtOnce ? settled : deadlines.within(settled);
  }

  /** @throws what is no word of the mailbox: a defect or a store fault, never an outcome. */
  private async move(request: MoveRequest, lane: string, signal: AbortSignal): Promise<CopyResult | Closed> {
    for (let attempt = 1; ; attempt += 1) {
      signal.throwIfAborted();
      // Another copy may have been refused since the last attempt at this one.
      const closed = this.lanes.closedNow(lane);
      if (closed !== undefined) return closed;
      try {
        return resultOf(await this.gateway.move(request, signal), request);
      } catch (error) {
        if (!isMailboxError(error)) throw error;
        const { retryAfterMs = 0 } = error;
        if (error.retryable && retryAfterMs > 0) {
          const wait = Math.max(retryAfterMs, SHORTEST_REST_MS);
          return this.lanes.close(lane, this.clock.now().getTime() + wait);
        }
        if (!error.retryable || attempt >= this.options.maxAttempts) {
          return { kind: 'failed', reason: 'mailboxError', detail: error.code };
        }
        await pause(100 * 2 ** attempt, signal);
      }
    }
  }
}

const resultOf = (moved: MoveResult, { onlyFrom }: MoveRequest): CopyResult => {
  switch (moved.kind) {
    case 'mailboxNotFound':
      return { kind: 'notRemediable', reason: 'mailboxNotFound' };
    case 'movedSince':
      return {
        kind: 'notRemediable',
        reason: onlyFrom === Folders.quarantine ? 'notInQuarantine' : 'movedSince',
      };
    default:
      return moved;
  }
};

const moveRequest = (state: KnownBatch, target: number, tenant: string): MoveRequest => {
  const planned = state.targets[target];
  const message = planned === undefined ? undefined : state.messages[planned.message];
  if (planned === undefined || message === undefined) throw new Error('a target without a plan');
  return {
    operationId: `${state.ref.planId}/${String(state.ref.batch)}/${String(target)}`,
    tenant,
    mailbox: planned.mailbox,
    networkMessageId: message.networkMessageId,
    internetMessageId: message.internetMessageId,
    copyKind: planned.kind,
    to: planned.to,
    ...(planned.onlyFrom === undefined ? {} : { onlyFrom: planned.onlyFrom }),
  };
};

/** Whether the work ends within so many milliseconds. */
async function endsWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  const ended = await Promise.race([work.then(() => true), pause(ms, timer.signal).then(() => false)]);
  timer.abort(ENDED);
  return ended;
}

/**
 * Ends the copies of a batch: all at their deadline, which they share because they begin together, or when the worker
 * stops. A gateway that does not heed its signal cannot hold the batch: the answer is not waited for. All end in one
 * turn, so that none that waited for a place takes up the one of another that has just ended.
 */
class CopyDeadlines {
  private readonly controller = new AbortController();
  private readonly timer: NodeJS.Timeout;
  /** What ends each work that is under way. */
  private readonly open = new Set<(result: CopyResult | undefined) => void>();
  private over: { readonly result: CopyResult | undefined } | undefined;

  constructor(
    ms: number,
    private readonly stopping: AbortSignal,
  ) {
    // Every copy that waits listens to it: Node would take so many for a leak, and warn.
    setMaxListeners(Infinity, this.controller.signal);
    this.timer = setTimeout(() => {
      this.endAll({ kind: 'timedOut' });
    }, ms);
    stopping.addEventListener('abort', this.close);
    if (stopping.aborted) this.close();
  }

  /** Fires when all are ended. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get areOver(): boolean {
    return this.over !== undefined;
  }

  /** What the work answers; timedOut when the deadline comes first; undefined when the work is ended first. */
  within<T>(work: Promise<T>): Promise<T | CopyResult | undefined> {
    return new Promise((resolve, reject: (error: Error) => void) => {
      if (this.over === undefined) this.open.add(resolve);
      else resolve(this.over.result);
      work.then(
        (result) => {
          this.open.delete(resolve);
          resolve(result);
        },
        (error: unknown) => {
          this.open.delete(resolve);
          reject(error as Error);
        },
      );
    });
  }

  /** Ends what is still open, and begins nothing more. */
  readonly close = (): void => {
    this.endAll(undefined);
  };

  private endAll(result: CopyResult | undefined): void {
    clearTimeout(this.timer);
    this.stopping.removeEventListener('abort', this.close);
    this.over ??= { result };
    for (const end of this.open) end(this.over.result);
    this.open.clear();
    this.controller.abort(ENDED);
  }
}
