import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { EXIT_CODE_MEANINGS } from './exit-codes.js';
import { ExitCode, run } from './index.js';
import { packageRoot, packageVersion } from './package-root.js';
import {
  PLAN,
  countsOf,
  fakeIo,
  fakeServer,
  problem,
  remediation,
  sendJson,
  type FakeServer,
  type ReceivedRequest,
} from './testing/fakes.js';

const ID = 'b4ae4ffd-126b-55dc-b19e-e4872f7649d4';
const SUBMITTED = {
  approvalId: 'approval-1',
  status: 'started',
  selectionHash: 'hash-1',
  plan: PLAN,
  undoable: true,
};

const open: FakeServer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'clawback-cli-'));
});
afterAll(() => rm(directory, { recursive: true }));

type Routes = Record<string, (request: ReceivedRequest, response: ServerResponse) => void>;

/** Runs a command line against a server that knows these routes. */
async function cli(argv: readonly string[], routes: Routes = {}, options: Parameters<typeof fakeIo>[0] = {}) {
  const server = await fakeServer((request, response) => {
    const answer = routes[`${request.method} ${request.path}`];
    if (answer === undefined)
      sendJson(response, 404, problem(404, 'routeNotFound', 'there is no such route'));
    else answer(request, response);
  });
  open.push(server);
  const env = { CLAWBACK_URL: server.url, CLAWBACK_TOKEN: 'token-1', ...options.env };
  const io = fakeIo({ cwd: directory, ...options, env });
  const exitCode = await run(argv, io);
  const asked = server.requests.map(({ method, path }) => `${method} ${path}`);
  return { exitCode, out: io.out(), err: io.err(), asked, requests: server.requests };
}

const json =
  (body: unknown, status = 200) =>
  (_request: ReceivedRequest, response: ServerResponse): void => {
    sendJson(response, status, body);
  };

describe('the command line', () => {
  it('explains itself, its exit codes and its version', async () => {
    const help = await cli(['--help']);
    expect(help.exitCode).toBe(ExitCode.ok);
    for (const meaning of Object.values(EXIT_CODE_MEANINGS)) expect(help.out).toContain(meaning);
    expect((await cli(['--version'])).out).toBe(`${packageVersion()}\n`);
  });

  it.each([
    ...[
      'serve',
      'token',
      'demo',
      'import',
      'search',
      'preview',
      'remediate',
      'watch',
      'history',
      'log',
      'export',
    ],
    ...['status', 'undo', 'approve', 'reject', 'events', 'dashboard', 'webhooks'],
  ])('explains %s, with the global options and an example', async (command) => {
    const { exitCode, out } = await cli([command, '--help']);
    expect(exitCode).toBe(ExitCode.ok);
    expect(out).toMatch(/--json/);
    expect(out).toMatch(/Examples?:\n {2}/);
  });

  it.each([
    ['no command', []],
    ['an unknown command', ['explode']],
    ['an unknown option', ['status', 'x', '--loud']],
    ['a missing argument', ['status']],
    ['a wrong choice', ['token', '--role', 'king']],
    ['a wrong number', ['serve', '--port', '99999']],
    ['no name', ['remediate', '--all', '--yes']],
    ['rows and a filter', ['remediate', '--name', 'x', '--hunting', 'x.csv', '--all', '--yes']],
    ['rows and a time', ['remediate', '--name', 'x', '--hunting', 'x.csv', '--finish-within', '5', '--yes']],
    ['unknown rows of no rows', ['remediate', '--name', 'x', '--all', '--unknown-rows', 'refuse', '--yes']],
    ['a missing file of rows', ['preview', '--hunting', 'nowhere.csv']],
    ['no place to replay from', ['webhooks', 'replay', 'w-1']],
    [
      'two places to replay from',
      ['webhooks', 'replay', 'w-1', '--from-position', '1', '--from-time', '2026-11-24'],
    ],
    ['a gap in a list', ['webhooks', 'add', 'https://x.example', '--types', 'remediation.completed,,']],
    ['nobody to ask about a webhook', ['webhooks', 'remove', 'w-1']],
    ['nobody to ask', ['remediate', '--all', '--name', 'x']],
    ['no selection', ['preview']],
    ['a missing file', ['import', 'nowhere.ndjson']],
    ['a directory', ['import', '.']],
    ['a wrong address', ['status', 'x', '--url', 'ftp://x']],
  ])('ends with 2 for %s, without a stack', async (_name, argv) => {
    const { exitCode, err, asked } = await cli(argv);
    expect(exitCode).toBe(ExitCode.usage);
    expect(err).not.toMatch(/^\s+at /m);
    expect(err).not.toBe('');
    expect(asked).toEqual([]);
  });

  it('ends with 6 without a token, and asks no server', async () => {
    const { exitCode, err, asked } = await cli(['status', 'x'], {}, { env: { CLAWBACK_TOKEN: '' } });
    expect(exitCode).toBe(ExitCode.notAllowed);
    expect(err).toMatch(/^clawback: no token: .*\n$/);
    expect(asked).toEqual([]);
  });

  it('tells a refusal in a line, its fields under it, and safe for a terminal', async () => {
    const errors = [{ field: 'name', problem: 'bad \u001b[2J' }];
    const { exitCode, out, err } = await cli(['status', 'x'], {
      'GET /v1/remediations/x': json(problem(422, 'overLimit', 'too many\nemails', { errors }), 422),
    });
    expect(exitCode).toBe(ExitCode.refused);
    expect(out).toBe('');
    expect(err).toBe('clawback: too many\\x0aemails (request request-1)\n  name: bad \\x1b[2J\n');
  });

  it('tells failures to programs as one document', async () => {
    const refused = await cli(['status', 'x', '--json']);
    expect(JSON.parse(refused.out)).toEqual({
      error: {
        ...{ code: 'routeNotFound', message: 'there is no such route', exitCode: 5, errors: [] },
        requestId: 'request-1',
      },
    });
    expect(JSON.parse((await cli(['--json', 'explode'])).out)).toMatchObject({ error: { exitCode: 2 } });
  });

  it('prefers options to the environment', async () => {
    const elsewhere = await fakeServer((_request, response) => {
      sendJson(response, 200, remediation());
    });
    open.push(elsewhere);
    const { exitCode, asked } = await cli(['status', 'x', '--url', elsewhere.url, '--token', 'other']);
    expect([exitCode, asked]).toEqual([ExitCode.ok, []]);
    expect(elsewhere.requests[0]?.headers.authorization).toBe('Bearer other');
  });
});

