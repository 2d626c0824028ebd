import type { FastifyInstance } from 'fastify';
import { newId } from '#libs/kernel';

export const REQUEST_ID_HEADER = 'x-request-id';

/** The caller's id when it is 1 to 128 visible ASCII characters, else a new one. */
export const requestIdFrom = (header: string | readonly string[] | undefined): string =>
  typeof header === 'string' && /^[\x21-\x7e]{1,128}$/.test(header) ? header : newId();

/** Gives every request an id, `request.id`, and every answer the same in `x-request-id`. */
export function registerRequestId(fastify: FastifyInstance): void {
  fastify.setGenReqId((request) => requestIdFrom(request.headers[REQUEST_ID_HEADER]));
  fastify.addHook('onRequest', (request, reply, done) => {
    reply.header(REQUEST_ID_HEADER, request.id);
    done();
  });
}
