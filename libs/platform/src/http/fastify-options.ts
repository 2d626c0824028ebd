import type { FastifyServerOptions } from 'fastify';
import type { Config } from '../config.js';
import { answerFrameworkError } from './problem.filter.js';

/** What Fastify has to know before the application exists: `new FastifyAdapter(fastifyOptions(config))`. */
export const fastifyOptions = ({
  http,
}: Pick<Config, 'http'>): Pick<FastifyServerOptions, 'bodyLimit' | 'requestTimeout' | 'frameworkErrors'> => ({
  bodyLimit: http.bodyLimitBytes,
  requestTimeout: http.requestTimeoutMs,
  frameworkErrors: answerFrameworkError,
});
