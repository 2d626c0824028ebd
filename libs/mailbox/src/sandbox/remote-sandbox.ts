import { ClawbackError, type Position } from '#libs/kernel';
import type { MoveRequest, MoveResult } from '../mailbox-gateway.js';
import { errorOf, packed, type Answered, type Asked, type Call, type Message } from './sandbox-messages.js';
import {
  refuseWhenFired,
  Sandbox,
  sandboxClosed,
  type Fault,
  type MailboxFault,
  type SandboxCopy,
} from './sandbox.js';

/** The way to a sandbox that is elsewhere. */
export interface Link {
  post(message: Message): void;
}

/** Makes a way to it: once at first, and again when the one before has ended by itself. */
export type Connect = (listener: {
  readonly onAnswers: (answers: readonly Answered[]) => void;
  /** @param error why, when that is known. */
  readonly onEnd: (error?: unknown) => void;
}) => Link;

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly signal: AbortSignal | undefined;
}

/** A signal that calls under way share. */
interface SharedSignal {
  readonly number: number;
  readonly tell: () => void;
  calls: number;
}

/**
 * A sandbox that is elsewhere, for instance in a thread of its own. Calls that are made in one turn go in one message.
 * Every method rejects with a {@link ClawbackError} of kind `unavailable` once closed, or when the sandbox has ended
 * before it answered; then the next call begins it again.
 */
export class RemoteSandbox extends Sandbox {
  private link: Link | undefined;
  private readonly waiting = new Map<number, Waiting>();
  private readonly signals = new Map<AbortSignal, SharedSignal>();
  private asked: Asked[] = [];
  private calls = 0;
  private signalsSeen = 0;
  private closing: Promise<void> | undefined;
  private ended: () => void = () => undefined;

  constructor(private readonly connect: Connect) {
    super();
  }

  override move(request: MoveRequest, signal: AbortSignal): Promise<MoveResult> {
    return this.ask({ method: 'move', request }, signal) as Promise<MoveResult>;
  }

  override async deliver(copies: readonly SandboxCopy[], position: Position): Promise<void> {
    await this.ask({ method: 'deliver', copies, position });
  }

  override async deliveredTo(): Promise<Position> {
    return (await this.ask({ method: 'deliveredTo' })) as Position;
  }

  override async whenDelivered(position: Position, signal?: AbortSignal): Promise<void> {
    await this.ask({ method: 'whenDelivered', position }, signal);
  }

  override async setFault(tenant: string, mailbox: string, fault: Fault): Promise<void> {
    await this.ask({ method: 'setFault', tenant, mailbox, fault });
  }

  override async clearFault(tenant: string, mailbox: string): Promise<void> {
    await this.ask({ method: 'clearFault', tenant, mailbox });
  }

  override async faults(tenant: string): Promise<readonly MailboxFault[]> {
    return (await this.ask({ method: 'faults', tenant })) as readonly MailboxFault[];
  }

  /** Ends the other side in order, and waits for that. Idempotent. */
  override close(): Promise<void> {
    this.closing ??= new Promise<void>((resolve) => {
      this.ended = resolve;
      if (this.link === undefined) resolve();
      else this.post({ method: 'close' });
    });
    return this.closing;
  }

  private ask(call: Call, signal?: AbortSignal): Promise<unknown> {
    return new Promise<unknown>((resolve, reject) => {
      refuseWhenFired(signal);
      if (this.closing !== undefined) throw sandboxClosed();
      this.waiting.set(this.post(call, signal), { resolve, reject, signal });
    });
  }

  /** @returns the number of the call. */
  private post(call: Call, signal?: AbortSignal): number {
    const id = (this.calls += 1);
    if (this.asked.length === 0) {
      queueMicrotask(() => {
        this.postAsked();
      });
    }
    this.asked.push(signal === undefined ? { id, call } : { id, call, signal: this.numberOf(signal) });
    return id;
  }

  private postAsked(): void {
    if (this.asked.length === 0) return;
    const asked = this.asked;
    this.asked = [];
    this.linked().post(asked.map(packed));
  }

  private linked(): Link {
    return (this.link ??= this.connect({ onAnswers: this.take, onEnd: this.end }));
  }

  private readonly take = (answers: readonly Answered[]): void => {
    for (const answer of answers) {
      const waiting = this.waiting.get(answer.id);
      if (waiting === undefined) continue;
      this.waiting.delete(answer.id);
      this.release(waiting.signal);
      if ('fault' in answer) waiting.reject(errorOf(answer.fault));
      else waiting.resolve(answer.value);
    }
  };

  /** What is known of no move that is under way now: the operation ids tell when it is asked for again. */
  private readonly end = (cause?: unknown): void => {
    this.link = undefined;
    const left = [...this.waiting.values()];
    this.waiting.clear();
    this.asked = [];
    for (const { reject, signal } of left) {
      this.release(signal);
      reject(this.closing === undefined ? gone(cause) : sandboxClosed());
    }
    this.ended();
  };

  private numberOf(signal: AbortSignal): number {
    let shared = this.signals.get(signal);
    if (shared === undefined) {
      const number = (this.signalsSeen += 1);
      const tell = (): void => {
        this.postAsked();
        this.link?.post({ fired: number });
      };
      shared = { number, tell, calls: 0 };
      this.signals.set(signal, shared);
      signal.addEventListener('abort', tell);
    }
    shared.calls += 1;
    return shared.number;
  }

  private release(signal: AbortSignal | undefined): void {
    const shared = signal === undefined ? undefined : this.signals.get(signal);
    if (signal === undefined || shared === undefined) return;
    shared.calls -= 1;
    if (shared.calls > 0) return;
    signal.removeEventListener('abort', shared.tell);
    this.signals.delete(signal);
  }
}

const gone = (cause: unknown): ClawbackError =>
  new ClawbackError('unavailable', 'sandboxUnavailable', 'the sandbox tenant has ended', {}, { cause });
