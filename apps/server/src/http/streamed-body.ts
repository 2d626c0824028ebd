import { ClawbackError } from '#libs/kernel';
import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyRequest } from 'fastify';

/** Marks a route whose handler reads the body as a stream, with a limit of its own. */
export const StreamedBody = (): MethodDecorator => RouteConfig({ streamedBody: true });

/**
 * Bodies of these types are handed on unread, to routes that are marked for it. No other route gets one: a validation
 * that copies a stream, with its socket and handles, brings the whole process down.
 */
export function acceptStreamedBodies(fastify: FastifyInstance, types: string[]): void {
  fastify.addContentTypeParser(types, (request, body, done) => {
    if (takesStream(request)) done(null, body);
    else done(unsupportedMediaType());
  });
}

const takesStream = ({ routeOptions }: FastifyRequest): boolean =>
  (routeOptions.config as { readonly streamedBody?: boolean }).streamedBody === true;

const unsupportedMediaType = (): ClawbackError =>
  new ClawbackError('unsupported', 'unsupportedMediaType', 'this route takes no such content-type');
