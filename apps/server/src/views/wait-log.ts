import type { JsonLogger } from '#libs/platform';
import { isWriterWaiting, nameOfBuild, type ViewState } from '#libs/read-store';

/** Logs once when a view begins to wait for a store, with why, and once when it goes on. */
export function waitLog(logger: JsonLogger): (state: ViewState) => void {
  const waiting = new Set<string>();
  return ({ view, build, position, state, error, cause }) => {
    // What has stopped for good is told elsewhere.
    if (state === 'failed') return;
    const key = nameOfBuild({ view, build });
    // One process writes a view, and the others wait for it all the time.
    const waits = error !== undefined && !isWriterWaiting(cause);
    if (waits === waiting.has(key)) return;
    if (waits) {
      waiting.add(key);
      logger.warn('a view waits', { view, build, position, reason: error, err: cause });
    } else {
      waiting.delete(key);
      logger.log('a view goes on', { view, build, position });
    }
  };
}
