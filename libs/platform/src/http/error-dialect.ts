import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Problem } from './problem.filter.js';

declare module 'fastify' {
  interface FastifyInstance {
    errorDialect?: ErrorDialect;
  }
}

/** How another interface on the same port tells its callers of errors. */
export interface ErrorDialect {
  /** Whether the request with this path and query, as it was sent, belongs to that interface. */
  speaks(url: string): boolean;
  /** Sends the problem in place of whatever the answer was going to be. */
  answer(reply: FastifyReply, problem: Problem): void;
}

/** From now on the problems of the requests that it speaks for are told by the dialect. */
export function registerErrorDialect(fastify: FastifyInstance, dialect: ErrorDialect): void {
  fastify.decorate('errorDialect', dialect);
}
