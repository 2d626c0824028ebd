import { EventStore, isWrongExpectedRevision, decideAndAppend } from '#libs/event-store';
import { ClawbackError, canonicalJson, collect, idFrom, invalidInput, newId, sha256 } from '#libs/kernel';
import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { batchCodecs, batchStream, remediationCodecs, remediationStream } from '../codecs.js';
import {
  checkUndoPossible,
  copyKeyOf,
  isCopyEvent,
  isFinished,
  isUndoable,
  type BatchEvent,
  type CopyKind,
  type EmailRef,
  type PlannedCopy,
  type PlannedMessage,
  type Submission,
} from '../domain/index.js';
import { ActiveRemediations, CopyStates, RemediationLimits, type MovedCopy } from '../ports.js';
import { remediationDecider } from './deciders.js';
import { checkList, planNamed } from './plan-selection.js';
import {
  approvalIdFor,
  batchWriter,
  checkSameRequest,
  loadRemediation,
  remediationNotFound,
  recordSubmission,
  submittedBefore,
  type Submitted,
} from './submission.js';
import { checkActivityOfSome, type RequestContext } from './submit-remediation.handler.js';

/** One copy, as callers name it. */
export interface CopyName {
  readonly networkMessageId: string;
  readonly mailbox: string;
  readonly isSendersCopy: boolean;
}

/** What to bring back: everything, or some emails (with the sender's copies of their messages), or some copies. */
export type UndoScope =
  | { readonly all: true }
  | { readonly emails: readonly EmailRef[] }
  | { readonly copies: readonly CopyName[] };

/** Bring the copies that a remediation moved back to where they were. */
export class UndoRemediation extends Command<Submitted> {
  constructor(
    readonly approvalId: string,
    readonly scope: UndoScope,
    readonly name: string | undefined,
    readonly description: string,
    readonly context: RequestContext,
    readonly idempotencyKey?: string,
  ) {
    super();
  }
}

/**
 * An undo is a remediation of its own. It is planned from what the first one really moved and nothing has moved since;
 * then the first one records it (which lets one of several undos win); then it is submitted and approved. A crash
 * between the last two is repaired by the executor, which does the same on seeing `RemediationUndone`.
 */
@CommandHandler(UndoRemediation)
export class UndoRemediationHandler implements ICommandHandler<UndoRemediation> {
  constructor(
    private readonly store: EventStore,
    private readonly copies: CopyStates,
    private readonly activity: ActiveRemediations,
    private readonly limits: RemediationLimits,
  ) {}

  async execute(command: UndoRemediation): Promise<Submitted> {
    for (let retry = 0; ; retry += 1) {
      try {
        return await this.undo(command);
      } catch (error) {
        // The first remediation has moved on since it was looked at, for instance by another undo: look again.
        if (!isWrongExpectedRevision(error) || retry >= 3) throw error;
      }
    }
  }

  private async undo({
    approvalId,
    scope,
    name,
    description,
    context,
    idempotencyKey,
  }: UndoRemediation): Promise<Submitted> {
    const undoId = approvalIdFor(context.tenant, idempotencyKey);
    const requestHash = sha256(canonicalJson({ undoOf: approvalId, scope, name, description }));
    const before = await submittedBefore(this.store, undoId, requestHash);
    if (before !== undefined) return before;

    const original = await loadRemediation(this.store, approvalId);
    if (original.state.status === 'none') throw remediationNotFound();
    const { submission, undoneBy } = original.state;
    if (undoneBy.includes(undoId)) {
      return this.submit(await this.begun(approvalId, undoId, requestHash), context);
    }
    if (!isUndoable(submission.action)) {
      throw new ClawbackError(
        'conflict',
        'notUndoable',
        'a hard delete cannot be undone: its copies are out of reach',
      );
    }
    const wanted = wantedCopies(scope, this.limits.byHand);
    const underWay = await this.underWay(undoneBy);
    checkUndoPossible(original.state, underWay);
    await this.copies.ready();

    const planId = newId();
    const command = { ...context, correlationId: undoId, commandId: planId };
    const batches = batchWriter(this.store, 'undo', { approvalId: undoId, planId }, command);
    const found = () => this.movedCopies(submission, wanted, context.tenant);
    // Copies that are named are few: nothing is written before it is known that all can be brought back.
    const named = 'all' in scope ? undefined : await collect(found());
    wanted.refuseTheRest(undoneBy);
    const moved = () => named ?? found();
    const atMost = submission.plan.recipientCopies;
    await checkActivityOfSome(this.activity, this.limits, context.tenant, atMost, moved);
    const { plan, ...planned } = await planNamed(moved(), { action: 'undo', of: approvalId }, (batch) =>
      batches.write(batch),
    );
    await batches.drain();

    const undo: Submission = {
      approvalId: undoId,
      planId,
      name: name ?? `Undo: ${submission.name}`,
      description,
      severity: submission.severity,
      action: 'undo',
      sendersCopy: plan.sendersCopies > 0,
      surface: submission.surface,
      selection: { by: 'undo', of: approvalId },
      plan,
      ...planned,
      undoOf: approvalId,
      requestHash,
      submittedBy: context.actor,
    };
    await decideAndAppend(
      this.store,
      remediationCodecs,
      remediationDecider,
      remediationStream(approvalId),
      { type: 'ClaimUndo', undo, underWay },
      { ...command, correlationId: approvalId, commandId: idFrom('claimUndo', planId) },
      { asOf: original.revision },
    );
    return this.submit(undo, context);
  }

