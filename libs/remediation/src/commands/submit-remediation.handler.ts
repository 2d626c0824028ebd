import { EventStore, type CommandContext } from '#libs/event-store';
import { ClawbackError, canonicalJson, invalidInput, newId, sha256 } from '#libs/kernel';
import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import {
  allowsSendersCopy,
  emailKeyOf,
  type Action,
  type RemediationAction,
  type Submission,
  type Selection,
  type SelectionSummary,
  type Severity,
  type Surface,
} from '../domain/index.js';
import {
  ActiveRemediations,
  ApprovalPolicies,
  RemediationLimits,
  SelectionSource,
  type ApprovalPolicy,
} from '../ports.js';
import { planSelection, type CopyGroups, type Planned } from './plan-selection.js';
import {
  approvalIdFor,
  batchWriter,
  recordSubmission,
  submittedBefore,
  type Submitted,
} from './submission.js';

/** What a caller asks for. */
export interface RemediationRequest {
  readonly name: string;
  readonly description: string;
  readonly severity: Severity;
  readonly action: Action;
  readonly sendersCopy: boolean;
  readonly surface: Surface;
  readonly selection: Selection;
  /** Not to begin before then (ISO 8601). */
  readonly startAt?: string;
  /** Nothing more is begun so long after it was queued. */
  readonly finishWithinMs?: number;
  /** The remediation that this one goes on with; its approval counts for this one too. */
  readonly lateArrivalOf?: string;
  /** For how long mail that matches the query and arrives later is remediated too. */
  readonly lateArrivalsMs?: number;
}

/** The part of a command context that the caller's request fixes. */
export type RequestContext = Pick<CommandContext, 'tenant' | 'actor' | 'causationId' | 'now'>;

/** Submit a remediation; approved at once when the submitter may approve, else it waits in Pending. */
export class SubmitRemediation extends Command<Submitted> {
  constructor(
    readonly request: RemediationRequest,
    readonly context: RequestContext,
    readonly approve: boolean,
    readonly idempotencyKey?: string,
  ) {
    super();
  }
}

/** Plan a remediation and change nothing. */
export class PreviewRemediation extends Command<Planned> {
  constructor(
    readonly request: RemediationRequest,
    readonly tenant: string,
  ) {
    super();
  }
}

@CommandHandler(PreviewRemediation)
export class PreviewRemediationHandler implements ICommandHandler<PreviewRemediation> {
  constructor(
    private readonly source: SelectionSource,
    private readonly limits: RemediationLimits,
  ) {}

  execute({ request, tenant }: PreviewRemediation): Promise<Planned> {
    checkOptions(request);
    return planSelection(this.source, this.limits, tenant, request.selection, request, () =>
      Promise.resolve(),
    );
  }
}

@CommandHandler(SubmitRemediation)
export class SubmitRemediationHandler implements ICommandHandler<SubmitRemediation> {
  constructor(
    private readonly store: EventStore,
    private readonly source: SelectionSource,
    private readonly activity: ActiveRemediations,
    private readonly limits: RemediationLimits,
    private readonly policies: ApprovalPolicies,
  ) {}

  async execute({ request, context, approve, idempotencyKey }: SubmitRemediation): Promise<Submitted> {
    checkOptions(request);
    const approvalId = approvalIdFor(context.tenant, idempotencyKey);
    const requestHash = sha256(canonicalJson(request));
    // Without a key the approval ID is a new one.
    if (idempotencyKey !== undefined) {
      const before = await submittedBefore(this.store, approvalId, requestHash);
      if (before !== undefined) return before;
    }

    const planId = newId();
    const command = { ...context, correlationId: approvalId, commandId: planId };
    const batches = batchWriter(this.store, request.action, { approvalId, planId }, command);
    const planned = await planSelection(
      this.source,
      this.limits,
      context.tenant,
      request.selection,
      request,
      (batch) => batches.write(batch),
      // Before a plan is written that would be refused in the end.
      (emails) => checkActivity(this.activity, this.limits, context.tenant, emails),
    );
    await batches.drain();
    const { name, description, severity, action, sendersCopy, surface, selection } = request;
    // Planning what a query finds may have taken long; a list is as long as it was a moment ago.
    if ('query' in selection) {
      await checkActivity(this.activity, this.limits, context.tenant, planned.totals.emails);
    }

    const policy = this.policies.of(context.tenant);
    return recordSubmission(
      this.store,
      {
        approvalId,
        planId,
        name,
        description,
        severity,
        action,
        sendersCopy,
        surface,
        selection:
          request.lateArrivalOf === undefined
            ? summaryOf(selection)
            : { by: 'lateArrivals', of: request.lateArrivalOf },
        selectionHash: planned.selectionHash,
        plan: planned.totals,
        tally: planned.tally,
        batches: planned.batches,
        requestHash,
        ...decisionTerms(policy, action, planned.totals.emails, context, request.lateArrivalOf),
        ...runTerms(request, context.now),
      },
      approve,
      command,
    );
  }
}

