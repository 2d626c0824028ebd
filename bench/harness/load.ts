import { Agent, request as send } from 'node:http';

export interface Load {
  readonly url: string;
  readonly path: string;
  readonly token: string;
  readonly connections: number;
  readonly requests: number;
  /** The JSON of each request. */
  readonly bodyOf: (index: number) => string;
}

/**
 * Keeps so many connections busy, each with one request after the other.
 * @returns the milliseconds of each request, in the order of their ends.
 * @throws {Error} the first answer that is not 2xx, with its text.
 */
export async function load({ url, path, token, connections, requests, bodyOf }: Load): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const times: number[] = [];
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < requests) {
      const body = bodyOf(next);
      next += 1;
      const began = performance.now();
      await post(agent, `${url}${path}`, token, body);
      times.push(performance.now() - began);
    }
  };
  try {
    await Promise.all(Array.from({ length: connections }, caller));
  } finally {
    agent.destroy();
  }
  return times;
}

const post = (agent: Agent, url: string, token: string, body: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    };
    const request = send(url, { method: 'POST', agent, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (part: string) => {
        text += part;
      });
      answer.on('end', () => {
        const status = answer.statusCode ?? 0;
        if (status >= 200 && status < 300) resolve();
        else reject(new Error(`${String(status)} ${text}`));
      });
      answer.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
