import { STATUS_CODES } from 'node:http';
import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException, Logger } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorKind, type FieldProblem, isClawbackError } from '#libs/kernel';
import { isError } from '../is-error.js';
import { REQUEST_ID_HEADER } from './request-id.js';
import { API_HEADERS } from './security-headers.js';

/** The body of every answer that is not a success (RFC 9457), as `application/problem+json`. */
export interface Problem {
  /** `/problems/<code>`. */
  readonly type: string;
  /** The code in words; the same for every problem of this type. */
  readonly title: string;
  readonly status: number;
  /** What is wrong this time. */
  readonly detail: string;
  /** Stable and documented; for programs. */
  readonly code: string;
  /** The path of the request. */
  readonly instance: string;
  readonly requestId: string;
  readonly errors?: readonly FieldProblem[];
  /** More facts about this problem, such as `limit` and `actual`. */
  readonly [extension: string]: unknown;
}

const STATUS_OF: Readonly<Record<ErrorKind, number>> = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  notFound: 404,
  conflict: 409,
  tooLarge: 413,
  unsupported: 415,
  limit: 422,
  tooMany: 429,
  unavailable: 503,
};

/** Headers that described the answer which the problem now takes the place of. */
const HEADERS_OF_THE_ANSWER = [
  'content-disposition',
  'content-encoding',
  'content-length',
  'etag',
  'last-modified',
];

/** Which request a problem belongs to. */
export interface ProblemSource {
  /** The path of the request; a query is cut off. */
  readonly path: string;
  readonly requestId: string;
  /** The largest body of the route, in bytes. */
  readonly bodyLimit?: number | undefined;
}

/**
 * The global exception filter: every failure of a request, wherever it came from, becomes a {@link Problem}. What is not
 * the caller's doing is logged with the request id. An answer that has begun cannot become another: its connection is
 * cut, so that no caller takes a part for the whole.
 */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  private readonly logger = new Logger(ProblemFilter.name);

  catch(exception: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const reply = http.getResponse<FastifyReply>();
    const problem = problemOf(exception, sourceOf(request));
    this.report(problem, exception, request);
    if (reply.sent || reply.raw.headersSent) cut(reply);
    else answerProblem(reply, problem);
  }

  private report({ status, code, requestId }: Problem, exception: unknown, request: FastifyRequest): void {
    if (status < 500) return;
    // The route, not the path: a path may hold what the log must not.
    const route = request.routeOptions.url;
    const facts = { requestId, method: request.method, route, code, err: exception };
    if (status === 503) this.logger.warn('a request could not be served', facts);
    else this.logger.error('a request failed', facts);
  }
}

/**
 * For Fastify's option `frameworkErrors`: what its router refuses (a malformed path, one that is too long) never gets as
 * far as the filter or the hooks.
 */
export function answerFrameworkError(error: Error, request: FastifyRequest, reply: FastifyReply): void {
  answerProblem(reply, problemOf(error, sourceOf(request)));
}

/**
 * What a caller is told about any error. A ClawbackError gives its code, message and details (those of kind
 * 'unavailable' stay inside); an error that nobody foresaw gives `internal` and nothing else.
 */
export function problemOf(error: unknown, { path, requestId, bodyLimit }: ProblemSource): Problem {
  const { status, code, detail, extensions = {} } = failureOf(error, bodyLimit);
  return {
    ...withoutBigints(extensions),
    type: `/problems/${code}`,
    title: titleOf(code),
    status,
    detail,
    code,
    instance: path.replace(/\?.*$/s, ''),
    requestId,
  };
}

interface Failure {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly extensions?: Readonly<Record<string, unknown>>;
}

function failureOf(error: unknown, bodyLimit: number | undefined): Failure {
  if (isClawbackError(error)) {
    const { kind, code, message, details } = error;
    // Why a store cannot answer is for the log; everything else is about the caller's own request.
    return {
      status: STATUS_OF[kind],
      code,
      detail: message,
      extensions: kind === 'unavailable' ? {} : details,
    };
  }
  // Nest wraps what Fastify throws before a handler runs.
  const inner = error instanceof HttpException ? error.cause : error;
  if (isFastifyError(inner)) return fastifyFailure(inner, bodyLimit);
  return error instanceof HttpException ? nestFailure(error) : internal();
}

