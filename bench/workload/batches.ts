import type { CommandContext } from '#libs/event-store';
import {
  batchDecider,
  batchStream,
  pendingTargets,
  type Batch,
  type BatchCommand,
  type BatchEvent,
  type BatchState,
  type CopyResult,
  type RemediationAction,
} from '#libs/remediation';
import { idFrom, newId } from '#libs/kernel';
import { mailRecords, planOf, selectedEmailOf, TENANT } from './mail.js';

/** Others in every process: the streams of earlier parts are still on a server. */
export const APPROVAL_ID = newId();
export const PLAN_ID = newId();

export type StartedBatch = Exclude<BatchState, { status: 'none' }>;

const NOW = new Date('2026-11-20T08:00:00.000Z');

export const contextOf = (commandId: string): CommandContext => ({
  tenant: TENANT,
  actor: 'kim@fabrikam.example',
  correlationId: APPROVAL_ID,
  causationId: APPROVAL_ID,
  commandId: idFrom('bench', commandId),
  now: NOW,
});

/** Batches of copies that can all be moved, with so many copies in all. */
export function movableBatches(copies: number): Batch[] {
  function* movable() {
    for (const record of mailRecords(copies)) {
      yield { ...selectedEmailOf(record), location: 'inboxFolder' as const, direction: 'inbound' as const };
    }
  }
  return planOf(movable());
}

/** The events of a batch, decided one after the other as the product decides them, and the state after them. */
export function decided(
  state: BatchState,
  ...commands: readonly BatchCommand[]
): { readonly events: BatchEvent[]; readonly state: BatchState } {
  let current = state;
  const events: BatchEvent[] = [];
  for (const command of commands) {
    const more = batchDecider.decide(current, command);
    events.push(...more);
    current = more.reduce<BatchState>(batchDecider.evolve, current);
  }
  return { events, state: current };
}

export const planCommand = (
  batch: Batch,
  { approvalId, planId } = { approvalId: APPROVAL_ID, planId: PLAN_ID },
  action: RemediationAction = 'softDelete',
): BatchCommand => ({ type: 'Plan', ref: { approvalId, planId, batch: batch.number }, action, batch });

export const releaseCommand: BatchCommand = { type: 'Release' };

export const claimCommand: BatchCommand = {
  type: 'StartAttempt',
  worker: 'embedded',
  now: NOW,
  deadline: new Date(NOW.getTime() + 15_000),
};

/** Every copy that is pending was moved from its inbox. */
export const movedCommand = (state: StartedBatch): BatchCommand => ({
  type: 'RecordResults',
  attempt: state.attempt?.number ?? 0,
  results: pendingTargets(state).map((target) => ({ target, result: movedFrom(state, target) })),
});

export const movedFrom = (state: StartedBatch, target: number): CopyResult => {
  const planned = state.targets[target];
  return {
    kind: 'moved',
    from: planned?.onlyFrom ?? (planned?.kind === 'sender' ? 'Sent Items' : 'Inbox'),
    to: planned?.to ?? 'Inbox',
  };
};

export const started = (state: BatchState): StartedBatch => {
  if (state.status === 'none') throw new Error('the batch was not planned');
  return state;
};

export const streamOf = (batch: Batch): string => batchStream(PLAN_ID, batch.number);
