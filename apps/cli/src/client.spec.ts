import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from '@jest/globals';
import { collect } from '#libs/kernel';
import { Client, allItems } from './client.js';
import { NetworkFailure, ServerProblem } from './failure.js';
import {
  fakeServer,
  problem,
  remediation,
  sendJson,
  type FakeServer,
  type ReceivedRequest,
} from './testing/fakes.js';

const open: FakeServer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serving(
  answer: (request: ReceivedRequest, response: ServerResponse) => void,
): Promise<{ server: FakeServer; client: Client }> {
  const server = await fakeServer(answer);
  open.push(server);
  return { server, client: new Client({ url: server.url, token: 'token-1' }) };
}

const LOG_ROW = {
  networkMessageId: 'm',
  mailbox: 'sam@fabrikam.example',
  isSendersCopy: false,
  subject: '',
  outcome: 'succeeded',
  reason: null,
  fromFolder: 'Inbox',
  toFolder: 'Archive',
};

async function closedUrl(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return `http://127.0.0.1:${port}`;
}

describe('requests', () => {
  it('carry the token, and the filters that are given', async () => {
    const { server, client } = await serving((_request, response) => {
      sendJson(response, 200, { items: [], nextCursor: null });
    });
    await client.log('a/b ?', { outcome: 'failed', isSendersCopy: false, mailbox: undefined }, { limit: 5 });
    const [request] = server.requests;
    expect(request?.headers.authorization).toBe('Bearer token-1');
    expect(request?.path).toBe('/v1/remediations/a%2Fb%20%3F/log');
    expect(request?.query).toEqual({ outcome: 'failed', isSendersCopy: 'false', limit: '5' });
  });

  it('keep the path of the address', async () => {
    const { server } = await serving((_request, response) => {
      sendJson(response, 200, remediation());
    });
    await new Client({ url: `${server.url}/clawback`, token: 't' }).remediation('x');
    expect(server.requests[0]?.path).toBe('/clawback/v1/remediations/x');
  });

  it('go through all pages', async () => {
    const { server, client } = await serving(({ query }, response) => {
      const page = Number(query.cursor ?? '0');
      const row = { ...LOG_ROW, networkMessageId: `m${page}` };
      sendJson(response, 200, { items: [row], nextCursor: page < 2 ? String(page + 1) : null });
    });
    const rows = await collect(client.logRows('x', {}));
    expect(rows.map((row) => row.networkMessageId)).toEqual(['m0', 'm1', 'm2']);
    expect(server.requests).toHaveLength(3);
  });

  it('keep what a newer server adds', async () => {
    const { client } = await serving((_request, response) => {
      sendJson(response, 200, { ...remediation(), status: 'paused', colour: 'blue' });
    });
    await expect(client.remediation('x')).resolves.toMatchObject({ status: 'paused', colour: 'blue' });
  });
});

