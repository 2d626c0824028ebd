import { join } from 'node:path';
import { ActionCenter, LiveFeed, type ProposalExpiry } from '#libs/action-center';
import { NamedSubscriber, type EventStore } from '#libs/event-store';
import { Executor, type ExecutorOptions, type ExecutorState } from '#libs/executor';
import { isClawbackError, type Clock, type Position } from '#libs/kernel';
import { cleanSpool, SandboxDelivery, type LateArrivals } from '#libs/mail-catalog';
import { openSandboxThread, SandboxTenant, type Sandbox } from '#libs/mailbox/sandbox';
import {
  errorClass,
  lockDataDirectory,
  rolesOf,
  viewProcessesOf,
  webhookKey,
  type Config,
  type DataLock,
  type JsonLogger,
  type ProcessRole,
} from '#libs/platform';
import { untilShown, type ReadStore, type ViewSpec, type ViewState } from '#libs/read-store';
import type { ViewKeeper } from '#libs/rebuild';
import { faultLog } from './fault-log.js';
import { lateArrivals, proposalExpiry } from './process-managers.js';
import { Connections } from './system/connections.js';
import { HttpSender, WebhookDispatcher, WebhookKeys } from '#libs/webhooks';
import { openStores, removeOldViews, type Stores } from './stores.js';
import { keepViews } from './views/keep-views.js';
import { ViewProcesses } from './views/view-processes.js';
import { ALL_VIEWS, viewGroups, VIEWS, type ViewName } from './views/views.js';
import { messagesOf, retriesOf, targetsOf } from './webhooks/dispatch.js';

/** Where those who follow the log keep how far they have come: views without documents. */
const progressOf = (name: string): ViewSpec<never> => ({ name, version: 1, fields: {}, indexes: [] });
const executorProgress = progressOf('executor');
const lateArrivalsProgress = progressOf('lateArrivals');

/** How long an answer waits for the views to show what it just recorded; then it is given all the same. */
const SHOWN_WITHIN_MS = 10_000;

/** Outcomes are recorded at least this often while a batch runs. */
const FLUSH_MS = 250;

/**
 * Everything that runs without a request: the stores, and what the process's roles ask for of the views, the sandbox
 * tenant and the executor. By default one process has all roles and its data directory to itself.
 */
export class Runtime {
  readonly roles: ReadonlySet<ProcessRole>;
  readonly spoolDirectory: string;
  readonly importLimitBytes: number;
  readonly huntingLimitBytes: number;
  /** Where clients reach the server, when it is configured. */
  readonly publicUrl: string | undefined;
  private readonly keeper: Pick<ViewKeeper, 'start' | 'stop' | 'state'> | undefined;
  private readonly delivery: SandboxDelivery | undefined;
  private readonly executor: Executor | undefined;
  private readonly lateArrivals: LateArrivals | undefined;
  private readonly expiry: ProposalExpiry | undefined;
  /** Faults that the executor has met since the start, by their class. */
  readonly executorErrors = new Map<string, number>();
  /** Begun again from the log whenever somebody listens. */
  readonly live: LiveFeed;
  private readonly dispatcher: WebhookDispatcher | undefined;

  /** @throws {ClawbackError} `dataDirectoryInUse` when another process has the directory. */
  static async open(config: Config, logger: JsonLogger, clock: Clock): Promise<Runtime> {
    const embedded = config.stores.eventStoreUrl === undefined || config.stores.mongoUrl === undefined;
    const lock = embedded ? lockDataDirectory(config.data.directory) : undefined;
    const connections = new Connections(logger);
    let stores: Stores | undefined;
    let sandbox: Sandbox | undefined;
    try {
      const webhookKeys = new WebhookKeys(await webhookKey(config));
      removeOldViews(config);
      stores = await openStores(config, connections);
      sandbox = await openSandbox(config);
      return new Runtime(config, logger, clock, stores, connections, sandbox, lock, webhookKeys);
    } catch (error) {
      await sandbox?.close();
      await stores?.close();
      lock?.release();
      throw error;
    }
  }

