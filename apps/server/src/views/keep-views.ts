import { NamedSubscriber, type EventStore } from '#libs/event-store';
import type { Clock, Position } from '#libs/kernel';
import type { JsonLogger } from '#libs/platform';
import type { ViewState } from '#libs/read-store';
import { ViewKeeper } from '#libs/rebuild';
import { faultLog } from '../fault-log.js';
import type { Stores } from '../stores.js';
import { firstAfter } from '../system/lag.js';
import { VIEWS, type ViewGroup } from './views.js';
import { waitLog } from './wait-log.js';

/** How long the event that stopped a view is looked for. */
const LOOK_MS = 5_000;

export interface Keeping {
  readonly clock: Clock;
  readonly logger: JsonLogger;
  /** Told of every change of a view. Must not throw. */
  readonly onState?: (state: ViewState) => void;
}

/** Keeps a group of views in this process, and logs what stops one or holds it up. */
export function keepViews(
  { events, readStore, viewStore, instance }: Stores,
  { name, views }: ViewGroup,
  { clock, logger, onState }: Keeping,
): ViewKeeper {
  const logWaits = waitLog(logger);
  return new ViewKeeper({
    events: new NamedSubscriber(events, name),
    store: viewStore,
    projections: views.map((view) => VIEWS[view]),
    clock,
    instance,
    // Only the stores on servers are told late that another build is read.
    ...(viewStore === readStore ? { graceMs: 0 } : {}),
    onError: faultLog(logger),
    onState: (view) => {
      if (view.state === 'failed') void logStopped(view, events, logger);
      logWaits(view);
      onState?.(view);
    },
  });
}

/** The event that stopped the view is the first one that it does not hold. */
async function logStopped(
  { view, position, error, cause }: ViewState,
  events: EventStore,
  logger: JsonLogger,
): Promise<void> {
  const event = await eventAfter(position, events);
  const { correlationId, causationId } = event?.metadata ?? {};
  logger.error('a view has stopped', { view, reason: error, correlationId, causationId, err: cause });
}

const eventAfter = (position: Position, events: EventStore) =>
  firstAfter(events, position, AbortSignal.timeout(LOOK_MS)).catch(() => undefined);
