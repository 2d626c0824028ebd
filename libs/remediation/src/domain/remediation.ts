import { ClawbackError, assertNever } from '#libs/kernel';
import type { PlanTotals } from './plan.js';
import type { EmailFilter } from './selection.js';
import {
  closePending,
  copiesIn,
  isDelete,
  ofOutcome,
  type RemediationAction,
  type Severity,
  type Status,
  type Surface,
  type Tally,
} from './vocabulary.js';

/** What was selected, in the form that history shows. The copies themselves are in the batches. */
export type SelectionSummary =
  | { readonly by: 'emails' }
  | { readonly by: 'query'; readonly query: EmailFilter; readonly excluding: number }
  /** The copies that another remediation moved, failed at, or that came too late for it. */
  | { readonly by: 'undo' | 'retry' | 'lateArrivals'; readonly of: string };

/** Everything that is fixed when a remediation is submitted. */
export interface Submission {
  readonly approvalId: string;
  /**
   * Names the batches: `remediationBatch-<planId>-<n>`. A submission tried again after a crash plans afresh, and so does
   * an approval of a part.
   */
  readonly planId: string;
  readonly name: string;
  readonly description: string;
  readonly severity: Severity;
  readonly action: RemediationAction;
  readonly sendersCopy: boolean;
  readonly surface: Surface;
  readonly selection: SelectionSummary;
  readonly selectionHash: string;
  readonly plan: PlanTotals;
  /** The outcomes it begins with. */
  readonly tally: Tally;
  readonly batches: number;
  /** The remediation whose copies this one brings back. */
  readonly undoOf?: string | undefined;
  /** The remediation whose failures this one tries again. */
  readonly retryOf?: string | undefined;
  /** The remediation that goes on with mail that has arrived after it. */
  readonly lateArrivalOf?: string | undefined;
  /** Hash of the request, to tell a repeat under one Idempotency-Key from a different request. */
  readonly requestHash: string;
  readonly submittedBy?: string | undefined;
  /** Whoever may approve has to be somebody else than who submitted it, by policy. */
  readonly fourEyes?: boolean | undefined;
  /** A proposal that nobody has decided by then is over (ISO 8601). */
  readonly expiresAt?: string | undefined;
  /** Not to begin before then (ISO 8601). */
  readonly startAt?: string | undefined;
  /** Nothing more is begun so long after it was queued. */
  readonly finishWithinMs?: number | undefined;
  /** Mail that matches the query and arrives before then is remediated too (ISO 8601). */
  readonly lateArrivalsUntil?: string | undefined;
}

interface OfRemediation {
  readonly approvalId: string;
}

/** Only so many emails of the selection, the first ones. The plan was cut anew so that they are whole batches. */
export interface PartlyApproved extends OfRemediation {
  readonly selectionHash: string;
  readonly emails: number;
  readonly planId: string;
  readonly batches: number;
  readonly approvedBatches: number;
}

export type RemediationEvent =
  | { readonly type: 'RemediationSubmitted'; readonly data: Submission }
  | { readonly type: 'RemediationApproved'; readonly data: OfRemediation & { selectionHash: string } }
  | { readonly type: 'RemediationPartlyApproved'; readonly data: PartlyApproved }
  /** The approved part has run; the rest waits for its decision. */
  | { readonly type: 'RemediationPartFinished'; readonly data: OfRemediation & { tally: Tally } }
  | { readonly type: 'RemediationRejected'; readonly data: OfRemediation & { reason: string } }
  | { readonly type: 'RemediationExpired'; readonly data: OfRemediation }
  /** Taken up: its batches are given out. */
  | { readonly type: 'RemediationQueued'; readonly data: OfRemediation & { deadline?: string | undefined } }
  /** Somebody works on it. */
  | { readonly type: 'RemediationStarted'; readonly data: OfRemediation }
  /** Its time is up: nothing more is given out. */
  | { readonly type: 'RemediationOverdue'; readonly data: OfRemediation }
  | { readonly type: 'RemediationCancelRequested'; readonly data: OfRemediation & { reason: string } }
  /** What was under way when this was asked for has ended. */
  | { readonly type: 'RemediationCancelled'; readonly data: OfRemediation & { tally: Tally } }
  | { readonly type: 'RemediationCompleted'; readonly data: OfRemediation & { tally: Tally } }
  | { readonly type: 'RemediationFailed'; readonly data: OfRemediation & { tally: Tally } }
  | { readonly type: 'LateArrivalsStopped'; readonly data: OfRemediation }
  /** Recorded on the undone remediation, before the undo itself exists: the claim that lets one undo win. */
  | { readonly type: 'RemediationUndone'; readonly data: OfRemediation & { undo: Submission } };

