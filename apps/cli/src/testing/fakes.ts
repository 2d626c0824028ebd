import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { OUTCOMES, type Counts, type Outcome, type OutcomeCounts, type Remediation } from '../api.js';
import type { Io } from '../context.js';

export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface FakeServer {
  readonly url: string;
  readonly requests: readonly ReceivedRequest[];
  close(): Promise<void>;
}

/** A server that answers as a test says, and remembers what it was asked. */
export async function fakeServer(
  answer: (request: ReceivedRequest, response: ServerResponse) => void,
): Promise<FakeServer> {
  const requests: ReceivedRequest[] = [];
  const server = createServer((incoming, response) => {
    void buffer(incoming).then((body) => {
      const url = new URL(incoming.url ?? '/', 'http://fake');
      const request = {
        method: incoming.method ?? '',
        path: url.pathname,
        query: Object.fromEntries(url.searchParams),
        headers: incoming.headers,
        body,
      };
      requests.push(request);
      answer(request, response);
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const type = status < 400 ? 'application/json' : 'application/problem+json';
  response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body));
}

export const problem = (status: number, code: string, detail: string, more: object = {}): object => ({
  ...{ type: `/problems/${code}`, title: code, status, detail, code, requestId: 'request-1' },
  ...more,
});

/** A process without terminal, whose output is kept. */
export function fakeIo(options: {
  readonly env?: Record<string, string>;
  readonly stdin?: string | Buffer;
  readonly cwd?: string;
  readonly signal?: AbortSignal;
}): Io & { readonly out: () => string; readonly err: () => string } {
  const [stdout, out] = kept();
  const [stderr, err] = kept();
  return {
    stdin: Readable.from(options.stdin === undefined ? [] : [Buffer.from(options.stdin)]),
    stdout,
    stderr,
    env: options.env ?? {},
    cwd: options.cwd ?? process.cwd(),
    signal: options.signal ?? new AbortController().signal,
    timing: { pollMs: [1, 2], retryDelaysMs: [1, 1, 1] },
    out,
    err,
  };
}

function kept(): [PassThrough, () => string] {
  const stream = new PassThrough();
  const pieces: Buffer[] = [];
  stream.on('data', (piece: Buffer) => pieces.push(piece));
  return [
    stream,
    () => {
      for (let piece: unknown = stream.read(); piece !== null; piece = stream.read())
        pieces.push(piece as Buffer);
      return Buffer.concat(pieces).toString('utf8');
    },
  ];
}

export function outcomeCounts(of: Partial<Record<Outcome, number>>): OutcomeCounts {
  const outcomes = Object.fromEntries(OUTCOMES.map((name) => [name, of[name] ?? 0])) as Record<
    Outcome,
    number
  >;
  return { submitted: OUTCOMES.reduce((sum, name) => sum + outcomes[name], 0), ...outcomes };
}

/** Counts that add up. */
export function countsOf(
  recipients: Partial<Record<Outcome, number>>,
  senders: Partial<Record<Outcome, number>> = {},
): Counts {
  const sum = OUTCOMES.map((name) => [name, (recipients[name] ?? 0) + (senders[name] ?? 0)] as const);
  return {
    ...outcomeCounts(Object.fromEntries(sum)),
    recipientCopies: outcomeCounts(recipients),
    sendersCopies: outcomeCounts(senders),
  };
}

export const PLAN = {
  emails: 2,
  copies: 3,
  recipientCopies: 2,
  sendersCopies: 1,
  remediable: 2,
  nonRemediable: 1,
  reasons: { deliveryFailed: 1 },
};

export const remediation = (more: Partial<Remediation> = {}): Remediation => ({
  approvalId: 'approval-1',
  name: 'Payroll phish',
  status: 'completed',
  severity: 'medium',
  action: 'softDelete',
  selectionHash: 'hash-1',
  undoable: true,
  plan: PLAN,
  submittedBy: 'ada',
  submittedAt: '2026-11-02T06:00:00.000Z',
  undoOf: null,
  undoneBy: [],
  counts: countsOf({ succeeded: 1, nonRemediable: 1 }, { succeeded: 1 }),
  ...more,
});
