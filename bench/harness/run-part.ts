import { fork, type ChildProcess, type ForkOptions } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Figures } from './bench.js';
import { NODE_FLAGS } from './node-flags.js';
import { profiledEnvironment } from './profiler.js';
import type { PartAnswer, PartOrder } from './part-process.js';

/** Starts a module of ours as a process, by the flags that the product runs with. */
export const launch = (module: string, name: string, options: ForkOptions = {}): ChildProcess =>
  fork(join(import.meta.dirname, module), [], {
    execArgv: NODE_FLAGS,
    env: profiledEnvironment(name),
    ...options,
  });

/** The part that runs. What it begins is of the same group of processes. */
let running: ChildProcess | undefined;

/** Ends the part that runs and all that it has begun, so that none of them writes anything more. */
export function endPart(): void {
  if (running?.pid !== undefined) process.kill(-running.pid, 'SIGKILL');
}

/** The first message of a process. @throws {Error} it ends before. */
export async function firstMessage(child: ChildProcess, what: string): Promise<unknown> {
  const gone = once(child, 'exit').then(([code, signal]: unknown[]) => {
    throw new Error(`${what} ended with ${String(code ?? signal)} before it answered`);
  });
  const [message] = (await Promise.race([once(child, 'message'), gone])) as [unknown];
  gone.catch(() => undefined);
  return message;
}

/** Runs one part of a bench in a process of its own. @throws {Error} with the part's own words. */
export async function runPart(order: PartOrder): Promise<Figures> {
  const what = `${order.bench} ${order.part}`;
  const child = launch('part-process.js', what.replace(' ', '-'), { detached: true });
  running = child;
  const ended = once(child, 'exit').finally(() => (running = undefined));
  child.send(order);
  const answer = (await firstMessage(child, what)) as PartAnswer;
  await ended;
  if ('error' in answer) throw new Error(`${what}: ${answer.error}`);
  return answer.figures;
}
