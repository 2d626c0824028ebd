import { once } from 'node:events';
import { Agent, get, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { fastify, type FastifyInstance } from 'fastify';
import { registerOrderlyClose } from './orderly-close.js';

/** A hang is longer than that. */
const NO_HANG_MS = 10_000;

describe('closing the server', () => {
  let server: FastifyInstance;
  let port: number;
  let agent: Agent;
  /** Answers whose head was sent, with the promise to keep the connection. */
  let begun: ServerResponse[];

  const listen = async (graceMs?: number): Promise<void> => {
    server = fastify({ forceCloseConnections: 'idle' });
    registerOrderlyClose(server, graceMs);
    server.get('/slow', (_request, reply) => {
      reply.hijack();
      reply.raw.writeHead(200, { 'content-length': '4' });
      reply.raw.write('do');
      begun.push(reply.raw);
    });
    port = Number(new URL(await server.listen({ host: '127.0.0.1', port: 0 })).port);
  };

  /** Ends when the server closes the connection, too. */
  const slowAnswer = (): Promise<string> =>
    new Promise((resolve, reject) => {
      get({ host: '127.0.0.1', port, path: '/slow', agent }, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => {
          resolve(text);
        });
        response.on('error', reject);
      }).on('error', reject);
    });

  const untilBegun = async (): Promise<ServerResponse> => {
    while (begun[0] === undefined) await nextTurn();
    return begun[0];
  };

  beforeEach(() => {
    begun = [];
    agent = new Agent({ keepAlive: true });
  });

  afterEach(async () => {
    agent.destroy();
    await server.close();
  });

  it(
    'does not wait for a connection that was never used',
    async () => {
      await listen();
      const socket = connect(port, '127.0.0.1');
      await once(server.server, 'connection');
      const ended = once(socket, 'close');
      await server.close();
      await ended;
    },
    NO_HANG_MS,
  );

  it(
    'waits for an answer, and not for the connection that the client would keep after it',
    async () => {
      await listen(NO_HANG_MS);
      const answer = slowAnswer();
      const response = await untilBegun();
      const closed = server.close();
      while (server.server.listening) await nextTurn();
      response.end('ne');
      expect(await answer).toBe('done');
      await closed;
    },
    NO_HANG_MS,
  );

  it(
    'does not wait for ever for an answer',
    async () => {
      await listen(1);
      const answer = slowAnswer();
      await untilBegun();
      const [, broken] = await Promise.allSettled([server.close(), answer]);
      expect(broken).toMatchObject({ status: 'rejected', reason: { code: 'ECONNRESET' } });
    },
    NO_HANG_MS,
  );
});
