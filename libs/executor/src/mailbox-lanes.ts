/** Keeps the calls to each mailbox to a few at a time; further ones wait in order. Mailboxes do not wait for each other. */
export class MailboxLanes {
  private readonly lanes = new Map<string, { running: number; waiting: (() => void)[] }>();

  constructor(private readonly perMailbox: number) {}

  async run<T>(mailbox: string, task: () => Promise<T>): Promise<T> {
    const lane = this.lanes.get(mailbox) ?? { running: 0, waiting: [] };
    this.lanes.set(mailbox, lane);
    if (lane.running >= this.perMailbox) {
      // The one who leaves hands its place over, so that `running` stays right.
      await new Promise<void>((resolve) => {
        lane.waiting.push(resolve);
      });
    } else {
      lane.running += 1;
    }
    try {
      return await task();
    } finally {
      const next = lane.waiting.shift();
      if (next !== undefined) next();
      else {
        lane.running -= 1;
        if (lane.running === 0) this.lanes.delete(mailbox);
      }
    }
  }
}
