import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createServer, type Server } from 'node:tls';
import { writeTestCertificate } from './eventstoredb/test-certificate.js';
import { PROJECT_ROOT } from './mail-input.js';

/** What stands before a server in production: TLS, and nothing else. */
export class TlsFront {
  private readonly sockets = new Set<Socket>();
  private target: string | undefined;

  private constructor(
    private readonly folder: string,
    private readonly server: Server,
    readonly certFile: string,
  ) {}

  static async start(): Promise<TlsFront> {
    const folder = await mkdtemp(join(tmpdir(), 'clawback-tls-'));
    const { certFile, keyFile } = await writeTestCertificate(folder);
    const server = createServer({ cert: await readFile(certFile), key: await readFile(keyFile) });
    const front = new TlsFront(folder, server, certFile);
    server.on('secureConnection', (socket) => {
      front.join(socket);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return front;
  }

  get url(): string {
    return `https://127.0.0.1:${String((this.server.address() as AddressInfo).port)}`;
  }

  /** Where everything goes from now on. */
  leadTo(url: string): void {
    this.target = url;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  private join(socket: Socket): void {
    const { hostname, port } = new URL(this.target ?? '');
    const inner = connect(Number(port), hostname);
    for (const [one, other] of [
      [socket, inner],
      [inner, socket],
    ] as const) {
      this.sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  }
}

/** What the official client is asked to do; the members are those of its fluent interface. */
export interface GraphCall {
  readonly kind: 'get' | 'post' | 'raw' | 'pages';
  readonly path: string;
  readonly filter?: string;
  readonly top?: number;
  readonly skipToken?: string;
  readonly count?: boolean;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** The error that the official client has made of an answer. */
export interface GraphFailure {
  readonly statusCode: number;
  readonly code: string;
  readonly message: string;
  readonly requestId: string;
  /** The member `error` of the answer, as text. */
  readonly body: string;
}

type GraphAnswer = { readonly value: unknown } | { readonly error: GraphFailure };

/** The official client of Microsoft Graph in a process of its own: no part of this product is in it. */
export class GraphProgram {
  private readonly waiting: ((line: string) => void)[] = [];
  private ended = false;

  private constructor(private readonly process: ChildProcess) {
    if (process.stdout === null) throw new Error('no output');
    createInterface({ input: process.stdout }).on('line', (line) => {
      this.waiting.shift()?.(line);
    });
    process.on('exit', (code) => {
      this.ended = true;
      for (const answer of this.waiting)
        answer(JSON.stringify({ error: { message: `exit ${String(code)}` } }));
    });
  }

  /** @param version the one that the client puts before every path; by default its own */
  static start(front: TlsFront, token: string, version?: string): GraphProgram {
    return new GraphProgram(
      spawn(process.execPath, [join(PROJECT_ROOT, 'test/support/graph-program.mjs')], {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: {
          PATH: process.env.PATH,
          NODE_EXTRA_CA_CERTS: front.certFile,
          GRAPH_BASE_URL: `${front.url}/`,
          GRAPH_TOKEN: token,
          ...(version === undefined ? {} : { GRAPH_VERSION: version }),
        },
      }),
    );
  }

  /** @throws when the call has failed */
  async call(call: GraphCall): Promise<unknown> {
    const answer = await this.send(call);
    if ('error' in answer) throw new Error(JSON.stringify(answer.error));
    return answer.value;
  }

  /** @throws when the call has not failed */
  async failure(call: GraphCall): Promise<GraphFailure> {
    const answer = await this.send(call);
    if ('error' in answer) return answer.error;
    throw new Error(JSON.stringify(answer.value));
  }

  async stop(): Promise<void> {
    if (this.ended) return;
    const ended = once(this.process, 'exit');
    this.process.stdin?.end();
    await ended;
  }

  private async send(call: GraphCall): Promise<GraphAnswer> {
    if (this.ended) throw new Error('the program has ended');
    const line = new Promise<string>((resolve) => this.waiting.push(resolve));
    this.process.stdin?.write(`${JSON.stringify(call)}\n`);
    return JSON.parse(await line) as GraphAnswer;
  }
}
