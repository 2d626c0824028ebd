import { ClawbackError, assertNever, isClawbackError } from '#libs/kernel';
import { startingTallyOf, type Batch, type BatchTarget, type PlannedMessage } from './plan.js';
import type { Reason } from './reasons.js';
import {
  closePending,
  draftOf,
  moveInTally,
  settleIn,
  ofOutcome,
  type Outcome,
  type RemediationAction,
  type Tally,
} from './vocabulary.js';

/** Which batch of which remediation. */
export interface BatchRef {
  readonly approvalId: string;
  readonly planId: string;
  readonly batch: number;
}

/** What every event about one copy says: which target of the batch, and enough to be read on its own. */
export interface CopyRef extends BatchRef {
  readonly target: number;
  readonly networkMessageId: string;
  readonly mailbox: string;
}

type CopyMovedData = CopyRef & { readonly from: string; readonly to: string };
type CopyEventData = CopyRef & { readonly kind: BatchTarget['kind'] };

export type CopyMoved =
  | { readonly type: 'RecipientCopySoftDeleted'; readonly data: CopyMovedData }
  | { readonly type: 'SenderCopySoftDeleted'; readonly data: CopyMovedData }
  | { readonly type: 'RecipientCopyRestored'; readonly data: CopyMovedData }
  | { readonly type: 'SenderCopyRestored'; readonly data: CopyMovedData }
  | { readonly type: 'RecipientCopyMoved'; readonly data: CopyMovedData }
  /** Out of everybody's reach: nothing brings it back. */
  | { readonly type: 'RecipientCopyHardDeleted'; readonly data: CopyMovedData };

/** One event per copy: what became of it. */
export type CopyEvent =
  | CopyMoved
  | { readonly type: 'CopyAlreadyInDestination'; readonly data: CopyEventData & { readonly folder: string } }
  | { readonly type: 'CopyNotFound'; readonly data: CopyEventData }
  | { readonly type: 'CopyNotRemediable'; readonly data: CopyEventData & { readonly reason: Reason } }
  | {
      readonly type: 'CopyRemediationFailed';
      readonly data: CopyEventData & { readonly reason: Reason; readonly detail: string };
    }
  | { readonly type: 'CopyRemediationTimedOut'; readonly data: CopyEventData }
  /** Its remediation was cancelled while it waited for its mailbox. */
  | { readonly type: 'CopyRemediationCancelled'; readonly data: CopyEventData };

export type BatchEvent =
  | {
      readonly type: 'BatchPlanned';
      readonly data: BatchRef & {
        readonly action: RemediationAction;
        readonly messages: readonly PlannedMessage[];
        readonly targets: readonly BatchTarget[];
      };
    }
  /** Approved and due: whoever works may run it. One such event is one piece of work. */
  | { readonly type: 'BatchReleased'; readonly data: BatchRef }
  /** The intent, before any effect, and the claim: whoever appends it may run the batch until the deadline. */
  | {
      readonly type: 'BatchAttemptStarted';
      readonly data: BatchRef & {
        readonly attempt: number;
        readonly worker: string;
        readonly deadline: string;
      };
    }
  /** The worker is alive and keeps its claim. */
  | {
      readonly type: 'BatchAttemptExtended';
      readonly data: BatchRef & { readonly attempt: number; readonly deadline: string };
    }
  /** Nothing of it is under way: all its copies that are pending wait until their mailboxes answer again. */
  | {
      readonly type: 'BatchDeferred';
      readonly data: BatchRef & {
        readonly attempt: number;
        readonly worker: string;
        /** Since when the batch has had to wait, this time and the times before. */
        readonly since: string;
        readonly until: string;
      };
    }
  | CopyEvent
  /** Never run: its remediation was cancelled or ran out of time before the batch was released. */
  | {
      readonly type: 'BatchWithdrawn';
      readonly data: BatchRef & { readonly outcome: Withdrawal; readonly tally: Tally };
    }
  | { readonly type: 'BatchSettled'; readonly data: BatchRef & { readonly tally: Tally } };

/** What becomes of copies that are not tried any more. */
export type Withdrawal = 'cancelled' | 'timedOut';

/** What the executor learnt about one target. */
export type CopyResult =
  | { readonly kind: 'moved'; readonly from: string; readonly to: string }
  | { readonly kind: 'alreadyInDestination'; readonly folder: string }
  | { readonly kind: 'notFound' }
  | { readonly kind: 'notRemediable'; readonly reason: Reason }
  | { readonly kind: 'failed'; readonly reason: Reason; readonly detail: string }
  | { readonly kind: 'timedOut' }
  | { readonly kind: 'cancelled' };

