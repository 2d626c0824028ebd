import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pause, sha256 } from '#libs/kernel';
import { loadOrCreateLocalKey, signLocalToken } from '#libs/platform';
import { OUTCOMES } from '#libs/remediation';
import { ServerProcess } from './crash-server.js';
import { Evidence } from './evidence.js';
import { Api, bodyOf, type EntryBody, type ImportReportBody, type PageOf } from './server.js';

/** Numbers that look random and are the same for the same seed. */
export class Dice {
  private thrown = 0;

  constructor(readonly seed: number) {}

  /** From `low` up to, and without, `high`. */
  between(low: number, high: number): number {
    this.thrown += 1;
    const part = Number.parseInt(sha256(`${this.seed}/${this.thrown}`).slice(0, 12), 16) / 2 ** 48;
    return low + part * (high - low);
  }
}

const ORDER: readonly EntryBody['status'][] = ['pending', 'started', 'queued', 'inProgress', 'completed'];

/** What is wrong with an entry of the history, by itself and after what was seen of it before. */
export function problemsOf(before: EntryBody | undefined, now: EntryBody): string[] {
  const { counts, plan } = now;
  const problems: string[] = [];
  const demand = (holds: boolean, what: string): void => {
    if (!holds) problems.push(`${what}: ${JSON.stringify({ status: now.status, counts, plan })}`);
  };
  const { recipientCopies, sendersCopies } = counts;
  for (const part of [counts, recipientCopies, sendersCopies]) {
    const sum = OUTCOMES.reduce((total, outcome) => total + part[outcome], 0);
    demand(part.submitted === sum, 'submitted is not the sum of all outcomes');
  }
  for (const outcome of OUTCOMES) {
    const sum = recipientCopies[outcome] + sendersCopies[outcome];
    demand(counts[outcome] === sum, `${outcome} is not the sum of both kinds`);
    demand(recipientCopies[outcome] >= 0 && sendersCopies[outcome] >= 0, `${outcome} is below nought`);
  }
  demand(counts.submitted === plan.copies, 'submitted is not what was planned');
  demand(recipientCopies.submitted === plan.recipientCopies, "recipients' copies are not as planned");
  demand(sendersCopies.submitted === plan.sendersCopies, "senders' copies are not as planned");
  demand(now.status !== 'completed' || counts.pending === 0, 'completed, but not done');
  if (before === undefined) return problems;
  demand(ORDER.indexOf(now.status) >= ORDER.indexOf(before.status), `was ${before.status} before`);
  for (const kind of ['recipientCopies', 'sendersCopies'] as const) {
    for (const outcome of OUTCOMES) {
      const change = counts[kind][outcome] - before.counts[kind][outcome];
      demand(outcome === 'pending' ? change <= 0 : change >= 0, `${outcome} has gone back by ${change}`);
    }
  }
  return problems;
}

const LOOK_EVERY_MS = 20;

/** Looks at the whole history again and again, also across crashes, and compares each look with the one before. */
export class Lookout {
  looks = 0;
  private seen = new Map<string, EntryBody>();

  entry(approvalId: string): EntryBody | undefined {
    return this.seen.get(approvalId);
  }

  /** The views begin anew, so nothing that was seen binds them. */
  forget(): void {
    this.seen = new Map();
  }

  /** Until the signal fires. @throws at the first look that is wrong. */
  async follow(api: Api, signal: AbortSignal): Promise<void> {
    const isOver = (): boolean => signal.aborted;
    while (!isOver()) {
      try {
        const { items } = bodyOf(await api.get('/v1/remediations'), 200) as PageOf<EntryBody>;
        this.look(items);
      } catch (error) {
        // The process was ended under the request.
        if (!isOver() || !isInterruption(error)) throw error;
      }
      await pause(LOOK_EVERY_MS, signal);
    }
  }

  private look(entries: readonly EntryBody[]): void {
    const now = new Map(entries.map((entry) => [entry.approvalId, entry]));
    const problems = entries.flatMap((entry) => problemsOf(this.seen.get(entry.approvalId), entry));
    for (const known of this.seen.keys()) {
      if (!now.has(known)) problems.push(`${known} is no longer in the history`);
    }
    if (problems.length > 0) throw new Error(problems.join('\n'));
    this.looks += 1;
    this.seen = now;
  }
}