/** Who decides, and when. */
interface Decision {
  readonly by: string;
  readonly now: Date;
  /** Copies of a part that runs which have no outcome yet; to be told to who decides too early. */
  readonly partPending?: number;
}

export type RemediationCommand =
  | { readonly type: 'Submit'; readonly submission: Submission; readonly approve: boolean }
  | ({ readonly type: 'Approve'; readonly selectionHash: string } & Decision)
  | ({ readonly type: 'ApprovePart'; readonly part: Omit<PartlyApproved, 'approvalId'> } & Decision)
  | ({ readonly type: 'Reject'; readonly reason: string } & Decision)
  | { readonly type: 'Expire'; readonly now: Date }
  | { readonly type: 'Cancel'; readonly reason: string }
  | { readonly type: 'Queue'; readonly now: Date }
  | { readonly type: 'Start' }
  | { readonly type: 'RunOutOfTime' }
  | { readonly type: 'FinishPart'; readonly tally: Tally }
  | { readonly type: 'Finish'; readonly tally: Tally }
  | { readonly type: 'StopLateArrivals' }
  /** `underWay`: the earlier undos of this remediation that have not finished. */
  | { readonly type: 'ClaimUndo'; readonly undo: Submission; readonly underWay: readonly string[] };

/** A remediation that was submitted. */
export interface KnownRemediation {
  readonly status: Status;
  /** With the plan that counts by now. */
  readonly submission: Submission;
  /** As far as the remediation itself knows them: after a part has run, those of the part. */
  readonly tally: Tally;
  readonly undoneBy: readonly string[];
  /** How many of the batches may run, when only a part was approved. */
  readonly approvedBatches?: number;
  /** How many of the batches have run as a part that was approved before the rest. */
  readonly partBatches?: number;
  /** Nothing is begun after this (ISO 8601). */
  readonly deadline?: string | undefined;
  readonly cancelRequested?: boolean;
  readonly overdue?: boolean;
  readonly lateArrivalsStopped?: boolean;
}

export type Remediation = { readonly status: 'none' } | KnownRemediation;

export const initialRemediation: Remediation = { status: 'none' };

const FINISHED: ReadonlySet<Remediation['status']> = new Set([
  ...(['completed', 'failed', 'cancelled', 'rejected', 'expired'] as const),
]);

export const isFinished = (status: Remediation['status']): boolean => FINISHED.has(status);

/** Whether a part was approved, has not finished, and the rest is to be decided about after it. */
export const partRuns = ({ status, approvedBatches, cancelRequested, overdue }: KnownRemediation): boolean =>
  hasBegun(status) && approvedBatches !== undefined && cancelRequested !== true && overdue !== true;

/** Whether anything of it may run, or has run. */
export const hasBegun = (status: Remediation['status']): boolean =>
  status === 'started' || status === 'queued' || status === 'inProgress';

/**
 * A remediation has failed only when nothing reached its goal although something should have; any success, or
 * nothing to do at all, completes it (Microsoft: "Failed" means that no remediation succeeded).
 * A copy that is no longer in the mailbox is a goal reached when it was to be deleted, and no other way.
 */
export function hasFailed(action: RemediationAction, tally: Tally): boolean {
  const gone = ofOutcome(tally, 'notFound');
  const lost = ofOutcome(tally, 'failed') + ofOutcome(tally, 'timedOut');
  const reached = ofOutcome(tally, 'succeeded') + ofOutcome(tally, 'alreadyInDestination');
  return isDelete(action) ? lost > 0 && reached + gone === 0 : lost + gone > 0 && reached === 0;
}