export type BatchCommand =
  | {
      readonly type: 'Plan';
      readonly ref: BatchRef;
      readonly action: RemediationAction;
      readonly batch: Batch;
    }
  | { readonly type: 'Release' }
  | { readonly type: 'Withdraw'; readonly outcome: Withdrawal }
  | { readonly type: 'ExtendAttempt'; readonly attempt: number; readonly deadline: Date }
  | { readonly type: 'Defer'; readonly attempt: number; readonly since: Date; readonly until: Date }
  | { readonly type: 'StartAttempt'; readonly worker: string; readonly now: Date; readonly deadline: Date }
  | {
      readonly type: 'RecordResults';
      readonly attempt: number;
      readonly results: readonly { readonly target: number; readonly result: CopyResult }[];
    };

export type BatchState =
  | { readonly status: 'none' }
  | {
      readonly status: 'planned' | 'released' | 'attempted' | 'deferred' | 'settled';
      readonly ref: BatchRef;
      readonly action: RemediationAction;
      readonly messages: readonly PlannedMessage[];
      readonly targets: readonly BatchTarget[];
      /** By target; a target without an entry is pending, or not remediable by plan. */
      readonly outcomes: ReadonlyMap<number, Outcome>;
      readonly tally: Tally;
      /** The last one. While the batch is deferred nobody has it, and nobody may begin another before the deadline. */
      readonly attempt?: { readonly number: number; readonly worker: string; readonly deadline: string };
      /** When it first had to wait for its mailboxes. */
      readonly deferredSince?: string;
    };

export const initialBatch: BatchState = { status: 'none' };

const DELETIONS = 'Recoverable Items/Deletions';
const PURGES = 'Recoverable Items/Purges';

/**
 * @throws {ClawbackError} code `claimHeld` (another worker has the batch) or `claimLost` (it was taken over): the caller
 * stops working on the batch, nothing is recorded.
 */
export function decideBatch(state: BatchState, command: BatchCommand): BatchEvent[] {
  if (command.type === 'Plan') {
    if (state.status !== 'none') throw new Error('a batch is planned once');
    const { messages, targets } = command.batch;
    return [{ type: 'BatchPlanned', data: { ...command.ref, action: command.action, messages, targets } }];
  }
  if (state.status === 'none') throw new Error('the batch was never planned');
  if (state.status === 'settled') return [];

  switch (command.type) {
    case 'Release':
      return state.status === 'planned' ? [{ type: 'BatchReleased', data: state.ref }] : [];
    case 'Withdraw': {
      const { outcome } = command;
      if (state.status === 'deferred') return closeCopies(state, outcome);
      // What was released runs to its end: moves that are under way have to be recorded.
      if (state.status !== 'planned') return [];
      const tally = closePending(state.tally, outcome);
      return [{ type: 'BatchWithdrawn', data: { ...state.ref, outcome, tally } }];
    }
    case 'ExtendAttempt': {
      const { attempt, deadline } = command;
      checkAttempt(state, attempt);
      return [
        { type: 'BatchAttemptExtended', data: { ...state.ref, attempt, deadline: deadline.toISOString() } },
      ];
    }
    case 'Defer': {
      const { attempt, since, until } = command;
      const { worker } = checkAttempt(state, attempt);
      const times = { since: since.toISOString(), until: until.toISOString() };
      return [{ type: 'BatchDeferred', data: { ...state.ref, attempt, worker, ...times } }];
    }
    case 'StartAttempt': {
      if (state.status === 'planned')
        throw new Error('the batch was not released: its remediation is not approved');
      const held = state.attempt;
      const mayGoOn = state.status === 'attempted' && held?.worker === command.worker;
      if (held !== undefined && !mayGoOn && new Date(held.deadline) > command.now) {
        throw new ClawbackError('conflict', 'claimHeld', 'another worker has this batch, or it is deferred', {
          deadline: held.deadline,
        });
      }
      const started: BatchEvent = {
        type: 'BatchAttemptStarted',
        data: {
          ...state.ref,
          attempt: (held?.number ?? 0) + 1,
          worker: command.worker,
          deadline: command.deadline.toISOString(),
        },
      };
      return [started, ...settleIfDone(state.ref, state.tally)];
    }
    case 'RecordResults': {
      checkAttempt(state, command.attempt);
      return recordResults(state, command.results);
    }
    default:
      return assertNever(command);
  }
}

type PlannedState = Exclude<BatchState, { status: 'none' }>;

/** What the last attempt is, if it is this one and has not ended. */
function checkAttempt(state: PlannedState, number: number): NonNullable<PlannedState['attempt']> {
  if (state.status !== 'attempted' || state.attempt?.number !== number) {
    throw new ClawbackError('conflict', 'claimLost', 'this attempt has ended, or was taken over by another');
  }
  return state.attempt;
}

