import type { EventStore, RecordedEvent } from '#libs/event-store';
import { pause } from '#libs/kernel';
import type { SandboxCopy, SandboxTenant } from '#libs/mailbox/sandbox';
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
    private readonly sandbox: SandboxTenant,
    private readonly onError: (error: unknown, what: string) => void,
  ) {}

  start(): void {
    this.following = this.follow();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.following;
  }

  private async follow(): Promise<void> {
    const { signal } = this.stopping;
    for (let wait = 100; !signal.aborted; wait = Math.min(wait * 2, 5000)) {
      try {
        for await (const { events } of this.events.subscribe({ after: this.sandbox.deliveredTo(), signal })) {
          const last = events.at(-1);
          if (last !== undefined) await this.sandbox.deliver(events.flatMap(sandboxCopies), last.position);
          wait = 100;
        }
      } catch (error) {
        this.onError(error, 'filling the sandbox tenant');
        await pause(wait, signal);
      }
    }
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
