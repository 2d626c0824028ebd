import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, jest } from '@jest/globals';
import Papa from 'papaparse';
import type { RunningServer } from '#apps/server';
import type { Counts, OutcomeCounts } from '#libs/action-center';
import type { EventStore, RecordedEvent } from '#libs/event-store';
import { START, SystemClock, pause, type Clock, type Position } from '#libs/kernel';
import { Folders } from '#libs/mailbox';
import { SandboxTenant, type Fault } from '#libs/mailbox/sandbox';
import { ROLES, createLogger, loadConfig, type ConfigOverrides, type Role } from '#libs/platform';
import { OUTCOMES, type EmailRef, type Outcome } from '#libs/remediation';
import { EventStream } from './event-stream.js';
import { logIsShared, startStores, type StoresUnderTest } from './stores.js';
import type {
  EmailBody,
  EmailDetailBody,
  ImportReportBody,
} from '../../apps/server/src/emails/emails.dto.js';
import type {
  EntryBody,
  EventBody,
  LogRowBody,
  PreviewBody,
  SubmittedBody,
} from '../../apps/server/src/remediations/remediations.dto.js';

// Serves the style sheets of the docs page and nothing else; it needs an ES module in a way that jest does not have on
// Node 20. The page is looked at where the built server runs.
jest.unstable_mockModule('@fastify/static', () => ({ default: () => Promise.resolve() }));
// An ES module that Fastify's `inject` requires, which jest cannot do on Node 20; it is about cookies, and there are none.
jest.mock('cookie', () => ({}));
const { printableToken, startServer } = await import('#apps/server');

export { Folders, OUTCOMES, ROLES, type Outcome, type Role };
export type { EmailBody, EntryBody, EventBody, ImportReportBody, LogRowBody, PreviewBody, SubmittedBody };

/** An answer of the server. `body` is the parsed JSON when the answer says it is JSON, else the text. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: unknown;
}

export type Query = Readonly<Record<string, string | number | boolean>>;

export interface RequestParts {
  readonly method: string;
  readonly path: string;
  readonly query?: Query;
  readonly headers?: Readonly<Record<string, string>>;
  /** A text or bytes as they are; anything else as JSON. */
  readonly body?: unknown;
}

/** How long anything may take that a test waits for. Only a hang gets there. */
const PATIENCE_MS = 20_000;
const POLL_MS = 10;
/** The same for a log that others have filled. */
const CATCH_UP_MS = 50_000;

/** Asks until the answer will do. @throws when the patience is at its end, with the last answer. */
export async function until<T>(
  ask: () => Promise<T>,
  willDo: (answer: T) => boolean,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const answer = await ask();
    if (willDo(answer)) return answer;
    if (performance.now() > deadline) throw new Error(`waited in vain; last: ${JSON.stringify(answer)}`);
    await pause(POLL_MS);
  }
}

/** One caller: sends requests with its token, or with none. */
export class Api {
  constructor(
    private readonly url: () => string,
    private readonly token: Promise<string> | undefined,
    private readonly answerWithinMs = PATIENCE_MS,
  ) {}

  get(path: string, query?: Query): Promise<Answer> {
    return this.send({ method: 'GET', path, ...(query === undefined ? {} : { query }) });
  }

  post(path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.send({ method: 'POST', path, body, headers });
  }

  put(path: string, body: unknown): Promise<Answer> {
    return this.send({ method: 'PUT', path, body });
  }

  delete(path: string): Promise<Answer> {
    return this.send({ method: 'DELETE', path });
  }

  /** NDJSON to the import. */
  import(body: string | Uint8Array, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.post('/v1/emails/import', body, { 'content-type': 'application/x-ndjson', ...headers });
  }

  async send({ method, path, query, headers = {}, body }: RequestParts): Promise<Answer> {
    const asIs = typeof body === 'string' || body instanceof Uint8Array;
    const token = await this.token;
    const response = await fetch(this.address(path, query), {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined || asIs ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: asIs ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(this.answerWithinMs),
    });
    const text = await textOf(response);
    const json = /^application\/(problem\+)?json/.test(response.headers.get('content-type') ?? '');
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: json && text !== '' ? (JSON.parse(text) as unknown) : text,
    };
  }

  /** For what {@link send} cannot do, such as reading an answer while it comes. */
  async open(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    const token = await this.token;
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
    return fetch(this.address(path), { ...init, headers });
  }

  private address(path: string, query: Query = {}): string {
    const search = new URLSearchParams();
    for (const [key, value] of Object.entries(query)) search.set(key, String(value));
    return `${this.url()}${path}${search.size === 0 ? '' : `?${search.toString()}`}`;
  }
}