describe('import', () => {
  const importing = (report: object): Routes => ({
    'POST /v1/emails/import': (_request, response) => {
      const progress = { lines: 2, accepted: 1, unchanged: 0, rejected: 1 };
      response.end(`${JSON.stringify({ progress })}\n${JSON.stringify({ report })}\n`);
    },
  });
  const rejections = Array.from({ length: 30 }, (_, index) => ({
    line: index + 1,
    reason: 'not\u0007 JSON',
  }));
  const REJECTING = { accepted: 1, unchanged: 2, rejected: 30, rejections };
  const CLEAN = { accepted: 1, unchanged: 2, rejected: 0, rejections: [] };

  it('ends with 0 when every line was taken', async () => {
    const { exitCode, out } = await cli(['import', '-'], importing(CLEAN), { stdin: '{}\n' });
    expect(exitCode).toBe(ExitCode.ok);
    expect(out).toBe('accepted 1, unchanged 2, rejected 0\n');
  });

  it('ends with 3 and shows the first rejections to people, all to programs', async () => {
    const people = await cli(['import', '-'], importing(REJECTING), { stdin: '{}\n' });
    expect(people.exitCode).toBe(ExitCode.linesRejected);
    expect(people.out.split('\n')).toHaveLength(23);
    expect(people.out).toContain('  line 20: not\\x07 JSON\n  and 10 more');
    const programs = await cli(['import', '-', '--json'], importing(REJECTING), { stdin: '{}\n' });
    expect(programs.exitCode).toBe(ExitCode.linesRejected);
    expect(JSON.parse(programs.out)).toEqual(REJECTING);
  });

  it('sends a file as it is, and knows gzip by its bytes', async () => {
    const plain = '{"a":1}\n'.repeat(50_000);
    await writeFile(join(directory, 'plain.ndjson'), plain);
    await writeFile(join(directory, 'packed'), gzipSync(plain));
    const first = await cli(['import', 'plain.ndjson'], importing(CLEAN));
    expect(first.requests[0]?.body.toString()).toBe(plain);
    expect(first.requests[0]?.headers['content-encoding']).toBeUndefined();
    expect(first.err).toContain('sending: 400.0 kB of 400.0 kB (100 %)');
    expect(first.err).toContain('lines imported: 2 of 50,000');
    const second = await cli(['import', 'packed'], importing(CLEAN));
    expect(second.requests[0]?.body.equals(gzipSync(plain))).toBe(true);
    expect(second.requests[0]?.headers['content-encoding']).toBe('gzip');
  });

  it('sends an empty file too, for the server to judge', async () => {
    const refused = json(problem(400, 'nothingImported', 'body: holds no line'), 400);
    const { exitCode, asked } = await cli(['import', '-'], { 'POST /v1/emails/import': refused });
    expect([exitCode, asked]).toEqual([ExitCode.refused, ['POST /v1/emails/import']]);
  });
});

