import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { run } from '#apps/cli';
import { fakeIo } from '../../apps/cli/src/testing/fakes.js';
import { PROJECT_ROOT } from '../support/mail-input.js';
import { TlsFront } from '../support/graph-client.js';
import {
  ROLES,
  TestServer,
  until,
  type Answer,
  type Api,
  type RequestParts,
  type Role,
  type TestTenant,
} from '../support/server.js';
import { WebhookReceiver } from '../support/webhook-receiver.js';
import {
  argumentsOf,
  differences,
  exchangeOf,
  fencesOf,
  filledIn,
  messageOf,
  runExchange,
  type Fence,
  type Remembered,
} from '../support/worked-examples.js';

/** The pages whose examples are run, each in its order against a fresh server. */
const PAGES = ['docs/api.md', 'docs/graph.md', 'README.md'] as const;

/** What the pages call the addresses of the server and of somebody's receiver of webhooks. */
const SERVER = 'https://clawback.example';
const RECEIVER = 'https://soar.fabrikam.example/hooks/clawback';

/** Commands that are the frame of the suite itself, or too much for it: the demo has a suite of its own. */
const LEFT_OUT = /^(npm install|export CLAWBACK_|clawback (serve|token|demo)\b)/;

const pages = await Promise.all(
  PAGES.map(async (page) => ({
    page,
    fences: fencesOf(await readFile(resolve(PROJECT_ROOT, page), 'utf8')),
  })),
);

describe.each(pages)('the examples of $page', ({ fences }) => {
  let server: TestServer;
  let tenant: TestTenant;
  let directory: string;
  let receiver: WebhookReceiver;
  const remembered: Remembered = new Map([['tomorrow', inOneDay()]]);
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'clawback-docs-'));
    receiver = await WebhookReceiver.start();
    server = await TestServer.start({
      http: { publicUrl: SERVER },
      webhooks: { networks: '127.0.0.0/8' },
    });
    tenant = server.tenant();
  });
  afterAll(async () => {
    await server.dispose();
    await receiver.stop();
    await rm(directory, { recursive: true });
  });

  async function runHttp({ text, line }: Fence): Promise<void> {
    const exchange = exchangeOf({ text: text.replaceAll(RECEIVER, receiver.url), line });
    await runExchange(exchange, remembered, (caller, request) => {
      const api = tenant.as(roleOf(caller));
      const { 'content-type': type } = exchange.answer.headers;
      return type?.startsWith('text/event-stream') === true ? wholeStream(api, request) : api.send(request);
    });
  }

  /** The message that the page shows, and whether it is what it says it is. */
  async function runWebhook(fence: Fence): Promise<void> {
    const look = async (): Promise<string[]> => {
      const all = receiver.taken.map(({ id, timestamp, signatures, contentType, text, body }) =>
        differences(
          messageOf(fence),
          {
            status: 200,
            headers: new Headers({
              'content-type': contentType,
              'webhook-id': id,
              'webhook-timestamp': String(timestamp),
              'webhook-signature': signatures.join(' '),
            }),
            text,
            body,
          },
          remembered,
        ),
      );
      return Promise.resolve(all.find((found) => found.length === 0) ?? all.at(-1) ?? ['nothing came']);
    };
    expect(await until(look, (found) => found.length === 0)).toEqual([]);
  }

  /** A program prints what its comments say; a module is what a receiver of webhooks checks a message by. */
  async function runProgram({ text }: Fence): Promise<void> {
    if (text.includes('export function isGenuine')) {
      const { isGenuine } = (await import(`data:text/javascript,${encodeURIComponent(text)}`)) as Receiving;
      const [message] = receiver.taken;
      if (message === undefined) throw new Error('nothing came');
      const headers = {
        'webhook-id': message.id,
        'webhook-timestamp': String(message.timestamp),
        'webhook-signature': message.signatures.join(' '),
      };
      const secret = remembered.get('secret') ?? '';
      expect(isGenuine(secret, headers, message.text)).toBe(true);
      expect(isGenuine(secret, headers, `${message.text} `)).toBe(false);
      expect(isGenuine(`whsec_${Buffer.from('another').toString('base64')}`, headers, message.text)).toBe(
        false,
      );
      const old = { ...headers, 'webhook-timestamp': String(message.timestamp - 301) };
      expect(isGenuine(secret, old, message.text)).toBe(false);
      return;
    }
    const front = await TlsFront.start();
    try {
      front.leadTo(server.url);
      const code = text
        .replaceAll(SERVER, front.url)
        .replaceAll(new URL(SERVER).hostname, new URL(front.url).hostname);
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ['--input-type=module', '--eval', code],
        {
          cwd: PROJECT_ROOT,
          env: {
            PATH: process.env.PATH,
            NODE_EXTRA_CA_CERTS: front.certFile,
            CLAWBACK_TOKEN: await server.token({
              roles: ['viewer'],
              subject: 'an-app',
              tenant: tenant.name,
              ttlSeconds: 600,
            }),
          },
        },
      );
      const prints = Array.from(text.matchAll(/^\/\/ prints: (.*)$/gm), ([, line]) => line);
      expect(prints).not.toEqual([]);
      expect(stdout.trimEnd().split('\n')).toEqual(prints);
    } finally {
      await front.close();
    }
  }

  async function runShell({ text }: Fence): Promise<void> {
    for (const line of commandsIn(text)) {
      const token = await server.token({
        roles: ['admin'],
        subject: 'docs@ops.example',
        tenant: tenant.name,
        ttlSeconds: 600,
      });
      const io = fakeIo({ cwd: directory, env: { CLAWBACK_URL: server.url, CLAWBACK_TOKEN: token } });
      const argv = argumentsOf(line, remembered).slice(1);
      const exitCode = await run(argv.map(inProject), io);
      expect({ line, exitCode, err: io.err() }).toMatchObject({ exitCode: 0 });
      await rememberNewest();
    }
  }

  /** `$ID` and `<approval ID>` in a page are the remediation that was begun last and is no undo. */
  async function rememberNewest(): Promise<void> {
    const newest = (await tenant.history()).find(({ undoOf }) => undoOf === null);
    if (newest !== undefined) remembered.set('ID', newest.approvalId);
  }

  it.each(fences.map((fence) => [`${fence.language}, line ${String(fence.line)}`, fence] as const))(
    '%s',
    async (_name, fence) => {
      switch (fence.language) {
        case 'http':
          await runHttp(fence);
          return;
        case 'sh':
          await runShell(fence);
          return;
        case 'webhook':
          await runWebhook(fence);
          return;
        case 'js':
          await runProgram(fence);
          return;
        case 'json':
          expect(() => JSON.parse(fence.text) as unknown).not.toThrow();
          return;
        default:
          // A picture; whatever looks like an example has to say which kind it is.
          expect(fence.language).toBe('');
          expect(fence.text).not.toMatch(/^(GET|POST|PUT|DELETE) |^clawback /m);
      }
    },
    60_000,
  );
});

