import { types } from 'node:util';

/** Errors of other realms (worker contexts, test environments) are no instances of this realm's `Error`. */
export const isError = (value: unknown): value is Error =>
  value instanceof Error || types.isNativeError(value);

/** Whether this is an error with that `code`, for instance of the file system. */
export const hasCode = (error: unknown, code: string): boolean =>
  isError(error) && 'code' in error && error.code === code;