/** @throws {ClawbackError} kind `conflict` or `forbidden` when the command is not allowed; nothing is recorded then. */
export function decideRemediation(state: Remediation, command: RemediationCommand): RemediationEvent[] {
  if (command.type === 'Submit') {
    if (state.status !== 'none') throw conflict('alreadySubmitted', 'this remediation was submitted before');
    const { approvalId, selectionHash, fourEyes } = command.submission;
    return [
      { type: 'RemediationSubmitted', data: command.submission },
      ...(command.approve && fourEyes !== true
        ? [{ type: 'RemediationApproved' as const, data: { approvalId, selectionHash } }]
        : []),
    ];
  }
  if (state.status === 'none') throw notFound();
  const { submission } = state;
  const { approvalId, action } = submission;

  switch (command.type) {
    case 'Approve': {
      checkDecision(state, command);
      checkSelection(submission, command.selectionHash);
      return [{ type: 'RemediationApproved', data: { approvalId, selectionHash: command.selectionHash } }];
    }
    case 'ApprovePart': {
      checkDecision(state, command);
      checkSelection(submission, command.part.selectionHash);
      if (state.approvedBatches !== undefined) {
        throw conflict('alreadyPartlyApproved', 'a part was approved before: approve or reject the rest');
      }
      return [{ type: 'RemediationPartlyApproved', data: { approvalId, ...command.part } }];
    }
    case 'Reject':
      checkDecision(state, command);
      return [{ type: 'RemediationRejected', data: { approvalId, reason: command.reason } }];
    case 'Expire':
      return state.status === 'pending' && isExpired(submission, command.now)
        ? [{ type: 'RemediationExpired', data: { approvalId } }]
        : [];
    case 'Cancel': {
      if (isFinished(state.status)) {
        throw conflict('alreadyFinished', `this remediation is ${state.status}: there is nothing to cancel`, {
          currentStatus: state.status,
        });
      }
      if (state.cancelRequested === true) return [];
      const requested: RemediationEvent = {
        type: 'RemediationCancelRequested',
        data: { approvalId, reason: command.reason },
      };
      // Nothing of it is under way that would have to end first.
      return state.status === 'pending'
        ? [
            requested,
            {
              type: 'RemediationCancelled',
              data: { approvalId, tally: closePending(state.tally, 'cancelled') },
            },
          ]
        : [requested];
    }
    case 'Queue': {
      if (state.status !== 'started') return [];
      const { finishWithinMs: ms } = submission;
      const deadline =
        ms === undefined ? {} : { deadline: new Date(command.now.getTime() + ms).toISOString() };
      return [{ type: 'RemediationQueued', data: { approvalId, ...deadline } }];
    }
    case 'Start':
      return state.status === 'queued' ? [{ type: 'RemediationStarted', data: { approvalId } }] : [];
    case 'RunOutOfTime':
      return hasBegun(state.status) && state.overdue !== true
        ? [{ type: 'RemediationOverdue', data: { approvalId } }]
        : [];
    case 'FinishPart': {
      if (!hasBegun(state.status) || state.approvedBatches === undefined) return [];
      // The rest is not to wait for a decision any more: what stops the part ends all of it.
      if (state.cancelRequested === true || state.overdue === true) return [];
      checkSum(submission, command.tally);
      return [{ type: 'RemediationPartFinished', data: { approvalId, tally: command.tally } }];
    }
    case 'Finish': {
      if (isFinished(state.status)) return [];
      if (!hasBegun(state.status)) {
        throw conflict('notStarted', `a remediation that is ${state.status} cannot finish`);
      }
      const { tally } = command;
      checkSum(submission, tally);
      if (ofOutcome(tally, 'pending') !== 0) throw new Error(`${approvalId} has copies that are pending`);
      if (state.cancelRequested === true)
        return [{ type: 'RemediationCancelled', data: { approvalId, tally } }];
      const type = hasFailed(action, tally) ? 'RemediationFailed' : 'RemediationCompleted';
      return [{ type, data: { approvalId, tally } }];
    }
    case 'StopLateArrivals':
      if (submission.lateArrivalsUntil === undefined) {
        throw conflict('noLateArrivals', 'this remediation does not go on with mail that arrives later');
      }
      return state.lateArrivalsStopped === true
        ? []
        : [{ type: 'LateArrivalsStopped', data: { approvalId } }];
    case 'ClaimUndo':
      if (state.undoneBy.includes(command.undo.approvalId)) return [];
      checkUndoPossible(state, command.underWay);
      if (command.undo.plan.copies === 0) {
        throw state.undoneBy.length > 0
          ? conflict(
              'alreadyUndone',
              'every copy that this remediation moved was brought back or moved again since',
              {
                undoneBy: state.undoneBy,
              },
            )
          : conflict(
              'nothingToUndo',
              'none of these copies was moved by this remediation, or all were moved again since',
            );
      }
      return [{ type: 'RemediationUndone', data: { approvalId, undo: command.undo } }];
    default:
      return assertNever(command);
  }
}

/**
 * Only a pending remediation can be decided, in time, and by somebody else than who proposed it: two people look at what
 * waits in Pending (Microsoft: one analyst adds, another approves).
 */
function checkDecision(state: KnownRemediation, { by, now, partPending }: Decision): void {
  const { status, submission } = state;
  // Nobody decides about the rest before the part has shown what it does.
  if (partRuns(state)) throw partRunning(status, partPending);
  if (status !== 'pending') throw notPending(status);
  if (isExpired(submission, now)) {
    throw conflict('expired', 'nobody has decided this remediation in time: propose it again', {
      expiresAt: submission.expiresAt,
    });
  }
  if (submission.submittedBy === by) {
    throw new ClawbackError(
      'forbidden',
      'ownProposal',
      'who proposed a remediation cannot decide it: somebody else has to; you can cancel it',
    );
  }
}

