import 'reflect-metadata';
import {
  LocalTokenVerifier,
  ProblemFilter,
  RolesGuard,
  TokenVerifier,
  fastifyOptions,
  loadConfig,
  loadOrCreateLocalKey,
  registerOrderlyClose,
  registerRequestId,
  registerSecurityHeaders,
  validationPipe,
  type ConfigOverrides,
} from '#libs/platform';
import type { RunningServer } from '#apps/server';
import { APP_FILTER, APP_GUARD, APP_PIPE, NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { ConstantController } from './constant.controller.js';

class ConstantModule {}

/** The same server around the route, with the same checks of token and body; behind it a constant. */
export async function startConstantServer(overrides: ConfigOverrides): Promise<RunningServer> {
  const config = loadConfig({}, overrides);
  const key = await loadOrCreateLocalKey(config.data.directory);
  const adapter = new FastifyAdapter(fastifyOptions(config));
  const fastify = adapter.getInstance();
  registerOrderlyClose(fastify);
  registerRequestId(fastify);
  registerSecurityHeaders(fastify);
  const app = await NestFactory.create<NestFastifyApplication>(
    {
      module: ConstantModule,
      controllers: [ConstantController],
      providers: [
        { provide: TokenVerifier, useValue: new LocalTokenVerifier(key, config.auth.audience) },
        { provide: APP_GUARD, useClass: RolesGuard },
        { provide: APP_FILTER, useClass: ProblemFilter },
        { provide: APP_PIPE, useFactory: validationPipe },
      ],
    },
    adapter,
    { logger: false, bodyParser: false },
  );
  await app.listen({ host: config.http.host, port: config.http.port });
  return {
    url: new URL(await app.getUrl()).origin,
    async close() {
      await app.close();
    },
  };
}
