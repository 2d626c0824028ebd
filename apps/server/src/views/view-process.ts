import type { SubscriptionState } from '#libs/event-store';
import { SystemClock } from '#libs/kernel';
import { createLogger } from '#libs/platform';
import type { ViewState } from '#libs/read-store';
import { openStores, type Stores } from '../stores.js';
import { keepViews } from './keep-views.js';
import { faultOf, type Keep, type Order, type Report } from './messages.js';

/**
 * A process beside the server that keeps a group of views: it opens the stores for itself, does what it is told, and ends
 * with the server, in whatever way that ends.
 */

/** How often the state of the views is told at most, in milliseconds. */
const TELL_EVERY_MS = 20;

/** An end in order may wait for a store; without the server nobody waits for it. */
const END_WITHIN_MS = 10_000;

type Keeper = ReturnType<typeof keepViews>;

let stores: Stores | undefined;
let keeper: Keeper | undefined;
let ending: Promise<void> | undefined;

process.on('message', (order: Order) => {
  if (order === 'stop') void end();
  else void keep(order);
});
process.once('disconnect', () => {
  setTimeout(() => process.exit(1), END_WITHIN_MS).unref();
  void end();
});
// A terminal and a supervisor tell all processes at once: the server stops this one when its own work has ended.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);

async function keep({ keep: group, config, instance }: Keep): Promise<void> {
  try {
    const listener = { onSubscription: tellSubscription, onQueue: () => undefined };
    stores = await openStores(config, listener, instance);
    keeper = keepViews(stores, group, {
      clock: new SystemClock(),
      logger: createLogger(config),
      onState: tellViews,
    });
    await keeper.start();
  } catch (error) {
    tell({ fault: faultOf(error) });
    await end();
  }
}

/** What was recorded stays, what was not is taken up at the next start. */
function end(): Promise<void> {
  ending ??= close().finally(() => {
    process.exit();
  });
  return ending;
}

async function close(): Promise<void> {
  await keeper?.stop();
  await stores?.close();
}

let telling: NodeJS.Timeout | undefined;

function tellViews(): void {
  telling ??= setTimeout(() => {
    telling = undefined;
    tell({ views: (keeper?.state() ?? []).map(told) });
  }, TELL_EVERY_MS);
}

const told = ({ cause, ...state }: ViewState) => ({
  ...state,
  ...(cause === undefined ? {} : { cause: faultOf(cause) }),
});

function tellSubscription({ lastError, ...state }: SubscriptionState): void {
  tell({
    subscription: { ...state, ...(lastError === undefined ? {} : { lastError: faultOf(lastError) }) },
  });
}

/** To a server that is gone nothing is told. */
function tell(report: Report): void {
  if (process.connected) process.send?.(report, undefined, undefined, () => undefined);
}
