import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PROJECT_ROOT } from './mail-input.js';

/** How a process ended: by itself with a code, or by a signal. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Compiles the present sources, so that the processes run what the checkout holds. */
export async function buildProject(): Promise<void> {
  try {
    await promisify(execFile)('npm', ['run', '--silent', 'build'], { cwd: PROJECT_ROOT });
  } catch (error) {
    throw new Error(`the build has failed: ${(error as { stdout?: string }).stdout ?? ''}`, { cause: error });
  }
}

/** The server as a process of its own, which can be killed. */
export class ServerProcess {
  /** The address, once it listens. Rejects when the process ends before. */
  readonly ready: Promise<string>;
  readonly ended: Promise<Ending>;
  /** Whether the address was printed. */
  isReady = false;
  /** What it has logged, at level error. */
  errors = '';

  private constructor(private readonly child: ChildProcess) {
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        resolve({ code, signal });
      });
    });
    child.stderr?.on('data', (chunk: Buffer) => (this.errors += chunk.toString()));
    this.ready = this.firstLine();
    // Whoever kills it while it starts does not ask for its address.
    this.ready.catch(() => undefined);
  }

  /** @param variables of its environment, beside the data directory. */
  static launch(dataDirectory: string, variables: Readonly<Record<string, string>> = {}): ServerProcess {
    // Variables of the suites themselves are not the server's.
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('CLAWBACK_'));
    return new ServerProcess(
      spawn(process.execPath, [join(PROJECT_ROOT, 'dist/apps/server/src/main.js')], {
        env: {
          ...Object.fromEntries(inherited),
          CLAWBACK_DATA: dataDirectory,
          CLAWBACK_PORT: '0',
          CLAWBACK_LOG_LEVEL: 'error',
          ...variables,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
  }

  /** The processes that it has started and that are there, the oldest first. */
  async children(): Promise<readonly number[]> {
    const listed = await promisify(execFile)('pgrep', ['-P', String(this.child.pid)]).catch(() => ({
      stdout: '',
    }));
    return listed.stdout.split('\n').filter(Boolean).map(Number);
  }

  /** No warning, no time for anything. */
  kill(): Promise<Ending> {
    this.child.kill('SIGKILL');
    return this.ended;
  }

  /** Asks it to end in order, as an operator does. */
  terminate(): Promise<Ending> {
    this.child.kill('SIGTERM');
    return this.ended;
  }

  /** Does nothing any more, and closes nothing, until {@link resume}. */
  freeze(): void {
    this.child.kill('SIGSTOP');
  }

  resume(): void {
    this.child.kill('SIGCONT');
  }

  private firstLine(): Promise<string> {
    return new Promise((resolve, reject) => {
      let text = '';
      this.child.stdout?.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        const end = text.indexOf('\n');
        if (end < 0 || this.isReady) return;
        this.isReady = true;
        resolve(text.slice(0, end));
      });
      this.ended.then((ending) => {
        reject(new Error(`ended before it was ready: ${JSON.stringify(ending)} ${this.errors}`));
      }, reject);
    });
  }
}