/** An event for each copy that was still pending, and the settlement when none is left. */
function recordResults(
  state: PlannedState,
  results: readonly { readonly target: number; readonly result: CopyResult }[],
): BatchEvent[] {
  const events = new Map<number, CopyEvent>();
  const tally = draftOf(state.tally);
  for (const { target, result } of results) {
    if (!isPending(state, target) || events.has(target)) continue;
    const event = copyEvent(state, target, result);
    const { kind, outcome } = outcomeOf(event);
    events.set(target, event);
    settleIn(tally, kind, outcome);
  }
  return [...events.values(), ...settleIfDone(state.ref, tally)];
}

/** Some copies of the batch may have had this outcome before, so each one says for itself that it has it now. */
const closeCopies = (state: PlannedState, kind: Withdrawal): BatchEvent[] =>
  recordResults(
    state,
    pendingTargets(state).map((target) => ({ target, result: { kind } })),
  );

/** Whether this target still waits for its outcome. */
export const isPending = (state: PlannedState, target: number): boolean =>
  !state.outcomes.has(target) &&
  state.targets[target] !== undefined &&
  state.targets[target].notRemediable === undefined;

/** The targets that still wait for their outcome, by their place in the batch. */
export const pendingTargets = (state: BatchState): number[] =>
  state.status === 'none'
    ? []
    : state.targets.flatMap((_, target) => (isPending(state, target) ? [target] : []));

const settleIfDone = (ref: BatchRef, tally: Tally): BatchEvent[] =>
  ofOutcome(tally, 'pending') === 0 ? [{ type: 'BatchSettled', data: { ...ref, tally } }] : [];

function copyEvent(state: PlannedState, target: number, result: CopyResult): CopyEvent {
  const { kind, mailbox, message } = state.targets[target] as BatchTarget;
  const { networkMessageId } = state.messages[message] as PlannedMessage;
  const { approvalId, planId, batch } = state.ref;
  const ref = { approvalId, planId, batch, target, networkMessageId, mailbox };
  switch (result.kind) {
    case 'moved': {
      const { from, to } = result;
      // Not spread: it is what nearly every copy comes to, and spreading costs more than all the rest.
      const data = { approvalId, planId, batch, target, networkMessageId, mailbox, from, to };
      return { type: movedType(kind, from, to), data };
    }
    case 'alreadyInDestination':
      return { type: 'CopyAlreadyInDestination', data: { ...ref, kind, folder: result.folder } };
    case 'notFound':
      return { type: 'CopyNotFound', data: { ...ref, kind } };
    case 'notRemediable':
      return { type: 'CopyNotRemediable', data: { ...ref, kind, reason: result.reason } };
    case 'failed':
      return {
        type: 'CopyRemediationFailed',
        data: { ...ref, kind, reason: result.reason, detail: result.detail },
      };
    case 'timedOut':
      return { type: 'CopyRemediationTimedOut', data: { ...ref, kind } };
    case 'cancelled':
      return { type: 'CopyRemediationCancelled', data: { ...ref, kind } };
    default:
      return assertNever(result);
  }
}

/** Into Recoverable Items is a soft delete; a sender's copy that moves elsewhere was restored; out of it likewise. */
function movedType(kind: BatchTarget['kind'], from: string, to: string): CopyMoved['type'] {
  if (to === DELETIONS) return kind === 'sender' ? 'SenderCopySoftDeleted' : 'RecipientCopySoftDeleted';
  if (kind === 'sender') return 'SenderCopyRestored';
  if (to === PURGES) return 'RecipientCopyHardDeleted';
  return from === DELETIONS ? 'RecipientCopyRestored' : 'RecipientCopyMoved';
}

const ABOUT_THE_BATCH: ReadonlySet<BatchEvent['type']> = new Set([
  'BatchPlanned',
  'BatchReleased',
  'BatchAttemptStarted',
  'BatchAttemptExtended',
  'BatchDeferred',
  'BatchWithdrawn',
  'BatchSettled',
]);

export const isCopyEvent = (event: BatchEvent): event is CopyEvent => !ABOUT_THE_BATCH.has(event.type);

