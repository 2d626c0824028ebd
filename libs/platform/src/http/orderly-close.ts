import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';

/** How long a shutdown waits for the requests that are under way. A supervisor may be patient for as little as 10 s. */
const GRACE_MS = 5000;

/**
 * Lets a shutdown wait for requests, and for nothing else. By itself Node also waits for the connections that a client
 * keeps: for one that is kept alive after an answer given meanwhile, and, without end, for one that was opened and never
 * used, as browsers do.
 * @param graceMs after so many milliseconds it no longer waits for requests either.
 */
export function registerOrderlyClose(fastify: FastifyInstance, graceMs = GRACE_MS): void {
  const { server } = fastify;
  const unused = new Set<Socket>();
  let closing = false;
  server.on('connection', (socket: Socket) => {
    if (closing) {
      socket.destroy();
      return;
    }
    unused.add(socket);
    socket.once('close', () => unused.delete(socket));
  });
  server.on('request', ({ socket }: IncomingMessage) => unused.delete(socket));
  fastify.addHook('preClose', (done) => {
    closing = true;
    for (const socket of unused) socket.destroy();
    setTimeout(() => {
      server.closeAllConnections();
    }, graceMs).unref();
    done();
  });
  fastify.addHook('onResponse', (_request, _reply, done) => {
    // The connection counts as idle only when the handlers of the answer's end have run.
    if (closing) {
      setImmediate(() => {
        server.closeIdleConnections();
      });
    }
    done();
  });
}
