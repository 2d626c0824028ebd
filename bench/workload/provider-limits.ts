import { pause } from '#libs/kernel';
import { MailboxError, MailboxGateway, type MoveRequest, type MoveResult } from '#libs/mailbox';

/** What a provider allows for one mailbox. */
export interface ProviderLimits {
  readonly callsAtOnce: number;
  /** How long every call takes, in milliseconds; what the sandbox needs for it included. */
  readonly callMs: number;
  /** So many requests in so many milliseconds, from the first one on. */
  readonly windowRequests: number;
  readonly windowMs: number;
}

interface Mailbox {
  running: number;
  windowBegan: number;
  requests: number;
}

/** Stands before a gateway and refuses, as Microsoft Graph does, what is over the limits of a mailbox. */
export class LimitedGateway extends MailboxGateway {
  /** Calls that were refused. */
  refused = 0;
  private readonly mailboxes = new Map<string, Mailbox>();

  constructor(
    private readonly inner: MailboxGateway,
    private readonly limits: ProviderLimits,
  ) {
    super();
  }

  override async move(request: MoveRequest, signal: AbortSignal): Promise<MoveResult> {
    const mailbox = this.admitted(request.mailbox);
    mailbox.running += 1;
    try {
      const [result] = await Promise.all([
        this.inner.move(request, signal),
        pause(this.limits.callMs, signal),
      ]);
      return result;
    } finally {
      mailbox.running -= 1;
    }
  }

  override close(): Promise<void> {
    return this.inner.close();
  }

  /** @throws {MailboxError} 429, with the time to wait. */
  private admitted(address: string): Mailbox {
    const now = performance.now();
    const { callsAtOnce, callMs, windowMs, windowRequests } = this.limits;
    const fresh = { running: 0, windowBegan: now, requests: 0 };
    const mailbox = this.mailboxes.get(address) ?? fresh;
    this.mailboxes.set(address, mailbox);
    if (now - mailbox.windowBegan >= windowMs) {
      mailbox.windowBegan = now;
      mailbox.requests = 0;
    }
    if (mailbox.requests >= windowRequests) this.refuse(mailbox.windowBegan + windowMs - now);
    if (mailbox.running >= callsAtOnce) this.refuse(callMs);
    mailbox.requests += 1;
    return mailbox;
  }

  private refuse(retryAfterMs: number): never {
    this.refused += 1;
    throw new MailboxError('tooManyRequests', 'the mailbox is over its limit', true, Math.ceil(retryAfterMs));
  }
}

/** Seconds that so many moves in one mailbox take when nothing but the limits holds them up. */
export function secondsAllowed(moves: number, limits: ProviderLimits): number {
  const { callsAtOnce, callMs, windowRequests, windowMs } = limits;
  const fullWindows = Math.max(0, Math.ceil(moves / windowRequests) - 1);
  const rest = moves - fullWindows * windowRequests;
  const callTime = (calls: number): number => Math.ceil(calls / callsAtOnce) * callMs;
  return (fullWindows * Math.max(windowMs, callTime(windowRequests)) + callTime(rest)) / 1000;
}
