import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { PROJECT_ROOT } from './mail-input.js';
import { until, type Answer, type RequestParts } from './server.js';

// Examples in the documentation that the tests run. A fenced block `http` is a request and its answer as they go over the
// wire, cut down to what matters:
//
//     POST /v1/remediations                    the request line, then headers, an empty line and the body;
//     Authorization: Bearer $APPROVER          whose token; left out, that of an admin
//                                              a body `@file` is that file of this project
//     {"name": "…"}
//
//     HTTP/1.1 202 Accepted                    the answer: its status, then headers and a part of the body
//
//     { "approvalId": "{approvalId}" }
//
// In an answer `…` stands for anything, `{name}` is remembered, and in a list a last item "…" for any others. Later
// blocks use what was remembered as `{name}`. A GET that is not answered so is asked again: things take their time.
// A block `webhook` is a message that the receiver of webhooks is sent: its headers and a part of its body.
// In a block `sh` the lines that begin with `clawback` are run, with `$name` for what was remembered.

/** A fenced block of a page. */
export interface Fence {
  readonly language: string;
  readonly text: string;
  /** Of its first line, from 1. */
  readonly line: number;
}

export function fencesOf(page: string): Fence[] {
  const fences: Fence[] = [];
  let open: { language: string; line: number; lines: string[] } | undefined;
  for (const [index, line] of page.split('\n').entries()) {
    const [, language] = /^```(\S*)/.exec(line) ?? [];
    if (open !== undefined && line === '```') {
      fences.push({ language: open.language, line: open.line, text: open.lines.join('\n') });
      open = undefined;
    } else if (open !== undefined) open.lines.push(line);
    else if (language !== undefined) open = { language, line: index + 2, lines: [] };
  }
  if (open !== undefined) throw new Error(`a block that begins in line ${String(open.line)} has no end`);
  return fences;
}

export interface Exchange {
  readonly method: string;
  readonly path: string;
  /** The name after `$` in its Authorization. */
  readonly caller: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly answer: {
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string | undefined;
  };
}

/** @throws when the block is not written by the convention */
export function exchangeOf({ text, line }: Pick<Fence, 'text' | 'line'>): Exchange {
  const [request = '', answer, ...more] = text.split(/\n(?=HTTP\/1\.1 )/);
  const asked = messageIn(request);
  const [, method = '', path = ''] = /^(GET|POST|PUT|DELETE) (\S+)$/.exec(asked.first) ?? [];
  if (answer === undefined || more.length > 0 || method === '') {
    throw new Error(`line ${String(line)}: not a request and its answer`);
  }
  const told = messageIn(answer);
  const { authorization, ...headers } = asked.headers;
  return {
    method,
    path,
    caller: authorization === undefined ? undefined : /^Bearer \$(\w+)$/.exec(authorization)?.[1],
    headers,
    body: asked.body,
    answer: { status: Number(told.first.split(' ')[1]), headers: told.headers, body: told.body },
  };
}

/** What the receiver of webhooks is sent, as the answer that {@link differences} compares. */
export function messageOf({ text }: Pick<Fence, 'text'>): Exchange {
  const { first, headers, body } = messageIn(text);
  const [method = '', path = ''] = first.split(' ');
  return {
    method,
    path,
    caller: undefined,
    headers: {},
    body: undefined,
    answer: { status: 200, headers, body },
  };
}

function messageIn(text: string) {
  const [head = '', ...rest] = text.trim().split('\n\n');
  const [first = '', ...lines] = head.split('\n');
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      if (colon < 0) throw new Error(`not a header: ${line}`);
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const body = rest.join('\n\n');
  return { first, headers, body: body === '' ? undefined : body };
}

export type Remembered = Map<string, string>;

/** What was remembered in the place of `{name}`. JSON has its braces elsewhere. */
export const filledIn = (text: string, remembered: Remembered): string =>
  text.replace(/\{(\w+)\}/g, (whole, name: string) => remembered.get(name) ?? whole);

