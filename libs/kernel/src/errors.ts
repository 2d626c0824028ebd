/** What kind of failure this is; an edge maps it to its own status (HTTP, exit code). */
export type ErrorKind =
  | 'invalid' // the caller's input is wrong: 400
  | 'unauthenticated' // 401
  | 'forbidden' // 403
  | 'notFound' // 404
  | 'conflict' // the state does not allow it: 409
  | 'tooLarge' // a size limit: 413
  | 'unsupported' // a media type or encoding: 415
  | 'limit' // a business limit of the product: 422
  | 'tooMany' // too much of it at once, soon it may go: 429
  | 'unavailable'; // a store or mailbox cannot answer now; nothing is known to have changed: 503

/** One field of the input that is wrong. `field` is a path such as `selection.emails[3].networkMessageId`. */
export interface FieldProblem {
  readonly field: string;
  readonly problem: string;
}

/**
 * The one error type that may reach a caller. `code` is stable and documented; `message` names the field, the value's
 * problem and the limit, and never carries a subject, an address or a secret.
 */
export class ClawbackError extends Error {
  override readonly name = 'ClawbackError';

  constructor(
    readonly kind: ErrorKind,
    readonly code: string,
    message: string,
    readonly details: Readonly<Record<string, unknown>> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Input that is wrong, field by field. */
export const invalidInput = (problems: readonly FieldProblem[], code = 'invalidInput'): ClawbackError =>
  new ClawbackError('invalid', code, problems.map((p) => `${p.field}: ${p.problem}`).join('; '), {
    errors: problems,
  });

/** Recognises our errors by shape, so that two copies of this module still agree. */
export const isClawbackError = (error: unknown): error is ClawbackError =>
  error instanceof Error && error.name === 'ClawbackError' && 'kind' in error && 'code' in error;

/** For the end of an exhaustive switch. */
export function assertNever(value: never): never {
  throw new Error(`unexpected case: ${JSON.stringify(value)}`);
}
