/** A folder of a mailbox by its display path, for instance {@link Folders.inbox}. Users have folders of their own. */
export type Folder = string;

/** The folders that Clawback itself moves copies between (Exchange Online's English names). */
export const Folders = {
  inbox: 'Inbox',
  junk: 'Junk Email',
  deletedItems: 'Deleted Items',
  sentItems: 'Sent Items',
  quarantine: 'Quarantine',
  /** Where a soft deleted item goes: out of the user's sight, recoverable for 14 days by default, 30 at most. */
  recoverableDeletions: 'Recoverable Items/Deletions',
  /** Where a hard deleted item goes: no client reaches it, so a copy that is there is as good as gone. */
  recoverablePurges: 'Recoverable Items/Purges',
} as const;

export interface MoveRequest {
  /**
   * Names this very move. A gateway answers a repeated operation with what the first one did, so that a move whose
   * answer was lost in a crash is neither done twice nor mistaken for "was already there".
   */
  readonly operationId: string;
  readonly tenant: string;
  readonly mailbox: string;
  readonly networkMessageId: string;
  readonly internetMessageId: string;
  readonly copyKind: 'recipient' | 'sender';
  readonly to: Folder;
  /** Move it only from this folder (an undo must not fight with what the user did since). Absent: from anywhere. */
  readonly onlyFrom?: Folder;
}

/** What became of a move. Refusals that time will not change are results; what may pass is a {@link MailboxError}. */
export type MoveResult =
  | { readonly kind: 'moved'; readonly from: Folder; readonly to: Folder }
  | { readonly kind: 'alreadyInDestination'; readonly folder: Folder }
  /** In none of the mailbox's folders: purged, or never there. */
  | { readonly kind: 'notFound' }
  /** No such mailbox, or none in the cloud. */
  | { readonly kind: 'mailboxNotFound' }
  /** `onlyFrom` did not hold: something else has moved the copy since. */
  | { readonly kind: 'movedSince'; readonly folder: Folder };

/** The mailbox could not answer. Nothing is known about the copy, so the move may have happened. */
export class MailboxError extends Error {
  override readonly name = 'MailboxError';

  constructor(
    readonly code: string,
    message: string,
    /** Whether the same call may succeed later. */
    readonly retryable: boolean,
    /** How long the provider asks to wait, in milliseconds. */
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }
}

export const isMailboxError = (error: unknown): error is MailboxError =>
  error instanceof Error && error.name === 'MailboxError';

/**
 * The port to the mailboxes. Idempotent by operation id; one copy at a time; moves within one mailbox, in place (same
 * item, same received date). Every adapter passes `describeMailboxGatewayContract`.
 */
export abstract class MailboxGateway {
  /**
   * Finds the copy and moves it.
   * @param signal fires at the copy's deadline; the call then rejects as soon as it can.
   * @throws {MailboxError}
   */
  abstract move(request: MoveRequest, signal: AbortSignal): Promise<MoveResult>;

  abstract close(): Promise<void>;
}
