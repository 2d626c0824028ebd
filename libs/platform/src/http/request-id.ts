import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { newId } from '#libs/kernel';

export const REQUEST_ID_HEADER = 'x-request-id';

/** The caller's id when it is 1 to 128 visible ASCII characters, else a new one. */
export const requestIdFrom = (header: string | readonly string[] | undefined): string =>
  typeof header === 'string' && /^[\x21-\x7e]{1,128}$/.test(header) ? header : newId();

/** The trace id of a `traceparent` (W3C Trace Context), if that is what it is. */
export const traceIdFrom = (header: string | readonly string[] | undefined): string | undefined =>
  typeof header === 'string'
    ? /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})[\da-f]{16}-[\da-f]{2}(?![^-])/.exec(header)?.[1]
    : undefined;

const ids = new WeakMap<IncomingMessage, string>();

/** The id that {@link registerRequestId} gave, also to a request that no hook ever saw. */
export const requestIdOf = (raw: IncomingMessage): string | undefined => ids.get(raw);

/**
 * Gives every request an id, `request.id`, and every answer the same in `x-request-id`: the caller's own, or else that of
 * the trace which the request is part of, or else a new one.
 */
export function registerRequestId(fastify: FastifyInstance): void {
  fastify.setGenReqId((raw) => {
    const id = requestIdFrom(raw.headers[REQUEST_ID_HEADER] ?? traceIdFrom(raw.headers.traceparent));
    ids.set(raw, id);
    return id;
  });
  fastify.addHook('onRequest', (request, reply, done) => {
    reply.header(REQUEST_ID_HEADER, request.id);
    done();
  });
}
