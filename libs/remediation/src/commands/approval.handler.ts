import { EventStore, decideAndAppend } from '#libs/event-store';
import { ClawbackError, idFrom, type Position } from '#libs/kernel';
import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { remediationCodecs, remediationStream } from '../codecs.js';
import type { RemediationCommand } from '../domain/index.js';
import { ActiveRemediations, RemediationLimits } from '../ports.js';
import { remediationDecider } from './deciders.js';
import { loadRemediation } from './submission.js';
import { checkActivity, type RequestContext } from './submit-remediation.handler.js';

/** Approve a pending remediation. The selection hash says which selection the approver has looked at. */
export class ApproveRemediation extends Command<Position> {
  constructor(
    readonly approvalId: string,
    readonly selectionHash: string,
    readonly context: RequestContext,
  ) {
    super();
  }
}

/** Reject a pending remediation: none of its copies will be touched. */
export class RejectRemediation extends Command<Position> {
  constructor(
    readonly approvalId: string,
    readonly reason: string,
    readonly context: RequestContext,
  ) {
    super();
  }
}

@CommandHandler(ApproveRemediation)
export class ApproveRemediationHandler implements ICommandHandler<ApproveRemediation> {
  constructor(
    private readonly store: EventStore,
    private readonly activity: ActiveRemediations,
    private readonly limits: RemediationLimits,
  ) {}

  async execute({ approvalId, selectionHash, context }: ApproveRemediation): Promise<Position> {
    const { state } = await loadRemediation(this.store, approvalId);
    if (state.status === 'pending') {
      await checkActivity(this.activity, this.limits, context.tenant, state.submission.plan.emails);
    }
    return decideOn(this.store, approvalId, { type: 'Approve', selectionHash }, context);
  }
}

@CommandHandler(RejectRemediation)
export class RejectRemediationHandler implements ICommandHandler<RejectRemediation> {
  constructor(private readonly store: EventStore) {}

  execute({ approvalId, reason, context }: RejectRemediation): Promise<Position> {
    return decideOn(this.store, approvalId, { type: 'Reject', reason }, context);
  }
}

async function decideOn(
  store: EventStore,
  approvalId: string,
  command: RemediationCommand,
  context: RequestContext,
): Promise<Position> {
  const decided = await decideAndAppend(
    store,
    remediationCodecs,
    remediationDecider,
    remediationStream(approvalId),
    command,
    {
      ...context,
      correlationId: approvalId,
      commandId: idFrom(command.type, approvalId, context.causationId),
    },
  );
  if (decided.position === undefined)
    throw new ClawbackError('unavailable', 'nothingRecorded', 'nothing was recorded');
  return decided.position;
}