/** Resolves when it is time to strike; the signal fires when the work has ended before. */
export type Trigger = (lab: CrashLab, signal: AbortSignal) => Promise<void>;

export const afterMs =
  (ms: number): Trigger =>
  (_lab, signal) =>
    pause(ms, signal);

/** When the condition holds, and so many milliseconds later. */
export const once =
  (condition: (lab: CrashLab) => boolean, ms: number): Trigger =>
  async (lab, signal) => {
    while (!signal.aborted && !condition(lab)) await pause(2, signal);
    await pause(ms, signal);
  };

/**
 * When so many commits of a store were seen, and so many milliseconds later: by the times of its file, since a reader of
 * the store itself would change what a crash leaves. Commits in quick succession are seen as one.
 */
export const afterCommits =
  (store: 'events' | 'sandbox', commits: number, ms: number): Trigger =>
  async (lab, signal) => {
    const path = join(lab.dataDirectory, `${store}.db-wal`);
    let seen = 0;
    let last = (await stat(path)).mtimeMs;
    while (!signal.aborted && seen < commits) {
      await pause(1, signal);
      const { mtimeMs } = await stat(path);
      if (mtimeMs !== last) seen += 1;
      last = mtimeMs;
    }
    await pause(ms, signal);
  };

export type Kill =
  | { readonly during: 'start'; readonly afterMs: number }
  | { readonly during: 'work'; readonly when: Trigger }
  /** The process is asked to end, and killed when it does not do so at once. */
  | { readonly during: 'stop'; readonly when: Trigger; readonly afterMs: number };

export interface Crash {
  readonly phase: string;
  /** Moves that had been made and were not yet recorded. */
  readonly inDoubt: number;
}

/** Thrown to a client that waits for a process that was ended. */
class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** `fetch` says so when a connection is refused or breaks off. */
const isInterruption = (error: unknown): boolean =>
  error instanceof Interrupted ||
  (error as Error).name === 'TypeError' ||
  (error as Error).name === 'AbortError';

const PATIENCE_MS = 60_000;
/** Only a process that hangs takes so long to end in order. */
const STOPPED_WITHIN_MS = 30_000;

/** One data directory, and one process after the other on it, each killed while a client is at work. */
export class CrashLab {
  readonly lookout = new Lookout();
  readonly crashes: Crash[] = [];
  /** Lines of the import under way that the server has said it is through with. */
  lines = 0;
  /** What all processes together have logged as errors. */
  errors = '';
  private server: ServerProcess | undefined;
  private url = '';
  private client: Api | undefined;
  private life = new AbortController();
  private looking: Promise<void> = Promise.resolve();
  private failure: { readonly error: unknown } | undefined;

  constructor(readonly dataDirectory: string) {}

  get api(): Api {
    if (this.client === undefined) throw new Error('the server was never started');
    return this.client;
  }

  /**
   * Does the work as a client would: when the process is killed, it is started again and the work is begun again.
   * @param phaseOf what was going on in a process that was killed, by what it left.
   * @param kills each strikes once, in this order, unless the work has ended before.
   */
  async through<T>(
    phaseOf: (evidence: Evidence) => string,
    work: () => Promise<T>,
    kills: readonly Kill[] = [],
  ): Promise<T> {
    for (const kill of kills) {
      if (kill.during === 'start') {
        await this.killAtStart(phaseOf, kill.afterMs);
        continue;
      }
      const ended = await this.interrupt(phaseOf, work, kill);
      if (ended !== undefined) return ended.result;
    }
    await this.start();
    const result = await work();
    this.throwFailure();
    return result;
  }

  async start(): Promise<void> {
    if (this.server !== undefined) return;
    this.server = ServerProcess.launch(this.dataDirectory);
    this.url = await this.server.ready;
    this.client ??= new Api(() => this.url, this.token());
    const life = new AbortController();
    this.life = life;
    this.looking = this.lookout.follow(this.client, life.signal).catch((error: unknown) => {
      this.failure = { error };
      life.abort();
    });
  }

  /** Ends the process in order. @throws when it does not do so by itself, without an error. */
  async stop(): Promise<void> {
    const { server } = this;
    if (server === undefined) return;
    this.life.abort();
    await this.looking;
    const waiting = new AbortController();
    const ending = await Promise.race([server.terminate(), pause(STOPPED_WITHIN_MS, waiting.signal)]);
    waiting.abort();
    if (ending === undefined) throw new Error('the process does not end');
    this.gone(server);
    if (ending.code !== 0)
      throw new Error(`did not end in order: ${JSON.stringify(ending)} ${server.errors}`);
  }

