import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventStoreDbEventStore } from '#libs/event-store/eventstoredb';
import { pause } from '#libs/kernel';
import { SandboxTenant } from '#libs/mailbox/sandbox';
import { loadOrCreateLocalKey, signLocalToken, type ProcessRole } from '#libs/platform';
import { problemsOf } from './crash-lab.js';
import { buildProject, ServerProcess } from './crash-server.js';
import { startEventStore, type EventStoreUnderTest } from './eventstoredb/server-under-test.js';
import { Evidence } from './evidence.js';
import { startMongo, type MongoUnderTest } from './mongodb.js';
import { Api, type Answer, type EntryBody, type RequestParts } from './server.js';

/** One process of the deployment: its role, and a number where there are several. */
export type Place = 'api' | 'projections' | `projections ${number}` | `executor ${number}`;

const roleOf = (place: Place): ProcessRole => place.split(' ')[0] as ProcessRole;

/** How long anything may take that a client waits for, an outage included. Only a hang gets there. */
const PATIENCE_MS = 120_000;
const LOOK_EVERY_MS = 50;
/** Every process answers this, also when it waits for its stores. */
const HEALTH_MS = 10_000;
/** A dead executor's batch is taken over after this. */
const CLAIM_MS = 3000;

/** The process that would answer is down. */
class Down extends Error {
  override readonly name = 'Down';
}

/** Nobody was there, or the connection broke off, or no answer came. */
const isOutage = (error: unknown): boolean =>
  ['Down', 'TypeError', 'AbortError', 'TimeoutError'].includes((error as Error).name);

/** Asks again while the service is away, with the same idempotency key; every other answer is one. */
class PatientApi extends Api {
  /** @param state what the service says of itself, for the error */
  constructor(
    url: () => string,
    token: Promise<string>,
    private readonly state: () => Promise<string>,
  ) {
    super(url, token);
  }

  override async send(parts: RequestParts): Promise<Answer> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      let last: unknown;
      try {
        const answer = await super.send(parts);
        if (answer.status !== 503) return answer;
        last = answer.text;
      } catch (error) {
        if (!isOutage(error)) throw error;
        last = error;
      }
      if (performance.now() > deadline) {
        throw new Error(
          `${parts.method} ${parts.path} was not answered in time; last: ${String(last)}\n${await this.state()}`,
        );
      }
      await pause(LOOK_EVERY_MS);
    }
  }
}

/** One API, one projector and some executors as processes of their own, on an event store and a MongoDB. */
export class Deployment {
  /** As any client would: an answer that is no success is given as it is. */
  readonly api: Api;
  /** As a client that rides out an outage. */
  readonly patientApi: Api;
  /** Of processes that were killed without warning, by role. */
  readonly kills = new Map<ProcessRole, number>();
  /** As {@link api}, for answers that take longer. */
  readonly apiWithin: (ms: number) => Api;
  private readonly running = new Map<Place, ServerProcess>();
  private readonly endedByThemselves: string[] = [];
  private apiUrl: string | undefined;
  private variables: Readonly<Record<string, string>>;

  private constructor(
    readonly tenant: string,
    readonly dataDirectory: string,
    readonly eventStore: EventStoreUnderTest,
    readonly mongo: MongoUnderTest,
    readonly places: readonly Place[],
    token: Promise<string>,
  ) {
    const url = (): string => {
      if (this.apiUrl === undefined) throw new Down('the API is down');
      return this.apiUrl;
    };
    this.apiWithin = (ms) => new Api(url, token, ms);
    this.api = this.apiWithin(PATIENCE_MS);
    this.patientApi = new PatientApi(url, token, () => this.state());
    this.variables = {
      CLAWBACK_EVENTSTORE_URL: eventStore.url,
      CLAWBACK_MONGODB_URL: mongo.url,
      CLAWBACK_MONGODB_DATABASE: mongo.database,
      CLAWBACK_CLAIM_MS: String(CLAIM_MS),
    };
  }

  /** Builds the project and starts everything. The servers are fresh ones, or the real ones that the environment names. */
  static async start(options: { readonly tenant: string; readonly executors: number }): Promise<Deployment> {
    await buildProject();
    const directory = await mkdtemp(join(tmpdir(), 'clawback-deployment-'));
    const executors = Array.from({ length: options.executors }, (_, index): Place => `executor ${index + 1}`);
    const deployment = new Deployment(
      options.tenant,
      directory,
      await startEventStore(),
      await startMongo(),
      ['api', 'projections', ...executors],
      tokenFor(directory, options.tenant),
    );
    try {
      for (const place of deployment.places) await deployment.launch(place);
      return deployment;
    } catch (error) {
      await deployment.dispose();
      throw error;
    }
  }

  /** The addresses at which the processes answer about themselves. */
  async addresses(): Promise<ReadonlyMap<Place, string>> {
    const all = new Map<Place, string>();
    for (const [place, process] of this.running) all.set(place, await process.ready);
    return all;
  }

  /** Resolves when it is ready. */
  async launch(place: Place): Promise<void> {
    const process = this.spawn(place);
    const url = await process.ready;
    if (place === 'api') this.apiUrl = url;
  }