  /**
   * The undo that an earlier request under the same key has claimed; a crash came before its submission.
   * @throws {ClawbackError} `idempotencyKeyReused` when that was a different request.
   */
  private async begun(approvalId: string, undoId: string, requestHash: string): Promise<Submission> {
    for await (const recorded of this.store.readStream(remediationStream(approvalId))) {
      const event = remediationCodecs.decode(recorded);
      if (event?.type !== 'RemediationUndone' || event.data.undo.approvalId !== undoId) continue;
      checkSameRequest(event.data.undo, requestHash);
      return event.data.undo;
    }
    throw new Error(`${approvalId} does not hold the undo ${undoId}`);
  }

  private submit(undo: Submission, context: RequestContext): Promise<Submitted> {
    const { approvalId, planId } = undo;
    const command = { ...context, correlationId: approvalId, commandId: planId };
    return recordSubmission(this.store, undo, true, command);
  }

  private async underWay(undos: readonly string[]): Promise<string[]> {
    const states = await Promise.all(undos.map((undo) => loadRemediation(this.store, undo)));
    return undos.filter((_, index) => !isFinished(states[index]?.state.status ?? 'none'));
  }

  /** Reads the batches of the first remediation in order, one at a time. */
  private async *movedCopies(
    submission: Submission,
    wanted: WantedCopies,
    tenant: string,
  ): AsyncGenerator<readonly PlannedCopy[]> {
    for (let number = 0; number < submission.batches; number += 1) {
      const moved: (MovedCopy & { readonly copy: PlannedCopy })[] = [];
      const messages = new Map<string, PlannedMessage>();
      for await (const recorded of this.store.readStream(batchStream(submission.planId, number))) {
        const event: BatchEvent | undefined = batchCodecs.decode(recorded);
        if (event?.type === 'BatchPlanned') {
          for (const message of event.data.messages) messages.set(message.networkMessageId, message);
        }
        if (event === undefined || !isCopyEvent(event) || !('from' in event.data)) continue;
        if (event.type === 'RecipientCopyHardDeleted') continue;
        const { networkMessageId, mailbox, from, to } = event.data;
        const kind: CopyKind = event.type.startsWith('Sender') ? 'sender' : 'recipient';
        const message = messages.get(networkMessageId);
        if (message === undefined)
          throw new Error(`${recorded.stream} moved a copy of a message that it did not plan`);
        if (wanted.includes(networkMessageId, kind, mailbox)) {
          const copy = { message, kind, mailbox, to: from, onlyFrom: to };
          moved.push({ networkMessageId, kind, mailbox, to, position: recorded.position, copy });
        }
      }
      if (moved.length === 0) continue;
      const left = await this.copies.stillMovedBy(tenant, submission.approvalId, moved);
      for (const { networkMessageId, kind, mailbox } of left) wanted.found(networkMessageId, kind, mailbox);
      yield left.map(({ copy }) => copy);
    }
  }
}

/** Which copies an undo asks for, and which of those named were found. */
interface WantedCopies {
  includes(networkMessageId: string, kind: CopyKind, mailbox: string): boolean;
  found(networkMessageId: string, kind: CopyKind, mailbox: string): void;
  /** @throws {ClawbackError} when copies were named that cannot be brought back. */
  refuseTheRest(undoneBy: readonly string[]): void;
}

function wantedCopies(scope: UndoScope, limit: number): WantedCopies {
  if ('all' in scope) {
    return { includes: () => true, found: () => undefined, refuseTheRest: () => undefined };
  }
  const named =
    'copies' in scope
      ? scope.copies.map((copy) => ({
          networkMessageId: copy.networkMessageId.toLowerCase(),
          kind: copy.isSendersCopy ? ('sender' as const) : ('recipient' as const),
          mailbox: copy.mailbox.toLowerCase(),
        }))
      : scope.emails.map((email) => ({
          networkMessageId: email.networkMessageId.toLowerCase(),
          kind: 'recipient' as const,
          mailbox: email.recipientEmailAddress.toLowerCase(),
        }));
  const field = 'copies' in scope ? 'copies' : 'emails';
  checkList(field, named, limit, copyKeyOf);
  const keys = new Map(named.map((copy, index) => [copyKeyOf(copy), index]));
  const left = new Set(keys.keys());
  const seen = new Set<string>();
  // Bringing an email back brings back the sender's copy of its message as well (MC794815).
  const emails = 'emails' in scope ? named : [];
  const keysFor = (networkMessageId: string, kind: CopyKind, mailbox: string): string[] => {
    const key = copyKeyOf({ networkMessageId, kind, mailbox });
    if (keys.has(key)) return [key];
    return kind === 'sender'
      ? emails.filter((email) => email.networkMessageId === networkMessageId).map(copyKeyOf)
      : [];
  };

  return {
    includes(networkMessageId, kind, mailbox) {
      const wanted = keysFor(networkMessageId, kind, mailbox);
      for (const key of wanted) seen.add(key);
      return wanted.length > 0;
    },
    found(networkMessageId, kind, mailbox) {
      for (const key of keysFor(networkMessageId, kind, mailbox)) left.delete(key);
    },
    refuseTheRest(undoneBy) {
      if (left.size === 0) return;
      const unknown = [...left].filter((key) => !seen.has(key));
      const problems = [...left].map((key) => ({
        field: `${field}[${String(keys.get(key))}]`,
        problem: seen.has(key)
          ? 'was brought back or moved again since'
          : 'was not moved by this remediation',
      }));
      if (unknown.length > 0) throw invalidInput(problems, 'copyNotMoved');
      throw new ClawbackError(
        'conflict',
        'alreadyUndone',
        problems.map((p) => `${p.field}: ${p.problem}`).join('; '),
        {
          errors: problems,
          undoneBy,
        },
      );
    },
  };
}
