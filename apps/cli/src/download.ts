import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';

/**
 * Sends a GET and gives the answer when it begins. Not by `fetch`, which drops the trailers that follow a body.
 * @throws what the system or the signal says when there is no answer
 */
export async function openDownload(
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal | undefined,
): Promise<IncomingMessage> {
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const sent = request(url, { headers, ...(signal === undefined ? {} : { signal }) });
  sent.end();
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  return answer;
}
