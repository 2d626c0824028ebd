import { ClawbackError, isClawbackError, type ErrorKind, type Position } from '#libs/kernel';
import { isMailboxError, MailboxError, type Folder, type MoveRequest } from '../mailbox-gateway.js';
import type { CopyKind, Fault, SandboxCopy } from './sandbox.js';

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
export type Message = readonly (Asked | MoveRow)[] | { readonly fired: number };

/**
 * A move on its way, with 0 for no signal and an empty text for no folder that it has to come from. Of an object every copy
 * to another thread has the names of its members as well, which takes five times as long.
 */
export type MoveRow = readonly [
  id: number,
  signal: number,
  operationId: string,
  tenant: string,
  mailbox: string,
  networkMessageId: string,
  internetMessageId: string,
  copyKind: CopyKind,
  to: Folder,
  onlyFrom: Folder,
];

export function packed(asked: Asked): Asked | MoveRow {
  const { id, call, signal = 0 } = asked;
  if (call.method !== 'move') return asked;
  const { operationId, tenant, mailbox, networkMessageId, internetMessageId, copyKind, to } = call.request;
  const { onlyFrom = '' } = call.request;
  return [
    id,
    signal,
    operationId,
    tenant,
    mailbox,
    networkMessageId,
    internetMessageId,
    copyKind,
    to,
    onlyFrom,
  ];
}

export function unpacked(asked: Asked | MoveRow): Asked {
  if ('call' in asked) return asked;
  const [id, signal, ...rest] = asked;
  const [operationId, tenant, mailbox, networkMessageId, internetMessageId, copyKind, to, onlyFrom] = rest;
  const request = { operationId, tenant, mailbox, networkMessageId, internetMessageId, copyKind, to };
  const call: Call = { method: 'move', request: onlyFrom === '' ? request : { ...request, onlyFrom } };
  return signal === 0 ? { id, call } : { id, call, signal };
}

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
