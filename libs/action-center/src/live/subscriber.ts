import { pause, type Position } from '#libs/kernel';
import type { Notification } from './notification.js';

/** What a subscriber is given: a notification, or only how far everything has been told. */
export interface LiveItem {
  /** Everything up to here has been told: whoever subscribes after it misses nothing and hears nothing twice. */
  readonly position: Position;
  readonly notification?: Notification;
}

/** Whose notifications. */
export interface Audience {
  readonly tenant: string;
  /** Only this remediation; else all of the tenant. */
  readonly approvalId?: string;
}

export const concerns = ({ tenant, approvalId }: Audience, notification: Notification): boolean =>
  notification.tenant === tenant && (approvalId === undefined || notification.approvalId === approvalId);

/** What waits for one subscriber. It never grows over its limit: a subscriber that is too slow is let go instead. */
export class Inbox {
  private readonly waiting: Notification[] = [];
  private wake: () => void = () => undefined;
  private isOver = false;
  private reached: Position;

  /** @param after nothing up to here is wanted any more. */
  constructor(
    private readonly audience: Audience,
    after: Position,
    private readonly limit: number,
    private readonly onLetGo: () => void = () => undefined,
  ) {
    this.reached = after;
  }

  put(notification: Notification): void {
    if (this.isOver || notification.position <= this.reached || !concerns(this.audience, notification))
      return;
    if (this.waiting.length >= this.limit) {
      this.waiting.length = 0;
      this.end();
      this.onLetGo();
      return;
    }
    this.waiting.push(notification);
    this.wake();
  }

  /** Everything up to here was put. */
  mark(position: Position): void {
    if (position > this.reached) this.reached = position;
  }

  /** Nothing more will come. */
  end(): void {
    this.isOver = true;
    this.wake();
  }

  /**
   * What was put, in order. When nothing comes for a while, how far everything has been told.
   * @param quietMs how long a while is
   */
  async *items(quietMs: number, signal: AbortSignal): AsyncGenerator<LiveItem> {
    let told = this.reached;
    while (!signal.aborted) {
      const notification = this.waiting.shift();
      if (notification !== undefined) {
        told = notification.position;
        yield { position: told, notification };
      } else if (this.isOver) return;
      else if (!(await this.somethingComes(quietMs, signal)) && this.reached > told) {
        told = this.reached;
        yield { position: told };
      }
    }
  }

  /** @returns false after the time. */
  private async somethingComes(withinMs: number, signal: AbortSignal): Promise<boolean> {
    const wait = new AbortController();
    const stop = () => {
      wait.abort();
    };
    this.wake = stop;
    signal.addEventListener('abort', stop, { once: true });
    await pause(withinMs, wait.signal);
    signal.removeEventListener('abort', stop);
    return wait.signal.aborted;
  }
}
