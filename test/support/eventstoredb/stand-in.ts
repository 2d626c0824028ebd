import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface StandInOptions {
  /** Where the events are kept; created when missing, read again at every start. */
  readonly dataFile: string;
  /** Default: any free one. A restart keeps it. */
  readonly port?: number;
  /** The one user (`name:password`) that is let in; default everybody. */
  readonly credentials?: string;
  /** PEM files; default plain text. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
}

/** An EventStoreDB stand-in that runs as a process of its own. What it is true to: see stand-in-server.mjs. */
export interface EventStoreDbStandIn {
  /** Connection string for `@eventstore/db-client`. */
  readonly url: string;
  readonly port: number;
  /** SIGKILL: nothing is said to anyone. */
  kill(): Promise<void>;
  /** Answers nothing any more, and closes nothing (SIGSTOP). */
  hang(): void;
  /** Goes on after {@link hang}. */
  resume(): void;
  /** Ends all subscriptions, catch-up and persistent. */
  dropConsumers(): Promise<void>;
  /** The groups know of no consumer any more; the calls of the consumers stay open. */
  forgetConsumers(): Promise<void>;
  /** The catch-up subscriptions open now stay open and are sent nothing more. */
  mute(): Promise<void>;
  /** The next so many appends (each a call of its own) are written and never answered. */
  loseAnswers(count: number): Promise<void>;
  /** Kills it if it still runs, and starts it on the same port and file. */
  restart(): Promise<void>;
  /** Ends it for good. */
  stop(): Promise<void>;
}

const SERVER = fileURLToPath(new URL('stand-in-server.mjs', import.meta.url));

export async function startEventStoreDbStandIn(options: StandInOptions): Promise<EventStoreDbStandIn> {
  let { child, port } = await start(options, options.port ?? 0);

  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  const control = async (name: string, argument?: number): Promise<void> => {
    const done = once(child, 'message');
    child.send({ control: name, argument });
    await done;
  };
  const host = `${options.credentials === undefined ? '' : `${options.credentials}@`}127.0.0.1:${String(port)}`;
  return {
    url: `esdb://${host}?tls=${String(options.tls !== undefined)}`,
    port,
    kill,
    hang() {
      child.kill('SIGSTOP');
    },
    resume() {
      child.kill('SIGCONT');
    },
    dropConsumers: () => control('dropConsumers'),
    forgetConsumers: () => control('forgetConsumers'),
    mute: () => control('mute'),
    loseAnswers: (count) => control('loseAnswers', count),
    async restart() {
      await kill();
      ({ child, port } = await start(options, port));
    },
    stop: kill,
  };
}

async function start(
  { dataFile, credentials, tls }: StandInOptions,
  port: number,
): Promise<{ child: ChildProcess; port: number }> {
  const args = ['--data-file', dataFile, '--port', String(port)];
  if (credentials !== undefined) args.push('--credentials', credentials);
  if (tls !== undefined) args.push('--tls-cert', tls.certFile, '--tls-key', tls.keyFile);
  const child = fork(SERVER, args, { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const failed = once(child, 'exit').then(([code]: unknown[]) => {
    throw new Error(`the EventStoreDB stand-in ended with code ${String(code)}`);
  });
  const [message] = (await Promise.race([once(child, 'message'), failed])) as [{ listening: number }];
  failed.catch(() => undefined);
  return { child, port: message.listening };
}
