import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { pause } from '#libs/kernel';
import {
  dashboardAnswer,
  deliveryAnswer,
  emailAnswer,
  eventAnswer,
  faultsAnswer,
  huntingPreviewAnswer,
  importLine,
  logRowAnswer,
  manifestAnswer,
  newWebhookAnswer,
  page,
  previewAnswer,
  problemAnswer,
  remediationAnswer,
  submittedAnswer,
  viewAnswer,
  viewsAnswer,
  webhookAnswer,
  type Dashboard,
  type Delivery,
  type Email,
  type EmailFilter,
  type EmailRef,
  type Faults,
  type HuntingPreview,
  type HuntingRequest,
  type HuntingRows,
  type ImportReport,
  type LogRow,
  type Manifest,
  type Page,
  type Preview,
  type Query,
  type Remediation,
  type RemediationEvent,
  type RemediationRequest,
  type Submitted,
  type View,
  type Webhook,
} from './api.js';
import { openDownload } from './download.js';
import { CliFailure, NetworkFailure, ServerProblem, interrupted, isError, isTransient } from './failure.js';
import { ExitCode } from './exit-codes.js';

export interface ClientOptions {
  /** Where the server is, for instance `http://127.0.0.1:8080`; may have a path. */
  readonly url: string;
  readonly token: string;
  /** Ends every request under way. */
  readonly signal?: AbortSignal;
  /** How long to wait before each further try at a read that found no server; none: no further try. */
  readonly retryDelaysMs?: readonly number[];
}

/** How an import goes on: lines so far, and last the report. */
export type ImportStep =
  | { readonly progress: { readonly lines: number; readonly rejected: number } }
  | { readonly report: ImportReport };

/** Which part of the log. */
export interface LogFilter {
  readonly outcome?: string | undefined;
  readonly isSendersCopy?: boolean | undefined;
  readonly mailbox?: string | undefined;
}

/** An export that can be taken once. */
export interface ExportDownload {
  /** The bytes as they arrive. */
  readonly chunks: () => AsyncGenerator<Uint8Array>;
  /**
   * What they are, once all have arrived: told by the server after the last byte; where something in between has dropped
   * that, worked out by the server from what it holds by now.
   */
  readonly manifest: () => Promise<Manifest>;
}

type Send = RequestInit & { readonly query?: Query };

const JSON_TYPE = 'application/json';
const NDJSON_TYPE = 'application/x-ndjson';
/** The largest page that the server gives. */
const PAGE = 1000;

/**
 * The REST interface. Every method throws {@link ServerProblem} for an answer that is not a success and
 * {@link NetworkFailure} when there is no whole answer.
 */
export class Client {
  constructor(private readonly options: ClientOptions) {}

  get url(): string {
    return this.options.url;
  }

  /** The same client, which tries reads again when the server cannot be reached or is busy. */
  patient(retryDelaysMs: readonly number[]): Client {
    return new Client({ ...this.options, retryDelaysMs });
  }

  /**
   * Uploads records, a JSON object a line.
   * @param gzip whether the bytes are compressed
   */
  async *importEmails(bytes: AsyncIterable<Uint8Array>, gzip: boolean): AsyncGenerator<ImportStep> {
    const response = await this.send('POST', 'v1/emails/import', {
      headers: {
        accept: NDJSON_TYPE,
        'content-type': NDJSON_TYPE,
        ...(gzip ? { 'content-encoding': 'gzip' } : {}),
      },
      body: bytes,
      duplex: 'half',
    });
    for await (const value of this.lines(response)) {
      const { progress, report, problem } = this.understood(importLine, value);
      if (problem !== undefined) throw problemOf(problem);
      if (progress !== undefined) yield { progress };
      if (report !== undefined) {
        yield { report };
        return;
      }
    }
    throw new NetworkFailure('the answer ended before the import did; it is safe to import again', undefined);
  }

  searchEmails(filter: EmailFilter, at: Query = {}): Promise<Page<Email>> {
    return this.get('v1/emails', { ...filter, ...at }, page(emailAnswer));
  }

  preview(request: RemediationRequest): Promise<Preview> {
    return this.post('v1/remediations/preview', request, previewAnswer);
  }

  /** Tried again when there is no answer: under one key the server submits once. */
  submit(request: RemediationRequest, idempotencyKey: string): Promise<Submitted> {
    return this.postOnce('v1/remediations', request, idempotencyKey, submittedAnswer);
  }

