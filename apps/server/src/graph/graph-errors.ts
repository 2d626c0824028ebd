import type { FieldProblem } from '#libs/kernel';
import type { ErrorDialect, Problem } from '#libs/platform';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { isGraphUrl, methodsOn } from './paths.js';

export const CLIENT_REQUEST_ID = 'client-request-id';
const REQUEST_ID = 'request-id';

/** The client's own id, when it is one; for correlation only. By default the request's. */
export function correlationHeaders({ headers, id }: FastifyRequest): Record<string, string> {
  const own = headers[CLIENT_REQUEST_ID];
  return {
    [REQUEST_ID]: id,
    [CLIENT_REQUEST_ID]: typeof own === 'string' && /^[\x21-\x7e]{1,128}$/.test(own) ? own : id,
  };
}

/** Graph's own words for what went wrong, by our code or else by the status. */
const CODE_OF: Readonly<Record<string, string>> = {
  invalidQueryOption: 'invalidQueryOption',
  cursorInvalid: 'invalidQueryOption',
  selectionOverLimit: 'totalAffectedItemCountExceeded',
  recipientOverLimit: 'totalAffectedItemCountExceeded',
  activeRemediationsOverLimit: 'activityLimitReached',
  activeEmailsOverLimit: 'activityLimitReached',
  idempotencyKeyReused: 'nameAlreadyExists',
};

const CODE_BY_STATUS: Readonly<Record<number, string>> = {
  401: 'unauthenticated',
  403: 'accessDenied',
  404: 'itemNotFound',
  405: 'notAllowed',
  409: 'resourceModified',
  413: 'quotaLimitReached',
  415: 'notSupported',
  422: 'invalidRequest',
  503: 'serviceNotAvailable',
};

/** How a client waits before it tries again, in seconds. */
const RETRY_AFTER_SECONDS = 5;

/** Errors as Graph has them: one `error` with its code, our own code inside it, and the ids to ask about it by. */
export const graphErrors: ErrorDialect = {
  speaks: isGraphUrl,
  answer(reply, problem) {
    const { request } = reply;
    const ids = correlationHeaders(request);
    const status = statusOf(reply, problem);
    if (status === 503) reply.header('retry-after', String(RETRY_AFTER_SECONDS));
    void reply
      .code(status)
      .headers(ids)
      .header('content-type', 'application/json; charset=utf-8')
      .send(JSON.stringify({ error: errorOf(problem, status, ids) }));
  },
};

/** A path that exists for other methods is no missing item. */
function statusOf(reply: FastifyReply, { code, status }: Problem): number {
  const methods = code === 'routeNotFound' ? methodsOn(reply.request.originalUrl) : undefined;
  if (methods === undefined || methods.includes(reply.request.method)) return status;
  reply.header('allow', methods.join(', '));
  return 405;
}

function errorOf(problem: Problem, status: number, ids: Readonly<Record<string, string>>): object {
  const { code: own, detail, errors = [], limit, actual } = problem;
  const code = status === 405 ? 'methodNotAllowed' : own;
  const isQuery = errors.some(({ field }) => QUERY_OPTIONS.has(field));
  return {
    code:
      CODE_OF[code] ??
      (isQuery ? 'invalidQueryOption' : undefined) ??
      CODE_BY_STATUS[status] ??
      (status < 500 ? 'invalidRequest' : 'generalException'),
    message: status === 405 ? 'this method is not allowed here' : inGraphsWords(detail),
    ...(errors.length === 0 ? {} : { details: errors.map(detailOf) }),
    innerError: {
      code,
      ...(limit === undefined ? {} : { limit }),
      ...(actual === undefined ? {} : { actual }),
      date: new Date().toISOString(),
      ...ids,
    },
  };
}

const QUERY_OPTIONS: ReadonlySet<string> = new Set([
  ...['$filter', '$top', '$count', '$skiptoken'],
  ...['startTime', 'endTime'],
]);

const detailOf = ({ field, problem }: FieldProblem): object => ({
  code: 'invalidParameter',
  target: inGraphsWords(field),
  message: inGraphsWords(problem),
});

/** What the command calls by our names is told by those that the caller has used. */
const inGraphsWords = (text: string): string =>
  text
    .replace(/\bselection\.emails\b/g, 'analyzedEmails')
    .replace(/\bselection\b/g, 'analyzedEmails')
    .replace(/\bsendersCopy\b/g, 'remediateSendersCopy');