describe('remediate', () => {
  const ROUTES: Routes = {
    'POST /v1/remediations/preview': json({ selectionHash: 'hash-1', plan: PLAN, undoable: true }),
    'POST /v1/remediations': json(SUBMITTED, 202),
  };

  it('previews, submits the same, and prints the approval ID alone', async () => {
    const argv = ['remediate', '--name', 'Payroll', '--sender', 'a@b.example', '--senders-copy', '--yes'];
    const { exitCode, out, err, asked, requests } = await cli(argv, ROUTES);
    expect(exitCode).toBe(ExitCode.ok);
    expect(out).toBe('approval-1\n');
    expect(err).toContain('deliveryFailed: 1');
    expect(asked).toEqual(['POST /v1/remediations/preview', 'POST /v1/remediations']);
    const [preview, submit] = requests.map(({ body }) => JSON.parse(body.toString()) as unknown);
    expect(submit).toEqual({
      ...{ name: 'Payroll', severity: 'medium', action: 'softDelete', surface: 'threatExplorer' },
      sendersCopy: true,
      selection: { query: { sender: 'a@b.example' } },
    });
    expect(preview).toEqual(submit);
    expect(requests[1]?.headers['idempotency-key']).toMatch(/^[\da-f-]{36}$/);
  });

  it('takes emails from a file, and the key that it is given', async () => {
    await writeFile(join(directory, 'list.csv'), `${ID},sam@fabrikam.example\n`);
    const argv = [
      'remediate',
      '--name',
      'x',
      '--emails',
      'list.csv',
      '--yes',
      '--idempotency-key',
      'k',
      '--json',
    ];
    const { out, requests } = await cli(argv, ROUTES);
    expect(JSON.parse(out)).toEqual(SUBMITTED);
    expect(requests[1]?.headers['idempotency-key']).toBe('k');
    expect(JSON.parse(requests[1]?.body.toString() ?? '')).toMatchObject({
      selection: { emails: [{ networkMessageId: ID, recipientEmailAddress: 'sam@fabrikam.example' }] },
    });
  });

  it.each([
    ['y\n', ExitCode.ok, 2],
    ['n\n', ExitCode.interrupted, 1],
    ['\n', ExitCode.interrupted, 1],
    ['', ExitCode.interrupted, 1],
  ])('asks on a terminal: %j ends with %i', async (answer, expected, requests) => {
    const server = await fakeServer((request, response) =>
      ROUTES[`${request.method} ${request.path}`]?.(request, response),
    );
    open.push(server);
    const io = fakeIo({ env: { CLAWBACK_URL: server.url, CLAWBACK_TOKEN: 't' }, stdin: answer });
    const stdin = Object.assign(io.stdin, { isTTY: true });
    expect(await run(['remediate', '--name', 'x', '--all'], { ...io, stdin })).toBe(expected);
    expect(io.err()).toContain('softDelete 2 copies? [y/N] ');
    expect(server.requests).toHaveLength(requests);
  });

  it('follows to the end with --watch, through an absence of the server', async () => {
    const entries = [
      remediation({ status: 'queued', counts: countsOf({ pending: 3 }) }),
      undefined,
      remediation({ status: 'inProgress', counts: countsOf({ pending: 1, succeeded: 2 }) }),
      remediation({ counts: countsOf({ succeeded: 2, timedOut: 1 }) }),
    ];
    const routes: Routes = {
      ...ROUTES,
      'GET /v1/remediations/approval-1': (_request, response) => {
        const entry = entries.shift();
        if (entry === undefined) response.destroy();
        else sendJson(response, 200, entry);
      },
    };
    const argv = ['remediate', '--name', 'x', '--all', '--yes', '--watch', '--json'];
    const { exitCode, out, err } = await cli(argv, routes);
    expect(exitCode).toBe(ExitCode.incomplete);
    expect(JSON.parse(out)).toMatchObject({ status: 'completed', counts: { timedOut: 1 } });
    expect(err).toContain('in progress: 2 of 3 (66 %)');
    expect(err).toContain('completed: 2 copies moved, 1 timed out');
    expect(entries).toEqual([]);
  });

  it('says how to be sure when no answer came', async () => {
    const routes: Routes = { ...ROUTES, 'POST /v1/remediations': (_request, response) => response.destroy() };
    const argv = ['remediate', '--name', 'x', '--all', '--yes', '--idempotency-key', 'key-7'];
    const { exitCode, err, asked } = await cli(argv, routes);
    expect(exitCode).toBe(ExitCode.unavailable);
    expect(err).toContain('--idempotency-key key-7');
    expect(asked).toHaveLength(5);
  });
});

