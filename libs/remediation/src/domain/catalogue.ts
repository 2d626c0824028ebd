import { OBSTACLES } from './possible.js';
import { REASONS } from './reasons.js';
import type { Outcome, RemediationAction, Status } from './vocabulary.js';

/** What a remediation does, in words. Microsoft's names for the same in brackets. */
export const ACTION_MEANINGS: Readonly<Record<RemediationAction, string>> = {
  softDelete:
    "Moves the copy to Recoverable Items/Deletions, out of its user's sight and recoverable for some weeks (Soft deleted " +
    "items). With the sender's copy option the one in the sender's Sent Items as well.",
  hardDelete: 'Purges the copy for good; it cannot be undone (Hard deleted items).',
  moveToInbox:
    "Moves the copy to the Inbox, out of quarantine too (Inbox). With the sender's copy option the sender's copy goes back " +
    'to Sent Items.',
  moveToJunk: 'Moves the copy to Junk Email (Junk).',
  moveToDeletedItems: 'Moves the copy to Deleted Items (Deleted items).',
  moveToQuarantine: 'Moves the copy to quarantine.',
  releaseFromQuarantine: 'Moves the copy from quarantine to the Inbox, and leaves it alone anywhere else.',
  undo: 'Brings the copies that another remediation moved back to where they were.',
};

/** The life of a remediation, in words. */
export const STATUS_MEANINGS: Readonly<Record<Status, string>> = {
  pending: 'Waits for the decision of another person; after the time of a proposal it expires.',
  started: 'Approved; nothing has been given out yet, for instance because it starts later.',
  queued: 'Given out; nobody works on it yet.',
  inProgress: 'Copies are being acted on.',
  completed: 'Every copy has its outcome, some of them possibly failed; or there was nothing to do.',
  failed: 'Every copy has its outcome, and none that could be remediated reached its goal.',
  cancelled: 'Ended on request: what was under way has its outcome, the rest is cancelled.',
  rejected: 'Somebody decided against it: nothing, or nothing more, was done.',
  expired: 'Nobody decided it in time: nothing, or nothing more, was done.',
};

/** What became of a copy, in words. */
export const OUTCOME_MEANINGS: Readonly<Record<Outcome, string>> = {
  pending: 'Nothing has happened to the copy yet.',
  succeeded: 'The copy was moved.',
  alreadyInDestination: 'The copy was in the destination before; nothing was done.',
  notFound: 'The copy is in none of the folders of its mailbox: for a delete a goal reached, else not.',
  nonRemediable: 'Nothing can be done about the copy; the reason says why.',
  failed: 'The mailbox refused, or kept failing until the attempts were used up.',
  timedOut: 'The mailbox did not answer in time, or the time of the remediation was over before.',
  cancelled: 'The remediation ended before the copy was tried, or while its mailbox asked to wait.',
};

/** Every code that answers, logs and exports may hold, with its meaning. Codes are stable; texts may change. */
export const CATALOGUE = {
  actions: ACTION_MEANINGS,
  statuses: STATUS_MEANINGS,
  outcomes: OUTCOME_MEANINGS,
  reasons: REASONS,
  obstacles: OBSTACLES,
} as const;