  /** What a remediation of these rows would touch. */
  previewHunting(request: HuntingRequest, rows: HuntingRows): Promise<HuntingPreview> {
    return this.rows('v1/remediations/from-hunting/preview', request, rows, {}, huntingPreviewAnswer);
  }

  /** Tried again when there is no answer, like {@link submit}. */
  submitHunting(request: HuntingRequest, rows: HuntingRows, idempotencyKey: string): Promise<Submitted> {
    const headers = { 'idempotency-key': idempotencyKey };
    return this.again(() =>
      this.rows('v1/remediations/from-hunting', request, rows, headers, submittedAnswer),
    );
  }

  history(filter: Query): Promise<Page<Remediation>> {
    return this.get('v1/remediations', filter, page(remediationAnswer));
  }

  remediation(approvalId: string): Promise<Remediation> {
    return this.get(remediationPath(approvalId), {}, remediationAnswer);
  }

  log(approvalId: string, filter: LogFilter, at: Query = {}): Promise<Page<LogRow>> {
    return this.get(`${remediationPath(approvalId)}/log`, { ...filter, ...at }, page(logRowAnswer));
  }

  /** The whole log, a page at a time. */
  logRows(approvalId: string, filter: LogFilter): AsyncGenerator<LogRow> {
    return allItems((cursor) => this.log(approvalId, filter, { limit: PAGE, cursor }));
  }

  events(approvalId: string, at: Query = {}): Promise<Page<RemediationEvent>> {
    return this.get(`${remediationPath(approvalId)}/events`, at, page(eventAnswer));
  }

  dashboard(query: Query): Promise<Dashboard> {
    return this.get('v1/dashboard', query, dashboardAnswer);
  }

  /** The log as CSV, in pieces as they arrive. */
  exportLog(approvalId: string, filter: LogFilter): AsyncGenerator<Uint8Array> {
    return this.export(exportPath('log', approvalId), { ...filter }).chunks();
  }

  /** @param path see {@link exportPath} */
  export(path: string, query: Query): ExportDownload {
    let trailer: string | undefined;
    return {
      chunks: () =>
        this.download(path, query, (told) => {
          trailer = told;
        }),
      manifest: async () =>
        trailer === undefined
          ? this.get(`${path}/manifest`, query, manifestAnswer)
          : this.understood(manifestAnswer, this.parsed(trailer)),
    };
  }

  /** Tried again when there is no answer, like {@link submit}. */
  undo(
    approvalId: string,
    body: { readonly emails?: readonly EmailRef[]; readonly name?: string; readonly description?: string },
    idempotencyKey: string = randomUUID(),
  ): Promise<Submitted> {
    return this.postOnce(`${remediationPath(approvalId)}/undo`, body, idempotencyKey, submittedAnswer);
  }

  /** @param firstEmails only so many emails of the selection */
  approve(approvalId: string, selectionHash: string, firstEmails?: number): Promise<unknown> {
    const body = { selectionHash, ...(firstEmails === undefined ? {} : { firstEmails }) };
    return this.post(`${remediationPath(approvalId)}/approve`, body, z.unknown());
  }

  cancel(approvalId: string, reason: string): Promise<Remediation> {
    return this.post(`${remediationPath(approvalId)}/cancel`, { reason }, remediationAnswer);
  }

  /** Tried again when there is no answer, like {@link submit}. */
  retry(
    approvalId: string,
    body: { readonly outcomes?: readonly string[]; readonly name?: string },
    idempotencyKey: string,
  ): Promise<Submitted> {
    return this.postOnce(`${remediationPath(approvalId)}/retry`, body, idempotencyKey, submittedAnswer);
  }

  stopLateArrivals(approvalId: string): Promise<Remediation> {
    return this.post(`${remediationPath(approvalId)}/late-arrivals/stop`, {}, remediationAnswer);
  }

  reject(approvalId: string, reason: string): Promise<unknown> {
    return this.post(`${remediationPath(approvalId)}/reject`, { reason }, z.unknown());
  }

  views(): Promise<{ items: View[] }> {
    return this.get('v1/views', {}, viewsAnswer);
  }

  view(name: string): Promise<View> {
    return this.get(viewPath(name), {}, viewAnswer);
  }

  /** What becomes of the builds of a view. */
  changeView(name: string, change: 'rebuild' | 'switch' | 'discard', body: object = {}): Promise<View> {
    return this.post(`${viewPath(name)}/${change}`, body, viewAnswer);
  }

  webhooks(at: Query): Promise<Page<Webhook>> {
    return this.get('v1/webhooks', at, page(webhookAnswer));
  }

