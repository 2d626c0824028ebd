import type { FastifyServerOptions } from 'fastify';
import type { Config } from '../config.js';
import { answerClientError } from './client-error.js';
import { answerFrameworkError } from './problem.filter.js';

/** What Fastify has to know before the application exists: `new FastifyAdapter(fastifyOptions(config))`. */
export const fastifyOptions = ({
  http,
}: Pick<Config, 'http'>): Pick<
  FastifyServerOptions,
  | 'bodyLimit'
  | 'requestTimeout'
  | 'routerOptions'
  | 'forceCloseConnections'
  | 'frameworkErrors'
  | 'clientErrorHandler'
> => ({
  bodyLimit: http.bodyLimitBytes,
  requestTimeout: http.requestTimeoutMs,
  // An address as a part of the path may be longer than the default of 100.
  routerOptions: { maxParamLength: 1024 },
  // A shutdown waits for requests, not for connections that are merely kept alive.
  forceCloseConnections: 'idle',
  frameworkErrors: answerFrameworkError,
  clientErrorHandler: answerClientError,
});
