import { Worker } from 'node:worker_threads';
import { RemoteSandbox } from './remote-sandbox.js';
import type { Answered } from './sandbox-messages.js';
import type { Sandbox } from './sandbox.js';

const PROGRAM = new URL('./sandbox-program.js', import.meta.url);

/**
 * The sandbox tenant of a file in a thread of its own: what it does, and its waits for the disk, hold up nothing else.
 * It has to be closed before the process ends: a thread that is ended in the middle of a call to the driver of SQLite
 * makes the whole process abort.
 * @throws {ClawbackError} `unavailable` when the file cannot be used.
 */
export async function openSandboxThread(path: string): Promise<Sandbox> {
  const sandbox = new RemoteSandbox(({ onAnswers, onEnd }) => {
    let fault: unknown;
    const worker = new Worker(PROGRAM, { workerData: path });
    worker.on('message', (answers: readonly Answered[]) => {
      onAnswers(answers);
    });
    worker.on('error', (error) => (fault = error));
    worker.on('exit', () => {
      onEnd(fault);
    });
    return {
      post: (message) => {
        worker.postMessage(message);
      },
    };
  });
  try {
    await sandbox.deliveredTo();
    return sandbox;
  } catch (error) {
    await sandbox.close();
    throw error;
  }
}
