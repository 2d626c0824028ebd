import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { retryAfterMs } from './retry.js';
import { hostOf, type Targets } from './target.js';

/** What came of one attempt. Only a status of 2xx is a success; redirects are not followed. */
export interface Attempt {
  /** None when there was no answer. */
  readonly status?: number;
  /** A short code; none after a success. */
  readonly error?: string;
  readonly durationMs: number;
  /** How long the receiver asked us to wait. */
  readonly retryAfterMs?: number;
}

/** The port to receivers. */
export abstract class WebhookSender {
  /** Never rejects: whatever goes wrong is told. The signal breaks the attempt off (`aborted`). */
  abstract post(
    url: string,
    headers: Readonly<Record<string, string>>,
    body: string,
    signal: AbortSignal,
  ): Promise<Attempt>;
}

/** Sends by HTTP(S), on a connection of its own, to permitted addresses only. */
export class HttpSender extends WebhookSender {
  constructor(
    private readonly targets: Targets,
    /** How long an answer's head may take, the connection included. */
    private readonly timeoutMs: number,
  ) {
    super();
  }

  async post(
    url: string,
    headers: Readonly<Record<string, string>>,
    body: string,
    signal: AbortSignal,
  ): Promise<Attempt> {
    const started = performance.now();
    const durationMs = () => Math.round(performance.now() - started);
    const timeout = AbortSignal.timeout(this.timeoutMs);
    try {
      const response = await this.answer(new URL(url), headers, body, AbortSignal.any([signal, timeout]));
      const { statusCode: status = 0 } = response;
      const asked = retryAfterMs(response.headers['retry-after'], new Date());
      return {
        status,
        durationMs: durationMs(),
        ...(status >= 200 && status < 300 ? {} : { error: `status${status}` }),
        ...(asked === undefined ? {} : { retryAfterMs: asked }),
      };
    } catch (error) {
      return { durationMs: durationMs(), error: timeout.aborted ? 'timeout' : codeOf(error) };
    }
  }

  /** The head of the answer. Its body is nobody's concern. */
  private answer(
    url: URL,
    headers: Readonly<Record<string, string>>,
    body: string,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const host = hostOf(url);
      // A literal address is connected to without being looked up.
      if (isIP(host) !== 0 && !this.targets.permits(host)) {
        reject(Object.assign(new Error('the address is in a private network'), { code: 'addressRefused' }));
        return;
      }
      const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
      const request = send(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          'user-agent': 'Clawback-Webhooks/1',
          ...headers,
        },
        lookup: this.targets.lookup,
        agent: false,
        signal,
      });
      request.on('error', reject);
      request.on('response', (response) => {
        response.on('error', () => undefined);
        resolve(response);
        // Read to its end, so that the receiver can close in order; the time limit ends it all the same.
        response.resume();
      });
      request.end(body);
    });
  }
}

function codeOf(error: unknown): string {
  const { code, name } = error as { readonly code?: unknown; readonly name?: unknown };
  if (name === 'AbortError') return 'aborted';
  return typeof code === 'string' ? code : 'networkError';
}
