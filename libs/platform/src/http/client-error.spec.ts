import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type FastifyInstance, fastify } from 'fastify';
import { answerClientError } from './client-error.js';

describe('what is no request that can be read', () => {
  let server: FastifyInstance;
  beforeAll(async () => {
    server = fastify({ clientErrorHandler: answerClientError });
    server.get('/', () => ({ fine: true }));
    await server.listen({ host: '127.0.0.1', port: 0 });
  });
  afterAll(() => server.close());

  /** Everything that is answered to these bytes until the connection ends. */
  async function answered(text: string): Promise<string> {
    const socket = connect((server.server.address() as AddressInfo).port, '127.0.0.1');
    let answer = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
    socket.on('error', () => undefined).write(text);
    await once(socket, 'close');
    return answer;
  }

  it.each([
    ['an address that is too long', `GET /?${'x'.repeat(20_000)} HTTP/1.1\r\n\r\n`, 431, 'headersTooLarge'],
    [
      'a header that is too long',
      `GET / HTTP/1.1\r\na: ${'x'.repeat(20_000)}\r\n\r\n`,
      431,
      'headersTooLarge',
    ],
    ['no HTTP at all', 'good morning\r\n\r\n', 400, 'malformedRequest'],
    [
      'a length that is none',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n',
      400,
      'malformedRequest',
    ],
  ])(
    '%s gets a problem as everything else does, and its connection ends',
    async (_what, text, status, code) => {
      const [head = '', body = ''] = (await answered(text)).split('\r\n\r\n');
      expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${String(status)} `));
      expect(head).toContain('content-type: application/problem+json; charset=utf-8');
      expect(head).toContain(`content-length: ${String(body.length)}`);
      const problem = JSON.parse(body) as { requestId: string };
      expect(problem).toMatchObject({ type: `/problems/${code}`, status, code, detail: expect.any(String) });
      expect(head).toContain(`x-request-id: ${problem.requestId}`);
    },
  );

  it('leaves others alone', async () => {
    const { port } = server.server.address() as AddressInfo;
    expect((await fetch(`http://127.0.0.1:${String(port)}/`)).status).toBe(200);
  });
});
