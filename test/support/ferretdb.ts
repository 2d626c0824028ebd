import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Readable } from 'node:stream';

const PROGRAM = join(import.meta.dirname, '../../.tmp/servers/ferretdb');

type Process = ChildProcessByStdio<null, Readable, null>;

/** FerretDB, a server that speaks MongoDB's protocol over SQLite files. */
export interface FerretDb {
  /** The same for the whole life, restarts included. */
  readonly url: string;
  /** At once, as a power cut of the process would. */
  kill(): Promise<void>;
  /** Starts it again on the same data and port, after {@link kill} or from running. */
  restart(): Promise<void>;
  /** In order, and for good. */
  stop(): Promise<void>;
}

/**
 * Resolves when the server listens on 127.0.0.1.
 * @param options.port default: a free one
 * @throws {Error} it is not built, or ends before it listens.
 */
export async function startFerretDb(options: {
  readonly dataDirectory: string;
  readonly port?: number;
}): Promise<FerretDb> {
  let running = await launch(options.dataDirectory, options.port ?? 0);
  const { url } = running;
  const port = Number(new URL(url).port);
  const end = async (signal: 'SIGKILL' | 'SIGTERM'): Promise<void> => {
    const { process } = running;
    if (process.exitCode !== null || process.signalCode !== null) return;
    const ended = once(process, 'exit');
    process.kill(signal);
    await ended;
  };
  return {
    url,
    kill: () => end('SIGKILL'),
    async restart() {
      await end('SIGTERM');
      running = await launch(options.dataDirectory, port);
    },
    stop: () => end('SIGTERM'),
  };
}

async function launch(
  dataDirectory: string,
  port: number,
): Promise<{ readonly process: Process; readonly url: string }> {
  const process = spawn(PROGRAM, ['-data', dataDirectory, '-port', String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: process.stdout });
  const ready = once(lines, 'line') as Promise<[string]>;
  const failed = once(process, 'exit').then(([code]) => {
    throw new Error(`FerretDB ended with ${String(code)} before it listened`);
  });
  try {
    await once(process, 'spawn');
  } catch (cause) {
    throw new Error('FerretDB does not start; build it by tools/servers/build.sh', { cause });
  }
  const [line] = await Promise.race([ready, failed]);
  // From now on it may end as it likes.
  failed.catch(() => undefined);
  const url = /^ready (mongodb:\S+)$/.exec(line)?.[1];
  if (url === undefined) throw new Error(`FerretDB said ${line}`);
  return { process, url };
}