describe('remediate and preview --hunting', () => {
  const hunting = { rows: 3, emails: 2, duplicates: 1, leftOut: 0, leftOutRows: [] };
  const ROUTES: Routes = {
    'POST /v1/remediations/from-hunting/preview': json({
      ...{ selectionHash: 'hash-1', plan: PLAN, undoable: true, hunting },
    }),
    'POST /v1/remediations/from-hunting': json({ ...SUBMITTED, hunting }, 202),
  };
  const CSV = `NetworkMessageId,RecipientEmailAddress\r\n${ID},sam@fabrikam.example\r\n`;
  const LIST = JSON.stringify([{ NetworkMessageId: ID, RecipientEmailAddress: 'sam@fabrikam.example' }]);
  const RESULT = `\n {"schema": [], "results": ${LIST}}`;

  it.each([
    ['CSV', CSV, 'text/csv', CSV],
    ['a list', LIST, 'application/json', LIST],
    ['what Graph answers', RESULT, 'application/json', RESULT],
    ['JSON with a byte order mark', `\ufeff${LIST}`, 'application/json', LIST],
  ])('sends %s as it is, previews it and submits the same', async (_what, content, type, body) => {
    await writeFile(join(directory, 'found'), content);
    const argv = ['remediate', '--name', 'Hunt', '--hunting', 'found', '--senders-copy', '--yes'];
    const { exitCode, out, err, asked, requests } = await cli(
      [...argv, '--unknown-rows', 'leaveOut'],
      ROUTES,
    );
    expect({ exitCode, out }).toEqual({ exitCode: ExitCode.ok, out: 'approval-1\n' });
    expect(err).toContain('3 rows of 2 emails: 1 named again, 0 left out');
    expect(asked).toEqual([
      'POST /v1/remediations/from-hunting/preview',
      'POST /v1/remediations/from-hunting',
    ]);
    for (const request of requests) {
      expect(request.headers['content-type']).toBe(type);
      expect(request.body.toString()).toBe(body);
      expect(request.query).toEqual({
        ...{ name: 'Hunt', severity: 'medium', action: 'softDelete', sendersCopy: 'true' },
        unknownRows: 'leaveOut',
      });
    }
    expect(requests[1]?.headers['idempotency-key']).toMatch(/^[\da-f-]{36}$/);
  });

  it('takes them from stdin, and a lost answer is asked for again under the same key', async () => {
    let lost = 0;
    const routes: Routes = {
      ...ROUTES,
      'POST /v1/remediations/from-hunting': (_request, response) => {
        lost += 1;
        if (lost === 1) response.destroy();
        else sendJson(response, 202, { ...SUBMITTED, hunting });
      },
    };
    const argv = ['remediate', '--name', 'Hunt', '--hunting', '-', '--yes', '--json'];
    const { exitCode, out, requests } = await cli(argv, routes, { stdin: CSV });
    expect(exitCode).toBe(ExitCode.ok);
    expect(JSON.parse(out)).toMatchObject({ approvalId: 'approval-1' });
    const submits = requests.slice(1);
    expect(submits.map(({ body }) => body.toString())).toEqual([CSV, CSV]);
    expect(new Set(submits.map(({ headers }) => headers['idempotency-key'])).size).toBe(1);
  });

  it('previews, and refuses a file without a row before it asks the server', async () => {
    const { out, asked } = await cli(['preview', '--hunting', '-'], ROUTES, { stdin: CSV });
    expect(out).toContain('Selection hash  hash-1');
    expect(asked).toEqual(['POST /v1/remediations/from-hunting/preview']);
    const empty = await cli(['preview', '--hunting', '-'], ROUTES, { stdin: ' \n' });
    expect({ exitCode: empty.exitCode, asked: empty.asked }).toEqual({ exitCode: ExitCode.usage, asked: [] });
    expect(empty.err).toContain('holds no rows');
  });
});