  addWebhook(settings: object): Promise<Webhook & { secret: string }> {
    return this.post('v1/webhooks', settings, newWebhookAnswer);
  }

  removeWebhook(id: string): Promise<unknown> {
    return this.json('DELETE', webhookPath(id), undefined, z.unknown());
  }

  deliveries(id: string, filter: Query): Promise<Page<Delivery>> {
    return this.get(`${webhookPath(id)}/deliveries`, filter, page(deliveryAnswer));
  }

  replayWebhook(
    id: string,
    from: { readonly fromPosition?: string | undefined; readonly fromTime?: string | undefined },
  ): Promise<Webhook> {
    return this.post(`${webhookPath(id)}/replay`, from, webhookAnswer);
  }

  /** The faults of the sandbox's mailboxes. */
  faults(): Promise<Faults> {
    return this.get('v1/sandbox/faults', {}, faultsAnswer);
  }

  setFault(mailbox: string, fault: object): Promise<unknown> {
    return this.json('PUT', faultPath(mailbox), fault, z.unknown());
  }

  clearFault(mailbox: string): Promise<unknown> {
    return this.json('DELETE', faultPath(mailbox), undefined, z.unknown());
  }

  private async *download(
    path: string,
    query: Query,
    onTrailer: (manifest: string | undefined) => void,
  ): AsyncGenerator<Uint8Array> {
    const { token, signal } = this.options;
    const headers = { accept: '*/*', authorization: `Bearer ${token}` };
    let answer: IncomingMessage;
    try {
      answer = await openDownload(this.target(path, query), headers, signal);
    } catch (error) {
      throw this.unreachable(error);
    }
    const { statusCode: status = 0, statusMessage = '' } = answer;
    try {
      if (status < 200 || status > 299) {
        throw problemIn(status, statusMessage, await text(answer));
      }
      yield* answer as AsyncIterable<Uint8Array>;
    } catch (error) {
      throw error instanceof CliFailure ? error : this.broken(error);
    }
    onTrailer(answer.trailers['clawback-manifest']);
  }

  private get<S extends z.ZodType>(path: string, query: Query, answer: S): Promise<z.output<S>> {
    return this.again(() => this.json('GET', path, undefined, answer, { query }));
  }

  private post<S extends z.ZodType>(path: string, body: object, answer: S): Promise<z.output<S>> {
    return this.json('POST', path, body, answer);
  }

  private postOnce<S extends z.ZodType>(
    path: string,
    body: object,
    idempotencyKey: string,
    answer: S,
  ): Promise<z.output<S>> {
    const headers = { 'idempotency-key': idempotencyKey };
    return this.again(() => this.json('POST', path, body, answer, { headers }));
  }

  private async again<T>(attempt: () => Promise<T>): Promise<T> {
    for (const delayMs of this.options.retryDelaysMs ?? []) {
      try {
        return await attempt();
      } catch (error) {
        if (!isTransient(error)) throw error;
        await pause(delayMs, this.options.signal);
      }
    }
    return attempt();
  }

  private async json<S extends z.ZodType>(
    method: string,
    path: string,
    body: object | undefined,
    answer: S,
    more: { readonly query?: Query; readonly headers?: Readonly<Record<string, string>> } = {},
  ): Promise<z.output<S>> {
    const response = await this.send(method, path, {
      ...more,
      headers: {
        accept: JSON_TYPE,
        ...(body === undefined ? {} : { 'content-type': JSON_TYPE }),
        ...more.headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await this.whole(response);
    return this.understood(answer, text === '' ? undefined : this.parsed(text));
  }

  private async rows<S extends z.ZodType>(
    path: string,
    query: Query,
    { type, bytes }: HuntingRows,
    headers: Readonly<Record<string, string>>,
    answer: S,
  ): Promise<z.output<S>> {
    const response = await this.send('POST', path, {
      query,
      headers: { accept: JSON_TYPE, 'content-type': type, ...headers },
      body: bytes as Uint8Array<ArrayBuffer>,
    });
    return this.understood(answer, this.parsed(await this.whole(response)));
  }

  private async send(
    method: string,
    path: string,
    { query = {}, headers, ...init }: Send,
  ): Promise<Response> {
    const { token, signal } = this.options;
    let response: Response;
    try {
      response = await fetch(this.target(path, query), {
        ...init,
        method,
        headers: { ...(headers as Record<string, string>), authorization: `Bearer ${token}` },
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      throw this.unreachable(error);
    }
    if (!response.ok) throw await this.problem(response);
    return response;
  }

  private target(path: string, query: Query): URL {
    const { url } = this.options;
    const target = new URL(path, url.endsWith('/') ? url : `${url}/`);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) target.searchParams.set(name, String(value));
    }
    return target;
  }

  private async problem(response: Response): Promise<ServerProblem> {
    return problemIn(response.status, response.statusText, await this.whole(response));
  }

  private async whole(response: Response): Promise<string> {
    try {
      return await response.text();
    } catch (error) {
      throw this.broken(error);
    }
  }

  private async *chunks({ body }: Response): AsyncGenerator<Uint8Array> {
    if (body === null) return;
    const reader = body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    const next = async () => {
      try {
        return await reader.read();
      } catch (error) {
        throw this.broken(error);
      }
    };
    try {
      for (let piece = await next(); !piece.done; piece = await next()) yield piece.value;
    } finally {
      // Whoever stops reading early lets go of the connection too.
      await reader.cancel().catch(() => undefined);
    }
  }

  private async *lines(response: Response): AsyncGenerator {
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of this.chunks(response)) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.trim() !== '') yield this.parsed(line);
    }
    if (rest.trim() !== '') yield this.parsed(rest);
  }

