import { MailboxGateway, type MoveRequest, type MoveResult } from '#libs/mailbox';

export type Script = (request: MoveRequest, signal: AbortSignal) => MoveResult | Promise<MoveResult>;

/** A gateway that does what a test says, and remembers what it was asked and how many calls were under way. */
export class ScriptedGateway extends MailboxGateway {
  readonly requests: MoveRequest[] = [];
  /** The most calls that were under way at once, by mailbox, and under `''` in all. */
  readonly mostAtOnce = new Map<string, number>();
  private readonly underWay = new Map<string, number>();

  constructor(public script: Script = moveFrom('Inbox')) {
    super();
  }

  async move(request: MoveRequest, signal: AbortSignal): Promise<MoveResult> {
    this.requests.push(request);
    const lanes = ['', request.mailbox];
    for (const lane of lanes) this.count(lane, 1);
    try {
      return await this.script(request, signal);
    } finally {
      for (const lane of lanes) this.count(lane, -1);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private count(lane: string, change: number): void {
    const now = (this.underWay.get(lane) ?? 0) + change;
    this.underWay.set(lane, now);
    this.mostAtOnce.set(lane, Math.max(now, this.mostAtOnce.get(lane) ?? 0));
  }
}

/** Every copy is in this folder, and moves where it is asked to. */
export const moveFrom =
  (from: string): Script =>
  ({ to }) => ({ kind: 'moved', from, to });

/** Answers nothing, until the signal fires or for ever. */
export const hang: Script = (_request, signal) =>
  new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => {
      reject(new Error('the signal fired'));
    });
  });

/** A promise and the means to settle it from outside. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