describe('webhooks', () => {
  const webhook = {
    webhookId: 'w-1',
    url: 'https://soar.fabrikam.example/hooks',
    types: ['remediation.completed'],
    description: 'SOAR',
    status: 'active',
    pausedBecause: null,
    deliveredUpTo: '00000000000000000121',
    failing: { error: 'status500' },
  };
  const delivery = {
    position: '00000000000000000121',
    type: 'remediation.completed',
    approvalId: 'approval-1',
    state: 'failing',
    nextAttemptAt: '2026-11-24T08:00:00.000Z',
    attempts: 3,
    lastAttempts: [{ status: 500, error: 'status500' }],
  };

  it('lists them, a page or all of them', async () => {
    const routes: Routes = {
      'GET /v1/webhooks': ({ query }, response) => {
        sendJson(response, 200, { items: [webhook], nextCursor: query.cursor === undefined ? 'more' : null });
      },
    };
    const people = await cli(['webhooks', 'list'], routes);
    expect(people.out).toMatch(/w-1 +active +status500 +00000000000000000121 +https:\S+ +SOAR\n/);
    expect(people.err).toContain('--cursor more');
    const programs = await cli(['webhooks', 'list', '--all', '--json'], routes);
    expect(programs.out).toBe(`${JSON.stringify(webhook)}\n`.repeat(2));
  });

  it('adds one, and prints its secret', async () => {
    const routes: Routes = { 'POST /v1/webhooks': json({ ...webhook, secret: 'whsec_abc' }, 201) };
    const argv = ['webhooks', 'add', webhook.url, '--types', 'remediation.completed, remediation.failed'];
    const { exitCode, out, requests } = await cli([...argv, '--description', 'SOAR'], routes);
    expect({ exitCode, out }).toEqual({ exitCode: ExitCode.ok, out: 'Webhook  w-1\nSecret   whsec_abc\n' });
    expect(JSON.parse(requests[0]?.body.toString() ?? '')).toEqual({
      ...{ url: webhook.url, description: 'SOAR' },
      types: ['remediation.completed', 'remediation.failed'],
    });
    const bare = await cli(['webhooks', 'add', webhook.url, '--json'], routes);
    expect(JSON.parse(bare.requests[0]?.body.toString() ?? '')).toEqual({ url: webhook.url });
    expect(JSON.parse(bare.out)).toMatchObject({ secret: 'whsec_abc' });
  });

  it('removes one', async () => {
    const routes: Routes = {
      'DELETE /v1/webhooks/a%2Fb': (_request, response) => response.writeHead(204).end(),
    };
    const { exitCode, out } = await cli(['webhooks', 'remove', 'a/b', '--yes'], routes);
    expect({ exitCode, out }).toEqual({ exitCode: ExitCode.ok, out: 'removed a/b\n' });
    const unknown = await cli(['webhooks', 'remove', 'x', '--yes'], routes);
    expect(unknown.exitCode).toBe(ExitCode.refused);
  });

  it('asks before it removes one', async () => {
    const server = await fakeServer((_request, response) => response.writeHead(204).end());
    open.push(server);
    const io = fakeIo({ env: { CLAWBACK_URL: server.url, CLAWBACK_TOKEN: 't' }, stdin: 'n\n' });
    const stdin = Object.assign(io.stdin, { isTTY: true });
    expect(await run(['webhooks', 'remove', 'w-1'], { ...io, stdin })).toBe(ExitCode.interrupted);
    expect(io.err()).toContain('remove the webhook w-1 for good? [y/N] ');
    expect(server.requests).toEqual([]);
  });

  it('tells what one was sent, and what came of it', async () => {
    const routes: Routes = {
      'GET /v1/webhooks/w-1/deliveries': json({ items: [delivery], nextCursor: null }),
    };
    const { out, requests } = await cli(['webhooks', 'deliveries', 'w-1', '--state', 'failing'], routes);
    expect(requests[0]?.query).toEqual({ state: 'failing', limit: '50' });
    expect(out).toMatch(
      /remediation\.completed +approval-1 +failing +3 +status500 +2026-11-24T08:00:00\.000Z\n/,
    );
  });

  it('sends everything again from a position or a time on', async () => {
    const routes: Routes = { 'POST /v1/webhooks/w-1/replay': json(webhook, 202) };
    for (const [option, value, body] of [
      ['--from-position', '17', { fromPosition: '17' }],
      ['--from-time', '2026-11-24T08:00', { fromTime: '2026-11-24T08:00:00.000Z' }],
    ] as const) {
      const { exitCode, requests } = await cli(['webhooks', 'replay', 'w-1', option, value], routes);
      expect(exitCode).toBe(ExitCode.ok);
      expect(JSON.parse(requests[0]?.body.toString() ?? '')).toEqual(body);
    }
  });
});

