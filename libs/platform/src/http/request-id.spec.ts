import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type FastifyInstance, fastify } from 'fastify';
import { registerRequestId, requestIdFrom, traceIdFrom } from './request-id.js';
import { registerSecurityHeaders } from './security-headers.js';

describe('the hooks of every request', () => {
  let server: FastifyInstance;
  let url: string;
  beforeAll(async () => {
    server = fastify();
    registerRequestId(server);
    registerSecurityHeaders(server);
    server.get('/id', (request) => ({ id: request.id }));
    server.get('/logo', (_request, reply) => reply.header('cache-control', 'max-age=60').send('logo'));
    url = await server.listen({ host: '127.0.0.1', port: 0 });
  });
  afterAll(() => server.close());

  it("keep the caller's id and send it back", async () => {
    const answer = await fetch(`${url}/id`, { headers: { 'x-request-id': 'Trace/7f:3' } });
    expect(answer.headers.get('x-request-id')).toBe('Trace/7f:3');
    expect(await answer.json()).toEqual({ id: 'Trace/7f:3' });
  });

  it('make a new id for every request without one', async () => {
    const answers = await Promise.all([fetch(`${url}/id`), fetch(`${url}/id`)]);
    const ids = answers.map((answer) => answer.headers.get('x-request-id'));
    expect(ids[0]).toMatch(/^[\da-f-]{36}$/);
    expect(ids[0]).not.toBe(ids[1]);
  });

  it('take the id of the trace that the request is part of, unless it has one of its own', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const traced = await fetch(`${url}/id`, { headers: { traceparent } });
    expect(traced.headers.get('x-request-id')).toBe('4bf92f3577b34da6a3ce929d0e0e4736');
    const both = await fetch(`${url}/id`, { headers: { traceparent, 'x-request-id': 'mine' } });
    expect(both.headers.get('x-request-id')).toBe('mine');
  });

  it('forbid guessing the type, and storing unless the route allows it', async () => {
    for (const [path, stored] of [
      ['/id', 'no-store'],
      ['/logo', 'max-age=60'],
      ['/nowhere', 'no-store'],
    ]) {
      const { headers } = await fetch(`${url}${path ?? ''}`);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('cache-control')).toBe(stored);
    }
  });
});

describe('requestIdFrom', () => {
  it('accepts 1 to 128 visible ASCII characters', () => {
    expect(requestIdFrom('x'.repeat(128))).toBe('x'.repeat(128));
    for (const bad of [undefined, '', 'x'.repeat(129), 'a b', 'a\nb', 'ä', ['a', 'b']]) {
      expect(requestIdFrom(bad)).toMatch(/^[\da-f-]{36}$/);
    }
  });
});

describe('traceIdFrom', () => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';

  it('takes what the specification calls a traceparent, a later version included', () => {
    for (const good of [`00-${trace}-00f067aa0ba902b7-01`, `cc-${trace}-00f067aa0ba902b7-01-more`]) {
      expect(traceIdFrom(good)).toBe(trace);
    }
  });

  it('takes nothing else', () => {
    for (const bad of [
      undefined,
      '',
      [`00-${trace}-00f067aa0ba902b7-01`],
      `ff-${trace}-00f067aa0ba902b7-01`,
      `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
      `00-${trace}-${'0'.repeat(16)}-01`,
      `00-${trace.toUpperCase()}-00f067aa0ba902b7-01`,
      `00-${trace}-00f067aa0ba902b7`,
      `00-${trace}-00f067aa0ba902b7-01x`,
    ]) {
      expect(traceIdFrom(bad)).toBeUndefined();
    }
  });
});
