import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { fastify, type FastifyInstance } from 'fastify';
import { createLogger } from '../logging.js';
import { answerFrameworkError } from './problem.filter.js';
import { registerRequestId } from './request-id.js';
import { registerRequestLog } from './request-log.js';

type Line = Readonly<Record<string, unknown>>;

const LEVELS = { debug: 20, info: 30, warn: 40, error: 50 };

describe('the log of requests', () => {
  let server: FastifyInstance;
  let port: number;
  let url: string;
  let lines: Line[];
  let told: () => void;

  beforeEach(async () => {
    lines = [];
    told = () => undefined;
    const logger = createLogger(
      { log: { level: 'debug' } },
      {
        write: (line) => {
          lines.push(JSON.parse(line) as Line);
          told();
        },
      },
    );
    server = fastify({ frameworkErrors: answerFrameworkError });
    registerRequestId(server);
    registerRequestLog(server, {
      logger,
      quiet: new Set(['/probe']),
      correlationOf: ({ params }) => (params as { readonly remediation?: string }).remediation,
    });
    server.get('/probe', (request, reply) => reply.code((request.query as { s?: number }).s ?? 200).send());
    server.get('/mail/:address', () => 'of kim');
    server.get('/about/:remediation', () => 'this one');
    server.get('/status/:status', (request, reply) =>
      reply.code(Number((request.params as { readonly status: string }).status)).send(),
    );
    server.get('/endless', (_request, reply) => {
      reply.hijack();
      reply.raw.writeHead(200);
      reply.raw.write('a part');
    });
    url = await server.listen({ host: '127.0.0.1', port: 0 });
    port = Number(new URL(url).port);
  });
  afterEach(() => server.close());

  /** The line that comes next. */
  const next = async (): Promise<Line | undefined> => {
    if (lines.length === 0) await new Promise<void>((resolve) => (told = resolve));
    expect(lines).toHaveLength(1);
    return lines.pop();
  };

  it('has one line a request: by its route, with its id, what it is about and how long it took', async () => {
    await fetch(`${url}/about/r-1?subject=secret`, { headers: { 'x-request-id': 'trace-7' } });
    expect(await next()).toEqual({
      level: LEVELS.info,
      time: expect.any(String),
      msg: 'a request',
      requestId: 'trace-7',
      correlationId: 'r-1',
      method: 'GET',
      route: '/about/:remediation',
      status: 200,
      durationMs: expect.any(Number),
    });
  });

  it('names no path, no query and no header', async () => {
    const headers = { authorization: 'Bearer sesame', 'x-request-id': 'of-kim@contoso.example' };
    await fetch(`${url}/mail/kim@contoso.example?subject=sesame`, { headers });
    const line = await next();
    expect(line).toMatchObject({ route: '/mail/:address', requestId: '[address]' });
    expect(JSON.stringify(line)).not.toMatch(/sesame|kim/);
  });

  it.each([
    ['/status/201', LEVELS.info],
    ['/status/404', LEVELS.info],
    ['/status/500', LEVELS.error],
    ['/status/503', LEVELS.warn],
    ['/probe', LEVELS.debug],
    ['/probe?s=503', LEVELS.warn],
  ])('has %s at level %d', async (path, level) => {
    await fetch(`${url}${path}`);
    expect(await next()).toMatchObject({ level });
  });

  it('has what no route takes and what the router refuses', async () => {
    await fetch(`${url}/nowhere/kim@contoso.example`);
    expect(await next()).toMatchObject({ route: 'none', status: 404 });

    const answer = await fetch(`${url}/mail/%zz`, { headers: { 'x-request-id': 'bad-1' } });
    expect(answer.status).toBe(400);
    expect(await next()).toMatchObject({ route: 'none', status: 400, requestId: 'bad-1' });
  });

  it('has an answer that the caller did not wait for', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.write('GET /endless HTTP/1.1\r\nhost: x\r\nx-request-id: gone-1\r\n\r\n');
    await once(socket, 'data');
    socket.destroy();
    expect(await next()).toMatchObject({
      requestId: 'gone-1',
      route: '/endless',
      status: 200,
      aborted: true,
    });
  });
});