  private constructor(
    config: Config,
    logger: JsonLogger,
    readonly clock: Clock,
    private readonly stores: Stores,
    readonly connections: Connections,
    readonly sandbox: Sandbox,
    private readonly lock: DataLock | undefined,
    readonly webhookKeys: WebhookKeys,
  ) {
    this.roles = rolesOf(config);
    this.spoolDirectory = join(config.data.directory, 'spool');
    this.importLimitBytes = config.http.importLimitBytes;
    this.huntingLimitBytes = config.http.huntingLimitBytes;
    this.publicUrl = config.http.publicUrl;
    const { events, readStore, viewStore, queue, instance } = stores;
    const onError = faultLog(logger);
    const as = (name: string): EventStore => new NamedSubscriber(events, name);
    const actionCenter = new ActionCenter(readStore);
    this.live = new LiveFeed({
      events: as('live'),
      shownUpTo: () => actionCenter.shownUpTo(),
      counts: (approvalIds) => actionCenter.counts(approvalIds),
      onError,
    });
    if (this.roles.has('projections')) {
      const processes = viewProcessesOf(config);
      this.keeper =
        processes === 0
          ? keepViews(stores, ALL_VIEWS, { clock: this.clock, logger })
          : new ViewProcesses({
              config,
              instance,
              groups: viewGroups(processes),
              listener: connections,
              logger,
            });
      this.dispatcher = new WebhookDispatcher({
        events: as('webhooks'),
        views: readStore,
        turns: viewStore,
        messages: messagesOf(this.live),
        sender: new HttpSender(targetsOf(config), config.webhooks.timeoutMs),
        keys: webhookKeys,
        clock: this.clock,
        retries: retriesOf(config),
        random: Math.random,
        onError,
      });
      this.expiry = proposalExpiry(stores, this.clock, config.approval.sweepMs, onError);
    }
    if (this.roles.has('executor')) {
      this.lateArrivals = lateArrivals(
        { ...stores, events: as('lateArrivals') },
        config,
        this.clock,
        checkpointsOf(readStore, lateArrivalsProgress),
        onError,
      );
      this.delivery = new SandboxDelivery(as('sandbox'), sandbox, onError);
      this.executor = new Executor(
        {
          store: as('executor'),
          gateway: sandbox,
          checkpoints: checkpointsOf(readStore, executorProgress),
          clock: this.clock,
          mailboxesReady: (position, signal) => sandbox.whenDelivered(position, signal),
          onError: (error, what, facts) => {
            const name = errorClass(error);
            this.executorErrors.set(name, (this.executorErrors.get(name) ?? 0) + 1);
            onError(error, what, facts);
          },
          ...(queue === undefined ? {} : { queue }),
        },
        executorOptions(config, instance),
      );
    }
  }

  get events(): EventStore {
    return this.stores.events;
  }

  get readStore(): ReadStore {
    return this.stores.readStore;
  }

  async start(): Promise<void> {
    await cleanSpool(this.spoolDirectory);
    const { readStore } = this.stores;
    for (const progress of [executorProgress, lateArrivalsProgress]) await readStore.prepare(progress);
    for (const view of Object.values<ViewSpec<never>>(VIEWS)) await readStore.prepare(view);
    await this.keeper?.start();
    this.dispatcher?.start();
    this.delivery?.start();
    await this.executor?.start();
    await this.lateArrivals?.start();
    this.expiry?.start();
  }

  /** Ends in the order of the flow, so that nothing is started that could not be recorded. */
  async stop(): Promise<void> {
    await this.dispatcher?.stop();
    await this.live.close();
    await this.expiry?.stop();
    await this.lateArrivals?.stop();
    await this.executor?.stop();
    await this.delivery?.stop();
    await this.keeper?.stop();
    await this.sandbox.close();
    await this.stores.close();
    this.lock?.release();
  }

  /** The state of the views that this process keeps; none when another one does. */
  views(): readonly ViewState[] {
    return this.keeper?.state() ?? [];
  }

  /** Undefined when this process executes nothing. */
  executorState(): ExecutorState | undefined {
    return this.executor?.state();
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

function openSandbox({ data, process }: Config): Sandbox | Promise<Sandbox> {
  const path = join(data.directory, 'sandbox.db');
  return process.sandboxThread === 'true' ? openSandboxThread(path) : new SandboxTenant(path);
}

const checkpointsOf = (store: ReadStore, progress: ViewSpec<never>) => ({
  load: () => store.checkpoint(progress),
  save: (position: Position) => store.commit(progress, [], position),
});

const executorOptions = ({ executor }: Config, worker: string): ExecutorOptions => ({
  worker,
  copyDeadlineMs: executor.copyDeadlineMs,
  throttlePatienceMs: executor.throttlePatienceMs,
  maxAttempts: executor.maxAttempts,
  claimMs: executor.claimMs,
  batchesInFlight: executor.batchesInFlight,
  batchesAhead: executor.batchesAhead,
  mailboxConcurrency: executor.mailboxConcurrency,
  flushMs: FLUSH_MS,
});
