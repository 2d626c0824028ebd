import { EventStore, decideAndAppend, load } from '#libs/event-store';
import { ClawbackError, Clock, idFrom, invalidInput, newId, type Position } from '#libs/kernel';
import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { batchCodecs, batchStream, remediationCodecs, remediationStream } from '../codecs.js';
import {
  ofOutcome,
  partRuns,
  type KnownRemediation,
  type PlannedCopy,
  type RemediationCommand,
} from '../domain/index.js';
import { ActiveRemediations, RemediationLimits } from '../ports.js';
import { batchDecider, remediationDecider } from './deciders.js';
import { planCopies } from './plan-selection.js';
import { batchWriter, knownRemediation, plannedCopies, settledTally } from './submission.js';
import { checkActivity, type RequestContext } from './submit-remediation.handler.js';

/**
 * Approve a pending remediation, or the first emails of it as a canary. The selection hash says which selection the
 * approver has looked at.
 */
export class ApproveRemediation extends Command<Position> {
  constructor(
    readonly approvalId: string,
    readonly selectionHash: string,
    readonly context: RequestContext,
    /** Only so many emails of the selection; the rest goes on waiting. Undefined: all. */
    readonly firstEmails?: number,
  ) {
    super();
  }
}

/** Reject a pending remediation: none of its copies will be touched, or none of those that are left. */
export class RejectRemediation extends Command<Position> {
  constructor(
    readonly approvalId: string,
    readonly reason: string,
    readonly context: RequestContext,
  ) {
    super();
  }
}

/** Cancel a remediation: what is under way ends, nothing more is begun. */
export class CancelRemediation extends Command<Position> {
  constructor(
    readonly approvalId: string,
    readonly reason: string,
    readonly context: RequestContext,
  ) {
    super();
  }
}

/** End a proposal that nobody has decided in time. Does nothing when it is not time. */
export class ExpireRemediation extends Command<Position> {
  constructor(
    readonly approvalId: string,
    readonly context: RequestContext,
  ) {
    super();
  }
}

/** Mail that arrives from now on is left alone. */
export class StopLateArrivals extends Command<Position> {
  constructor(
    readonly approvalId: string,
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
    private readonly clock: Clock,
  ) {}

  async execute({ approvalId, selectionHash, context, firstEmails }: ApproveRemediation): Promise<Position> {
    const state = await knownRemediation(this.store, approvalId);
    const { emails } = state.submission.plan;
    if (firstEmails !== undefined && firstEmails >= emails) {
      throw invalidInput([
        { field: 'firstEmails', problem: `must be less than the ${String(emails)} emails of the proposal` },
      ]);
    }
    if (state.status === 'pending') {
      await checkActivity(this.activity, this.limits, context.tenant, firstEmails ?? emails);
    }
    const decision = await decisionAbout(this.store, state, context, this.clock);
    if (firstEmails === undefined) {
      const approve = { type: 'Approve' as const, selectionHash, ...decision };
      // What was too early when it was asked for is not right because a part ends meanwhile.
      remediationDecider.decide(state, approve);
      return decideOn(this.store, approvalId, approve, context);
    }
    // Refused before a plan is written for nothing.
    const part = { selectionHash, emails: firstEmails, planId: newId(), batches: 0, approvedBatches: 0 };
    remediationDecider.decide(state, { type: 'ApprovePart', part, ...decision });
    const cut = await this.cut(state, part.planId, firstEmails, context);
    return decideOn(
      this.store,
      approvalId,
      { type: 'ApprovePart', part: { ...part, ...cut }, ...decision },
      context,
    );
  }

  /** Plans the same copies anew, so that the first emails are whole batches. */
  private async cut(
    { submission }: KnownRemediation,
    planId: string,
    emails: number,
    context: RequestContext,
  ): Promise<{ batches: number; approvedBatches: number }> {
    const { approvalId, action } = submission;
    const command = { ...context, correlationId: approvalId, commandId: planId };
    const writer = batchWriter(this.store, action, { approvalId, planId }, command);
    const copies = plannedCopies(this.store, submission);
    let next = await copies.next();
    async function* upTo(limit: number): AsyncGenerator<readonly PlannedCopy[]> {
      // A sender's copy follows the last of its emails and goes with it.
      for (let left = limit; next.done !== true; next = await copies.next()) {
        if (next.value.kind === 'recipient') left -= 1;
        if (left < 0) return;
        yield [next.value];
      }
    }
    const first = await planCopies(upTo(emails), (batch) => writer.write(batch));
    const rest = await planCopies(upTo(Infinity), (batch) => writer.write(batch), first.batches);
    await writer.drain();
    return { batches: first.batches + rest.batches, approvedBatches: first.batches };
  }
}

@CommandHandler(RejectRemediation)
export class RejectRemediationHandler implements ICommandHandler<RejectRemediation> {
  constructor(
    private readonly store: EventStore,
    private readonly clock: Clock,
  ) {}

  async execute({ approvalId, reason, context }: RejectRemediation): Promise<Position> {
    const state = await knownRemediation(this.store, approvalId);
    const reject = {
      type: 'Reject' as const,
      reason,
      ...(await decisionAbout(this.store, state, context, this.clock)),
    };
    remediationDecider.decide(state, reject);
    return decideOn(this.store, approvalId, reject, context);
  }
}

@CommandHandler(CancelRemediation)
export class CancelRemediationHandler implements ICommandHandler<CancelRemediation> {
  constructor(private readonly store: EventStore) {}

  execute({ approvalId, reason, context }: CancelRemediation): Promise<Position> {
    return decideOn(this.store, approvalId, { type: 'Cancel', reason }, context);
  }
}

@CommandHandler(ExpireRemediation)
export class ExpireRemediationHandler implements ICommandHandler<ExpireRemediation> {
  constructor(
    private readonly store: EventStore,
    private readonly clock: Clock,
  ) {}

  execute({ approvalId, context }: ExpireRemediation): Promise<Position> {
    return decideOn(this.store, approvalId, { type: 'Expire', now: this.clock.now() }, context);
  }
}

@CommandHandler(StopLateArrivals)
export class StopLateArrivalsHandler implements ICommandHandler<StopLateArrivals> {
  constructor(private readonly store: EventStore) {}

  execute({ approvalId, context }: StopLateArrivals): Promise<Position> {
    return decideOn(this.store, approvalId, { type: 'StopLateArrivals' }, context);
  }
}

/** Who decides and when; while a part runs, with what is left of it to do. */
async function decisionAbout(
  store: EventStore,
  state: KnownRemediation,
  { actor }: RequestContext,
  clock: Clock,
): Promise<{ by: string; now: Date; partPending?: number }> {
  return {
    by: actor,
    now: clock.now(),
    ...(partRuns(state) ? { partPending: await pendingInPart(store, state) } : {}),
  };
}

async function pendingInPart(
  store: EventStore,
  { submission: { planId }, approvedBatches = 0 }: KnownRemediation,
): Promise<number> {
  let pending = 0;
  for (let batch = 0; batch < approvedBatches; batch += 1) {
    // Of a batch that has settled the last event says that nothing is pending.
    if ((await settledTally(store, planId, batch)) !== undefined) continue;
    const { state } = await load(store, batchCodecs, batchDecider, batchStream(planId, batch));
    if (state.status !== 'none') pending += ofOutcome(state.tally, 'pending');
  }
  return pending;
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