  async dispose(): Promise<void> {
    this.life.abort();
    await this.server?.kill();
  }

  /** Waits until the history shows this, as seen by the lookout. */
  async untilSeen(condition: () => boolean): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    const { signal } = this.life;
    while (!condition()) {
      if (signal.aborted) throw new Interrupted('the process has ended');
      if (performance.now() > deadline) throw new Error('waited in vain');
      await pause(5, signal);
    }
  }

  /** Sends the whole file, and follows how far the server is. */
  async import(gzip: Uint8Array): Promise<ImportReportBody> {
    this.lines = 0;
    const response = await this.api.open('/v1/emails/import', {
      method: 'POST',
      headers: {
        accept: 'application/x-ndjson',
        'content-type': 'application/x-ndjson',
        'content-encoding': 'gzip',
      },
      body: gzip as Uint8Array<ArrayBuffer>,
    });
    let rest = '';
    for await (const text of (response.body as ReadableStream<Uint8Array>).pipeThrough(
      new TextDecoderStream(),
    )) {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const step = JSON.parse(line) as ImportStep;
        if ('report' in step) return step.report;
        if ('problem' in step) throw new Error(line);
        this.lines = step.progress.lines;
      }
    }
    throw new Interrupted('the answer has ended before the import');
  }

  private async killAtStart(phaseOf: (evidence: Evidence) => string, afterMs: number): Promise<void> {
    const server = ServerProcess.launch(this.dataDirectory);
    await pause(afterMs);
    const { isReady } = server;
    await server.kill();
    this.gone(server);
    await this.examine((evidence) => (isReady ? phaseOf(evidence) : 'start'));
  }

  private async interrupt<T>(
    phaseOf: (evidence: Evidence) => string,
    work: () => Promise<T>,
    kill: Exclude<Kill, { during: 'start' }>,
  ): Promise<{ result: T } | undefined> {
    await this.start();
    const over = new AbortController();
    const working = work().then(
      (result) => ({ result }),
      (error: unknown) => ({ error }),
    );
    const first = await Promise.race([working, kill.when(this, over.signal).then(() => undefined)]);
    over.abort();
    this.throwFailure();
    if (first !== undefined) return resultOf(first);

    const died = await this.end(kill);
    const left = await working;
    if ('error' in left && !isInterruption(left.error)) throw left.error;
    await this.looking;
    this.throwFailure();
    if (died) await this.examine(kill.during === 'stop' ? () => 'shutdown' : phaseOf);
    return undefined;
  }

  /** @returns false when the process has ended in order before it could be killed. */
  private async end(kill: Exclude<Kill, { during: 'start' }>): Promise<boolean> {
    const { server } = this;
    if (server === undefined) throw new Error('there is no process to kill');
    this.life.abort();
    if (kill.during === 'stop') {
      void server.terminate();
      await Promise.race([server.ended, pause(kill.afterMs)]);
    }
    const ending = await server.kill();
    this.gone(server);
    return ending.signal === 'SIGKILL';
  }

  /** Looks at what a killed process has left. @throws when it contradicts itself. */
  private async examine(phaseOf: (evidence: Evidence) => string): Promise<void> {
    const evidence = await Evidence.ofCrash(this.dataDirectory);
    const phase = phaseOf(evidence);
    const contradictions = evidence.contradictions();
    if (contradictions.length > 0) {
      throw new Error(`after a crash in ${phase}: ${contradictions.slice(0, 5).join('\n')}`);
    }
    this.crashes.push({ phase, inDoubt: evidence.inDoubt() });
  }

  private gone(server: ServerProcess): void {
    this.errors += server.errors;
    this.server = undefined;
  }

  private throwFailure(): void {
    if (this.failure !== undefined) throw this.failure.error;
  }

  private async token(): Promise<string> {
    const key = await loadOrCreateLocalKey(this.dataDirectory);
    return signLocalToken(key, { subject: 'crash@ops.example', roles: ['admin'] });
  }
}

type ImportStep =
  | { readonly progress: { readonly lines: number } }
  | { readonly report: ImportReportBody }
  | { readonly problem: unknown };

function resultOf<T>(ended: { result: T } | { error: unknown }): { result: T } {
  if ('error' in ended) throw ended.error;
  return ended;
}
