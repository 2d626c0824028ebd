import type { FastifyInstance } from 'fastify';

/** No answer is read as another type than it says, and none is stored. */
export const API_HEADERS = { 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' } as const;

/** Puts {@link API_HEADERS} on every answer; a route may allow storing by a `cache-control` of its own. */
export function registerSecurityHeaders(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', (_request, reply, done) => {
    reply.headers(API_HEADERS);
    done();
  });
}