/** Who proposes, until when it can be decided, and whether by somebody else only. */
export const decisionTerms = (
  policy: ApprovalPolicy,
  action: RemediationAction,
  emails: number,
  { actor, now }: RequestContext,
  lateArrivalOf?: string,
): Pick<Submission, 'submittedBy' | 'fourEyes' | 'expiresAt' | 'lateArrivalOf'> => ({
  submittedBy: actor,
  expiresAt: new Date(now.getTime() + policy.expireAfterMs).toISOString(),
  // Mail that arrives late goes with the approval of the remediation that went before.
  ...(lateArrivalOf !== undefined
    ? { lateArrivalOf }
    : needsFourEyes(policy, action, emails)
      ? { fourEyes: true }
      : {}),
});

const needsFourEyes = (
  { fourEyesFrom, fourEyesForHardDelete }: ApprovalPolicy,
  action: RemediationAction,
  emails: number,
): boolean =>
  (fourEyesFrom !== undefined && emails >= fourEyesFrom) ||
  (fourEyesForHardDelete && action === 'hardDelete');

const runTerms = (
  { startAt, finishWithinMs, lateArrivalsMs }: RemediationRequest,
  now: Date,
): Pick<Submission, 'startAt' | 'finishWithinMs' | 'lateArrivalsUntil'> => ({
  ...(startAt === undefined ? {} : { startAt }),
  ...(finishWithinMs === undefined ? {} : { finishWithinMs }),
  ...(lateArrivalsMs === undefined
    ? {}
    : { lateArrivalsUntil: new Date(now.getTime() + lateArrivalsMs).toISOString() }),
});

/** Options exist only where they mean something; a request for one elsewhere is told so. */
function checkOptions(request: RemediationRequest): void {
  if (request.lateArrivalsMs !== undefined && !('query' in request.selection)) {
    throw invalidInput([
      { field: 'lateArrivalsHours', problem: 'needs a selection by query: it says which mail is meant' },
    ]);
  }
  if (request.sendersCopy && !allowsSendersCopy(request.action)) {
    throw invalidInput([
      {
        field: 'sendersCopy',
        problem:
          `is not possible with the action ${request.action}: the sender's copy can be deleted with softDelete, and ` +
          'moved back to Sent Items with moveToInbox',
      },
    ]);
  }
}

/** @throws {ClawbackError} kind `limit` when this one more would be too much. */
export async function checkActivity(
  activity: ActiveRemediations,
  limits: RemediationLimits,
  tenant: string,
  emails: number,
): Promise<void> {
  const active = await activity.active(tenant);
  if (active.remediations >= limits.active) {
    throw tooActive('activeRemediations', 'remediations are active', active.remediations, limits.active);
  }
  if (active.emails + emails > limits.activeEmails) {
    throw tooActive('activeEmails', 'emails would be active', active.emails + emails, limits.activeEmails);
  }
}

/**
 * The same for some of the copies of another remediation, before anything is written: of how many emails they are is
 * counted only when it matters.
 * @param atMost emails that the other remediation has touched
 * @throws {ClawbackError} kind `limit`
 */
export async function checkActivityOfSome(
  activity: ActiveRemediations,
  limits: RemediationLimits,
  tenant: string,
  atMost: number,
  copies: () => CopyGroups,
): Promise<void> {
  const { emails: active } = await activity.active(tenant);
  let emails = atMost;
  if (active + atMost > limits.activeEmails) {
    emails = 0;
    for await (const group of copies()) emails += group.filter(({ kind }) => kind === 'recipient').length;
  }
  await checkActivity(activity, limits, tenant, emails);
}

const tooActive = (field: string, what: string, actual: number, limit: number): ClawbackError =>
  new ClawbackError(
    'limit',
    `${field}OverLimit`,
    `${String(actual)} ${what}, the limit is ${String(limit)}; wait until some have finished`,
    { actual, limit },
  );

const summaryOf = (selection: Selection): SelectionSummary =>
  'emails' in selection
    ? { by: 'emails' }
    : { by: 'query', query: selection.query, excluding: new Set(selection.excluding?.map(emailKeyOf)).size };
