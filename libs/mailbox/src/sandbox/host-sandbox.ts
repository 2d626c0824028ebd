import { setMaxListeners } from 'node:events';
import {
  plainError,
  unpacked,
  type Answered,
  type Asked,
  type Call,
  type Message,
} from './sandbox-messages.js';
import type { Sandbox } from './sandbox.js';

/** A signal of the other side, while calls that it belongs to are under way. */
interface HostedSignal {
  readonly controller: AbortController;
  calls: number;
}

/**
 * Does in a sandbox what the other side asks for. What is answered in one turn goes in one message.
 * @param open opens the sandbox, when it is first asked for something; why it cannot be is answered.
 * @param post sends answers to the other side.
 * @param onClosed called once the sandbox is closed, and everything is answered.
 * @returns what takes the messages of the other side.
 */
export function hostSandbox(
  open: () => Sandbox,
  post: (answers: readonly Answered[]) => void,
  onClosed: () => void,
): (message: Message) => void {
  const signals = new Map<number, HostedSignal>();
  let sandbox: Sandbox | undefined;
  let answers: Answered[] = [];
  let underWay = 0;
  let isClosed = false;

  const answer = (answered: Answered): void => {
    answers.push(answered);
    if (answers.length > 1) return;
    queueMicrotask(() => {
      const all = answers;
      answers = [];
      post(all);
    });
  };

  const take = async ({ id, call, signal: number }: Asked): Promise<void> => {
    underWay += 1;
    const signal = number === undefined ? undefined : use(number);
    try {
      answer({ id, value: await perform((sandbox ??= open()), call, signal?.controller.signal) });
    } catch (error) {
      answer({ id, fault: plainError(error) });
    }
    if (number !== undefined && signal !== undefined) {
      signal.calls -= 1;
      if (signal.calls === 0) signals.delete(number);
    }
    isClosed ||= call.method === 'close';
    underWay -= 1;
    // What was under way when it was closed is answered first.
    if (isClosed && underWay === 0) queueMicrotask(onClosed);
  };

  const use = (number: number): HostedSignal => {
    let signal = signals.get(number);
    if (signal === undefined) {
      signal = { controller: new AbortController(), calls: 0 };
      // Every copy that waits listens to it: Node would take so many for a leak, and warn.
      setMaxListeners(Infinity, signal.controller.signal);
      signals.set(number, signal);
    }
    signal.calls += 1;
    return signal;
  };

  return (message) => {
    if ('fired' in message) signals.get(message.fired)?.controller.abort();
    else for (const asked of message) void take(unpacked(asked));
  };
}

function perform(sandbox: Sandbox, call: Call, signal: AbortSignal | undefined): unknown {
  switch (call.method) {
    case 'move':
      return sandbox.move(call.request, signal ?? new AbortController().signal);
    case 'deliver':
      return sandbox.deliver(call.copies, call.position);
    case 'deliveredTo':
      return sandbox.deliveredTo();
    case 'whenDelivered':
      return sandbox.whenDelivered(call.position, signal);
    case 'setFault':
      return sandbox.setFault(call.tenant, call.mailbox, call.fault);
    case 'clearFault':
      return sandbox.clearFault(call.tenant, call.mailbox);
    case 'faults':
      return sandbox.faults(call.tenant);
    case 'close':
      return sandbox.close();
  }
}
