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

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

/** By the request that has begun it: the remediation, whose approval ID ties its events together. */
const begun = new WeakMap<FastifyRequest, string>();

/** The request has begun this remediation. */
export const correlate = (request: FastifyRequest, approvalId: string): void => {
  begun.set(request, approvalId);
};

/** The remediation that the request has begun, or else the one that its path names. */
export const correlationOf = (request: FastifyRequest): string | undefined =>
  begun.get(request) ?? named(request.params);

function named(params: unknown): string | undefined {
  const { approvalId } = (params ?? {}) as { readonly approvalId?: unknown };
  return typeof approvalId === 'string' && UUID.test(approvalId) ? approvalId : undefined;
}