function checkSelection({ selectionHash }: Submission, seen: string): void {
  if (seen === selectionHash) return;
  throw conflict('selectionChanged', 'selectionHash is not that of the proposal: look at it again', {
    selectionHash,
  });
}

function checkSum({ approvalId, plan: { copies } }: Submission, tally: Tally): void {
  if (copiesIn(tally) === copies) return;
  throw new Error(`outcomes of ${approvalId} do not add up to its ${String(copies)} copies`);
}

const isExpired = ({ expiresAt }: Submission, now: Date): boolean =>
  expiresAt !== undefined && now >= new Date(expiresAt);

/** @throws {ClawbackError} kind `conflict` unless the remediation has finished and no earlier undo of it is under way. */
export function checkUndoPossible(state: KnownRemediation, underWay: readonly string[]): void {
  checkHasRun(state, 'undone');
  if (underWay.length > 0) {
    throw conflict('undoInProgress', 'an undo of this remediation is under way', { undoneBy: underWay });
  }
}

/** @throws {ClawbackError} kind `conflict` unless the remediation has run to some end. */
export function checkHasRun(
  { status, partBatches, approvedBatches }: KnownRemediation,
  toBe: 'undone' | 'retried',
): void {
  const hasRun = status === 'completed' || status === 'failed' || status === 'cancelled';
  if (hasRun || (isFinished(status) && (approvedBatches ?? partBatches) !== undefined)) return;
  throw conflict('notFinished', `only a finished remediation can be ${toBe}; this one is ${status}`);
}

/** Folds an event in. Events that make no sense for the state are ignored: the past is not argued with. */
export function evolveRemediation(state: Remediation, event: RemediationEvent): Remediation {
  if (event.type === 'RemediationSubmitted') {
    const { data } = event;
    return state.status === 'none'
      ? { status: 'pending', submission: data, tally: data.tally, undoneBy: [] }
      : state;
  }
  if (state.status === 'none') return state;
  switch (event.type) {
    case 'RemediationApproved': {
      const { approvedBatches: partBatches, ...whole } = state;
      return { ...whole, status: 'started', ...(partBatches === undefined ? {} : { partBatches }) };
    }
    case 'RemediationPartlyApproved': {
      const { planId, batches, approvedBatches } = event.data;
      return {
        ...state,
        status: 'started',
        submission: { ...state.submission, planId, batches },
        approvedBatches,
      };
    }
    case 'RemediationPartFinished':
      return { ...state, status: 'pending', tally: event.data.tally };
    case 'RemediationRejected':
      return { ...state, status: 'rejected', tally: closePending(state.tally, 'cancelled') };
    case 'RemediationExpired':
      return { ...state, status: 'expired', tally: closePending(state.tally, 'cancelled') };
    case 'RemediationQueued':
      return { ...state, status: 'queued', deadline: event.data.deadline };
    case 'RemediationStarted':
      return { ...state, status: 'inProgress' };
    case 'RemediationOverdue':
      return { ...state, overdue: true };
    case 'RemediationCancelRequested':
      return { ...state, cancelRequested: true };
    case 'RemediationCancelled':
      return { ...state, status: 'cancelled', tally: event.data.tally };
    case 'RemediationCompleted':
      return { ...state, status: 'completed', tally: event.data.tally };
    case 'RemediationFailed':
      return { ...state, status: 'failed', tally: event.data.tally };
    case 'LateArrivalsStopped':
      return { ...state, lateArrivalsStopped: true };
    case 'RemediationUndone':
      return {
        ...state,
        lateArrivalsStopped: true,
        undoneBy: [...state.undoneBy, event.data.undo.approvalId],
      };
    default:
      return assertNever(event);
  }
}

const conflict = (code: string, message: string, details: Record<string, unknown> = {}): ClawbackError =>
  new ClawbackError('conflict', code, message, details);

const notPending = (status: Status): ClawbackError =>
  conflict('notPending', `only a pending remediation can be decided; this one is ${status}`, {
    currentStatus: status,
  });

const partRunning = (status: Status, pending: number | undefined): ClawbackError =>
  conflict(
    'partRunning',
    'the part that was approved still runs' +
      (pending === undefined ? '' : `, ${String(pending)} of its copies are pending`) +
      ': wait until the status is pending again, look at what has become of it, and then decide about the rest; ' +
      'to stop it now, cancel',
    { currentStatus: status, ...(pending === undefined ? {} : { pending }) },
  );

const notFound = (): ClawbackError =>
  new ClawbackError('notFound', 'remediationNotFound', 'there is no remediation with this approval ID');
