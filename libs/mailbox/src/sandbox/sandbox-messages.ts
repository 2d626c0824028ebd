import { ClawbackError, isClawbackError, type ErrorKind, type Position } from '#libs/kernel';
import { isMailboxError, MailboxError, type MoveRequest } from '../mailbox-gateway.js';
import type { Fault, SandboxCopy } from './sandbox.js';

/** What can be asked of a sandbox from elsewhere. */
export type Call =
  | { readonly method: 'move'; readonly request: MoveRequest }
  | { readonly method: 'deliver'; readonly copies: readonly SandboxCopy[]; readonly position: Position }
  | { readonly method: 'deliveredTo' }
  | { readonly method: 'whenDelivered'; readonly position: Position }
  | { readonly method: 'setFault'; readonly tenant: string; readonly mailbox: string; readonly fault: Fault }
  | { readonly method: 'clearFault'; readonly tenant: string; readonly mailbox: string }
  | { readonly method: 'faults'; readonly tenant: string }
  /** The last one. */
  | { readonly method: 'close' };

/** A call under way. Its signal has a number, since the copies of a batch share one. */
export interface Asked {
  readonly id: number;
  readonly call: Call;
  readonly signal?: number;
}

/** What is asked in one turn goes together: a message costs more than a move. */
export type Message = readonly Asked[] | { readonly fired: number };

export type Answered =
  { readonly id: number; readonly value: unknown } | { readonly id: number; readonly fault: PlainError };

/** An error on its way to another thread, which would keep its name and message alone. */
export type PlainError =
  | {
      readonly class: 'mailbox';
      readonly code: string;
      readonly message: string;
      readonly retryable: boolean;
      readonly retryAfterMs?: number | undefined;
    }
  | {
      readonly class: 'clawback';
      readonly kind: ErrorKind;
      readonly code: string;
      readonly message: string;
      readonly cause: unknown;
    }
  | { readonly class: 'other'; readonly error: unknown };

export function plainError(error: unknown): PlainError {
  if (isMailboxError(error)) {
    const { code, message, retryable, retryAfterMs } = error;
    return { class: 'mailbox', code, message, retryable, retryAfterMs };
  }
  if (isClawbackError(error)) {
    const { kind, code, message, cause } = error;
    return { class: 'clawback', kind, code, message, cause };
  }
  return { class: 'other', error };
}

export function errorOf(plain: PlainError): unknown {
  switch (plain.class) {
    case 'mailbox':
      return new MailboxError(plain.code, plain.message, plain.retryable, plain.retryAfterMs);
    case 'clawback':
      return new ClawbackError(plain.kind, plain.code, plain.message, {}, { cause: plain.cause });
    case 'other':
      return plain.error;
  }
}
