import { MessageChannel } from 'node:worker_threads';
import { hostSandbox, RemoteSandbox, type Sandbox } from '#libs/mailbox/sandbox';

/** A sandbox at the other end of a channel, as that of a thread is, but in this one. */
export const sandboxOverAChannel = (open: () => Sandbox): Sandbox =>
  new RemoteSandbox(({ onAnswers, onEnd }) => {
    const { port1: here, port2: there } = new MessageChannel();
    const take = hostSandbox(
      open,
      (answers) => {
        there.postMessage(answers);
      },
      () => {
        there.close();
      },
    );
    there.on('message', take);
    here.on('message', onAnswers);
    here.on('close', () => {
      onEnd();
    });
    return {
      post: (message) => {
        here.postMessage(message);
      },
    };
  });