describe('watch, status and the lists', () => {
  it.each([
    [remediation(), ExitCode.ok],
    [remediation({ counts: countsOf({ succeeded: 1, failed: 1 }) }), ExitCode.incomplete],
    [remediation({ status: 'failed', counts: countsOf({ failed: 2 }) }), ExitCode.remediationFailed],
    [remediation({ status: 'rejected', counts: countsOf({ cancelled: 2 }) }), ExitCode.remediationFailed],
  ])('watch ends by the result %#', async (entry, expected) => {
    const { exitCode, out } = await cli(['watch', 'x'], { 'GET /v1/remediations/x': json(entry) });
    expect(exitCode).toBe(expected);
    expect(out).toContain('submitted = sum of outcomes: OK');
  });

  it('watch says that it goes on when it is interrupted', async () => {
    const ending = new AbortController();
    const routes: Routes = {
      'GET /v1/remediations/x': (_request, response) => {
        sendJson(response, 200, remediation({ status: 'inProgress' }));
        ending.abort();
      },
    };
    const { exitCode, err } = await cli(['watch', 'x'], routes, { signal: ending.signal });
    expect(exitCode).toBe(ExitCode.interrupted);
    expect(err).toContain('clawback watch x');
  });

  it('log shows a page as a table, and every page as lines for programs', async () => {
    const row = (index: number) => ({
      ...{ networkMessageId: `m${index}`, mailbox: 'sam@fabrikam.example', isSendersCopy: index === 1 },
      ...{
        subject: 'a\u001b[2Jb',
        outcome: 'succeeded',
        reason: null,
        fromFolder: 'Inbox',
        toFolder: 'Archive',
      },
    });
    const routes: Routes = {
      'GET /v1/remediations/x/log': ({ query }, response) => {
        const index = query.cursor === undefined ? 0 : 1;
        sendJson(response, 200, { items: [row(index)], nextCursor: index === 0 ? 'more' : null });
      },
    };
    const page = await cli(['log', 'x', '--senders-copy', 'true', '--limit', '1'], routes);
    expect(page.out).toContain("recipient's");
    expect(page.out).toContain('a\\x1b[2Jb');
    expect(page.err).toContain('--cursor more');
    expect(page.requests[0]?.query).toEqual({ isSendersCopy: 'true', limit: '1' });
    const all = await cli(['log', 'x', '--all', '--json'], routes);
    expect(all.out).toBe(`${JSON.stringify(row(0))}\n${JSON.stringify(row(1))}\n`);
    const table = await cli(['log', 'x', '--all'], routes);
    expect(table.out.trimEnd().split('\n')).toHaveLength(3);
  });

  it('a list that fails in the middle is followed by no document', async () => {
    const routes: Routes = {
      'GET /v1/remediations/x/events': ({ query }, response) => {
        if (query.cursor === undefined)
          sendJson(response, 200, { items: [{ type: 'A' }], nextCursor: 'more' });
        else sendJson(response, 409, problem(409, 'gone', 'gone'));
      },
    };
    const { exitCode, out, err } = await cli(['events', 'x', '--json'], routes);
    expect([exitCode, out]).toEqual([ExitCode.refused, '{"type":"A"}\n']);
    expect(err).toContain('clawback: gone');
  });

  it('search and history give their filters to the server', async () => {
    const none = json({ items: [], nextCursor: null });
    const routes: Routes = { 'GET /v1/emails': none, 'GET /v1/remediations': none };
    const search = await cli(['search', '--cluster', '7', '--start', '2026-11-02'], routes);
    expect(search.requests[0]?.query).toEqual({
      clusterId: '7',
      startTime: '2026-11-02T00:00:00.000Z',
      limit: '50',
    });
    expect([search.out, search.err]).toEqual(['', 'nothing found\n']);
    const history = await cli(['history', '--status', 'pending', '--name', 'pay', '--json'], routes);
    expect(history.requests[0]?.query).toEqual({ status: 'pending', name: 'pay', limit: '50' });
    expect(JSON.parse(history.out)).toEqual({ items: [], nextCursor: null });
  });
});

describe('export', () => {
  const CSV = 'Subject,Mailbox\r\n"two\r\nlines",a\r\nx,b\r\n';

  it('writes a file and counts its rows', async () => {
    const routes: Routes = { 'GET /v1/remediations/x/export': (_request, response) => response.end(CSV) };
    const { exitCode, out } = await cli(['export', 'x', '--json'], routes);
    expect(exitCode).toBe(ExitCode.ok);
    const file = join(directory, 'clawback-x.csv');
    expect(JSON.parse(out)).toEqual({ approvalId: 'x', file, rows: 2 });
    await expect(readFile(file, 'utf8')).resolves.toBe(CSV);
    expect((await cli(['export', 'x', '--output', '-'], routes)).out).toBe(CSV);
  });

  it('leaves no half file', async () => {
    const routes: Routes = {
      'GET /v1/remediations/y/export': (_request, response) => {
        response.write(CSV);
        setImmediate(() => response.destroy());
      },
    };
    const { exitCode } = await cli(['export', 'y'], routes);
    expect(exitCode).toBe(ExitCode.unavailable);
    expect((await readdir(directory)).filter((name) => name.includes('-y'))).toEqual([]);
  });
});

