import { EventStore, type CommandContext } from '#libs/event-store';
import { ClawbackError, canonicalJson, newId, sha256 } from '#libs/kernel';
import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { batchCodecs, batchStream } from '../codecs.js';
import {
  checkHasRun,
  copiesOfBatch,
  isCopyEvent,
  outcomeOf,
  type Outcome,
  type PlannedCopy,
  type Submission,
} from '../domain/index.js';
import { ActiveRemediations, ApprovalPolicies, RemediationLimits } from '../ports.js';
import { planNamed } from './plan-selection.js';
import {
  approvalIdFor,
  batchWriter,
  knownRemediation,
  recordSubmission,
  submittedBefore,
  type Submitted,
} from './submission.js';
import { checkActivityOfSome, decisionTerms, type RequestContext } from './submit-remediation.handler.js';

/** Outcomes that may be otherwise the next time. */
export const RETRYABLE = ['failed', 'timedOut', 'cancelled'] as const satisfies readonly Outcome[];
export type Retryable = (typeof RETRYABLE)[number];

/** Try those copies of a finished remediation again that had one of these outcomes, and no others. */
export class RetryRemediation extends Command<Submitted> {
  constructor(
    readonly approvalId: string,
    readonly outcomes: readonly Retryable[],
    readonly name: string | undefined,
    readonly description: string,
    readonly context: RequestContext,
    readonly approve: boolean,
    readonly idempotencyKey?: string,
  ) {
    super();
  }
}

/** A retry is a remediation of its own, planned from what the events of the first one say about each copy. */
@CommandHandler(RetryRemediation)
export class RetryRemediationHandler implements ICommandHandler<RetryRemediation> {
  constructor(
    private readonly store: EventStore,
    private readonly activity: ActiveRemediations,
    private readonly limits: RemediationLimits,
    private readonly policies: ApprovalPolicies,
  ) {}

  async execute(command: RetryRemediation): Promise<Submitted> {
    const { approvalId: of, outcomes, name, description, context, approve, idempotencyKey } = command;
    const approvalId = approvalIdFor(context.tenant, idempotencyKey);
    const requestHash = sha256(canonicalJson({ retryOf: of, outcomes, name, description }));
    const before = await submittedBefore(this.store, approvalId, requestHash);
    if (before !== undefined) return before;

    const original = await knownRemediation(this.store, of);
    checkHasRun(original, 'retried');
    const { submission: first } = original;
    const copies = () => this.copiesWith(first, new Set(outcomes));
    const { recipientCopies } = first.plan;
    await checkActivityOfSome(this.activity, this.limits, context.tenant, recipientCopies, copies);
    const planId = newId();
    const at: CommandContext = { ...context, correlationId: approvalId, commandId: planId };
    const batches = batchWriter(this.store, first.action, { approvalId, planId }, at);
    const { plan, ...planned } = await planNamed(
      copies(),
      { action: first.action, retryOf: of, outcomes: [...outcomes].sort() },
      (batch) => batches.write(batch),
    );
    await batches.drain();
    if (plan.copies === 0) {
      throw new ClawbackError(
        'conflict',
        'nothingToRetry',
        `no copy of this remediation is ${outcomes.join(' or ')}`,
      );
    }
    const retry: Submission = {
      approvalId,
      planId,
      name: name ?? `Retry: ${first.name}`,
      description,
      severity: first.severity,
      action: first.action,
      sendersCopy: plan.sendersCopies > 0,
      surface: first.surface,
      selection: { by: 'retry', of },
      plan,
      ...planned,
      retryOf: of,
      ...(first.undoOf === undefined ? {} : { undoOf: first.undoOf }),
      requestHash,
      ...decisionTerms(this.policies.of(context.tenant), first.action, plan.emails, context),
    };
    return recordSubmission(this.store, retry, approve, at);
  }

  /** Reads the batches of the first remediation in order, one at a time. */
  private async *copiesWith(
    { planId, batches }: Submission,
    wanted: ReadonlySet<Outcome>,
  ): AsyncGenerator<readonly PlannedCopy[]> {
    for (let batch = 0; batch < batches; batch += 1) {
      let copies: readonly PlannedCopy[] = [];
      const outcomes = new Map<number, Outcome>();
      for await (const recorded of this.store.readStream(batchStream(planId, batch))) {
        const event = batchCodecs.decode(recorded);
        if (event === undefined) continue;
        if (event.type === 'BatchPlanned') copies = copiesOfBatch(event.data);
        if (event.type === 'BatchWithdrawn') {
          copies.forEach(({ notRemediable }, target) => {
            if (notRemediable === undefined) outcomes.set(target, event.data.outcome);
          });
        }
        if (isCopyEvent(event)) outcomes.set(event.data.target, outcomeOf(event).outcome);
      }
      yield copies.filter(({ notRemediable }, target) =>
        // Of a finished remediation, what has no outcome of its own ended with it.
        wanted.has(outcomes.get(target) ?? (notRemediable === undefined ? 'cancelled' : 'nonRemediable')),
      );
    }
  }
}
