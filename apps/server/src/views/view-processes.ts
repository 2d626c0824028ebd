import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { SubscriptionState } from '#libs/event-store';
import { pause } from '#libs/kernel';
import type { Config, JsonLogger } from '#libs/platform';
import type { ViewState } from '#libs/read-store';
import type { ConnectionListener } from '../system/connections.js';
import { errorOf, type Order, type Report, type Told } from './messages.js';
import type { ViewGroup } from './views.js';

const PROGRAM = fileURLToPath(new URL('./view-process.js', import.meta.url));

const AGAIN_MS = 1000;

/** How long one may take to end in order: longer than a store may take to answer. */
const END_WITHIN_MS = 60_000;

export interface ViewProcessesOptions {
  readonly config: Config;
  /** Names the server. */
  readonly instance: string;
  readonly groups: readonly ViewGroup[];
  /** Told of the subscriptions of the processes, as of the server's own. */
  readonly listener: Pick<ConnectionListener, 'onSubscription'>;
  readonly logger: JsonLogger;
  /** The program to start, for tests. */
  readonly program?: string;
  /** Before a process that has ended by itself is followed by another; default a second. */
  readonly againMs?: number;
}

/** Keeps views in processes beside this one, a group in each; one that ends by itself is followed by another. */
export class ViewProcesses {
  private readonly groups: readonly Keeping[];

  constructor({ groups, ...options }: ViewProcessesOptions) {
    this.groups = groups.map((group) => new Keeping(group, options));
  }

  /** Waits for none of them: whoever needs a view waits for that view. */
  start(): Promise<void> {
    for (const group of this.groups) group.start();
    return Promise.resolve();
  }

  /** Ends all in order; one that does not end is killed. */
  async stop(): Promise<void> {
    await Promise.all(this.groups.map((group) => group.stop()));
  }

  /** Nothing of a view until its process has told something. */
  state(): readonly ViewState[] {
    return this.groups.flatMap(({ views }) => views);
  }
}

/** One process after the other for the same views. */
class Keeping {
  /** As they were told last. */
  views: readonly ViewState[] = [];
  /** Open in the process, by their number there. */
  private readonly subscriptions = new Map<number, SubscriptionState>();
  private readonly stopping = new AbortController();
  private running: Promise<void> | undefined;
  private child: ChildProcess | undefined;

  constructor(
    private readonly group: ViewGroup,
    private readonly options: Omit<ViewProcessesOptions, 'groups'>,
  ) {}

  start(): void {
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    const { child } = this;
    child?.send('stop' satisfies Order, () => undefined);
    const late = setTimeout(() => child?.kill('SIGKILL'), END_WITHIN_MS);
    await this.running;
    clearTimeout(late);
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    const isOver = () => signal.aborted;
    while (!isOver()) {
      const end = await this.runOne();
      this.ended(isOver() ? undefined : end);
      await pause(this.options.againMs ?? AGAIN_MS, signal);
    }
  }

  /** @returns why it has ended. */
  private runOne(): Promise<Error> {
    const { config, instance, program = PROGRAM } = this.options;
    // It has the flags of Node that this one has, and what it logs goes where this one logs.
    const child = fork(program, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.child = child;
    const order: Order = { keep: this.group, config, instance: `${instance} ${this.group.name}` };
    // One that has ended already is found by its end.
    child.send(order, () => undefined);
    return new Promise((resolve) => {
      let fault: Error | undefined;
      child.on('message', (report: Report) => {
        if ('fault' in report) fault = errorOf(report.fault);
        else this.take(report);
      });
      child.once('error', resolve);
      child.once('exit', (code, exitSignal) => {
        resolve(fault ?? new Error(`it ended by ${exitSignal ?? `code ${String(code)}`}`));
      });
    });
  }

  private take(report: Exclude<Report, { fault: unknown }>): void {
    if ('views' in report)
      this.views = report.views.map(({ cause, ...view }) => ({ ...view, ...caused(cause) }));
    else this.subscribed(report.subscription);
  }

  private subscribed({ lastError, ...told }: Told<SubscriptionState, 'lastError'>): void {
    const state = { ...told, ...(lastError === undefined ? {} : { lastError: errorOf(lastError) }) };
    if (state.state === 'ended') this.subscriptions.delete(state.subscription);
    else this.subscriptions.set(state.subscription, state);
    this.options.listener.onSubscription(state);
  }

  /** Its views stay where they are, and its subscriptions have ended. @param error unless it was to end. */
  private ended(error: Error | undefined): void {
    const { logger, listener } = this.options;
    if (error !== undefined) {
      logger.error('a process that keeps views has ended, and is started again', {
        views: this.group.views,
        err: error,
      });
      this.views = this.views.map((view) => ({
        ...view,
        state: 'catchingUp',
        error: 'its process has ended',
        cause: error,
      }));
    }
    const lastError = error === undefined ? {} : { lastError: error };
    for (const state of this.subscriptions.values()) {
      listener.onSubscription({ ...state, state: 'ended', ...lastError });
    }
    this.subscriptions.clear();
  }
}

const caused = (cause: Told<ViewState, 'cause'>['cause']) =>
  cause === undefined ? {} : { cause: errorOf(cause) };
