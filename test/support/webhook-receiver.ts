import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { until } from './server.js';

/** One request as it came. */
export interface Received {
  readonly id: string;
  readonly timestamp: number;
  readonly signatures: readonly string[];
  readonly contentType: string;
  /** The text that was signed. */
  readonly text: string;
  readonly body: {
    readonly type: string;
    readonly timestamp: string;
    readonly data: Readonly<Record<string, unknown>>;
  };
  /** What it was answered, if at all. */
  readonly status: number | undefined;
}

/** What the receiver does with a request: answers a status, with headers, or does nothing for as long as it likes. */
export type Behaviour = (
  received: Received,
) =>
  number | { readonly status: number; readonly headers: Readonly<Record<string, string>> } | 'hang' | 'cut';

const ok: Behaviour = () => 200;

/** A receiver of webhooks on this machine, as a customer would write one. */
export class WebhookReceiver {
  /** Everything that came, in order. */
  readonly requests: Received[] = [];
  behaviour: Behaviour = ok;
  private readonly hanging = new Set<ServerResponse>();

  private constructor(private readonly server: Server) {}

  static async start(port = 0): Promise<WebhookReceiver> {
    const server = createServer();
    const receiver = new WebhookReceiver(server);
    server.on('request', (request, response) => {
      let text = '';
      request.setEncoding('utf8');
      request.on('data', (chunk: string) => (text += chunk));
      request.on('end', () => {
        receiver.take(text, request.headers, response);
      });
    });
    await new Promise<void>((resolve) => {
      server.listen(port, '127.0.0.1', resolve);
    });
    return receiver;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/hook?source=clawback`;
  }

  /** Those that were taken, in the order in which they were. */
  get taken(): Received[] {
    return this.requests.filter(({ status = 0 }) => status >= 200 && status < 300);
  }

  /** Resolves when so many were taken. */
  untilTaken(count: number): Promise<Received[]> {
    return until(
      () => Promise.resolve(this.taken),
      (taken) => taken.length >= count,
    );
  }

  untilAsked(count: number): Promise<Received[]> {
    return until(
      () => Promise.resolve(this.requests),
      (requests) => requests.length >= count,
    );
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeAllConnections();
    await closed;
  }

  private take(text: string, headers: NodeJS.Dict<string | string[]>, response: ServerResponse): void {
    const header = (name: string): string => String(headers[name] ?? '');
    const received = {
      id: header('webhook-id'),
      timestamp: Number(header('webhook-timestamp')),
      signatures: header('webhook-signature').split(' '),
      contentType: header('content-type'),
      text,
      body: JSON.parse(text) as Received['body'],
      status: undefined,
    };
    const answer = this.behaviour(received);
    if (typeof answer === 'string') {
      this.requests.push(received);
      this.hanging.add(response);
      if (answer === 'cut') response.destroy();
      return;
    }
    const { status, headers: more } = typeof answer === 'number' ? { status: answer, headers: {} } : answer;
    this.requests.push({ ...received, status });
    response.writeHead(status, more).end('thank you');
  }
}

/** Verifies as the Standard Webhooks scheme tells a receiver to: by the secret alone, and within five minutes. */
export function verified(secret: string, { id, timestamp, signatures, text }: Received): boolean {
  if (Math.abs(Date.now() / 1000 - timestamp) > 300) return false;
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64');
  const expected = createHmac('sha256', key)
    .update(`${id}.${String(timestamp)}.${text}`)
    .digest();
  return signatures.some((signature) => {
    const [version, value = ''] = signature.split(',');
    const given = Buffer.from(value, 'base64');
    return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
}