  private parsed(text: string): unknown {
    const value = jsonOrUndefined(text);
    if (value === undefined) throw this.strange('it is not JSON');
    return value;
  }

  private understood<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw this.strange(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
  }

  private strange(why: string): CliFailure {
    const message = `what answers at ${this.url} does not look like a Clawback server of this version: ${why}`;
    return new CliFailure(ExitCode.unavailable, message, [], 'strangeAnswer');
  }

  private unreachable(error: unknown): CliFailure {
    if (this.options.signal?.aborted) return interrupted();
    const hint = 'is it running, and is the address right?';
    return new NetworkFailure(`no answer from ${this.url} (${causeOf(error)}): ${hint}`, error);
  }

  private broken(error: unknown): CliFailure {
    if (this.options.signal?.aborted) return interrupted();
    return new NetworkFailure(`the answer of ${this.url} broke off (${causeOf(error)})`, error);
  }
}

/** All items of a listing, whatever the number of its pages. */
export async function* allItems<T>(
  pageAt: (cursor: string | undefined) => Promise<Page<T>>,
): AsyncGenerator<T> {
  let cursor: string | undefined;
  do {
    const { items, nextCursor } = await pageAt(cursor);
    yield* items;
    cursor = nextCursor ?? undefined;
  } while (cursor !== undefined);
}

const remediationPath = (approvalId: string): string => `v1/remediations/${encodeURIComponent(approvalId)}`;

const webhookPath = (id: string): string => `v1/webhooks/${encodeURIComponent(id)}`;

/** Where an export of this kind is. @param approvalId only looked at for a log and a selection */
export const exportPath = (of: 'log' | 'selection' | 'history' | 'emails', approvalId: string): string =>
  ({
    log: `${remediationPath(approvalId)}/export`,
    selection: `${remediationPath(approvalId)}/selection/export`,
    history: 'v1/remediations/export',
    emails: 'v1/emails/export',
  })[of];

const viewPath = (name: string): string => `v1/views/${encodeURIComponent(name)}`;

const faultPath = (mailbox: string): string => `v1/sandbox/faults/${encodeURIComponent(mailbox)}`;

const problemOf = (problem: z.output<typeof problemAnswer>): ServerProblem => {
  const { status, code, detail, title, errors, requestId } = problem;
  // A detail that only repeats the fields would be told twice.
  const repeats = errors.length > 0 && errors.every((error) => detail?.includes(error.problem));
  const message = repeats ? 'the server does not take this request' : (detail ?? title ?? code);
  return new ServerProblem(status, code, message, errors, requestId);
};

function problemIn(status: number, statusText: string, body: string): ServerProblem {
  const parsed = problemAnswer.safeParse(jsonOrUndefined(body));
  if (parsed.success) return problemOf(parsed.data);
  return new ServerProblem(status, 'unknown', `the server answered ${status} ${statusText}`.trim());
}

function jsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The system's code under the errors that fetch wraps around it, such as `ECONNREFUSED`. */
function causeOf(error: unknown): string {
  if (!isError(error)) return 'unknown cause';
  if ('code' in error && typeof error.code === 'string') return error.code;
  if (error.cause !== undefined) return causeOf(error.cause);
  return error.message;
}
