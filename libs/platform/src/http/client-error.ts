import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { newId } from '#libs/kernel';
import { titleOf, type Problem } from './problem.filter.js';
import { REQUEST_ID_HEADER } from './request-id.js';
import { API_HEADERS } from './security-headers.js';

/**
 * For Fastify's option `clientErrorHandler`: what Node's parser refuses (headers or an address that are too long, what is
 * no HTTP at all, a request that does not get on) is no request yet, for any hook, and gets its {@link Problem} on the
 * bare connection, which then ends.
 */
export function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  // Whoever has gone away is told nothing.
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  if (socket.writable) socket.write(messageOf(refusalOf(error.code)));
  socket.destroy(error);
}

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
}

function refusalOf(code: string | undefined): Refusal {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return {
        status: 431,
        code: 'headersTooLarge',
        detail: 'the address and the headers together are too long',
      };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { status: 408, code: 'requestTimeout', detail: 'the request did not arrive in time' };
    default:
      return { status: 400, code: 'malformedRequest', detail: 'this is not an HTTP request' };
  }
}

function messageOf({ status, code, detail }: Refusal): string {
  const requestId = newId();
  const problem: Problem = {
    type: `/problems/${code}`,
    title: titleOf(code),
    status,
    detail,
    code,
    // What was asked for was not read.
    instance: '/',
    requestId,
  };
  const body = JSON.stringify(problem);
  const headers = {
    ...API_HEADERS,
    [REQUEST_ID_HEADER]: requestId,
    'content-type': 'application/problem+json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return [`HTTP/1.1 ${String(status)} ${STATUS_CODES[status] ?? ''}`, ...lines, '', body].join('\r\n');
}
