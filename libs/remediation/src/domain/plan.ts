import { notRemediableAt, type Reason } from './reasons.js';
import type { SelectedEmail } from './selection.js';
import {
  copiesIn,
  draftOf,
  emptyTally,
  ofOutcome,
  type Action,
  type CopyKind,
  type Direction,
  type Outcome,
  type RemediationAction,
  type Tally,
} from './vocabulary.js';

/** Where an action takes a copy. Folder names as the plan states them; the mailbox gateway knows the same ones. */
interface Destination {
  readonly recipient: string;
  /** Absent: the action has no sender's copy option. */
  readonly sender?: string;
  /** Only copies in this folder are moved. */
  readonly onlyFrom?: string;
}

/**
 * The sender's copy option belongs to soft delete ("Delete sender's copy") and to move to Inbox ("Move back to Sent
 * Items"), and to no other action (Microsoft's announcement MC794815).
 */
const DESTINATIONS: Readonly<Record<Action, Destination>> = {
  softDelete: { recipient: 'Recoverable Items/Deletions', sender: 'Recoverable Items/Deletions' },
  hardDelete: { recipient: 'Recoverable Items/Purges' },
  moveToInbox: { recipient: 'Inbox', sender: 'Sent Items' },
  moveToJunk: { recipient: 'Junk Email' },
  moveToDeletedItems: { recipient: 'Deleted Items' },
  moveToQuarantine: { recipient: 'Quarantine' },
  releaseFromQuarantine: { recipient: 'Inbox', onlyFrom: 'Quarantine' },
};

/** Whether what the action does can be undone. A hard deleted copy is out of everybody's reach. */
export const isUndoable = (action: RemediationAction): boolean => action !== 'hardDelete';

/** The facts of a message that the log and the export show; kept once a batch. */
export interface PlannedMessage {
  readonly networkMessageId: string;
  readonly internetMessageId: string;
  readonly sender: string;
  readonly subject: string;
  readonly direction: Direction;
  readonly receivedAt: string;
}

/** One copy that the remediation will touch, or says why not. */
export interface PlannedCopy {
  readonly message: PlannedMessage;
  readonly kind: CopyKind;
  readonly mailbox: string;
  readonly to: string;
  /** Move only from this folder (undo). */
  readonly onlyFrom?: string | undefined;
  readonly notRemediable?: Reason | undefined;
}

/** What a plan amounts to. `emails` are emails selected; copies are one a recipient, plus the senders'. */
export interface PlanTotals {
  readonly emails: number;
  readonly copies: number;
  readonly recipientCopies: number;
  readonly sendersCopies: number;
  readonly remediable: number;
  readonly nonRemediable: number;
  /** How many copies are not remediable, by reason. */
  readonly reasons: Readonly<Partial<Record<Reason, number>>>;
}

/** Names a copy: the unit of work. The sender's copy of a message is one, whoever received it. */
export interface CopyIdentity {
  readonly networkMessageId: string;
  readonly kind: CopyKind;
  readonly mailbox: string;
}

export const copyKeyOf = (copy: CopyIdentity): string =>
  `${copy.networkMessageId}/${copy.kind}/${copy.mailbox}`;

export interface PlanRules {
  readonly action: Action;
  /** The sender's copy option: "Delete sender's copy", or with moveToInbox "Move back to Sent Items". */
  readonly sendersCopy: boolean;
}

/**
 * The sender's copy is in scope for mail sent inside the organisation or out of it. Inbound mail has its sender
 * elsewhere: out of scope, and not an error (Microsoft's announcement MC794815).
 */
export const sendersCopyInScope = (direction: Direction): boolean =>
  direction === 'intraOrg' || direction === 'outbound';

/**
 * Turns selected emails into copies. Feed the emails in the order of their keys (so that the emails of a message follow
 * each other): then one message gives at most one sender's copy, and nothing but the current message is kept.
 */
export function planner(rules: PlanRules): {
  add(email: SelectedEmail): PlannedCopy[];
  end(): PlannedCopy[];
} {
  let current: PlannedMessage | undefined;
  const to = DESTINATIONS[rules.action];

  const sendersCopy = (): PlannedCopy[] =>
    current !== undefined &&
    to.sender !== undefined &&
    rules.sendersCopy &&
    sendersCopyInScope(current.direction)
      ? [{ message: current, kind: 'sender', mailbox: current.sender, to: to.sender }]
      : [];

  return {
    add(email) {
      const before = current?.networkMessageId === email.networkMessageId ? [] : sendersCopy();
      if (current?.networkMessageId !== email.networkMessageId) current = messageOf(email);
      const reason = notRemediableAt(email.location);
      return [
        ...before,
        {
          message: current,
          kind: 'recipient',
          mailbox: email.recipientEmailAddress,
          to: to.recipient,
          onlyFrom: to.onlyFrom,
          notRemediable: reason,
        },
      ];
    },
    end() {
      const last = sendersCopy();
      current = undefined;
      return last;
    },
  };
}

const messageOf = (email: SelectedEmail): PlannedMessage => ({
  networkMessageId: email.networkMessageId,
  internetMessageId: email.internetMessageId,
  sender: email.sender,
  subject: email.subject,
  direction: email.direction,
  receivedAt: email.receivedAt,
});

/** Adds up a plan copy by copy. Conservation: copies = recipients' + senders' = remediable + not remediable. */
export class PlanCounter {
  private readonly tally = draftOf(emptyTally());
  private readonly reasons: Partial<Record<Reason, number>> = {};