  /** At once, whatever it is doing. */
  async kill(place: Place): Promise<void> {
    const ending = await this.leave(place).kill();
    if (ending.signal !== 'SIGKILL') throw new Error(`${place} had ended before it was killed`);
    const role = roleOf(place);
    this.kills.set(role, (this.kills.get(role) ?? 0) + 1);
  }

  /** Killed, and again so many milliseconds after its restart began; resolves when it is ready after that. */
  async killInStart(place: Place, afterMs: number): Promise<void> {
    await this.kill(place);
    this.spawn(place);
    await pause(afterMs);
    await this.kill(place);
    await this.launch(place);
  }

  /** Does nothing for a while, and closes nothing. */
  async frozen(place: Place, forMs: number): Promise<void> {
    const process = this.at(place);
    process.freeze();
    await pause(forMs);
    process.resume();
  }

  /** Ends all processes in order and starts them with these variables beside those that they had. */
  async relaunch(variables: Readonly<Record<string, string>>): Promise<void> {
    await this.terminateAll();
    this.variables = { ...this.variables, ...variables };
    for (const place of this.places) await this.launch(place);
  }

  /**
   * Looks at the history until the remediation is finished. Every look has to be right by itself and after the one
   * before it, whatever is down meanwhile. @throws what is wrong, or that it took too long.
   */
  async untilFinished(approvalId: string, patienceMs = PATIENCE_MS): Promise<EntryBody> {
    const deadline = performance.now() + patienceMs;
    let before: EntryBody | undefined;
    for (;;) {
      const answer = await this.patientApi.get(`/v1/remediations/${approvalId}`);
      // Recorded, and not yet shown: the projector may be down.
      if (answer.status !== 404 || before !== undefined) {
        if (answer.status !== 200) {
          throw new Error(`${approvalId}: ${String(answer.status)} ${answer.text}\n${await this.state()}`);
        }
        const entry = answer.body as EntryBody;
        const problems = problemsOf(before, entry);
        if (problems.length > 0) throw new Error(problems.join('\n'));
        if (['completed', 'failed', 'rejected'].includes(entry.status)) return entry;
        before = entry;
      }
      this.throwIfOneEnded();
      if (performance.now() > deadline) {
        throw new Error(
          `${approvalId} does not finish; last: ${JSON.stringify(before)}\n${await this.state()}`,
        );
      }
      await pause(LOOK_EVERY_MS);
    }
  }

  /** @throws when a process has ended that nobody has ended. */
  throwIfOneEnded(): void {
    if (this.endedByThemselves.length > 0) throw new Error(this.endedByThemselves.join('\n'));
  }

  /** What was recorded and what was really done, read past the product's processes. */
  async evidence(): Promise<Evidence> {
    const events = new EventStoreDbEventStore({ connectionString: this.eventStore.url });
    try {
      return await Evidence.in(events, this.dataDirectory, this.tenant);
    } finally {
      await events.close();
    }
  }

  /** Asks the mailboxes themselves. */
  async sandbox<T>(ask: (sandbox: SandboxTenant) => T | Promise<T>): Promise<T> {
    const sandbox = new SandboxTenant(join(this.dataDirectory, 'sandbox.db'));
    try {
      return await ask(sandbox);
    } finally {
      await sandbox.close();
    }
  }

  async dispose(): Promise<void> {
    await this.terminateAll();
    await this.mongo.dispose();
    await this.eventStore.stop();
    await rm(this.dataDirectory, { recursive: true });
  }

  /** What each process that runs says of its health, and what it has logged as errors, the first and the last of it. */
  private async state(): Promise<string> {
    const lines = Array.from(this.running, async ([place, process]) => {
      const health = process.isReady ? await healthAt(await process.ready) : 'not ready';
      const { errors } = process;
      const logged = errors.length > 4000 ? `${errors.slice(0, 2000)} … ${errors.slice(-2000)}` : errors;
      return `${place}: ${health}\n${logged}`;
    });
    return (await Promise.all(lines)).join('\n');
  }

  private spawn(place: Place): ServerProcess {
    const process = ServerProcess.launch(this.dataDirectory, { ...this.variables, ROLES: roleOf(place) });
    this.running.set(place, process);
    void process.ended.then((ending) => {
      if (this.running.get(place) !== process) return;
      this.endedByThemselves.push(`${place} has ended: ${JSON.stringify(ending)} ${process.errors}`);
    });
    return process;
  }

  private at(place: Place): ServerProcess {
    const process = this.running.get(place);
    if (process === undefined) throw new Error(`${place} is not running`);
    return process;
  }

  /** From now on its end is no surprise. */
  private leave(place: Place): ServerProcess {
    const process = this.at(place);
    this.running.delete(place);
    if (place === 'api') this.apiUrl = undefined;
    return process;
  }

  private async terminateAll(): Promise<void> {
    await Promise.all([...this.running.keys()].map((place) => this.leave(place).terminate()));
  }
}

const healthAt = (url: string): Promise<string> =>
  new Api(() => url, undefined, HEALTH_MS).get('/health/ready').then(({ text }) => text, String);

/** Of somebody who may do everything, for the servers that use this data directory. */
export async function tokenFor(dataDirectory: string, tenant: string): Promise<string> {
  const key = await loadOrCreateLocalKey(dataDirectory);
  return signLocalToken(key, { subject: 'pat@ops.example', roles: ['admin'], tenant, ttlSeconds: 3600 });
}