/** The whole body; of an event stream, which may never end, the first block. */
async function textOf(response: Response): Promise<string> {
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true;
  // An answer to HEAD has none, whatever its type is.
  if (!isStream || response.body === null) return response.text();
  const stream = await new EventStream(response).opened();
  await stream.close();
  return '';
}

/** The body of an answer that has this status. @throws with the answer when it has another one. */
export function bodyOf(answer: Answer, status: number): unknown {
  if (answer.status !== status) {
    throw new Error(`expected ${String(status)}, got ${String(answer.status)}: ${answer.text}`);
  }
  return answer.body;
}

export interface PageOf<Item> {
  readonly items: readonly Item[];
  readonly nextCursor: string | null;
}

/** The items of all pages of a listing, in order. */
export async function allPages(api: Api, path: string, query: Query): Promise<unknown[]> {
  const items: unknown[] = [];
  let cursor: string | null = null;
  do {
    const part: Query = { limit: 1000, ...query, ...(cursor === null ? {} : { cursor }) };
    const page = bodyOf(await api.get(path, part), 200) as PageOf<unknown>;
    if (cursor !== null && page.nextCursor === cursor) throw new Error('the listing does not get on');
    items.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor !== null);
  return items;
}

/** What a remediation can come to. */
const FINISHED: readonly string[] = ['completed', 'failed', 'cancelled', 'rejected', 'expired'];

/** A tenant of its own, so that tests that share a server do not see each other. */
export class TestTenant {
  private readonly tokens = new Map<string, Promise<string>>();

  constructor(
    private readonly server: TestServer,
    readonly name: string,
  ) {}

  /** A caller with these roles; its subject is `<role>@ops.example`. */
  as(...roles: readonly [Role, ...Role[]]): Api {
    const key = roles.join('-');
    const token =
      this.tokens.get(key) ??
      this.server.token({ roles, subject: `${key}@ops.example`, tenant: this.name, ttlSeconds: 3600 });
    this.tokens.set(key, token);
    return this.server.api(token);
  }

  async import(rows: Iterable<object | string>): Promise<ImportReportBody> {
    return bodyOf(await this.as('ingest').import(ndjson(rows)), 200) as ImportReportBody;
  }

  async preview(request: object): Promise<PreviewBody> {
    return bodyOf(await this.as('proposer').post('/v1/remediations/preview', request), 200) as PreviewBody;
  }

  /** As an approver, so that it runs at once; as a proposer it waits. */
  async submit(request: object, role: Role = 'approver'): Promise<SubmittedBody> {
    return bodyOf(await this.as(role).post('/v1/remediations', request), 202) as SubmittedBody;
  }

  async run(request: object): Promise<EntryBody> {
    return this.untilFinished((await this.submit(request)).approvalId);
  }

  async undo(approvalId: string, body: object = {}): Promise<SubmittedBody> {
    return bodyOf(
      await this.as('approver').post(`/v1/remediations/${approvalId}/undo`, body),
      202,
    ) as SubmittedBody;
  }

  async runUndo(approvalId: string, body: object = {}): Promise<EntryBody> {
    return this.untilFinished((await this.undo(approvalId, body)).approvalId);
  }

  async entry(approvalId: string): Promise<EntryBody> {
    return bodyOf(await this.as('viewer').get(`/v1/remediations/${approvalId}`), 200) as EntryBody;
  }

  untilFinished(approvalId: string): Promise<EntryBody> {
    return until(
      () => this.entry(approvalId),
      ({ status }) => FINISHED.includes(status),
    );
  }

  /** Every page of the log, one after the other. */
  async log(approvalId: string, query: Query = {}): Promise<LogRowBody[]> {
    return (await allPages(this.as('viewer'), `/v1/remediations/${approvalId}/log`, query)) as LogRowBody[];
  }

  async events(approvalId: string, query: Query = {}): Promise<EventBody[]> {
    return (await allPages(
      this.as('auditor'),
      `/v1/remediations/${approvalId}/events`,
      query,
    )) as EventBody[];
  }

  async history(query: Query = {}): Promise<EntryBody[]> {
    return (await allPages(this.as('viewer'), '/v1/remediations', query)) as EntryBody[];
  }

