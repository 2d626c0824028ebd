import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { JsonLogger } from '../logging.js';
import { requestIdOf } from './request-id.js';

export interface RequestLogOptions {
  readonly logger: Pick<JsonLogger, 'debug' | 'log' | 'warn' | 'error'>;
  /** Routes that are asked all the time, by machines: what went well there is logged at level debug. */
  readonly quiet?: ReadonlySet<string>;
  /** What the request has begun or is about; ties its line to the lines about later work. Asked at the end. */
  readonly correlationOf?: (request: FastifyRequest) => string | undefined;
}

/**
 * Logs every request once, at its end: also one that no route takes, one that the router refuses, and one whose
 * connection was cut (`aborted`). By its route and not by its path or query, which may name persons; never a header or a
 * body. What has gone wrong inside is told by the filter of problems, under the same `requestId`.
 */
export function registerRequestLog(fastify: FastifyInstance, options: RequestLogOptions): void {
  const known = new WeakMap<IncomingMessage, FastifyRequest>();
  fastify.addHook('onRequest', (request, _reply, done) => {
    known.set(request.raw, request);
    done();
  });
  // Not by Fastify's own hook: that one hears nothing of an answer that was cut.
  fastify.server.on('request', (raw: IncomingMessage, response: ServerResponse) => {
    const began = performance.now();
    response.once('close', () => {
      write(options, raw, response, known.get(raw), performance.now() - began);
    });
  });
}

function write(
  { logger, quiet, correlationOf }: RequestLogOptions,
  raw: IncomingMessage,
  response: ServerResponse,
  request: FastifyRequest | undefined,
  elapsedMs: number,
): void {
  const route = request?.routeOptions.url;
  const correlationId = request === undefined ? undefined : correlationOf?.(request);
  const status = response.headersSent ? response.statusCode : undefined;
  const facts = {
    requestId: requestIdOf(raw),
    ...(correlationId === undefined ? {} : { correlationId }),
    method: raw.method,
    route: route ?? 'none',
    ...(status === undefined ? {} : { status }),
    durationMs: Math.round(elapsedMs * 10) / 10,
    ...(response.writableFinished ? {} : { aborted: true }),
  };
  logger[levelOf(status, route !== undefined && quiet?.has(route) === true)]('a request', facts);
}

/** What a caller does wrong is no matter of ours; that a store was away is less than a failure. */
function levelOf(status: number | undefined, quiet: boolean): 'debug' | 'log' | 'warn' | 'error' {
  if (status !== undefined && status >= 500) return status === 503 ? 'warn' : 'error';
  return quiet && status === 200 ? 'debug' : 'log';
}
