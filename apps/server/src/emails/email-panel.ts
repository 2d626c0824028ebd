import type { Copy, HistoryDoc } from '#libs/action-center';
import type { EmailDoc } from '#libs/mail-catalog';
import type { Principal } from '#libs/platform';
import {
  ACTIONS,
  POSSIBLE,
  impossible,
  isUndoable,
  notRemediableAt,
  recipientPossibility,
  senderPossibility,
  type Action,
  type Possibility,
} from '#libs/remediation';
import type { PanelActionBody, PanelCopyBody, TimelineBody } from './emails.dto.js';

/** Every copy of an email, one that is out of reach included. */
export function panelCopies({ record, location }: EmailDoc, copies: readonly Copy[]): PanelCopyBody[] {
  const known = copies.map(({ mailbox, kind, folder, lastMovedBy }): PanelCopyBody => ({
    mailbox,
    isSendersCopy: kind === 'sender',
    folder,
    state: folder === null ? 'notFound' : 'inMailbox',
    reason: folder === null ? 'notFoundInMailbox' : null,
    lastMovedBy: lastMovedBy ?? null,
  }));
  const reason = notRemediableAt(location);
  if (reason === undefined) return known;
  // Hard deleted, or never in a mailbox of ours.
  const outOfReach: PanelCopyBody = {
    mailbox: record.recipientEmailAddress,
    isSendersCopy: false,
    folder: known.find((copy) => !copy.isSendersCopy)?.folder ?? null,
    state: 'outOfReach',
    reason,
    lastMovedBy: known.find((copy) => !copy.isSendersCopy)?.lastMovedBy ?? null,
  };
  return [outOfReach, ...known.filter((copy) => copy.isSendersCopy)];
}

/** What happened to the copies, in order of time: the delivery, and what each remediation did. */
export function panelTimeline(
  { record }: EmailDoc,
  copies: readonly Copy[],
  remediations: readonly HistoryDoc[],
): TimelineBody[] {
  const byId = new Map(remediations.map((entry) => [entry.approvalId, entry]));
  const delivered: TimelineBody = {
    time: record.receivedAt,
    event: 'delivered',
    source: 'system',
    mailbox: record.recipientEmailAddress,
    isSendersCopy: false,
    location: record.deliveryLocation,
    ...NO_REMEDIATION,
  };
  const touches = copies.flatMap(({ mailbox, kind, touches: all }) =>
    all.map((touch): TimelineBody => {
      const entry = byId.get(touch.approvalId);
      return {
        time: touch.at,
        event: 'remediated',
        source: 'admin',
        mailbox,
        isSendersCopy: kind === 'sender',
        location: null,
        approvalId: touch.approvalId,
        name: entry?.name ?? null,
        action: entry?.action ?? null,
        submittedBy: entry?.submittedBy ?? null,
        decidedBy: entry?.decidedBy ?? null,
        outcome: touch.outcome,
        reason: touch.reason ?? null,
        fromFolder: touch.from ?? null,
        toFolder: touch.to ?? null,
      };
    }),
  );
  return [delivered, ...touches.sort((a, b) => (a.time === b.time ? 0 : a.time < b.time ? -1 : 1))];
}

const NO_REMEDIATION = {
  approvalId: null,
  name: null,
  action: null,
  submittedBy: null,
  decidedBy: null,
  outcome: null,
  reason: null,
  fromFolder: null,
  toFolder: null,
};

/** What the caller can do now, and why not the rest. */
export function panelActions(
  { record, location }: EmailDoc,
  copies: readonly Copy[],
  remediations: readonly HistoryDoc[],
  { roles }: Pick<Principal, 'roles'>,
): PanelActionBody[] {
  const may = (role: Principal['roles'][number]): boolean => roles.includes(role) || roles.includes('admin');
  const recipient = copies.find(({ kind }) => kind === 'recipient');
  const sender = copies.find(({ kind }) => kind === 'sender');
  const forCaller = (action: Action, found: Possibility): Possibility => {
    if (!found.possible) return found;
    if (!may('proposer') && !may('approver')) return impossible('roleNeeded');
    return action === 'hardDelete' && !may('purger') ? impossible('purgerNeeded') : POSSIBLE;
  };
  const undone = [recipient, sender].flatMap((copy) => {
    const entry = remediations.find(({ approvalId }) => approvalId === copy?.lastMovedBy);
    return entry !== undefined && isUndoable(entry.action) ? [entry.approvalId] : [];
  });
  const undo =
    undone.length === 0
      ? impossible('nothingToUndo')
      : may('approver')
        ? POSSIBLE
        : impossible('approverNeeded');
  return [
    ...ACTIONS.map((action) => ({
      action,
      ...told(forCaller(action, recipientPossibility(action, location, recipient))),
      sendersCopy: told(forCaller(action, senderPossibility(action, record.direction, sender))),
      undoes: [],
    })),
    { action: 'undo', ...told(undo), sendersCopy: null, undoes: [...new Set(undone)] },
  ];
}

const told = (found: Possibility): { possible: boolean; reason: string | null; detail: string | null } =>
  found.possible ? { possible: true, reason: null, detail: null } : { ...found };