/** What is different from what the page says; empty when nothing is. Remembers what the page gives a name. */
export function differences(
  { answer: expected }: Exchange,
  answer: Pick<Answer, 'status' | 'headers' | 'text' | 'body'>,
  remembered: Remembered,
): string[] {
  if (answer.status !== expected.status) {
    return [`status ${String(answer.status)}, not ${String(expected.status)}: ${answer.text}`];
  }
  const found = new Map<string, string>();
  const inHeaders = Object.entries(expected.headers).flatMap(([name, value]) =>
    inText(name, value, answer.headers.get(name) ?? '', remembered, found),
  );
  const inBody =
    expected.body === undefined
      ? []
      : typeof answer.body !== 'string'
        ? inValue('body', JSON.parse(expected.body), answer.body, remembered, found)
        : inText('body', expected.body, answer.text.replaceAll('\r\n', '\n').trimEnd(), remembered, found);
  const all = [...inHeaders, ...inBody];
  if (all.length === 0) for (const [name, value] of found) remembered.set(name, value);
  return all;
}

function inText(
  place: string,
  expected: string,
  actual: string,
  remembered: Remembered,
  found: Remembered,
): string[] {
  const names: string[] = [];
  const pattern = filledIn(expected, remembered)
    .split(/(…|\{\w+\})/)
    .map((part) => {
      if (part === '…') return '[^]*';
      if (!/^\{\w+\}$/.test(part)) return part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
      names.push(part.slice(1, -1));
      return '([^]+)';
    });
  const match = new RegExp(`^${pattern.join('')}$`).exec(actual);
  if (match === null) return [`${place}: ${actual} is not ${expected}`];
  for (const [index, name] of names.entries()) found.set(name, match[index + 1] as string);
  return [];
}

function inValue(
  place: string,
  expected: unknown,
  actual: unknown,
  remembered: Remembered,
  found: Remembered,
): string[] {
  if (expected === '…') return actual === undefined ? [`${place}: is missing`] : [];
  if (typeof expected === 'string') {
    return typeof actual === 'string'
      ? inText(place, expected, actual, remembered, found)
      : [`${place}: ${JSON.stringify(actual)} is no text`];
  }
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual)) return [`${place}: is no list`];
    const open = expected.at(-1) === '…';
    const items = open ? expected.slice(0, -1) : expected;
    if (open ? actual.length < items.length : actual.length !== items.length) {
      return [`${place}: has ${String(actual.length)} items: ${JSON.stringify(actual)}`];
    }
    return items.flatMap((item, index) =>
      inValue(`${place}[${String(index)}]`, item, actual[index], remembered, found),
    );
  }
  if (typeof expected === 'object' && expected !== null) {
    if (typeof actual !== 'object' || actual === null) return [`${place}: ${JSON.stringify(actual)}`];
    return Object.entries(expected).flatMap(([name, value]) =>
      inValue(`${place}.${name}`, value, (actual as Record<string, unknown>)[name], remembered, found),
    );
  }
  return Object.is(expected, actual)
    ? []
    : [`${place}: ${JSON.stringify(actual)} is not ${JSON.stringify(expected)}`];
}

/** Sends the request of a block, and a GET again until it is answered as the page says. @throws what differs in the end */
export async function runExchange(
  exchange: Exchange,
  remembered: Remembered,
  send: (caller: string | undefined, request: RequestParts) => Promise<Answer>,
): Promise<void> {
  const { method, path, caller, headers, body } = exchange;
  const request: RequestParts = {
    method,
    path: filledIn(path, remembered),
    headers: {
      ...(body === undefined || body.startsWith('@') ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: await bodyOf(body, remembered) }),
  };
  const look = async (): Promise<string[]> => differences(exchange, await send(caller, request), remembered);
  const differs = method === 'GET' ? await until(look, (found) => found.length === 0) : await look();
  if (differs.length > 0) throw new Error(differs.join('\n'));
}

const bodyOf = async (body: string, remembered: Remembered): Promise<string | Uint8Array> =>
  body.startsWith('@') ? readFile(resolve(PROJECT_ROOT, body.slice(1))) : filledIn(body, remembered);

/** The arguments of a command of a page, by the rules of a shell as far as the pages need them. */
export function argumentsOf(line: string, remembered: Remembered): string[] {
  const parts = line.match(/"[^"]*"|\S+/g) ?? [];
  return parts.map((part) =>
    part
      .replace(/^"(.*)"$/, '$1')
      .replace(/\$(\w+)/g, (whole, name: string) => remembered.get(name) ?? whole),
  );
}