/** What the page gives a receiver to check messages by. */
interface Receiving {
  readonly isGenuine: (secret: string, headers: Readonly<Record<string, string>>, body: string) => boolean;
}

/** The answer of a stream that ends by itself. */
async function wholeStream(api: Api, { path, headers = {} }: RequestParts): Promise<Answer> {
  const response = await api.open(path, { headers });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, body: text };
}

const roleOf = (caller: string | undefined): Role => {
  const role = ROLES.find((known) => known === (caller ?? 'ADMIN').toLowerCase());
  if (role === undefined) throw new Error(`$${String(caller)} is nobody's token`);
  return role;
};

/** The commands that are run, in the form of an installed program. */
function commandsIn(text: string): string[] {
  const lines = text
    .replaceAll('\\\n', ' ')
    .split('\n')
    .map((line) =>
      line
        .replace(/\s+#.*$/, '')
        .trim()
        .replace(/^npm run --silent clawback -- */, 'clawback ')
        .replaceAll('<approval ID>', '$ID'),
    )
    .filter((line) => line !== '' && !line.startsWith('#') && !LEFT_OUT.test(line));
  for (const line of lines) {
    if (!line.startsWith('clawback ')) throw new Error(`nobody runs this: ${line}`);
  }
  return lines;
}

/** Pages name files of this project; the commands run elsewhere, so that they write nothing here. */
const inProject = (argument: string): string =>
  argument.startsWith('samples/') ? resolve(PROJECT_ROOT, argument) : argument;

describe('the convention', () => {
  const fence = (text: string): Fence => ({ language: 'http', text, line: 1 });
  const page =
    'GET /v1/x\n\nHTTP/1.1 200 OK\nLocation: /v1/{id}\n\n{"a": {"b": "{id}", "c": "…"}, "list": [1, "…"]}';
  const answer = (status: number, location: string, body: unknown) => ({
    status,
    headers: new Headers({ location }),
    text: JSON.stringify(body),
    body,
  });
  const right = { a: { b: '7', c: null, d: 1 }, list: [1, 2], more: true };

  it('takes an answer that holds what the page says, and remembers', () => {
    const remembered: Remembered = new Map();
    expect(differences(exchangeOf(fence(page)), answer(200, '/v1/7', right), remembered)).toEqual([]);
    expect(filledIn('/v1/{id}/{other}', remembered)).toBe('/v1/7/{other}');
    expect(argumentsOf('clawback x "two words" $id $other', remembered)).toEqual([
      ...['clawback', 'x', 'two words', '7', '$other'],
    ]);
  });

  it.each([
    ['another status', answer(202, '/v1/7', right)],
    ['another header', answer(200, '/v2/7', right)],
    ['another value than was remembered', answer(200, '/v1/7', { ...right, a: { b: '8', c: 1 } })],
    ['a member missing', answer(200, '/v1/7', { ...right, a: { b: '7' } })],
    ['another item', answer(200, '/v1/7', { ...right, list: [2] })],
    ['an item missing', answer(200, '/v1/7', { ...right, list: [] })],
    ['no object', answer(200, '/v1/7', { ...right, a: 'b' })],
  ])('refuses %s', (_what, told) => {
    const remembered: Remembered = new Map([['id', '7']]);
    expect(differences(exchangeOf(fence(page)), told, remembered)).not.toEqual([]);
  });

  it.each(['GET /v1/x', 'FETCH /v1/x\n\nHTTP/1.1 200 OK', 'GET /v1/x\nno header\n\nHTTP/1.1 200 OK'])(
    'refuses a block that is no exchange: %j',
    (text) => {
      expect(() => exchangeOf(fence(text))).toThrow();
    },
  );

  it('finds a block that has no end, and a command that nobody runs', () => {
    expect(() => fencesOf('```sh\nclawback x\n')).toThrow('no end');
    expect(() => commandsIn('curl http://x')).toThrow('nobody runs this');
  });
});

/** For what has to be in the future, whenever the suite runs. */
function inOneDay(): string {
  return new Date(Date.now() + 24 * 60 * 60_000).toISOString();
}
