import { join } from 'node:path';
import { actionLogView, copiesView, historyView } from '#libs/action-center';
import { SqliteEventStore } from '#libs/event-store';
import { Executor, type ExecutorOptions } from '#libs/executor';
import { isClawbackError, SystemClock, type Clock, type Position } from '#libs/kernel';
import { cleanSpool, emailsView, SandboxDelivery } from '#libs/mail-catalog';
import { SandboxTenant } from '#libs/mailbox';
import { lockDataDirectory, type Config, type DataLock, type JsonLogger } from '#libs/platform';
import {
  Projector,
  SqliteReadStore,
  untilShown,
  type AnyProjection,
  type ViewSpec,
  type ViewState,
} from '#libs/read-store';

/** All views, by name. */
const VIEWS = {
  history: historyView,
  actionLog: actionLogView,
  copies: copiesView,
  emails: emailsView,
} as const;
export type ViewName = keyof typeof VIEWS;

/** Where the executor's checkpoint is kept: a view without documents. */
const executorProgress: ViewSpec<never> = { name: 'executor', version: 1, fields: {}, indexes: [] };

/** How long an answer waits for the views to show what it just recorded; then it is given all the same. */
const SHOWN_WITHIN_MS = 10_000;

/** Outcomes are recorded at least this often while a batch runs. */
const FLUSH_MS = 250;

/**
 * Everything that runs without a request: the stores, the views, the sandbox tenant and the executor, in one process on
 * one data directory. The composition root of the embedded default: the only place that names adapters.
 */
export class Runtime {
  readonly clock: Clock = new SystemClock();
  readonly events: SqliteEventStore;
  readonly readStore: SqliteReadStore;
  readonly sandbox: SandboxTenant;
  readonly spoolDirectory: string;
  readonly importLimitBytes: number;
  private readonly lock: DataLock;
  private readonly projector: Projector;
  private readonly delivery: SandboxDelivery;
  private readonly executor: Executor;

  /** @throws {ClawbackError} `dataDirectoryInUse` when another process has the directory. */
  constructor(config: Config, logger: JsonLogger) {
    const { directory } = config.data;
    this.lock = lockDataDirectory(directory);
    this.spoolDirectory = join(directory, 'spool');
    this.importLimitBytes = config.http.importLimitBytes;
    this.events = new SqliteEventStore(join(directory, 'events.db'));
    this.readStore = new SqliteReadStore(join(directory, 'read.db'));
    this.sandbox = new SandboxTenant(join(directory, 'sandbox.db'));
    const onError = (error: unknown, what: string): void => {
      logger.error(what, { err: error });
    };
    this.projector = new Projector({
      events: this.events,
      store: this.readStore,
      projections: Object.values<AnyProjection>(VIEWS),
      onState: (view) => {
        if (view.state === 'failed') logger.error('a view has stopped', { view: view.view, err: view.error });
      },
    });
    this.delivery = new SandboxDelivery(this.events, this.sandbox, onError);
    this.executor = new Executor(
      {
        store: this.events,
        gateway: this.sandbox,
        checkpoints: {
          load: () => this.readStore.checkpoint(executorProgress),
          save: (position) => this.readStore.commit(executorProgress, [], position),
        },
        clock: this.clock,
        mailboxesReady: (position, signal) => this.sandbox.whenDelivered(position, signal),
        onError,
      },
      executorOptions(config),
    );
  }

  async start(): Promise<void> {
    await cleanSpool(this.spoolDirectory);
    await this.readStore.prepare(executorProgress);
    await this.projector.start();
    this.delivery.start();
    await this.executor.start();
  }

  /** Ends in the order of the flow, so that nothing is started that could not be recorded. */
  async stop(): Promise<void> {
    await this.executor.stop();
    await this.delivery.stop();
    await this.projector.stop();
    await this.sandbox.close();
    await this.readStore.close();
    await this.events.close();
    this.lock.release();
  }

  views(): readonly ViewState[] {
    return this.projector.state();
  }

  /** Waits, within reason, until the views show a position: a caller sees what it has just done. */
  async shown(position: Position, names: readonly ViewName[]): Promise<void> {
    for (const name of names) {
      try {
        await untilShown(this.readStore, VIEWS[name], position, SHOWN_WITHIN_MS);
      } catch (error) {
        // It is recorded; that the view lags takes nothing from it.
        if (!isClawbackError(error)) throw error;
      }
    }
  }
}

const executorOptions = ({ executor }: Config): ExecutorOptions => ({
  worker: 'embedded',
  copyDeadlineMs: executor.copyDeadlineMs,
  maxAttempts: executor.maxAttempts,
  claimMs: executor.claimMs,
  batchesInFlight: executor.batchesInFlight,
  batchesAhead: executor.batchesAhead,
  mailboxConcurrency: executor.mailboxConcurrency,
  flushMs: FLUSH_MS,
});