describe('dashboard', () => {
  const figures = (moved: number) => ({
    remediations: 1,
    emails: 2,
    copies: countsOf({ succeeded: moved }),
    timeToRemediate: {
      sinceSubmission: { count: 1, p50Ms: 1250, p95Ms: null },
      sinceApproval: { count: 0, p50Ms: null, p95Ms: null },
    },
  });
  const READ = {
    startTime: '2026-11-01T00:00:00.000Z',
    endTime: '2026-11-02T00:00:00.000Z',
    totals: figures(7),
    groups: [{ key: 'softDelete', ...figures(5) }],
    topSenders: { items: [{ address: 'eve@evil.example\u001b[2J', copies: 5 }], error: 0 },
    topMailboxes: { items: [], error: 0 },
  };
  const routes: Routes = { 'GET /v1/dashboard': json(READ) };

  it('is a line for each group and one for all, and the addresses below', async () => {
    const { exitCode, out, requests } = await cli(
      ['dashboard', '--start', '2026-11-01', '--by', 'action', '--top', '3'],
      routes,
    );
    expect(exitCode).toBe(ExitCode.ok);
    expect(requests[0]?.query).toEqual({
      startTime: '2026-11-01T00:00:00.000Z',
      groupBy: 'action',
      top: '3',
    });
    expect(out).toMatch(/^softDelete +1 +2 +5 +5 .* 1\.3 s$/m);
    expect(out).toMatch(/^all +1 +2 +7 +7 /m);
    expect(out).toContain('eve@evil.example\\x1b[2J');
  });

  it('is the whole answer for programs', async () => {
    expect(JSON.parse((await cli(['dashboard', '--json'], routes)).out)).toEqual(READ);
  });
});

describe('export with a manifest', () => {
  const NDJSON = '{"Subject":"お支払い"}\n{"Subject":"x"}\n';
  const manifestOf = (body: string, more: object = {}): object => ({
    rows: body.split('\n').length - 1,
    bytes: Buffer.byteLength(body),
    sha256: createHash('sha256').update(body).digest('hex'),
    firstPosition: '1',
    lastPosition: '1',
    consistent: true,
    final: true,
    createdAt: '2026-11-02T06:00:00.000Z',
    ...more,
  });
  const withTrailer =
    (body: string, manifest: object) => (_request: ReceivedRequest, response: ServerResponse) => {
      response.writeHead(200, { trailer: 'clawback-manifest' });
      response.write(body);
      response.addTrailers({ 'clawback-manifest': JSON.stringify(manifest) });
      response.end();
    };
  const argv = ['export', '--of', 'history', '--format', 'ndjson', '--manifest', 'm.json'];
  const files = async () => (await readdir(directory)).filter((name) => /^(clawback-history|m\.)/.test(name));
  afterEach(async () => {
    for (const name of await files()) await rm(join(directory, name));
  });

  it('writes both when they fit each other', async () => {
    const manifest = manifestOf(NDJSON);
    const { exitCode, requests } = await cli([...argv, '--status', 'failed'], {
      'GET /v1/remediations/export': withTrailer(NDJSON, manifest),
    });
    expect(exitCode).toBe(ExitCode.ok);
    expect(requests[0]?.query).toEqual({ status: 'failed', format: 'ndjson' });
    await expect(readFile(join(directory, 'clawback-history.ndjson'), 'utf8')).resolves.toBe(NDJSON);
    expect(JSON.parse(await readFile(join(directory, 'm.json'), 'utf8'))).toEqual(manifest);
  });

  it('asks for the manifest when its trailer got lost on the way', async () => {
    const { exitCode, asked } = await cli(argv, {
      'GET /v1/remediations/export': (_request, response) => response.end(NDJSON),
      'GET /v1/remediations/export/manifest': json(manifestOf(NDJSON)),
    });
    expect(exitCode).toBe(ExitCode.ok);
    expect(asked).toEqual(['GET /v1/remediations/export', 'GET /v1/remediations/export/manifest']);
  });

  it.each(['sha256', 'rows', 'bytes'])('leaves no file when its %s is another', async (fact) => {
    const wrong = { ...manifestOf(NDJSON), [fact]: fact === 'sha256' ? '0' : 7 };
    const { exitCode, err } = await cli(argv, {
      'GET /v1/remediations/export': withTrailer(NDJSON, wrong),
    });
    expect(exitCode).toBe(ExitCode.unavailable);
    expect(err).toContain(fact);
    await expect(files()).resolves.toEqual([]);
  });

  it('says that rows are of different times', async () => {
    const { exitCode, err } = await cli(argv, {
      'GET /v1/remediations/export': withTrailer(NDJSON, manifestOf(NDJSON, { consistent: false })),
    });
    expect(exitCode).toBe(ExitCode.ok);
    expect(err).toContain('changed while it was read');
  });

  it.each([
    ['a log of nothing', ['export']],
    ['a selection of nothing', ['export', '--of', 'selection']],
    ['an approval ID for the history', ['export', 'x', '--of', 'history']],
    ['a filter of emails for a log', ['export', 'x', '--sender', 'a@x.example']],
    ['a filter of the history for emails', ['export', '--of', 'emails', '--status', 'failed']],
    ['a filter of a log for a selection', ['export', 'x', '--of', 'selection', '--mailbox', 'a@x.example']],
  ])('refuses %s', async (_what, argv) => {
    const { exitCode, asked } = await cli(argv);
    expect([exitCode, asked]).toEqual([ExitCode.usage, []]);
  });
});