  add(copy: PlannedCopy): void {
    this.tally[copy.kind][startOf(copy)] += 1;
    if (copy.notRemediable !== undefined) {
      this.reasons[copy.notRemediable] = (this.reasons[copy.notRemediable] ?? 0) + 1;
    }
  }

  /** The tally that the remediation begins with: every copy is pending or not remediable. */
  startingTally(): Tally {
    return draftOf(this.tally);
  }

  totals(emails: number): PlanTotals {
    return {
      emails,
      copies: copiesIn(this.tally),
      recipientCopies: copiesIn(this.tally, ['recipient']),
      sendersCopies: copiesIn(this.tally, ['sender']),
      remediable: ofOutcome(this.tally, 'pending'),
      nonRemediable: ofOutcome(this.tally, 'nonRemediable'),
      reasons: { ...this.reasons },
    };
  }
}

/** A target of a batch: a planned copy with its message named by its place in the batch's list of messages. */
export interface BatchTarget {
  readonly message: number;
  readonly kind: CopyKind;
  readonly mailbox: string;
  readonly to: string;
  readonly onlyFrom?: string | undefined;
  readonly notRemediable?: Reason | undefined;
}

/** One unit of work. */
export interface Batch {
  readonly number: number;
  readonly messages: readonly PlannedMessage[];
  readonly targets: readonly BatchTarget[];
}

export const MAX_BATCH_COPIES = 500;
/** Leaves room under the 1 MiB of one append for metadata, and for the outcomes of the batch, which hold no subjects. */
export const MAX_BATCH_BYTES = 512 * 1024;

/** Texts that JSON holds as they are, a byte a character. */
const PLAIN = /^[ !#-[\]-~]*$/;

const sizeOfText = (text: string): number =>
  PLAIN.test(text) ? text.length + 2 : Buffer.byteLength(JSON.stringify(text));

const TARGET_FRAME = '{"message":,"kind":,"mailbox":,"to":,"onlyFrom":,"notRemediable":},'.length;

/** Bytes of JSON of a target at most, without its message. Added up, since writing each as JSON took as long as to plan it. */
const sizeOfTarget = ({ kind, mailbox, to, onlyFrom, notRemediable }: PlannedCopy): number =>
  TARGET_FRAME +
  sizeOfText(kind) +
  sizeOfText(mailbox) +
  sizeOfText(to) +
  sizeOfText(onlyFrom ?? '') +
  sizeOfText(notRemediable ?? '');

/** Cuts a stream of copies into batches by count and by bytes of JSON. @param first the number of the first batch */
export function batcher(
  limits: { copies: number; bytes: number } = { copies: MAX_BATCH_COPIES, bytes: MAX_BATCH_BYTES },
  first = 0,
): { add(copy: PlannedCopy): Batch | undefined; end(): Batch | undefined } {
  let number = first;
  let bytes = 0;
  let messages: PlannedMessage[] = [];
  let targets: BatchTarget[] = [];

  const cut = (): Batch | undefined => {
    if (targets.length === 0) return undefined;
    const batch = { number, messages, targets };
    number += 1;
    bytes = 0;
    messages = [];
    targets = [];
    return batch;
  };

  const isKnown = (message: PlannedMessage): boolean =>
    messages.at(-1)?.networkMessageId === message.networkMessageId;
  const sizeOf = (copy: PlannedCopy): number =>
    sizeOfTarget(copy) + (isKnown(copy.message) ? 1 : Buffer.byteLength(JSON.stringify(copy.message)));

  return {
    add(copy) {
      let size = sizeOf(copy);
      let done: Batch | undefined;
      if (targets.length > 0 && (targets.length >= limits.copies || bytes + size > limits.bytes)) {
        done = cut();
        // In the new batch its message is not known yet.
        size = sizeOf(copy);
      }
      if (!isKnown(copy.message)) messages.push(copy.message);
      targets.push(targetOf(copy, messages.length - 1));
      bytes += size;
      return done;
    },
    end: cut,
  };
}

// Member by member: what the rest of an object is taken into is five times as slow to check and to write as JSON.

const targetOf = (
  { kind, mailbox, to, onlyFrom, notRemediable }: PlannedCopy,
  message: number,
): BatchTarget => ({ message, kind, mailbox, to, onlyFrom, notRemediable });

/** The copies of a batch as they were planned. */
export const copiesOfBatch = ({ messages, targets }: Pick<Batch, 'messages' | 'targets'>): PlannedCopy[] =>
  targets.map(({ message, kind, mailbox, to, onlyFrom, notRemediable }) => ({
    message: messages[message] as PlannedMessage,
    kind,
    mailbox,
    to,
    onlyFrom,
    notRemediable,
  }));

/** The tally that a batch begins with. */
export const startingTallyOf = (targets: readonly BatchTarget[]): Tally => {
  const tally = draftOf(emptyTally());
  for (const target of targets) tally[target.kind][startOf(target)] += 1;
  return tally;
};

/** The outcome that a copy begins with. */
const startOf = ({ notRemediable }: Pick<BatchTarget, 'notRemediable'>): Outcome =>
  notRemediable === undefined ? 'pending' : 'nonRemediable';

/** Whether the sender's copy option may be chosen with this action. */
export const allowsSendersCopy = (action: Action): boolean => DESTINATIONS[action].sender !== undefined;

/** Where an action takes a copy of this kind; undefined when it does not touch such copies. */
export const destinationOf = (action: Action, kind: CopyKind): string | undefined =>
  kind === 'recipient' ? DESTINATIONS[action].recipient : DESTINATIONS[action].sender;

/** The only folder that an action takes copies from; undefined when it takes them from anywhere. */
export const onlySourceOf = (action: Action): string | undefined => DESTINATIONS[action].onlyFrom;