describe('failures', () => {
  it.each([
    [400, 5],
    [401, 6],
    [403, 6],
    [404, 5],
    [409, 5],
    [422, 5],
    [500, 7],
    [503, 7],
  ])('a problem of status %i gives exit code %i, with its code and fields', async (status, exitCode) => {
    const errors = [{ field: 'name', problem: 'missing' }];
    const { client } = await serving((_request, response) => {
      sendJson(response, status, problem(status, 'someCode', 'what is wrong', { errors }));
    });
    const failure = await client.remediation('x').catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ServerProblem);
    expect(failure).toMatchObject({
      ...{ status, exitCode, code: 'someCode', message: 'what is wrong', problems: errors },
      requestId: 'request-1',
    });
  });

  it('a detail that repeats the fields is not told twice', async () => {
    const { client } = await serving((_request, response) => {
      const errors = [{ field: 'name', problem: 'missing' }];
      sendJson(response, 400, problem(400, 'invalidInput', 'name: missing', { errors }));
    });
    await expect(client.remediation('x')).rejects.toMatchObject({
      message: 'the server does not take this request',
      problems: [{ field: 'name', problem: 'missing' }],
    });
  });

  it('an error that is no problem document is told by its status', async () => {
    const { client } = await serving((_request, response) => {
      response.writeHead(502).end('<html>');
    });
    await expect(client.remediation('x')).rejects.toMatchObject({
      message: 'the server answered 502 Bad Gateway',
      exitCode: 7,
    });
  });

  it.each([
    ['no JSON', '<html>hello</html>'],
    ['another JSON', '{"hello":1}'],
  ])('an answer that is %s comes from no Clawback server', async (_name, body) => {
    const { client } = await serving((_request, response) => {
      response.end(body);
    });
    await expect(client.remediation('x')).rejects.toMatchObject({ code: 'strangeAnswer', exitCode: 7 });
  });

  it('no server is a network failure that names the address and the cause', async () => {
    const url = await closedUrl();
    const failure = await new Client({ url, token: 't' }).remediation('x').catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(NetworkFailure);
    expect(failure).toMatchObject({ exitCode: 7, message: expect.stringContaining(`${url} (ECONNREFUSED)`) });
  });

  it('an interruption is no network failure', async () => {
    const ending = new AbortController();
    const server = await fakeServer(() => {
      ending.abort();
    });
    open.push(server);
    const client = new Client({ url: server.url, token: 't', signal: ending.signal });
    await expect(client.remediation('x')).rejects.toMatchObject({ exitCode: 130 });
  });

  it('half an export is a failure', async () => {
    const { client } = await serving((_request, response) => {
      response.write('a,b\r\n');
      setImmediate(() => response.destroy());
    });
    await expect(collect(client.exportLog('x', {}))).rejects.toBeInstanceOf(NetworkFailure);
  });
});

describe('a patient client', () => {
  const failing = (times: number, fail: (response: ServerResponse) => void) => {
    let requests = 0;
    return serving((_request, response) => {
      requests += 1;
      if (requests <= times) fail(response);
      else sendJson(response, requests === 0 ? 500 : 200, { ...remediation(), undoable: true });
    });
  };
  const busy = (response: ServerResponse) => {
    sendJson(response, 503, problem(503, 'unavailable', 'later'));
  };

  it.each([
    ['503', busy],
    ['a cut connection', (response: ServerResponse) => response.destroy()],
  ])('reads again after %s', async (_name, fail) => {
    const { server, client } = await failing(2, fail);
    await expect(client.patient([1, 1]).remediation('x')).resolves.toMatchObject({
      approvalId: 'approval-1',
    });
    expect(server.requests).toHaveLength(3);
  });

  it('gives up in the end', async () => {
    const { server, client } = await failing(9, busy);
    await expect(client.patient([1, 1]).remediation('x')).rejects.toMatchObject({ status: 503 });
    expect(server.requests).toHaveLength(3);
  });

  it('does not repeat what was refused', async () => {
    const { server, client } = await failing(9, (response) => {
      sendJson(response, 404, problem(404, 'remediationNotFound', 'no'));
    });
    await expect(client.patient([1, 1]).remediation('x')).rejects.toMatchObject({ status: 404 });
    expect(server.requests).toHaveLength(1);
  });

  it('submits again under the same key, and decides only once', async () => {
    const { server, client } = await failing(1, busy);
    await client.patient([1]).undo('x', {}, 'key-1');
    expect(server.requests.map(({ headers }) => headers['idempotency-key'])).toEqual(['key-1', 'key-1']);

    const once = await failing(1, busy);
    await expect(once.client.patient([1]).approve('x', 'hash')).rejects.toMatchObject({ status: 503 });
    expect(once.server.requests).toHaveLength(1);
  });
});

