import { ClawbackError, type Position } from '#libs/kernel';
import { MailboxError, MailboxGateway, type Folder, type MoveRequest } from '../mailbox-gateway.js';

export type CopyKind = MoveRequest['copyKind'];

/** One copy of a message as it is delivered: which mailbox it is in and the folder it first lands in. */
export interface SandboxCopy {
  readonly tenant: string;
  readonly mailbox: string;
  readonly networkMessageId: string;
  readonly internetMessageId: string;
  readonly copyKind: CopyKind;
  readonly folder: Folder;
}

/** What goes wrong in one mailbox. `times`: how many calls it hits before they work again; absent: every call. */
export type Fault =
  /** Every move answers `mailboxNotFound`. */
  | { readonly kind: 'missingMailbox' }
  /** The user moves all copies that are there when the fault is set; copies delivered later stay where they land. */
  | { readonly kind: 'movedByUser'; readonly folder: Folder }
  /** The user purges all copies that are there when the fault is set; clearing it does not bring them back. */
  | { readonly kind: 'deletedByUser' }
  /** The call throws a {@link MailboxError} made of these fields. */
  | {
      readonly kind: 'error';
      readonly code: string;
      readonly retryable: boolean;
      readonly times?: number;
      readonly retryAfterMs?: number;
    }
  /** The call answers nothing and moves nothing until its signal fires. */
  | { readonly kind: 'hang'; readonly times?: number }
  /** The call acts and answers after `delayMs`; given up before, it has moved nothing. */
  | { readonly kind: 'slow'; readonly delayMs: number };

export interface MailboxFault {
  readonly mailbox: string;
  /** `times` is what remains of it; 0 when it is used up. */
  readonly fault: Fault;
}

/** A mail tenant of our own, as the server uses it: mail is delivered to it, and its mailboxes can be made faulty. */
export abstract class Sandbox extends MailboxGateway {
  /**
   * Places the copies that are not there yet (an existing one is never moved, a purged one never comes back) and moves
   * the delivery checkpoint to `position`, as one. Idempotent; the checkpoint never goes back.
   */
  abstract deliver(copies: readonly SandboxCopy[], position: Position): Promise<void>;

  /** The position of the last event whose copies are delivered; `START` at first. */
  abstract deliveredTo(): Position | Promise<Position>;

  /**
   * Resolves when everything up to `position` is delivered.
   * @throws {MailboxError} `timeout` when the signal fires first.
   */
  abstract whenDelivered(position: Position, signal?: AbortSignal): Promise<void>;

  /** Injects a fault into a mailbox, in place of the one it has; what the user does in it happens now. Durable. */
  abstract setFault(tenant: string, mailbox: string, fault: Fault): Promise<void>;

  /** The mailbox works again; what its user did stays done. */
  abstract clearFault(tenant: string, mailbox: string): Promise<void>;

  /** The faults of a tenant, by mailbox. */
  abstract faults(tenant: string): readonly MailboxFault[] | Promise<readonly MailboxFault[]>;
}

/** What a call answers whose signal has fired. */
export const giveUp = (): never => {
  throw new MailboxError('timeout', 'gave up before the mailbox answered', true);
};

export function refuseWhenFired(signal: AbortSignal | undefined): void {
  if (signal?.aborted) giveUp();
}

export const sandboxClosed = (): ClawbackError =>
  new ClawbackError('unavailable', 'sandboxClosed', 'the sandbox tenant is closed');
