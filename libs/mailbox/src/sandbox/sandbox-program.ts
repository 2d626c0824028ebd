import { parentPort, workerData } from 'node:worker_threads';
import { hostSandbox } from './host-sandbox.js';
import { SandboxTenant } from './sandbox-tenant.js';

/** A thread that has the sandbox tenant of a file, and does what the server asks of it. */

const port = parentPort;
if (port === null) throw new Error('this is no program of its own: the server starts it as a thread');

port.on(
  'message',
  hostSandbox(
    () => new SandboxTenant(String(workerData)),
    (answers) => {
      port.postMessage(answers);
    },
    () => {
      port.close();
    },
  ),
);
