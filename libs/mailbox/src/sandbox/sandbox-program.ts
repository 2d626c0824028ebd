import { parentPort, workerData } from 'node:worker_threads';
import { hostSandbox } from './host-sandbox.js';
import { plainError, unpacked, type Message } from './sandbox-messages.js';
import { SandboxTenant } from './sandbox-tenant.js';

/** A thread that has the sandbox tenant of a file, and does what the server asks of it. */

const port = parentPort;
if (port === null) throw new Error('this is no program of its own: the server starts it as a thread');

port.on('message', open());

function open(): (message: Message) => void {
  if (port === null) throw new TypeError('no port');
  try {
    const end = (): void => {
      port.close();
    };
    return hostSandbox(
      new SandboxTenant(String(workerData)),
      (answers) => {
        port.postMessage(answers);
      },
      end,
    );
  } catch (error) {
    // Nothing can be done but to say so, to whatever is asked.
    return (message) => {
      if ('fired' in message) return;
      const asked = message.map(unpacked);
      port.postMessage(asked.map(({ id }) => ({ id, fault: plainError(error) })));
      if (asked.some(({ call }) => call.method === 'close')) port.close();
    };
  }
}
