import { types } from 'node:util';
import { isClawbackError, type FieldProblem } from '#libs/kernel';
import { ExitCode, exitCodeOfStatus } from './exit-codes.js';

/** An expected failure: told in one line with its field problems under it, without a stack. */
export class CliFailure extends Error {
  override readonly name: string = 'CliFailure';

  constructor(
    readonly exitCode: ExitCode,
    message: string,
    readonly problems: readonly FieldProblem[] = [],
    /** For programs; the server's own code when it was the server that refused. */
    readonly code: string = ExitCode[exitCode],
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export const usageError = (message: string, problems: readonly FieldProblem[] = []): CliFailure =>
  new CliFailure(ExitCode.usage, message, problems);

export const interrupted = (): CliFailure => new CliFailure(ExitCode.interrupted, 'interrupted');

/** An answer that is not a success. */
export class ServerProblem extends CliFailure {
  override readonly name = 'ServerProblem';

  constructor(
    readonly status: number,
    code: string,
    detail: string,
    problems: readonly FieldProblem[] = [],
    readonly requestId?: string,
  ) {
    super(exitCodeOfStatus(status), detail, problems, code);
  }
}

/** No answer, or half of one: nothing is known about what the server did. */
export class NetworkFailure extends CliFailure {
  override readonly name = 'NetworkFailure';

  constructor(message: string, cause: unknown) {
    super(ExitCode.unavailable, message, [], 'networkFailure', { cause });
  }
}

/** Whether trying the same again may help. */
export const isTransient = (error: unknown): boolean =>
  error instanceof NetworkFailure ||
  (error instanceof ServerProblem && [429, 502, 503, 504].includes(error.status));

/** Any failure as an expected one, or undefined when it is none: an error of ours. */
export function expectedFailure(error: unknown): CliFailure | undefined {
  if (error instanceof CliFailure) return error;
  if (isClawbackError(error)) {
    const { errors } = error.details;
    const problems = Array.isArray(errors) ? (errors as readonly FieldProblem[]) : [];
    const message = problems.length > 0 ? 'some settings are wrong' : error.message;
    return new CliFailure(exitCodeOfLocal(error.kind), message, problems, error.code);
  }
  return systemFailure(error);
}

/** Of an error that the embedded server or a library threw in this process. */
function exitCodeOfLocal(kind: string): ExitCode {
  switch (kind) {
    case 'invalid':
      return ExitCode.usage;
    case 'unauthenticated':
    case 'forbidden':
      return ExitCode.notAllowed;
    default:
      return ExitCode.unavailable;
  }
}

/** What the operating system refused, in words. */
function systemFailure(error: unknown): CliFailure | undefined {
  if (!isError(error) || !('code' in error) || !('syscall' in error)) return undefined;
  const path = 'path' in error ? ` ${String(error.path)}` : '';
  const port = 'port' in error ? ` ${String(error.port)}` : '';
  switch (error.code) {
    case 'EADDRINUSE':
      return local(`the port${port} is in use: stop what uses it, or choose another with --port`);
    case 'EADDRNOTAVAIL':
      return local('the address of --host is not one of this machine');
    case 'ENOENT':
      return usageError(`there is no${path === '' ? ' such file' : path}`);
    case 'EISDIR':
      return usageError(`a file is needed, and${path || ' what is named'} is a directory`);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return error.syscall === 'listen'
        ? local(`this user may not use the port${port}: choose one above 1023 with --port`)
        : usageError(`no permission for${path}`);
    case 'ENOSPC':
      return local('the disk is full');
    default:
      return undefined;
  }
}

const local = (message: string): CliFailure => new CliFailure(ExitCode.unavailable, message);

/** Errors of other realms (fetch, test environments) are no instances of this realm's `Error`. */
export const isError = (value: unknown): value is Error =>
  value instanceof Error || types.isNativeError(value);