  async search(query: Query = {}): Promise<EmailBody[]> {
    return (await allPages(this.as('viewer'), '/v1/emails', query)) as EmailBody[];
  }

  async email(networkMessageId: string, recipient: string): Promise<EmailDetailBody> {
    return bodyOf(
      await this.as('viewer').get(`/v1/emails/${networkMessageId}/${recipient}`),
      200,
    ) as EmailDetailBody;
  }

  async export(approvalId: string, query: Query = {}): Promise<CsvTable> {
    const answer = await this.as('viewer').get(`/v1/remediations/${approvalId}/export`, query);
    if (answer.status !== 200) throw new Error(answer.text);
    return { answer, ...csvTable(answer.text) };
  }

  async fault(mailbox: string, fault: Fault): Promise<void> {
    bodyOf(await this.as('admin').put(`/v1/sandbox/faults/${mailbox}`, fault), 200);
  }

  async clearFault(mailbox: string): Promise<void> {
    const { status, text } = await this.as('admin').delete(`/v1/sandbox/faults/${mailbox}`);
    if (status !== 204) throw new Error(text);
  }

  /** Where the copy really is, in the sandbox itself and not in a view; undefined when it is nowhere. */
  folderOf(copy: CopyAddress): string | undefined {
    const kind = copy.isSendersCopy ? 'sender' : 'recipient';
    return this.server.sandbox.locate(this.name, copy.mailbox, copy.networkMessageId, kind)?.folder;
  }

  /** How many copies are in which folder of the sandbox, over all mailboxes. */
  folders(): Readonly<Record<string, number>> {
    return this.server.sandbox.countByFolder(this.name);
  }

  /** How many real moves the sandbox has made. */
  moves(): number {
    return [...this.server.sandbox.journal(this.name)].length;
  }

  /** Everything a refused request must leave as it is. */
  async state(): Promise<TenantState> {
    return {
      events: await this.server.quietHead(),
      history: await this.history(),
      emails: await this.search(),
      folders: this.folders(),
      moves: this.moves(),
    };
  }
}

/** A copy as the log names it. */
export interface CopyAddress {
  readonly networkMessageId: string;
  readonly mailbox: string;
  readonly isSendersCopy: boolean;
}

export interface TenantState {
  readonly events: Position;
  readonly history: readonly EntryBody[];
  readonly emails: readonly EmailBody[];
  readonly folders: Readonly<Record<string, number>>;
  readonly moves: number;
}

export interface CsvTable {
  readonly answer: Answer;
  readonly header: readonly string[];
  readonly rows: readonly Readonly<Record<string, string>>[];
}

/** Reads CSV by the rules of RFC 4180. @throws when the reader finds anything odd. */
export function csvTable(text: string): Pick<CsvTable, 'header' | 'rows'> {
  const { data, errors } = Papa.parse<string[]>(text, { delimiter: ',', newline: '\r\n' });
  if (errors.length > 0) throw new Error(JSON.stringify(errors));
  const [header = [], ...cells] = data;
  // The text ends with a line end, after which the reader sees one more, empty line.
  if (cells.pop()?.join('') !== '') throw new Error('the last line has no end');
  const rows = cells.map((row) => {
    if (row.length !== header.length) throw new Error(`a row of ${String(row.length)} cells`);
    return Object.fromEntries(header.map((name, index) => [name, row[index] ?? '']));
  });
  return { header, rows };
}

/** Types of events with which work begins in a stream that goes on by itself, and with which it ends. */
const BEGINS: ReadonlySet<string> = new Set([
  ...['RemediationApproved', 'RemediationPartlyApproved'],
  'ViewRebuildRequested',
]);
const ENDS: ReadonlySet<string> = new Set([
  ...['RemediationCompleted', 'RemediationFailed', 'RemediationCancelled', 'RemediationPartFinished'],
  ...['ViewBuildCompared', 'ViewRebuildFailed'],
]);

interface Readiness {
  readonly views: readonly { readonly position: string }[];
}

/** The whole product in this process, on a data directory and the stores of its own that the jest project asks for. */
export class TestServer {
  /** Of servers that share a log, the one that runs: two would take each other's work, each in mailboxes of its own. */
  private static alone: TestServer | undefined;
  private running: RunningServer | undefined;
  /** The server that waits until this one is disposed of. */
  private waiting: TestServer | undefined;
  /** The head of the log before this server. */
  private first: Position = START;
  private port = 0;
  private tenants = 0;
  private looks: { readonly sandbox: SandboxTenant; readonly events: EventStore } | undefined;

