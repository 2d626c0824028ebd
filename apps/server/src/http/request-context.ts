import type { Clock } from '#libs/kernel';
import type { Principal } from '#libs/platform';
import type { RequestContext } from '#libs/remediation';
import type { FastifyRequest } from 'fastify';

/** What every command is told about the request: the actor is who the token says, never what a body says. */
export const contextOf = (request: FastifyRequest, caller: Principal, clock: Clock): RequestContext => ({
  tenant: caller.tenant,
  actor: caller.subject,
  causationId: request.id,
  now: clock.now(),
});
