import { ClawbackError, assertNever } from '#libs/kernel';
import type { PlanTotals } from './plan.js';
import type { EmailFilter } from './selection.js';
import {
  addToTally,
  copiesIn,
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
  | { readonly by: 'undo'; readonly of: string };

/** Everything that is fixed when a remediation is submitted. */
export interface Submission {
  readonly approvalId: string;
  /** Names the batches: `remediationBatch-<planId>-<n>`. A submission tried again after a crash plans afresh. */
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
  /** Hash of the request, to tell a repeat under one Idempotency-Key from a different request. */
  readonly requestHash: string;
}

export type RemediationEvent =
  | { readonly type: 'RemediationSubmitted'; readonly data: Submission }
  | { readonly type: 'RemediationApproved'; readonly data: { approvalId: string; selectionHash: string } }
  | { readonly type: 'RemediationRejected'; readonly data: { approvalId: string; reason: string } }
  | { readonly type: 'RemediationStarted'; readonly data: { approvalId: string } }
  | { readonly type: 'RemediationCompleted'; readonly data: { approvalId: string; tally: Tally } }
  | { readonly type: 'RemediationFailed'; readonly data: { approvalId: string; tally: Tally } }
  /** Recorded on the undone remediation, before the undo itself exists: the claim that lets one undo win. */
  | { readonly type: 'RemediationUndone'; readonly data: { approvalId: string; undo: Submission } };

export type RemediationCommand =
  | { readonly type: 'Submit'; readonly submission: Submission; readonly approve: boolean }
  | { readonly type: 'Approve'; readonly selectionHash: string }
  | { readonly type: 'Reject'; readonly reason: string }
  | { readonly type: 'Start' }
  | { readonly type: 'Finish'; readonly tally: Tally }
  /** `underWay`: the earlier undos of this remediation that have not finished. */
  | { readonly type: 'ClaimUndo'; readonly undo: Submission; readonly underWay: readonly string[] };

export type Remediation =
  | { readonly status: 'none' }
  | { readonly status: Status; readonly submission: Submission; readonly undoneBy: readonly string[] };

export const initialRemediation: Remediation = { status: 'none' };

export const isFinished = (status: Remediation['status']): boolean =>
  status === 'completed' || status === 'failed' || status === 'rejected';

/**
 * A remediation has failed only when nothing reached its goal although something should have; any success, or
 * nothing to do at all, completes it (Microsoft: "Failed" means that no remediation succeeded).
 * A copy that is no longer in the mailbox is a goal reached, unless it was to be brought back.
 */
export function hasFailed(action: RemediationAction, tally: Tally): boolean {
  const gone = ofOutcome(tally, 'notFound');
  const lost = ofOutcome(tally, 'failed') + ofOutcome(tally, 'timedOut');
  const reached = ofOutcome(tally, 'succeeded') + ofOutcome(tally, 'alreadyInDestination');
  return action === 'softDelete' ? lost > 0 && reached + gone === 0 : lost + gone > 0 && reached === 0;
}

/** @throws {ClawbackError} kind `conflict` when the state does not allow the command; nothing is recorded then. */
export function decideRemediation(state: Remediation, command: RemediationCommand): RemediationEvent[] {
  if (command.type === 'Submit') {
    if (state.status !== 'none') throw conflict('alreadySubmitted', 'this remediation was submitted before');
    const { approvalId, selectionHash } = command.submission;
    return [
      { type: 'RemediationSubmitted', data: command.submission },
      ...(command.approve
        ? [{ type: 'RemediationApproved' as const, data: { approvalId, selectionHash } }]
        : []),
    ];
  }
  if (state.status === 'none') throw notFound();
  const { approvalId, action, selectionHash } = state.submission;

  switch (command.type) {
    case 'Approve':
      if (state.status !== 'pending') throw notPending(state.status);
      if (command.selectionHash !== selectionHash) {
        throw conflict('selectionChanged', 'selectionHash is not that of the proposal: look at it again', {
          selectionHash,
        });
      }
      return [{ type: 'RemediationApproved', data: { approvalId, selectionHash } }];
    case 'Reject':
      if (state.status !== 'pending') throw notPending(state.status);
      return [{ type: 'RemediationRejected', data: { approvalId, reason: command.reason } }];
    case 'Start':
      return state.status === 'queued' ? [{ type: 'RemediationStarted', data: { approvalId } }] : [];
    case 'Finish': {
      if (isFinished(state.status)) return [];
      if (state.status !== 'inProgress')
        throw conflict('notStarted', `a remediation that is ${state.status} cannot finish`);
      if (
        copiesIn(command.tally) !== state.submission.plan.copies ||
        ofOutcome(command.tally, 'pending') !== 0
      ) {
        throw new Error(
          `outcomes of ${approvalId} do not add up to its ${String(state.submission.plan.copies)} copies`,
        );
      }
      const type = hasFailed(action, command.tally) ? 'RemediationFailed' : 'RemediationCompleted';
      return [{ type, data: { approvalId, tally: command.tally } }];
    }
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

/** @throws {ClawbackError} kind `conflict` unless the remediation has finished and no earlier undo of it is under way. */
export function checkUndoPossible(
  state: Exclude<Remediation, { status: 'none' }>,
  underWay: readonly string[],
): void {
  if (state.status !== 'completed' && state.status !== 'failed') {
    throw conflict('notFinished', `only a finished remediation can be undone; this one is ${state.status}`);
  }
  if (underWay.length > 0) {
    throw conflict('undoInProgress', 'an undo of this remediation is under way', { undoneBy: underWay });
  }
}

/** Folds an event in. Events that make no sense for the state are ignored: the past is not argued with. */
export function evolveRemediation(state: Remediation, event: RemediationEvent): Remediation {
  if (event.type === 'RemediationSubmitted') {
    return state.status === 'none' ? { status: 'pending', submission: event.data, undoneBy: [] } : state;
  }
  if (state.status === 'none') return state;
  switch (event.type) {
    case 'RemediationApproved':
      return { ...state, status: 'queued' };
    case 'RemediationRejected':
      return { ...state, status: 'rejected' };
    case 'RemediationStarted':
      return { ...state, status: 'inProgress' };
    case 'RemediationCompleted':
      return { ...state, status: 'completed' };
    case 'RemediationFailed':
      return { ...state, status: 'failed' };
    case 'RemediationUndone':
      return { ...state, undoneBy: [...state.undoneBy, event.data.undo.approvalId] };
    default:
      return assertNever(event);
  }
}

/** A rejected remediation: nothing that was pending will ever run. */
export function cancelPending(tally: Tally): Tally {
  let result = tally;
  for (const kind of ['recipient', 'sender'] as const) {
    const pending = tally[kind].pending;
    result = addToTally(addToTally(result, kind, 'pending', -pending), kind, 'cancelled', pending);
  }
  return result;
}

const conflict = (code: string, message: string, details: Record<string, unknown> = {}): ClawbackError =>
  new ClawbackError('conflict', code, message, details);

const notPending = (status: Status): ClawbackError =>
  conflict('notPending', `only a pending remediation can be decided; this one is ${status}`, {
    currentStatus: status,
  });

const notFound = (): ClawbackError =>
  new ClawbackError('notFound', 'remediationNotFound', 'there is no remediation with this approval ID');
