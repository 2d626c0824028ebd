import { followLog, type EventStore, type RecordedEvent } from '#libs/event-store';
import type { Sandbox, SandboxCopy } from '#libs/mailbox/sandbox';
import { catalogCodecs } from './events.js';
import { copiesOf } from './placement.js';

/**
 * Fills the sandbox tenant: an imported email puts its copies into the mailboxes. Driven by the event log alone; the
 * sandbox keeps how far it has come together with its copies.
 */
export class SandboxDelivery {
  private readonly stopping = new AbortController();
  private following: Promise<void> | undefined;

  constructor(
    private readonly events: EventStore,
    private readonly sandbox: Sandbox,
    private readonly onError: (error: unknown, what: string) => void,
  ) {}

  start(): void {
    this.following = this.follow();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.following;
  }

  private follow(): Promise<void> {
    return followLog(
      this.events,
      {
        after: () => this.sandbox.deliveredTo(),
        signal: this.stopping.signal,
        types: new Set(catalogCodecs.types),
      },
      ({ events, position }) => this.sandbox.deliver(events.flatMap(sandboxCopies), position),
      (error) => {
        this.onError(error, 'filling the sandbox tenant');
      },
    );
  }
}

const sandboxCopies = (recorded: RecordedEvent): SandboxCopy[] => {
  const event = catalogCodecs.decode(recorded);
  if (event === undefined) return [];
  const tenant = recorded.metadata.tenant ?? '';
  return event.data.emails.flatMap((email) =>
    copiesOf(email).map(({ kind, mailbox, folder }) => ({
      tenant,
      mailbox,
      networkMessageId: email.networkMessageId,
      internetMessageId: email.internetMessageId,
      copyKind: kind,
      folder,
    })),
  );
};
