import { ActionCenter, countsOf, type HistoryDoc } from '#libs/action-center';
import { ClawbackError, Clock, invalidInput } from '#libs/kernel';
import type { Principal } from '#libs/platform';
import {
  SubmitRemediation,
  isUndoable,
  remediationNotFound,
  type EmailRef,
  type RemediationAction,
  type RemediationRequest,
  type Submitted,
} from '#libs/remediation';
import { Injectable } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { contextOf, correlate } from '../http/request-context.js';
import { Runtime } from '../runtime.js';
import type { EntryBody, SubmittedBody } from './remediations.dto.js';

export const IDEMPOTENCY_KEY = {
  name: 'Idempotency-Key',
  required: false,
  description: 'The same key gives the same remediation, for ever.',
  schema: { type: 'string', minLength: 1, maxLength: 255 },
};

/** What the routes of remediations have in common. */
export abstract class RemediationRoutes {
  constructor(
    protected readonly actionCenter: ActionCenter,
    protected readonly runtime: Runtime,
  ) {}

  /** Every route by approval ID goes through here: no tenant sees another's. */
  protected async find(tenant: string, approvalId: string): Promise<HistoryDoc> {
    const entry = await this.actionCenter.entry(tenant, approvalId);
    if (entry !== undefined) return entry;
    throw remediationNotFound();
  }
}

/** What the routes have in common that submit remediations. */
@Injectable()
export abstract class SubmissionRoutes extends RemediationRoutes {
  constructor(
    protected readonly commands: CommandBus,
    protected readonly clock: Clock,
    actionCenter: ActionCenter,
    runtime: Runtime,
  ) {
    super(actionCenter, runtime);
  }

  /** Submits in the caller's name, approved at once where the caller may approve; not shown anywhere yet. */
  protected submitted(
    wanted: RemediationRequest,
    caller: Principal,
    request: FastifyRequest,
    key: string | undefined,
  ): Promise<Submitted> {
    checkActionRole(caller, wanted.action);
    const context = contextOf(request, caller, this.clock);
    return this.commands.execute(
      new SubmitRemediation(wanted, context, mayApprove(caller), idempotencyKey(key)),
    );
  }

  /** The answer to a submission, once the views show it. */
  protected async accepted(
    { submission, approved, position }: Submitted,
    reply: FastifyReply,
  ): Promise<SubmittedBody> {
    correlate(reply.request, submission.approvalId);
    await this.runtime.shown(position, ['history', 'actionLog']);
    const { approvalId, selectionHash, plan, action, undoOf, retryOf } = submission;
    reply.header('location', `/v1/remediations/${approvalId}`);
    return {
      approvalId,
      status: approved ? 'started' : 'pending',
      selectionHash,
      plan,
      undoable: isUndoable(action),
      undoOf: undoOf ?? null,
      retryOf: retryOf ?? null,
    };
  }
}

export const mayApprove = ({ roles }: Principal): boolean =>
  roles.includes('approver') || roles.includes('admin');

export function idempotencyKey(key: string | undefined): string | undefined {
  if (key === undefined || /^[\x21-\x7e]{1,255}$/.test(key)) return key;
  throw invalidInput([{ field: 'Idempotency-Key', problem: 'must be 1 to 255 visible ASCII characters' }]);
}

/** A hard delete is for good: who asks for it, or lets it run, needs a role of its own. */
export function checkActionRole({ roles }: Principal, action: RemediationAction): void {
  if (action !== 'hardDelete' || roles.includes('purger') || roles.includes('admin')) return;
  throw new ClawbackError('forbidden', 'roleMissing', 'a hard delete needs the role purger as well', {
    needed: ['purger'],
  });
}

export const emailRefOf = ({ networkMessageId, recipientEmailAddress }: EmailRef): EmailRef => ({
  networkMessageId,
  recipientEmailAddress,
});

/** How the interface shows a remediation. */
export const entryBody = (doc: HistoryDoc): EntryBody => {
  const self = `/v1/remediations/${doc.approvalId}`;
  return {
    approvalId: doc.approvalId,
    name: doc.name,
    description: doc.description,
    severity: doc.severity,
    action: doc.action,
    sendersCopy: doc.sendersCopy,
    surface: doc.surface,
    status: doc.status,
    selection: doc.selection,
    selectionHash: doc.selectionHash,
    plan: doc.plan,
    counts: countsOf(doc.tally),
    submittedBy: doc.submittedBy,
    submittedAt: doc.submittedAt,
    decidedBy: doc.decidedBy ?? null,
    decidedAt: doc.decidedAt ?? null,
    rejectionReason: doc.rejectionReason ?? null,
    fourEyes: doc.fourEyes ?? false,
    expiresAt: doc.status === 'pending' ? (doc.expiresAt ?? null) : null,
    firstEmails: doc.firstEmails ?? null,
    cancelRequestedBy: doc.cancelRequestedBy ?? null,
    cancelRequestedAt: doc.cancelRequestedAt ?? null,
    cancelReason: doc.cancelReason ?? null,
    startAt: doc.startAt ?? null,
    queuedAt: doc.queuedAt ?? null,
    deadline: doc.deadline ?? null,
    overdue: doc.overdue ?? false,
    lateArrivalsUntil: doc.lateArrivalsStopped === true ? null : (doc.lateArrivalsUntil ?? null),
    startedAt: doc.startedAt ?? null,
    finishedAt: doc.finishedAt ?? null,
    undoOf: doc.undoOf ?? null,
    undoneBy: doc.undoneBy,
    retryOf: doc.retryOf ?? null,
    retriedBy: doc.retriedBy,
    lateArrivalOf: doc.lateArrivalOf ?? null,
    lateArrivals: doc.lateArrivals,
    links: {
      self,
      log: `${self}/log`,
      export: `${self}/export`,
      events: `${self}/events`,
      ...(isUndoable(doc.action) ? { undo: `${self}/undo` } : {}),
      ...(doc.undoOf === undefined ? {} : { undoOf: `/v1/remediations/${doc.undoOf}` }),
    },
  };
};
