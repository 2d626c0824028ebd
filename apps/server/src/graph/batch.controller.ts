import { Roles, TakesAppRoles } from '#libs/platform';
import { Body, Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest, InjectOptions } from 'fastify';
import { batchOf, runBatch, type BatchRequest, type BatchResponse } from './batch.js';
import { BatchAnswerBody, BatchBody } from './graph.dto.js';
import { CLIENT_REQUEST_ID, correlationHeaders } from './graph-errors.js';
import { COLLABORATION, versionIn, withoutVersion } from './paths.js';

/** What an answer inside a batch tells of its headers. */
const HEADERS_SHOWN = [
  ...['content-type', 'location', 'retry-after', 'allow', 'preference-applied', 'www-authenticate'],
  ...['request-id', CLIENT_REQUEST_ID],
];

/** What a request inside a batch may not say for itself. */
const HEADERS_OF_THE_BATCH: ReadonlySet<string> = new Set([
  ...['authorization', 'host', 'connection', 'transfer-encoding', 'content-length', 'expect', 'upgrade'],
  ...['te', 'trailer', 'cookie', 'x-request-id'],
]);

@ApiTags('graph')
@ApiBearerAuth()
@TakesAppRoles()
@Controller('$batch')
export class BatchController {
  @Post()
  @HttpCode(200)
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({ summary: 'Graph: up to 20 requests in one; each has its own status' })
  @ApiBody({ type: BatchBody })
  @ApiOkResponse({ type: BatchAnswerBody })
  async batch(@Body() body: unknown, @Req() request: FastifyRequest): Promise<BatchAnswerBody> {
    const responses = await runBatch(
      batchOf(body),
      (inner) => answerOf(inner, request),
      (inner) =>
        failure(inner, request, 424, 'failedDependency', 'a request that this one depends on has failed'),
    );
    return { responses };
  }
}

/** Answers a request of the batch as if it had been sent by itself, with the token of the batch. */
async function answerOf(inner: BatchRequest, outer: FastifyRequest): Promise<BatchResponse> {
  const { method, headers, body } = inner;
  const relative = pathIn(inner.url);
  const fail = (status: number, code: string, message: string): BatchResponse =>
    failure(inner, outer, status, code, message);
  if (relative === undefined)
    return fail(400, 'invalidRequest', 'url: must be relative, such as /security/…');
  // Relative to the version of the batch; some clients repeat it.
  const path = withoutVersion(relative);
  if (path.startsWith('/$batch')) {
    return fail(400, 'invalidRequest', 'url: a batch cannot be part of a batch');
  }
  if (!path.startsWith(`${COLLABORATION}/`)) return fail(404, 'itemNotFound', 'url: there is no such route');
  const sent = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  if (body !== undefined && sent['content-type'] === undefined) {
    return fail(400, 'invalidRequest', 'headers: a request with a body needs a Content-Type');
  }
  const options: InjectOptions = {
    method: method,
    url: `${versionIn(outer.originalUrl)}${path}`,
    headers: { ...ofTheBatch(outer), ...allowed(sent) },
    ...(body === undefined ? {} : { payload: typeof body === 'string' ? body : JSON.stringify(body) }),
  };
  const { statusCode, headers: answered, payload } = await outer.server.inject(options);
  return {
    id: inner.id,
    status: statusCode,
    headers: Object.fromEntries(
      HEADERS_SHOWN.flatMap((name) => {
        const value = answered[name];
        return value === undefined ? [] : [[name, String(value)]];
      }),
    ),
    ...(payload === '' ? {} : { body: JSON.parse(payload) as unknown }),
  };
}

const allowed = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !HEADERS_OF_THE_BATCH.has(name)));

function ofTheBatch(outer: FastifyRequest): Record<string, string> {
  const { authorization, host } = outer.headers;
  return {
    ...(authorization === undefined ? {} : { authorization }),
    ...(host === undefined ? {} : { host }),
    [CLIENT_REQUEST_ID]: correlationHeaders(outer)[CLIENT_REQUEST_ID] ?? outer.id,
  };
}

/** The path with its query as the router will read it; undefined when the url names a server. */
function pathIn(url: string): string | undefined {
  if (/^[a-z][a-z\d+.-]*:/i.test(url) || /^[/\\]{2}/.test(url)) return undefined;
  const parsed = URL.canParse(url, 'http://here/') ? new URL(url, 'http://here/') : undefined;
  return parsed?.host === 'here' ? `${parsed.pathname}${parsed.search}` : undefined;
}

function failure(
  { id }: BatchRequest,
  outer: FastifyRequest,
  status: number,
  code: string,
  message: string,
): BatchResponse {
  const innerError = { code, date: new Date().toISOString(), ...correlationHeaders(outer) };
  return {
    id,
    status,
    headers: { 'content-type': 'application/json' },
    body: { error: { code, message, innerError } },
  };
}
