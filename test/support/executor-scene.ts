import { afterEach } from '@jest/globals';
import { WorkQueue, type RecordedEvent } from '#libs/event-store';
import {
  Executor,
  type CheckpointStore,
  type ExecutorDependencies,
  type ExecutorOptions,
} from '#libs/executor';
import { START, type Position } from '#libs/kernel';
import type { MailboxGateway } from '#libs/mailbox';
import { batchStream, remediationStream, type SelectedEmail, type Submission } from '#libs/remediation';
import { emailOf } from './examples.js';
import { InMemoryTenant } from './in-memory-tenant.js';
import { RemediationWorld, TENANT, type SubmitOptions } from './remediation-world.js';
import { TestClock } from './test-clock.js';

const options: ExecutorOptions = {
  worker: 'worker-1',
  copyDeadlineMs: 30_000,
  throttlePatienceMs: 3_600_000,
  maxAttempts: 1,
  claimMs: 60_000,
  batchesInFlight: 2,
  batchesAhead: 8,
  mailboxConcurrency: 4,
  flushMs: 5,
};
const softDelete = { action: 'softDelete', sendersCopy: false } as const;

/** A message of its own for each name. */
const emails = (...ids: string[]): SelectedEmail[] =>
  ids.map((networkMessageId) => emailOf({ networkMessageId }));

