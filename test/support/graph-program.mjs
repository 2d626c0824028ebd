// A program that uses the official client of Microsoft Graph: it knows a base URL and a token, and nothing of Clawback.
// One JSON object a line on stdin, one answer a line on stdout. TLS is trusted by NODE_EXTRA_CA_CERTS.
import { createInterface } from 'node:readline';
import { Client, PageIterator } from '@microsoft/microsoft-graph-client';

const { GRAPH_BASE_URL, GRAPH_TOKEN, GRAPH_VERSION } = process.env;

const client = Client.init({
  baseUrl: GRAPH_BASE_URL,
  ...(GRAPH_VERSION === undefined ? {} : { defaultVersion: GRAPH_VERSION }),
  // The client sends its token only over TLS, and only to hosts that it is told of.
  customHosts: new Set([new URL(GRAPH_BASE_URL).hostname]),
  authProvider: (done) => done(null, GRAPH_TOKEN),
});

const requestOf = ({ path, filter, top, skipToken, count, query, headers }) => {
  let request = client.api(path);
  if (filter !== undefined) request = request.filter(filter);
  if (top !== undefined) request = request.top(top);
  if (skipToken !== undefined) request = request.skipToken(skipToken);
  if (count !== undefined) request = request.count(count);
  if (query !== undefined) request = request.query(query);
  return headers === undefined ? request : request.headers(headers);
};

const calls = {
  get: (call) => requestOf(call).get(),
  post: (call) => requestOf(call).post(call.body),
  /** The answer itself: status, headers, text. */
  async raw(call) {
    const answer = await requestOf(call).responseType('raw').post(call.body);
    return {
      status: answer.status,
      headers: Object.fromEntries(answer.headers),
      text: await answer.text(),
    };
  },
  /** All items of all pages. */
  async pages(call) {
    const items = [];
    const pages = new PageIterator(client, await requestOf(call).get(), (item) => {
      items.push(item);
      return true;
    });
    await pages.iterate();
    return items;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const call = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await calls[call.kind](call)) ?? null };
  } catch (error) {
    const { statusCode, code, message, requestId, body } = error;
    answer = { error: { statusCode, code, message, requestId, body } };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
