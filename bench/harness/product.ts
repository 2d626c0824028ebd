import { once } from 'node:events';
import { request as send, Agent, type IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { printableToken } from '#apps/server';
import { newId, pause } from '#libs/kernel';
import type { ConfigOverrides } from '#libs/platform';
import { ACTIVE_STATUSES } from '#libs/remediation';
import type { Target } from './bench.js';
import type { Memory } from './memory.js';
import { firstMessage, launch } from './run-part.js';
import type { ServerAnswer, ServerOrder } from './server-process.js';
import { dropDatabase, newDatabaseName } from './stores.js';
import { TENANT } from '../workload/mail.js';

const POLL_MS = 20;

const MEMORY: Memory = { rss: 0, peakRss: 0 };

/** The server of the product as a process of its own, all roles in it, and a caller who may do everything. */
export class Product {
  private readonly agent = new Agent({ keepAlive: true });

  private constructor(
    readonly url: string,
    readonly token: string,
    private readonly ask: (order: ServerOrder) => Promise<ServerAnswer>,
    private readonly end: () => Promise<void>,
  ) {}

  /**
   * Limits are set high: what is measured is the work. On a server, where the mail of earlier parts stays, it has a tenant
   * of its own.
   * @param known the database of the views when it is there already; it stays.
   * @param constant a server with the route of a submission alone, that answers a constant.
   */
  static async start(
    target: Target,
    directory: string,
    { name = 'server', known, constant = false }: { name?: string; known?: string; constant?: boolean } = {},
  ): Promise<Product> {
    const database = known ?? newDatabaseName();
    const { eventStoreUrl, mongoUrl } = target;
    const start: ConfigOverrides = {
      http: { port: 0, importLimitBytes: 1024 ** 4, requestTimeoutMs: 0 },
      data: { directory },
      stores: { eventStoreUrl, mongoUrl, mongoDatabase: database },
      limits: { byQuery: 10_000_000, active: 1_000_000, activeEmails: 1_000_000_000 },
      log: { level: 'error' },
    };
    const child = launch('server-process.js', name);
    const gone = once(child, 'exit');
    const ask = async (order: ServerOrder): Promise<ServerAnswer> => {
      child.send(order);
      const answer = (await firstMessage(child, 'the server')) as ServerAnswer;
      if ('error' in answer) throw new Error(`the server: ${answer.error}`);
      return answer;
    };
    const answer = await ask({ start, constant });
    const token = await printableToken(directory, {
      roles: ['admin'],
      subject: 'bench@ops.example',
      tenant: eventStoreUrl === undefined ? TENANT : `bench-${newId()}`,
      ttlSeconds: 86_400,
    });
    const product = new Product('url' in answer ? answer.url : '', token, ask, async () => {
      await gone;
      if (mongoUrl !== undefined && known === undefined) await dropDatabase(mongoUrl, database);
    });
    if (!constant) await product.live();
    return product;
  }

  /** Until the processes that keep its views are there and up with the log. */
  private async live(): Promise<void> {
    for (;;) {
      const { views } = (await this.json('GET', '/health/ready')) as { views: { state: string }[] };
      if (views.every(({ state }) => state === 'live')) return;
      await pause(POLL_MS);
    }
  }

  /** Until everything that was submitted has finished: what is left on a server, the next one there would do. */
  async finished(): Promise<void> {
    for (const status of ACTIVE_STATUSES) {
      for (;;) {
        const page = await this.json('GET', `/v1/remediations?status=${status}&limit=1`);
        if ((page as { items: unknown[] }).items.length === 0) break;
        await pause(POLL_MS);
      }
    }
  }

  async memory(): Promise<Memory> {
    return memoryIn(await this.ask('memory'));
  }

  /** From now to the end, when the run was asked for profiles. */
  async profile(): Promise<void> {
    await this.ask('profile');
  }

  /** Ends the server. @returns its memory at the end, and at its highest. */
  async stop(): Promise<Memory> {
    this.agent.destroy();
    const memory = memoryIn(await this.ask('stop'));
    await this.end();
    return memory;
  }

  /** @throws {Error} an answer that is not 2xx, with its text. */
  async json(method: string, path: string, body?: unknown): Promise<unknown> {
    const answer = await this.send(method, path, body === undefined ? undefined : JSON.stringify(body));
    return JSON.parse(await textOf(answer)) as unknown;
  }

  async import(lines: Readable): Promise<unknown> {
    const answer = await this.send('POST', '/v1/emails/import', lines, 'application/x-ndjson');
    return JSON.parse(await textOf(answer)) as unknown;
  }

  /** The body is the caller's to read. */
  async send(
    method: string,
    path: string,
    body?: string | Readable,
    type = 'application/json',
  ): Promise<IncomingMessage> {
    const headers = {
      authorization: `Bearer ${this.token}`,
      ...(body === undefined ? {} : { 'content-type': type }),
    };
    const request = send(`${this.url}${path}`, { method, headers, agent: this.agent });
    const answered = once(request, 'response') as Promise<[IncomingMessage]>;
    if (body === undefined || typeof body === 'string') request.end(body);
    else await pipeline(body, request);
    const [answer] = await answered;
    const status = answer.statusCode ?? 0;
    if (status < 200 || status > 299) throw new Error(`${path}: ${String(status)} ${await textOf(answer)}`);
    return answer;
  }
}

const memoryIn = (answer: ServerAnswer): Memory => ('rss' in answer ? answer : MEMORY);

async function textOf(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
