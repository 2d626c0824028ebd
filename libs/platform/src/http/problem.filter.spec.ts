import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  BadRequestException,
  Body,
  Controller,
  Get,
  Header,
  Logger,
  Param,
  ParseIntPipe,
  Post,
  Res,
  ServiceUnavailableException,
  StreamableFile,
} from '@nestjs/common';
import { APP_FILTER, APP_PIPE } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { IsString } from 'class-validator';
import type { FastifyReply } from 'fastify';
import { ClawbackError, type ErrorKind } from '#libs/kernel';
import { loadConfig } from '../config.js';
import { createLogger } from '../logging.js';
import { fastifyOptions } from './fastify-options.js';
import { ProblemFilter, problemOf } from './problem.filter.js';
import { registerRequestId } from './request-id.js';
import { registerSecurityHeaders } from './security-headers.js';
import { validationPipe } from './validation.js';

const BODY_LIMIT = 2000;

class Note {
  @IsString()
  text!: string;
}

const failures: Readonly<Record<string, () => unknown>> = {
  bug: () => new TypeError('the sesame of kim@contoso.example is undefined'),
  text: () => 'sesame',
  json: () => new SyntaxError('Unexpected token s in "sesame"'),
  upstream: () => Object.assign(new Error('sesame'), { statusCode: 404, status: 404 }),
  teapot: () => new BadRequestException('priority is not a number'),
  down: () => new ServiceUnavailableException('sesame'),
  store: () =>
    new ClawbackError(
      'unavailable',
      'storeDown',
      'try again later',
      { file: 'sesame' },
      { cause: new Error('EIO') },
    ),
  reserved: () =>
    new ClawbackError('conflict', 'notPending', 'it is started', {
      status: 'started',
      code: 7,
      revision: 9n,
    }),
};

@Controller()
class Failing {
  @Get('kinds/:kind')
  kind(@Param('kind') kind: ErrorKind): never {
    throw new ClawbackError(kind, 'somethingWrong', 'the limit is 5', { limit: 5, actual: 7 });
  }

  @Get('fails/:how')
  @Header('content-disposition', 'attachment')
  @Header('content-type', 'text/csv')
  fail(@Param('how') how: string): never {
    throw failures[how]?.();
  }

  @Get('numbers/:n')
  number(@Param('n', ParseIntPipe) n: number): number {
    return n;
  }

  @Post('notes')
  note(@Body() note: Note): Note {
    return note;
  }

  @Get('stream/:when')
  stream(@Param('when') when: string): StreamableFile {
    return new StreamableFile(
      Readable.from(
        (function* () {
          if (when === 'late') yield 'a'.repeat(100_000);
          throw new Error('sesame');
        })(),
        { objectMode: false },
      ),
    );
  }

  @Get('hijacked')
  hijacked(@Res() reply: FastifyReply): never {
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'text/plain' });
    reply.raw.write('the first half');
    throw new Error('sesame');
  }
}

