import { types } from 'node:util';
import {
  MongoBulkWriteError,
  MongoClientClosedError,
  MongoExpiredSessionError,
  MongoNetworkError,
  MongoNotConnectedError,
  MongoOperationTimeoutError,
  MongoRuntimeError,
  MongoServerClosedError,
  MongoServerError,
  MongoSystemError,
  MongoTopologyClosedError,
  MongoWriteConcernError,
} from 'mongodb';
import { ClawbackError } from '#libs/kernel';

/** No server, no answer in time or half of one, a connection that broke, a client that was closed, or an odd state of it. */
const FAULTS = [
  MongoNetworkError,
  MongoSystemError,
  MongoRuntimeError,
  MongoOperationTimeoutError,
  MongoClientClosedError,
  MongoExpiredSessionError,
  MongoNotConnectedError,
  MongoServerClosedError,
  MongoTopologyClosedError,
  MongoWriteConcernError,
] as const;

/** Faults that the driver has classes for, but does not export. */
const FAULT_NAMES: ReadonlySet<string> = new Set(['MongoWaitQueueTimeoutError', 'MongoPoolClosedError']);

/** Codes of the system, such as EPIPE, and those of Node about a stream that is used after its end. Some come without a `syscall`. */
const SOCKET_CODE = /^(E[A-Z\d]+|ERR_STREAM_\w+)$/;

/**
 * What a server answers when the request itself is wrong, or whoever makes it may not: a value, a document, an index or a
 * command that it does not take, a name or a password. To try that again would be for ever. By the codes that MongoDB
 * names in its `error_codes.yml`.
 */
const REFUSALS: ReadonlySet<number> = new Set(
  Object.values({
    value: [2, 4, 9, 12, 14, 15, 16, 17, 20, 22, 28, 30, 40, 52, 53, 54, 55, 56, 57, 66, 121, 241, 357, 378],
    index: [26, 27, 34, 48, 61, 67, 68, 73, 85, 86, 171, 181, 197, 201, 349, 359],
    command: [59, 72, 101, 115, 146, 165, 166, 167, 168, 182, 195, 235, 238, 257, 292, 322, 323, 324, 347],
    right: [11, 13, 18, 31, 33, 214, 334],
  }).flat(),
);

/**
 * From here on a code is mostly a place in the server's source where it refuses what it is asked for. A few have names,
 * and are about the server: it shuts down, has begun anew, is the primary no more, or has no room on its disk.
 */
const FIRST_PLACE = 10_000;
const NAMED_FAULTS: ReadonlySet<number> = new Set([
  10058, 10107, 11600, 11601, 11602, 13388, 13435, 13436, 14031,
]);

const FAULT_LABELS = ['RetryableWriteError', 'RetryableError', 'SystemOverloadedError'] as const;

const DUPLICATE_KEY = 11000;

/** Does the work; a fault of the store becomes kind `unavailable`, with the driver's error as the cause. */
export async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isFault(error)) throw error;
    throw unavailable(error.message, error);
  }
}

/**
 * Does not wait for the work any longer than this. The driver (7.9) has a call that never ends: one whose request does
 * not fit into the socket's buffers when the connection is lost waits for a 'drain' that nobody sends, and none of the
 * driver's own time limits ends that. What is given up here may still happen at the server.
 * @throws {ClawbackError} kind `unavailable`.
 */
export function within<T>(ms: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(unavailable(`no answer within ${String(ms)} ms`));
    }, ms);
    work.then(resolve, reject).finally(() => {
      clearTimeout(timer);
    });
  });
}

export const unavailable = (problem: string, cause?: unknown): ClawbackError =>
  new ClawbackError(
    'unavailable',
    'readStoreUnavailable',
    `the read store cannot answer: ${problem}`,
    {},
    { cause },
  );

/** Nothing else is wrong than that documents of these keys are there. */
export const isDuplicateKey = (error: unknown): boolean =>
  error instanceof MongoServerError &&
  error.code === DUPLICATE_KEY &&
  (!(error instanceof MongoBulkWriteError) ||
    [error.writeErrors].flat().every(({ code }) => code === DUPLICATE_KEY));

function isFault(error: unknown): error is Error {
  // The driver wraps whatever a bulk write met.
  const { errorResponse } = error instanceof MongoBulkWriteError ? error : { errorResponse: undefined };
  if (types.isNativeError(errorResponse) && errorResponse !== error) return isFault(errorResponse);
  if (FAULTS.some((fault) => error instanceof fault)) return true;
  // What a socket says may be of another realm than ours.
  if (!types.isNativeError(error)) return false;
  if (!(error instanceof MongoServerError)) return FAULT_NAMES.has(error.name) || isOfSocket(error);
  return isFaultCode(Number(error.code)) || FAULT_LABELS.some((label) => error.hasErrorLabel(label));
}

/** What nobody has named yet counts as a state of the server, which passes: a view that waits goes on by itself. */
const isFaultCode = (code: number): boolean =>
  code >= FIRST_PLACE ? NAMED_FAULTS.has(code) : !REFUSALS.has(code);

/**
 * The driver (7.9) wraps what its sockets say, except when that comes while a request waits for its socket: one that is
 * larger than the buffers, or any at all on a connection whose other end has just died.
 */
const isOfSocket = (error: Error & { readonly code?: unknown }): boolean =>
  'syscall' in error || (typeof error.code === 'string' && SOCKET_CODE.test(error.code));