function nestFailure(exception: HttpException): Failure {
  const status = exception.getStatus();
  // Nest's own message repeats the address with its query.
  if (status === 404 && /^Cannot [A-Z]+ \//.test(exception.message)) {
    return { status, code: 'routeNotFound', detail: 'there is no such route' };
  }
  return { ...byStatus(status), ...(status < 500 && { detail: exception.message }) };
}

interface FastifyError extends Error {
  readonly code: string;
  readonly statusCode?: number;
}

const isFastifyError = (error: unknown): error is FastifyError =>
  isError(error) && 'code' in error && typeof error.code === 'string' && error.code.startsWith('FST_');

function fastifyFailure({ code, statusCode = 500 }: FastifyError, limit: number | undefined): Failure {
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE': {
      const detail = `the body is over the limit${limit === undefined ? '' : ` of ${limit} bytes`}`;
      return { status: 413, code: 'bodyTooLarge', detail, extensions: { limit } };
    }
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return { status: 415, code: 'unsupportedMediaType', detail: 'this route takes no such content-type' };
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return { status: 400, code: 'malformedJson', detail: 'the body is not valid JSON' };
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return { status: 400, code: 'emptyBody', detail: 'the content-type says JSON, but the body is empty' };
    case 'FST_ERR_BAD_URL':
      return { status: 400, code: 'malformedUrl', detail: 'the path has a malformed percent-encoding' };
    default:
      return byStatus(statusCode);
  }
}

/** `Not Found` gives the code `notFound`. */
function byStatus(status: number): Failure {
  const phrase = STATUS_CODES[status];
  if (status === 500 || phrase === undefined) return internal();
  const code = phrase
    .toLowerCase()
    .replace(/[^a-z ]/g, '')
    .replace(/ (.)/g, (_match, first: string) => first.toUpperCase());
  return { status, code, detail: phrase };
}

const internal = (): Failure => ({
  status: 500,
  code: 'internal',
  detail: 'something went wrong here; the log has it under the request id',
});

const sourceOf = (request: FastifyRequest): ProblemSource => ({
  path: request.url,
  requestId: request.id,
  bodyLimit: request.routeOptions.bodyLimit,
});

/** Sends the problem in place of whatever the answer was going to be. */
export function answerProblem(reply: FastifyReply, problem: Problem): void {
  for (const header of HEADERS_OF_THE_ANSWER) reply.removeHeader(header);
  if (problem.status === 401) reply.header('www-authenticate', challenge(problem));
  reply.code(problem.status).headers({ ...API_HEADERS, [REQUEST_ID_HEADER]: problem.requestId });
  const { errorDialect } = reply.server;
  if (errorDialect?.speaks(reply.request.originalUrl) === true) {
    errorDialect.answer(reply, problem);
    return;
  }
  void reply.header('content-type', 'application/problem+json; charset=utf-8').send(JSON.stringify(problem));
}

const withoutBigints = (extensions: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  JSON.parse(
    JSON.stringify(extensions, (_key, value: unknown) =>
      typeof value === 'bigint' ? value.toString() : value,
    ),
  ) as Record<string, unknown>;

/** `tokenExpired` gives `Token expired`. */
export const titleOf = (code: string): string =>
  code
    .replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
    .replace(/^./, (first) => first.toUpperCase());

/** RFC 6750, section 3: no error for a caller that sent no token. */
const challenge = ({ code, detail }: Problem): string =>
  code === 'tokenMissing'
    ? 'Bearer'
    : `Bearer error="invalid_token", error_description="${detail.replace(/["\\]/g, "'")}"`;

function cut(reply: FastifyReply): void {
  if (!reply.raw.writableFinished) reply.raw.destroy();
}
