import type { Location } from './vocabulary.js';

/** Why an outcome is what it is: a closed, published list. Codes are stable; the texts may change. */
export const REASONS = {
  onPremisesExternal: 'The mail was delivered outside the cloud organisation; no mailbox here holds it.',
  hardDeleted: 'The copy was hard deleted; nothing reaches it any more.',
  deliveryFailed: 'The mail was never delivered, so there is no copy to act on.',
  deliveryDropped: 'The mail was dropped before delivery, so there is no copy to act on.',
  locationUnknown: 'It is not known where the mail was delivered.',
  mailboxNotFound: 'The mailbox does not exist, or has no cloud mailbox.',
  notFoundInMailbox: 'The copy is in none of the folders of the mailbox.',
  alreadyInDestination: 'The copy was in the destination before anything was done.',
  movedSince: 'Something else has moved the copy since; an undo does not fight with it.',
  notInQuarantine: 'The copy is not in quarantine, so there is nothing to release.',
  mailboxError: 'The mailbox refused the move, or kept failing until the attempts were used up.',
  remediationDeadline: 'The time of the whole remediation was over before this copy was tried.',
  deadlineExceeded:
    'The mailbox did not answer before the deadline of the copy, or asked to wait for too long.',
} as const;
export type Reason = keyof typeof REASONS;
export const REASON_CODES = Object.keys(REASONS) as [Reason, ...Reason[]];

/**
 * Why a recipient's copy at this location cannot be remediated, or undefined when it can.
 * Actionable are Inbox, Junk, Deleted Items, Recoverable Items/Deletions and Quarantine (Microsoft's page on
 * remediating malicious email that was delivered).
 */
export function notRemediableAt(location: Location): Reason | undefined {
  switch (location) {
    case 'inboxFolder':
    case 'junkFolder':
    case 'deletedItems':
    case 'quarantine':
    case 'softDeleted':
    case 'sentItems':
      return undefined;
    case 'hardDeleted':
      return 'hardDeleted';
    case 'onPremisesExternal':
      return 'onPremisesExternal';
    case 'failed':
      return 'deliveryFailed';
    case 'dropped':
      return 'deliveryDropped';
    case 'unknown':
      return 'locationUnknown';
  }
}
