import { ClawbackError } from '#libs/kernel';
import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyRequest } from 'fastify';

export const NDJSON_TYPES = [
  'application/x-ndjson',
  'application/ndjson',
  'application/jsonl',
  'application/gzip',
  'application/octet-stream',
];

export const CSV_TYPES = ['text/csv'];

interface BodyConfig {
  readonly streamedBody?: readonly string[];
}

/** Marks a route whose handler reads bodies of these types as a stream, with a limit of its own. */
export const StreamedBody = (types: readonly string[]): MethodDecorator =>
  RouteConfig({ streamedBody: types });

/**
 * Bodies of streamed types are handed on unread, to routes that are marked for them. No other route gets one: a
 * validation that copies a stream, with its socket and handles, brings the whole process down.
 */
export function acceptStreamedBodies(fastify: FastifyInstance): void {
  for (const type of [...NDJSON_TYPES, ...CSV_TYPES]) {
    fastify.addContentTypeParser(type, (request, body, done) => {
      if (configOf(request).streamedBody?.includes(type) === true) done(null, body);
      else done(unsupportedMediaType());
    });
  }
}

/** Lets the routes on these paths take larger JSON bodies than the others. To be called before there are routes. */
export function allowLargeBodies(fastify: FastifyInstance, paths: RegExp, bodyLimit: number): void {
  fastify.addHook('onRoute', (route) => {
    if (paths.test(route.url)) route.bodyLimit = bodyLimit;
  });
}

const configOf = ({ routeOptions }: FastifyRequest): BodyConfig => routeOptions.config as BodyConfig;

const unsupportedMediaType = (): ClawbackError =>
  new ClawbackError('unsupported', 'unsupportedMediaType', 'this route takes no such content-type');
