import 'reflect-metadata';
import {
  IssuerTokenVerifier,
  LocalTokenVerifier,
  createLogger,
  fastifyOptions,
  loadOrCreateLocalKey,
  registerErrorDialect,
  registerOrderlyClose,
  registerRequestId,
  registerRequestLog,
  registerSecurityHeaders,
  signLocalToken,
  type AppRole,
  type Config,
  type JsonLogger,
  type Role,
  type TokenVerifier,
} from '#libs/platform';
import { SystemClock, type Clock } from '#libs/kernel';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { AppModule } from './app.module.js';
import { correlationHeaders, graphErrors } from './graph/graph-errors.js';
import { isGraphUrl, withoutVersion } from './graph/paths.js';
import { correlationOf } from './http/request-context.js';
import { acceptStreamedBodies, allowLargeBodies } from './http/streamed-body.js';
import { serveOpenApi } from './openapi.js';
import { Runtime } from './runtime.js';
import { Metrics } from './system/metrics.js';

export interface RunningServer {
  /** Where it listens, for instance `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Ends requests, work and stores in order; what was recorded stays, what was not is taken up at the next start. */
  close(): Promise<void>;
}

/** Asked every few seconds by supervisors. */
const PROBES: ReadonlySet<string> = new Set(['/health/live', '/health/ready', '/metrics']);

/**
 * Starts what the configuration says: by default all roles in one process, on the embedded stores.
 * @param logger where to log instead of stderr, for tests
 * @param clock what time it is for proposals, claims and deadlines, for tests; tokens are checked by the system's
 * @throws {ClawbackError} `dataDirectoryInUse`; the listen error of a port that is taken.
 */
export async function startServer(
  config: Config,
  logger: JsonLogger = createLogger(config),
  clock: Clock = new SystemClock(),
): Promise<RunningServer> {
  const runtime = await Runtime.open(config, logger, clock);
  let app: NestFastifyApplication | undefined;
  try {
    const adapter = new FastifyAdapter({
      ...fastifyOptions(config),
      rewriteUrl: ({ url = '/' }) => withoutVersion(url),
    });
    const fastify = adapter.getInstance();
    registerOrderlyClose(fastify);
    registerRequestId(fastify);
    registerRequestLog(fastify, { logger, quiet: PROBES, correlationOf });
    registerSecurityHeaders(fastify);
    registerErrorDialect(fastify, graphErrors);
    fastify.addHook('onRequest', (request, reply, done) => {
      if (isGraphUrl(request.originalUrl)) reply.headers(correlationHeaders(request));
      done();
    });
    fastify.removeContentTypeParser('text/plain');
    acceptStreamedBodies(fastify);
    allowLargeBodies(fastify, /\/from-hunting(?:\/preview)?$/, config.http.huntingLimitBytes);
    const metrics = new Metrics(runtime);
    metrics.observe(fastify);
    app = await NestFactory.create<NestFastifyApplication>(
      AppModule.of(runtime, metrics, config, await verifierOf(config)),
      adapter,
      // Only JSON: what a form or a plain text says is never what a route expects.
      { logger, bodyParser: false },
    );
    serveOpenApi(app);
    await app.init();
    await runtime.start();
    await app.listen({ host: config.http.host, port: config.http.port });
    const server = app;
    const url = new URL(await server.getUrl());
    return {
      url: url.origin,
      async close() {
        await server.close();
        await runtime.stop();
      },
    };
  } catch (error) {
    await app?.close();
    await runtime.stop();
    throw error;
  }
}

/**
 * A token of the local key, for the embedded default. Makes the key when there is none yet.
 * @throws {ClawbackError} when the key cannot be read or made.
 */
export async function printableToken(
  dataDirectory: string,
  options: {
    readonly roles: readonly (Role | AppRole)[];
    readonly subject: string;
    readonly tenant: string;
    readonly ttlSeconds: number;
    /** What the server expects; see CLAWBACK_AUDIENCE. */
    readonly audience?: string;
  },
): Promise<string> {
  return signLocalToken(await loadOrCreateLocalKey(dataDirectory), options);
}

async function verifierOf({ auth, data }: Config): Promise<TokenVerifier> {
  const { issuer, jwksUri, audience } = auth;
  if (issuer === undefined || jwksUri === undefined) {
    return new LocalTokenVerifier(await loadOrCreateLocalKey(data.directory), audience);
  }
  return new IssuerTokenVerifier({ issuer, jwksUri, audience });
}
