import type { Decider } from '#libs/event-store';
import {
  decideBatch,
  decideRemediation,
  evolveBatch,
  evolveBatchBy,
  evolveRemediation,
  initialBatch,
  initialRemediation,
  type BatchCommand,
  type BatchEvent,
  type BatchState,
  type Remediation,
  type RemediationCommand,
  type RemediationEvent,
} from '../domain/index.js';

export const remediationDecider: Decider<Remediation, RemediationCommand, RemediationEvent> = {
  initial: initialRemediation,
  decide: decideRemediation,
  evolve: evolveRemediation,
};

export const batchDecider: Decider<BatchState, BatchCommand, BatchEvent> = {
  initial: initialBatch,
  decide: decideBatch,
  evolve: evolveBatch,
  evolveAll: evolveBatchBy,
};