describe('decisions and undo', () => {
  it('approve shows the proposal and approves what it showed', async () => {
    const routes: Routes = {
      'GET /v1/remediations/x': json(remediation({ status: 'pending' })),
      'POST /v1/remediations/x/approve': json(remediation(), 202),
    };
    const shown = await cli(['approve', 'x'], routes);
    expect(shown.exitCode).toBe(ExitCode.ok);
    expect(shown.err).toContain('hash-1');
    expect(JSON.parse(shown.requests[1]?.body.toString() ?? '')).toEqual({ selectionHash: 'hash-1' });
    const direct = await cli(['approve', 'x', '--selection-hash', 'h', '--json'], routes);
    expect(direct.asked).toEqual(['POST /v1/remediations/x/approve']);
    expect(JSON.parse(direct.out)).toEqual({ approvalId: 'x', selectionHash: 'h' });
  });

  it('reject gives the reason', async () => {
    const routes: Routes = { 'POST /v1/remediations/x/reject': json(remediation()) };
    const { exitCode, requests } = await cli(['reject', 'x', '--reason', 'too many'], routes);
    expect(exitCode).toBe(ExitCode.ok);
    expect(JSON.parse(requests[0]?.body.toString() ?? '')).toEqual({ reason: 'too many' });
  });

  it('undo brings back all, or the emails of a file', async () => {
    const routes: Routes = {
      'GET /v1/remediations/x': json(remediation()),
      'POST /v1/remediations/x/undo': json({ ...SUBMITTED, approvalId: 'undo-1', undoOf: 'x' }, 202),
    };
    const all = await cli(['undo', 'x', '--yes'], routes);
    expect([all.exitCode, all.out]).toEqual([ExitCode.ok, 'undo-1\n']);
    expect(JSON.parse(all.requests[1]?.body.toString() ?? '')).toEqual({});
    const some = await cli(['undo', 'x', '--yes', '--emails', '-'], routes, {
      stdin: `${ID},sam@fabrikam.example`,
    });
    expect(JSON.parse(some.requests[1]?.body.toString() ?? '')).toEqual({
      emails: [{ networkMessageId: ID, recipientEmailAddress: 'sam@fabrikam.example' }],
    });
    expect((await cli(['undo', 'x'], routes)).exitCode).toBe(ExitCode.usage);
  });
});

describe('fault', () => {
  it('sets, lists and clears', async () => {
    const path = '/v1/sandbox/faults/sam%40fabrikam.example';
    const routes: Routes = {
      [`PUT ${path}`]: json({ mailbox: 'sam@fabrikam.example', fault: { kind: 'error' } }),
      [`DELETE ${path}`]: (_request, response) => response.writeHead(204).end(),
      'GET /v1/sandbox/faults': json({
        items: [{ mailbox: 'sam@fabrikam.example', fault: { kind: 'slow', delayMs: 5 } }],
      }),
    };
    const set = [
      'fault',
      'set',
      'sam@fabrikam.example',
      '--kind',
      'error',
      '--code',
      'throttled',
      '--times',
      '2',
    ];
    const { exitCode, requests } = await cli(set, routes);
    expect(exitCode).toBe(ExitCode.ok);
    expect(JSON.parse(requests[0]?.body.toString() ?? '')).toEqual({
      ...{ kind: 'error', code: 'throttled', times: 2, retryable: false },
    });
    expect((await cli(['fault', 'list'], routes)).out).toContain('sam@fabrikam.example  slow   delayMs 5');
    const cleared = await cli(['fault', 'clear', '--json'], routes);
    expect(cleared.asked).toEqual(['GET /v1/sandbox/faults', `DELETE ${path}`]);
    expect(JSON.parse(cleared.out)).toEqual({ cleared: ['sam@fabrikam.example'] });
  });
});

describe('the program', () => {
  it('says in a line that it is not built', async () => {
    const bin = join(directory, 'apps', 'cli', 'bin');
    await mkdir(bin, { recursive: true });
    await cp(join(packageRoot(), 'apps', 'cli', 'bin', 'clawback.mjs'), join(bin, 'clawback.mjs'));
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(bin, 'clawback.mjs')], {
      encoding: 'utf8',
    });
    expect([status, stdout]).toEqual([70, '']);
    expect(stderr).toMatch(/^clawback: .*npm run build first\n$/);
  });
});