describe('imports', () => {
  const REPORT = {
    accepted: 1,
    unchanged: 0,
    rejected: 1,
    rejections: [{ line: 2, reason: 'line: not JSON' }],
  };
  const PROGRESS = { lines: 2, accepted: 1, unchanged: 0, rejected: 1 };
  const bytes = () => Readable.from([Buffer.from('{"a":1}\n'), Buffer.from('x\n')]);

  it('stream the file, and give the progress and then the report, however it is cut', async () => {
    const lines = [{ progress: PROGRESS }, { progress: PROGRESS }, { report: REPORT }];
    const { server, client } = await serving((_request, response) => {
      const answer = lines.map((line) => JSON.stringify(line)).join('\n');
      response.setHeader('content-type', 'application/x-ndjson');
      for (let at = 0; at < answer.length; at += 7) response.write(answer.slice(at, at + 7));
      response.end();
    });
    await expect(collect(client.importEmails(bytes(), false))).resolves.toEqual(lines);
    const [request] = server.requests;
    expect(request?.body.toString()).toBe('{"a":1}\nx\n');
    expect(request?.headers).toMatchObject({
      accept: 'application/x-ndjson',
      'content-type': 'application/x-ndjson',
    });
    expect(request?.headers['content-encoding']).toBeUndefined();
  });

  it('say when the bytes are compressed', async () => {
    const { server, client } = await serving((_request, response) =>
      response.end(JSON.stringify({ report: REPORT })),
    );
    await collect(client.importEmails(Readable.from([gzipSync('{"a":1}\n')]), true));
    expect(server.requests[0]?.headers['content-encoding']).toBe('gzip');
    expect(gunzipSync(server.requests[0]?.body ?? '').toString()).toBe('{"a":1}\n');
  });

  it('end with the problem that the server found on the way', async () => {
    const { client } = await serving((_request, response) => {
      response.write(`${JSON.stringify({ progress: PROGRESS })}\n`);
      response.end(JSON.stringify({ problem: problem(413, 'importTooLarge', 'over the limit') }));
    });
    await expect(collect(client.importEmails(bytes(), false))).rejects.toMatchObject({
      ...{ status: 413, code: 'importTooLarge', exitCode: 5 },
    });
  });

  it('that end without a report have failed', async () => {
    const { client } = await serving((_request, response) => {
      response.end(`${JSON.stringify({ progress: PROGRESS })}\n`);
    });
    await expect(collect(client.importEmails(bytes(), false))).rejects.toMatchObject({
      code: 'networkFailure',
    });
  });

  it('are told the refusal that comes before the file is sent', async () => {
    const { createServer: createHttpServer } = await import('node:http');
    const server = createHttpServer((_request, response) => {
      response.setHeader('connection', 'close');
      sendJson(response, 401, problem(401, 'tokenExpired', 'the token has expired'));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const client = new Client({ url: `http://127.0.0.1:${port}`, token: 't' });
    const large = Readable.from(
      (function* () {
        for (let piece = 0; piece < 400; piece += 1) yield Buffer.alloc(65_536, 0x20);
      })(),
    );
    try {
      await expect(collect(client.importEmails(large, false))).rejects.toMatchObject({ exitCode: 6 });
    } finally {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    }
  });
});

describe('exports', () => {
  it('give the bytes as they are', async () => {
    const csv = 'Subject\r\n"お支払い, ""x"""\r\n';
    const { server, client } = await serving((_request, response) => {
      for (const byte of Buffer.from(csv)) response.write(Buffer.of(byte));
      response.end();
    });
    await expect(
      text(Readable.from(client.exportLog('x', { mailbox: 'sam@fabrikam.example' }))),
    ).resolves.toBe(csv);
    expect(server.requests[0]?.query).toEqual({ mailbox: 'sam@fabrikam.example' });
  });
});

describe('allItems', () => {
  it('asks for no page that nobody reads', async () => {
    let asked = 0;
    const items = allItems(() => {
      asked += 1;
      return Promise.resolve({ items: [1, 2], nextCursor: 'more' });
    });
    await items.next();
    await items.return(undefined);
    expect(asked).toBe(1);
  });
});
