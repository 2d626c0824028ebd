import { allowsSendersCopy, destinationOf, onlySourceOf, sendersCopyInScope } from './plan.js';
import { REASONS, notRemediableAt, type Reason } from './reasons.js';
import type { Action, Direction, Location } from './vocabulary.js';

/** Why something cannot be done now that no copy is to blame for: a closed, published list like the reasons. */
export const OBSTACLES = {
  roleNeeded: 'The caller has neither of the roles proposer and approver.',
  approverNeeded: 'The caller has not the role approver.',
  purgerNeeded: 'A hard delete needs the role purger as well.',
  noSuchOption: "The action has no sender's copy option.",
  senderElsewhere:
    'The sender is not one of ours: only mail sent inside the organisation or out of it has a copy here.',
  nothingToUndo: 'No remediation has left a copy where it is now.',
} as const;
export type Obstacle = keyof typeof OBSTACLES;

/** Whether something can be done, or why not. */
export type Possibility =
  | { readonly possible: true }
  | { readonly possible: false; readonly reason: Reason | Obstacle; readonly detail: string };

export const POSSIBLE: Possibility = { possible: true };

export const impossible = (reason: Reason | Obstacle): Possibility => ({
  possible: false,
  reason,
  detail: { ...REASONS, ...OBSTACLES }[reason],
});

/** A copy as far as it is known. `folder` is null when it was in none when last looked for. */
export interface KnownCopy {
  readonly folder: string | null;
}

/** Whether the action would move the recipient's copy; a preview of what a plan and a run would say. */
export function recipientPossibility(
  action: Action,
  location: Location,
  copy: KnownCopy | undefined,
): Possibility {
  const reason = notRemediableAt(location);
  if (reason !== undefined) return impossible(reason);
  const only = onlySourceOf(action);
  if (copy !== undefined && only !== undefined && copy.folder !== only) return impossible('notInQuarantine');
  return ofCopy(copy, destinationOf(action, 'recipient'));
}

/** Whether the sender's copy option would move the sender's copy. */
export function senderPossibility(
  action: Action,
  direction: Direction,
  copy: KnownCopy | undefined,
): Possibility {
  if (!allowsSendersCopy(action)) return impossible('noSuchOption');
  if (!sendersCopyInScope(direction)) return impossible('senderElsewhere');
  return ofCopy(copy, destinationOf(action, 'sender'));
}

function ofCopy(copy: KnownCopy | undefined, destination: string | undefined): Possibility {
  if (copy === undefined) return POSSIBLE;
  if (copy.folder === null) return impossible('notFoundInMailbox');
  return copy.folder === destination ? impossible('alreadyInDestination') : POSSIBLE;
}