describe('ProblemFilter', () => {
  let app: NestFastifyApplication;
  let url: string;
  const log: string[] = [];
  beforeAll(async () => {
    const config = loadConfig({}, { http: { bodyLimitBytes: BODY_LIMIT }, log: { level: 'warn' } });
    const adapter = new FastifyAdapter(fastifyOptions(config));
    const module = await Test.createTestingModule({
      controllers: [Failing],
      providers: [
        { provide: APP_FILTER, useClass: ProblemFilter },
        { provide: APP_PIPE, useFactory: validationPipe },
      ],
    })
      .setLogger(createLogger(config, { write: (line) => log.push(line) }))
      .compile();
    app = module.createNestApplication<NestFastifyApplication>(adapter);
    registerRequestId(adapter.getInstance());
    registerSecurityHeaders(adapter.getInstance());
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
  });
  beforeEach(() => {
    log.length = 0;
  });
  afterAll(async () => {
    await app.close();
    Logger.overrideLogger(true);
  });

  const problemAt = async (path: string, init: RequestInit = {}) => {
    const answer = await fetch(`${url}${path}`, init);
    expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const problem = (await answer.json()) as Record<string, unknown>;
    expect(problem['status']).toBe(answer.status);
    expect(problem['type']).toBe(`/problems/${String(problem['code'])}`);
    expect(problem['requestId']).toBe(answer.headers.get('x-request-id'));
    return problem;
  };
  const post = (body: string | undefined, type = 'application/json') =>
    problemAt('/notes', {
      method: 'POST',
      headers: { 'content-type': type },
      ...(body !== undefined && { body }),
    });
  /** A path exactly as given: `fetch` would repair it. */
  const raw = (path: string) =>
    new Promise<{ status: number | undefined; headers: IncomingHttpHeaders; body: string }>(
      (resolve, reject) => {
        const { hostname, port } = new URL(url);
        httpRequest({ hostname, port, path }, (response) => {
          text(response).then((body) => {
            resolve({ status: response.statusCode, headers: response.headers, body });
          }, reject);
        })
          .on('error', reject)
          .end();
      },
    );

  it.each<[ErrorKind, number]>([
    ['invalid', 400],
    ['unauthenticated', 401],
    ['forbidden', 403],
    ['notFound', 404],
    ['conflict', 409],
    ['tooLarge', 413],
    ['unsupported', 415],
    ['limit', 422],
    ['tooMany', 429],
  ])('answers a ClawbackError %s with %d and its details', async (kind, status) => {
    expect(await problemAt(`/kinds/${kind}?token=sesame`)).toEqual({
      type: '/problems/somethingWrong',
      title: 'Something wrong',
      status,
      detail: 'the limit is 5',
      code: 'somethingWrong',
      instance: `/kinds/${kind}`,
      requestId: expect.any(String),
      limit: 5,
      actual: 7,
    });
    expect(log).toEqual([]);
  });

  it('keeps the details of a store that is down for the log', async () => {
    const problem = await problemAt('/fails/store');
    expect(problem).toMatchObject({ status: 503, code: 'storeDown', detail: 'try again later' });
    expect(JSON.stringify(problem)).not.toContain('sesame');
    expect(log.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      {
        level: 40,
        requestId: problem['requestId'],
        route: '/fails/:how',
        err: { cause: { message: 'EIO' } },
      },
    ]);
  });

  it("lets no detail take the place of the problem's own members", async () => {
    expect(await problemAt('/fails/reserved')).toMatchObject({
      status: 409,
      code: 'notPending',
      revision: '9',
    });
  });

  it.each(['bug', 'text', 'json', 'upstream', 'unknown'])(
    'says nothing about the inside when it fails by %s, and logs it once',
    async (how) => {
      const problem = await problemAt(`/fails/${how}`, { headers: { 'x-request-id': 'r-1' } });
      expect(problem).toMatchObject({ status: 500, code: 'internal', title: 'Internal', requestId: 'r-1' });
      expect(JSON.stringify(problem)).not.toContain('sesame');
      expect(log.map((line) => JSON.parse(line) as unknown)).toMatchObject([{ level: 50, requestId: 'r-1' }]);
    },
  );

  it('logs the stack of a bug without addresses', async () => {
    await problemAt('/fails/bug');
    expect(log.join()).toMatch(/TypeError.*\[address\].*problem\.filter\.spec/s);
    expect(log.join()).not.toContain('contoso');
  });

  it('passes on what Nest says about the request, but not what it says about us', async () => {
    expect(await problemAt('/fails/teapot')).toMatchObject({
      status: 400,
      code: 'badRequest',
      detail: 'priority is not a number',
    });
    expect(await problemAt('/numbers/seven')).toMatchObject({ status: 400, code: 'badRequest' });
    expect(await problemAt('/fails/down')).toMatchObject({
      status: 503,
      code: 'serviceUnavailable',
      detail: 'Service Unavailable',
    });
  });

  it('answers an unknown route or method without repeating the query', async () => {
    const problem = await problemAt('/nowhere?subject=sesame');
    expect(problem).toMatchObject({ status: 404, code: 'routeNotFound', instance: '/nowhere' });
    expect(JSON.stringify(problem)).not.toContain('sesame');
    expect(await problemAt('/notes', { method: 'DELETE' })).toMatchObject({ code: 'routeNotFound' });
  });

  it('lists the wrong fields of a body', async () => {
    expect(await post('{"text":5,"more":1}')).toMatchObject({
      status: 400,
      code: 'invalidInput',
      errors: [
        { field: 'more', problem: 'unknown field' },
        { field: 'text', problem: 'must be a string' },
      ],
    });
  });

  it.each([
    ['{"text":', 'malformedJson'],
    ['{"__proto__":{"admin":true}}', 'malformedJson'],
    ['', 'emptyBody'],
    [undefined, 'emptyBody'],
    ['null', 'invalidInput'],
    ['[]', 'invalidInput'],
    ['"text"', 'invalidInput'],
  ])('refuses the body %j', async (body, code) => {
    expect(await post(body)).toMatchObject({ status: 400, code });
  });

  it('names the limit of a body that is too large', async () => {
    expect(await post(JSON.stringify({ text: 'x'.repeat(BODY_LIMIT) }))).toMatchObject({
      status: 413,
      code: 'bodyTooLarge',
      limit: BODY_LIMIT,
      detail: expect.stringContaining('2000 bytes'),
    });
  });

  it('refuses a type of body that it cannot read', async () => {
    expect(await post('<text/>', 'application/xml')).toMatchObject({
      status: 415,
      code: 'unsupportedMediaType',
    });
  });

  it.each([
    ['/kinds/%', 400, 'malformedUrl'],
    ['/kinds/%E0%A4%A', 400, 'malformedUrl'],
    ['/%zz', 400, 'malformedUrl'],
    [`/kinds/${'x'.repeat(1025)}`, 414, 'uriTooLong'],
  ])('refuses the path %s with %d', async (path, expected, code) => {
    const { status, headers, body } = await raw(path);
    const problem = JSON.parse(body) as Record<string, unknown>;
    expect(status).toBe(expected);
    expect(problem).toMatchObject({ status, code, instance: path });
    expect(headers).toMatchObject({
      'content-type': 'application/problem+json; charset=utf-8',
      'x-content-type-options': 'nosniff',
      'x-request-id': problem['requestId'],
    });
  });

  it('answers with a problem when a stream fails before it begins', async () => {
    expect(await problemAt('/stream/early')).toMatchObject({ status: 500, code: 'internal' });
  });

  it.each(['/stream/late', '/hijacked'])('cuts the connection when %s fails midway', async (path) => {
    const answer = await fetch(`${url}${path}`);
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow();
  });
});

describe('problemOf', () => {
  it('describes an error outside of any answer, for instance as the last line of a stream', () => {
    const error = new ClawbackError('tooLarge', 'importTooLarge', 'over 5 bytes', { limit: 5n });
    expect(problemOf(error, { path: '/v1/emails?subject=sesame', requestId: 'r-1' })).toEqual({
      type: '/problems/importTooLarge',
      title: 'Import too large',
      status: 413,
      detail: 'over 5 bytes',
      code: 'importTooLarge',
      instance: '/v1/emails',
      requestId: 'r-1',
      limit: '5',
    });
  });
});