/** What an event about a copy says in the terms of the log. */
export function outcomeOf(event: CopyEvent): {
  readonly kind: BatchTarget['kind'];
  readonly outcome: Exclude<Outcome, 'pending'>;
  readonly reason?: Reason;
  readonly from?: string;
  readonly to?: string;
} {
  switch (event.type) {
    case 'RecipientCopySoftDeleted':
    case 'RecipientCopyRestored':
    case 'RecipientCopyMoved':
    case 'RecipientCopyHardDeleted':
      return { kind: 'recipient', outcome: 'succeeded', from: event.data.from, to: event.data.to };
    case 'SenderCopySoftDeleted':
    case 'SenderCopyRestored':
      return { kind: 'sender', outcome: 'succeeded', from: event.data.from, to: event.data.to };
    case 'CopyAlreadyInDestination':
      return {
        kind: event.data.kind,
        outcome: 'alreadyInDestination',
        reason: 'alreadyInDestination',
        from: event.data.folder,
        to: event.data.folder,
      };
    case 'CopyNotFound':
      return { kind: event.data.kind, outcome: 'notFound', reason: 'notFoundInMailbox' };
    case 'CopyNotRemediable':
      return { kind: event.data.kind, outcome: 'nonRemediable', reason: event.data.reason };
    case 'CopyRemediationFailed':
      return { kind: event.data.kind, outcome: 'failed', reason: event.data.reason };
    case 'CopyRemediationTimedOut':
      return { kind: event.data.kind, outcome: 'timedOut', reason: 'deadlineExceeded' };
    case 'CopyRemediationCancelled':
      return { kind: event.data.kind, outcome: 'cancelled' };
    default:
      return assertNever(event);
  }
}

export function evolveBatch(state: BatchState, event: BatchEvent): BatchState {
  if (event.type === 'BatchPlanned') {
    if (state.status !== 'none') return state;
    const { approvalId, planId, batch, action, messages, targets } = event.data;
    return {
      status: 'planned',
      ref: { approvalId, planId, batch },
      action,
      messages,
      targets,
      outcomes: new Map(),
      tally: startingTallyOf(targets),
    };
  }
  if (state.status === 'none') return state;
  if (isCopyEvent(event)) return evolveCopy(state, event);
  switch (event.type) {
    case 'BatchReleased':
      return state.status === 'planned' ? { ...state, status: 'released' } : state;
    case 'BatchAttemptExtended':
      return state.attempt?.number === event.data.attempt
        ? { ...state, attempt: { ...state.attempt, deadline: event.data.deadline } }
        : state;
    case 'BatchAttemptStarted': {
      const { attempt, worker, deadline } = event.data;
      return { ...state, status: 'attempted', attempt: { number: attempt, worker, deadline } };
    }
    case 'BatchDeferred': {
      const { attempt, worker, since, until } = event.data;
      if (state.status !== 'attempted' || state.attempt?.number !== attempt) return state;
      const last = { number: attempt, worker, deadline: until };
      return { ...state, status: 'deferred', attempt: last, deferredSince: since };
    }
    case 'BatchWithdrawn': {
      const { outcome, tally } = event.data;
      const closed = pendingTargets(state).map((target) => [target, outcome] as const);
      return { ...state, status: 'settled', outcomes: new Map([...state.outcomes, ...closed]), tally };
    }
    case 'BatchSettled':
      return { ...state, status: 'settled' };
    default:
      return assertNever(event);
  }
}

/** As {@link evolveBatch} for one event after the other; a batch of copies is not copied for each of them. */
export function evolveBatchBy(state: BatchState, events: readonly BatchEvent[]): BatchState {
  let current = state;
  for (let index = 0; index < events.length;) {
    const event = events[index] as BatchEvent;
    const end = isCopyEvent(event) ? endOfCopies(events, index) : index + 1;
    current =
      end - index > 1 && current.status !== 'none'
        ? evolveCopies(current, events.slice(index, end) as CopyEvent[])
        : evolveBatch(current, event);
    index = end;
  }
  return current;
}

const endOfCopies = (events: readonly BatchEvent[], from: number): number => {
  const end = events.findIndex((event, index) => index >= from && !isCopyEvent(event));
  return end < 0 ? events.length : end;
};

function evolveCopies(state: PlannedState, events: readonly CopyEvent[]): BatchState {
  const outcomes = new Map(state.outcomes);
  const tally = draftOf(state.tally);
  const so = { ...state, outcomes };
  for (const event of events) {
    if (!isPending(so, event.data.target)) continue;
    const { kind, outcome } = outcomeOf(event);
    outcomes.set(event.data.target, outcome);
    settleIn(tally, kind, outcome);
  }
  return { ...so, tally };
}

function evolveCopy(state: PlannedState, event: CopyEvent): BatchState {
  if (!isPending(state, event.data.target)) return state;
  const { kind, outcome } = outcomeOf(event);
  return {
    ...state,
    outcomes: new Map(state.outcomes).set(event.data.target, outcome),
    tally: moveInTally(state.tally, kind, 'pending', outcome),
  };
}

/** Whether a command was refused because another worker has, or took over, the batch. */
export const isClaimRefused = (error: unknown): boolean =>
  isClawbackError(error) && (error.code === 'claimHeld' || error.code === 'claimLost');
