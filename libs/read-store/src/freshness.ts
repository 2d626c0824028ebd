import type { EventStore } from '#libs/event-store';
import { ClawbackError, type Position } from '#libs/kernel';
import { waitForCheckpoint } from './projector.js';
import type { ReadStore, ViewSpec } from './read-store.js';

/** How long a reader waits for a view that lags. */
const PATIENCE_MS = 60_000;

/**
 * Waits until a view shows everything that was recorded before this call: for decisions that rest on a view.
 * @throws {ClawbackError} `viewBehind`, kind `unavailable`.
 */
export async function untilFresh(
  events: EventStore,
  store: ReadStore,
  view: ViewSpec<never>,
  timeoutMs = PATIENCE_MS,
): Promise<void> {
  await untilShown(store, view, await events.head(), timeoutMs);
}

/** Waits until a view shows what was recorded at a position. @throws {ClawbackError} `viewBehind` */
export async function untilShown(
  store: ReadStore,
  view: ViewSpec<never>,
  position: Position,
  timeoutMs = PATIENCE_MS,
): Promise<void> {
  if (await waitForCheckpoint(store, view, position, { timeoutMs, pollMs: 5 })) return;
  throw new ClawbackError(
    'unavailable',
    'viewBehind',
    `the view ${view.name} lags too far behind; try again later`,
    {
      view: view.name,
    },
  );
}