/** So many names of messages. */
export const names = (count: number, prefix = 'm'): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`);

/** A checkpoint in memory that remembers how it came about. */
export class Checkpoints implements CheckpointStore {
  readonly saves: Position[] = [];
  /** Fails the next save. */
  fail = false;
  private saved = START;

  load(): Promise<Position> {
    return Promise.resolve(this.saved);
  }

  save(position: Position): Promise<void> {
    if (this.fail) {
      this.fail = false;
      return Promise.reject(new Error('the checkpoint cannot be written'));
    }
    this.saves.push(position);
    this.saved = position;
    return Promise.resolve();
  }
}

/** One tenant whose mail lies in the inboxes, and the executors that a test starts on it. */
export class ExecutorScene {
  readonly world = new RemediationWorld();
  readonly tenant = new InMemoryTenant();
  readonly checkpoints = new Checkpoints();
  readonly clock = new TestClock();
  readonly errors: string[] = [];
  private readonly open = new Set<Executor>();
  private readonly queues: AbortController[] = [];

  /** Starts one more executor; what is not said here it shares with the others. */
  async start(
    gateway: MailboxGateway = this.tenant,
    over: Partial<ExecutorOptions> = {},
    deps: Partial<ExecutorDependencies> = {},
  ): Promise<Executor> {
    const executor = new Executor(
      {
        store: this.world.store,
        gateway,
        checkpoints: this.checkpoints,
        clock: this.clock,
        mailboxesReady: () => Promise.resolve(),
        onError: (error, what) => this.errors.push(`${what}: ${String(error)}`),
        ...deps,
      },
      { ...options, ...over },
    );
    await executor.start();
    this.open.add(executor);
    return executor;
  }

  /** Stops this executor, or all that are left. */
  async stop(...executors: Executor[]): Promise<void> {
    const chosen = executors.length > 0 ? executors : [...this.open];
    for (const executor of chosen) this.open.delete(executor);
    await Promise.all(chosen.map((executor) => executor.stop()));
  }

  /** A queue that hands out what is released, until the scene ends. */
  queue(): InMemoryWorkQueue {
    const queue = new InMemoryWorkQueue(this);
    const end = new AbortController();
    this.queues.push(end);
    void queue.follow(end.signal);
    return queue;
  }

  /** Stops all that goes on in it. */
  async end(): Promise<void> {
    await this.stop();
    for (const queue of this.queues.splice(0)) queue.abort();
  }

  /** Delivers the emails and submits their soft delete. */
  submit(ids: readonly string[], over: SubmitOptions = {}): Promise<Submission> {
    const all = emails(...ids);
    for (const { networkMessageId, recipientEmailAddress } of all) {
      const mailbox = recipientEmailAddress;
      this.tenant.put({ tenant: TENANT, networkMessageId, mailbox, copyKind: 'recipient' }, 'Inbox');
    }
    return this.world.submit(all, softDelete, over);
  }

  folderOf(networkMessageId: string): string | undefined {
    const mailbox = emailOf().recipientEmailAddress;
    return this.tenant.locate({ tenant: TENANT, networkMessageId, mailbox, copyKind: 'recipient' });
  }

  /** The first event that fulfils the condition, as soon as there is one; or the n-th. */
  async event(condition: (event: RecordedEvent) => boolean, times = 1): Promise<RecordedEvent> {
    const { signal } = new AbortController();
    let left = times;
    for await (const { events } of this.world.store.subscribe({ after: START, signal })) {
      for (const event of events) {
        if (condition(event)) left -= 1;
        if (left === 0) return event;
      }
    }
    throw new Error('the log has ended');
  }

  /** When this remediation has finished: the type of its last event. */
  async finished({ approvalId }: Submission): Promise<string> {
    const types = ['RemediationCompleted', 'RemediationFailed', 'RemediationCancelled'];
    const last = await this.event(
      (event) => event.stream === remediationStream(approvalId) && types.includes(event.type),
    );
    return last.type;
  }

  async typesOf(stream: string): Promise<string[]> {
    const types: string[] = [];
    for await (const event of this.world.store.readStream(stream)) types.push(event.type);
    return types;
  }

  /** The types of the events of every batch, in the order of the batches. */
  batchTypes({ planId, batches }: Submission): Promise<string[][]> {
    return Promise.all(
      Array.from({ length: batches }, (_, batch) => this.typesOf(batchStream(planId, batch))),
    );
  }

  /** The whole log, in its order. */
  async log(): Promise<RecordedEvent[]> {
    const events: RecordedEvent[] = [];
    for await (const event of this.world.store.readAll(START)) events.push(event);
    return events;
  }
}

/** For a suite: makes scenes, each of which ends after its test. */
export function endingScenes(): () => ExecutorScene {
  const scenes: ExecutorScene[] = [];
  afterEach(async () => {
    for (const scene of scenes.splice(0)) await scene.end();
  });
  return () => {
    const scene = new ExecutorScene();
    scenes.push(scene);
    return scene;
  };
}

/** Whether an event is of this type, of this remediation, and (when it is said) of this batch. */
export const isOf =
  (type: string, { planId }: Submission, batch?: number) =>
  (event: RecordedEvent): boolean => {
    if (event.type !== type) return false;
    return batch === undefined
      ? event.stream.startsWith(batchStream(planId, 0).slice(0, -1))
      : event.stream === batchStream(planId, batch);
  };

type Handler = (event: RecordedEvent) => Promise<void>;

/** Hands released batches out, each to one of those who ask; what is refused goes to the next one. */
export class InMemoryWorkQueue extends WorkQueue {
  /** Events that are never handed to anybody. */
  loses: (event: RecordedEvent) => boolean = () => false;
  /** How often each is handed out. */
  copies = 1;
  /** To whom the n-th is handed, modulo how many there are: in turn, unless a test says otherwise. */
  share: (n: number) => number = (n) => n;
  private handedOut = 0;
  private readonly waiting: RecordedEvent[] = [];
  private readonly consumers: Handler[] = [];

  constructor(private readonly scene: ExecutorScene) {
    super();
  }

  /** Follows the log until the signal fires. */
  async follow(signal: AbortSignal): Promise<void> {
    for await (const { events } of this.scene.world.store.subscribe({ after: START, signal })) {
      for (const event of events) {
        if (event.type !== 'BatchReleased' || this.loses(event)) continue;
        for (let copy = 0; copy < this.copies; copy += 1) this.waiting.push(event);
      }
      this.handOut();
    }
  }

  /** One consumer; several of these are several executors. */
  consume(handler: Handler, signal: AbortSignal): Promise<void> {
    this.consumers.push(handler);
    this.handOut();
    return new Promise((resolve) => {
      signal.addEventListener('abort', () => {
        this.consumers.splice(this.consumers.indexOf(handler), 1);
        resolve();
      });
    });
  }

  private handOut(): void {
    while (this.consumers.length > 0) {
      const event = this.waiting.shift();
      if (event === undefined) return;
      const next = this.consumers[this.share(this.handedOut) % this.consumers.length] as Handler;
      this.handedOut += 1;
      next(event).catch(() => {
        this.waiting.push(event);
        this.handOut();
      });
    }
  }
}
