import {
  Folders,
  MailboxError,
  MailboxGateway,
  type Folder,
  type MoveRequest,
  type MoveResult,
} from '#libs/mailbox';

/** Which copy: the part of a request that does not say what to do with it. */
export type CopyPlace = Pick<MoveRequest, 'tenant' | 'mailbox' | 'networkMessageId' | 'copyKind'>;

/** Mailboxes for tests: honest (they pass the gateway's contract), and open to be looked at and rearranged. */
export class InMemoryTenant extends MailboxGateway {
  /** How many moves really took place, a repeated operation not counted. */
  moves = 0;
  private readonly mailboxes = new Set<string>();
  private readonly folders = new Map<string, Folder>();
  private readonly done = new Map<string, MoveResult>();

  /** Puts a copy into a folder, as a delivery or its user does; makes the mailbox when there is none. */
  put(copy: CopyPlace, folder: Folder): void {
    this.mailboxes.add(mailboxOf(copy));
    this.folders.set(keyOf(copy), folder);
  }

  locate(copy: CopyPlace): Folder | undefined {
    return this.folders.get(keyOf(copy));
  }

  /** Which folder every copy is in. */
  snapshot(): ReadonlyMap<string, Folder> {
    return new Map(this.folders);
  }

  async move(request: MoveRequest, signal: AbortSignal): Promise<MoveResult> {
    await Promise.resolve();
    if (signal.aborted) throw new MailboxError('timeout', 'gave up before the mailbox answered', true);
    const result = this.done.get(request.operationId) ?? this.attempt(request);
    this.done.set(request.operationId, result);
    return result;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private attempt(request: MoveRequest): MoveResult {
    const { to, onlyFrom } = request;
    if (!this.mailboxes.has(mailboxOf(request))) return { kind: 'mailboxNotFound' };
    const from = this.locate(request);
    if (from === undefined || from === Folders.recoverablePurges) return { kind: 'notFound' };
    if (from === to) return { kind: 'alreadyInDestination', folder: from };
    if (onlyFrom !== undefined && from !== onlyFrom) return { kind: 'movedSince', folder: from };
    this.folders.set(keyOf(request), to);
    this.moves += 1;
    return { kind: 'moved', from, to };
  }
}

const mailboxOf = ({ tenant, mailbox }: CopyPlace): string => `${tenant}/${mailbox.toLowerCase()}`;

const keyOf = (copy: CopyPlace): string => `${mailboxOf(copy)}/${copy.networkMessageId}/${copy.copyKind}`;
