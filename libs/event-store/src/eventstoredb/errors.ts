import { type WrongExpectedVersionError } from '@eventstore/db-client';
import { ClawbackError, isClawbackError } from '#libs/kernel';

/** gRPC codes that no repetition cures: invalid argument, permission denied, unimplemented, unauthenticated. */
const FINAL_CODES: readonly unknown[] = [3, 7, 12, 16];

/** Kinds of error by which the client says that the server is gone, slow, or not what it was. */
const PASSING_TYPES: readonly unknown[] = [
  'unavailable',
  'deadline-exceeded',
  'timeout',
  'cancelled',
  'not-leader',
  'unknown',
];

/** Our own end of a call to which the client has said nothing in time. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';

  constructor(ms: number) {
    super(`no answer within ${ms} ms`);
  }
}

/** The `type` that the client gives its errors; some come without. */
export const typeOf = (error: unknown): unknown =>
  error instanceof Error && 'type' in error ? error.type : undefined;

export const isWrongExpectedVersion = (error: unknown): error is WrongExpectedVersionError =>
  typeOf(error) === 'wrong-expected-version';

export const isStreamNotFound = (error: unknown): boolean => typeOf(error) === 'stream-not-found';

/**
 * The call may succeed when it is repeated. For an append this means that its outcome is unknown: it may have been
 * written. The client says it in several ways, also by a bare error with code 14, or one about discovery without code.
 */
export function isPassing(error: unknown): boolean {
  if (isClawbackError(error) || !(error instanceof Error)) return false;
  if ('code' in error && FINAL_CODES.includes(error.code)) return false;
  const type = typeOf(error);
  if (type !== undefined) return PASSING_TYPES.includes(type);
  return 'code' in error || error instanceof NoAnswer || error.message.startsWith('Failed to discover');
}

/** What a caller gets to see of an error that is final, or that has outlasted our patience. */
export function storeError(error: unknown, stream?: string): ClawbackError {
  if (isClawbackError(error)) return error;
  switch (typeOf(error)) {
    case 'stream-deleted':
      return new ClawbackError('conflict', 'streamDeleted', `stream ${stream ?? ''} was deleted for good`, {
        stream,
      });
    case 'access-denied':
      return unavailable('eventStoreAccessDenied', 'it refuses our user', error);
    default:
      return unavailable('eventStoreUnavailable', reasonOf(error), error);
  }
}

export const closedError = (): ClawbackError =>
  unavailable('eventStoreUnavailable', 'it was closed', undefined);

const unavailable = (code: string, reason: string, cause: unknown): ClawbackError =>
  new ClawbackError('unavailable', code, `the event store cannot answer: ${reason}`, {}, { cause });

const reasonOf = (error: unknown): string =>
  error instanceof Error && error.message !== '' ? error.message : String(typeOf(error) ?? error);