  private constructor(
    readonly dataDirectory: string,
    private readonly stores: StoresUnderTest,
    private readonly overrides: ConfigOverrides,
    private readonly onLog: (line: string) => void,
    private readonly clock: Clock,
  ) {}

  /** @param onLog is told every line of the log; by default there is none. */
  static async start(
    overrides: ConfigOverrides = {},
    onLog: (line: string) => void = () => undefined,
    clock: Clock = new SystemClock(),
  ): Promise<TestServer> {
    const directory = await mkdtemp(join(tmpdir(), 'clawback-e2e-'));
    const server = new TestServer(directory, await startStores(directory), overrides, onLog, clock);
    try {
      if (logIsShared) await server.takeTurn();
      await server.boot();
      if (logIsShared) await server.caughtUp();
      return server;
    } catch (error) {
      await server.dispose();
      throw error;
    }
  }

  get url(): string {
    if (this.running === undefined) throw new Error('the server is not running');
    return this.running.url;
  }

  api(token?: string | Promise<string>): Api {
    return new Api(() => this.url, token === undefined ? undefined : Promise.resolve(token));
  }

  token(options: Parameters<typeof printableToken>[1]): Promise<string> {
    return printableToken(this.dataDirectory, options);
  }

  /** One that no test has used yet, whatever log the server has. */
  tenant(): TestTenant {
    this.tenants += 1;
    const name = `tenant-${String(this.tenants)}`;
    return new TestTenant(this, logIsShared ? `${name}-${randomUUID().slice(0, 8)}` : name);
  }

  /** The sandbox's own file, read beside the server: what really is in the mailboxes. */
  get sandbox(): SandboxTenant {
    return this.look().sandbox;
  }

  /** The log itself, past the server, until that is restarted. */
  get events(): EventStore {
    return this.look().events;
  }

  /** Position of the last event of all tenants. */
  head(): Promise<Position> {
    return this.events.head();
  }

  /** The events of one stream. */
  eventsOf(stream: string): AsyncIterable<RecordedEvent> {
    return this.events.readStream(stream);
  }

  /** The head once no approved remediation and no rebuild is under way: from then on nobody appends but the test. */
  async quietHead(): Promise<Position> {
    const { events } = this.look();
    const underWay = async (): Promise<number> => {
      const open = new Set<string>();
      for await (const { type, stream } of events.readAll(this.first)) {
        if (BEGINS.has(type)) open.add(stream);
        if (ENDS.has(type)) open.delete(stream);
      }
      return open.size;
    };
    await until(underWay, (open) => open === 0);
    return events.head();
  }

  /** Ends the server in order and starts it again on the same data. */
  async restart(): Promise<void> {
    await this.shutDown();
    await this.boot();
  }

  async dispose(): Promise<void> {
    await this.shutDown();
    await this.stores.dispose();
    await rm(this.dataDirectory, { recursive: true, force: true });
    if (TestServer.alone === this) await this.endTurn();
  }

  private async takeTurn(): Promise<void> {
    const { alone } = TestServer;
    TestServer.alone = this;
    if (alone !== undefined) {
      alone.port = Number(new URL(alone.url).port);
      await alone.shutDown();
      this.waiting = alone;
    }
    this.first = await this.head();
  }

  /** Its views are empty, and begin with what all the servers before it have done. */
  private async caughtUp(): Promise<void> {
    await until(
      async () => (await this.api().get('/health/ready')).body as Readiness,
      ({ views }) => views.every(({ position }) => BigInt(position) >= this.first),
      CATCH_UP_MS,
    );
  }

  private async endTurn(): Promise<void> {
    TestServer.alone = this.waiting;
    await this.waiting?.boot();
  }

  private async boot(): Promise<void> {
    const { http, process, data, log, stores, ...rest } = this.overrides;
    const config = loadConfig(
      {},
      {
        ...rest,
        http: { port: this.port, ...http },
        // Of sources that are compiled as they are loaded no other process can be started.
        process: { viewProcesses: 0, sandboxThread: 'false', ...process },
        stores: { ...this.stores.settings, ...stores },
        data: { ...data, directory: this.dataDirectory },
        log: { level: 'silent', ...log },
      },
    );
    this.running = await startServer(config, createLogger(config, { write: this.onLog }), this.clock);
  }

  private async shutDown(): Promise<void> {
    await this.looks?.sandbox.close();
    await this.looks?.events.close();
    this.looks = undefined;
    await this.running?.close();
    this.running = undefined;
  }

