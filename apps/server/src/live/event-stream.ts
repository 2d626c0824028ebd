import { publicBody, type LiveItem } from '#libs/action-center';
import { formatPosition, pause, type Position } from '#libs/kernel';

/** How long a client waits before it comes again, in milliseconds. */
const RETRY_MS = 2000;

/** A comment: keeps proxies from taking a quiet stream for a dead one. */
export const HEARTBEAT = ': still here\n\n';

/** The first block: how soon to come again, and from where. */
export const opening = (position: Position): string => `retry: ${RETRY_MS}\n${idLine(position)}\n`;

/** One item as a block of `text/event-stream`. A block without data moves the client's last event id and nothing else. */
export function block({ position, notification }: LiveItem): string {
  return notification === undefined
    ? `${idLine(position)}\n`
    : eventBlock(position, notification.type, publicBody(notification));
}

/** JSON has no line breaks: the data is one line. */
export const eventBlock = (position: Position, type: string, body: object): string =>
  `${idLine(position)}event: ${type}\ndata: ${JSON.stringify(body)}\n\n`;

/** Before the first event there is no id to resume from; nought sorts before every event's. */
const idLine = (position: Position): string => (position < 0n ? '' : `id: ${formatPosition(position)}\n`);

/** The blocks as they come, and a heartbeat whenever none has come for so long. */
export async function* withHeartbeat(blocks: AsyncIterable<string>, everyMs: number): AsyncGenerator<string> {
  const iterator = blocks[Symbol.asyncIterator]();
  let next = iterator.next();
  try {
    for (;;) {
      const timer = new AbortController();
      const result = await Promise.race([next, pause(everyMs, timer.signal)]).finally(() => {
        timer.abort();
      });
      if (result === undefined) yield HEARTBEAT;
      else if (result.done === true) return;
      else {
        yield result.value;
        next = iterator.next();
      }
    }
  } finally {
    // Whoever went away while a block was under way does not hear of its failure.
    next.catch(() => undefined);
    await iterator.return?.();
  }
}