  private look(): NonNullable<TestServer['looks']> {
    return (this.looks ??= {
      sandbox: new SandboxTenant(join(this.dataDirectory, 'sandbox.db')),
      events: this.stores.openEvents(),
    });
  }
}

// Made-up mail.

/** The n-th network message id; they sort as their numbers do. */
export const messageId = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

export interface EmailFacts {
  /** Number of the message, see {@link messageId}. */
  readonly message?: number;
  readonly to?: string;
  readonly from?: string;
  readonly subject?: string;
  readonly direction?: 'Inbound' | 'Intra-org' | 'Outbound';
  readonly location?: string;
  readonly latest?: string;
  readonly time?: string;
  readonly internetMessageId?: string;
  readonly clusterId?: string;
}

/** One bare row of `EmailEvents`: between two colleagues and in the Inbox, unless the test says otherwise. */
export const emailRow = ({
  message = 1,
  to = 'lee@fabrikam.example',
  from = 'kim@fabrikam.example',
  subject = 'Invoice overdue',
  direction = 'Intra-org',
  location = 'Inbox/folder',
  latest = location,
  time = '2026-03-02T08:15:00.000Z',
  internetMessageId = `<${String(message)}@fabrikam.example>`,
  clusterId = '42',
}: EmailFacts = {}): Readonly<Record<string, string>> => ({
  Timestamp: time,
  NetworkMessageId: messageId(message),
  InternetMessageId: internetMessageId,
  SenderFromAddress: from,
  SenderDisplayName: 'Kim',
  RecipientEmailAddress: to,
  Subject: subject,
  EmailDirection: direction,
  DeliveryAction: 'Delivered',
  DeliveryLocation: location,
  LatestDeliveryLocation: latest,
  EmailClusterId: clusterId,
});

/** The same as the streaming API sends it. */
export const enveloped = (row: Readonly<Record<string, string>>): object => ({
  time: row.Timestamp,
  tenantId: '5f0c1d7e-2b34-4c8a-9a61-fab21ca70001',
  category: 'AdvancedHunting-EmailEvents',
  properties: row,
});

export const ndjson = (rows: Iterable<object | string>): string =>
  Array.from(rows, (row) => `${typeof row === 'string' ? row : JSON.stringify(row)}\n`).join('');

export const gzip = (text: string): Uint8Array => gzipSync(text);

export const emailRef = (message: number, to = 'lee@fabrikam.example'): EmailRef => ({
  networkMessageId: messageId(message),
  recipientEmailAddress: to,
});

/** A soft delete of everything with the senders' copies, unless the test says otherwise. */
export const request = (over: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  name: 'Payroll phish',
  severity: 'high',
  action: 'softDelete',
  sendersCopy: true,
  surface: 'threatExplorer',
  selection: { query: {} },
  ...over,
});

type Part = Partial<Record<Outcome, number>>;

/** Counts with these numbers, nought elsewhere, and their sum as `submitted`. */
export const countsOf = (recipientCopies: Part, sendersCopies: Part = {}): Counts => {
  const filled = (...parts: readonly Part[]): OutcomeCounts => {
    const outcomes = Object.fromEntries(
      OUTCOMES.map((name) => [name, parts.reduce((sum, part) => sum + (part[name] ?? 0), 0)]),
    ) as Record<Outcome, number>;
    return { submitted: Object.values(outcomes).reduce((sum, count) => sum + count, 0), ...outcomes };
  };
  return {
    ...filled(recipientCopies, sendersCopies),
    recipientCopies: filled(recipientCopies),
    sendersCopies: filled(sendersCopies),
  };
};

/** Asserts that this is a refusal as RFC 9457 has it, with our code; `says` is what its detail must name. */
export function expectProblem(answer: Answer, status: number, code: string, says?: string | RegExp): void {
  expect({ status: answer.status, body: answer.body }).toEqual({
    status,
    body: expect.objectContaining({
      type: `/problems/${code}`,
      title: expect.stringMatching(/./),
      status,
      detail: says === undefined ? expect.stringMatching(/./) : expect.stringMatching(textPattern(says)),
      code,
      instance: expect.stringMatching(/^\/[^?]*$/),
      requestId: answer.headers.get('x-request-id'),
    }),
  });
  expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
}

const textPattern = (says: string | RegExp): RegExp =>
  typeof says === 'string' ? new RegExp(says.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')) : says;
