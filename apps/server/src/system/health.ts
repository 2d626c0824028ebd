import type { SubscriptionState } from '#libs/event-store';
import type { CoordinationState, ExecutorState } from '#libs/executor';
import { type Position } from '#libs/kernel';
import { errorClass, scrub } from '#libs/platform';
import { activeCheckpoint, type Builds, type ViewState } from '#libs/read-store';
import type { Runtime } from '../runtime.js';
import { VIEWS } from '../views/views.js';
import type { ConnectionReport } from './connections.js';
import { keptBuilds, type KeptBuilds } from './kept-builds.js';
import { LagMeter, type Lag } from './lag.js';
import { answered, type Answered } from './within.js';

/** One thing that has to be well. `degraded`: it is being made good, or waits for something that is. */
export interface Check {
  readonly name: string;
  readonly state: 'ok' | 'degraded' | 'failed';
  readonly detail: string;
}

/** How far a view has come. Undefined is what no store tells at the moment. */
export interface ViewReport {
  readonly view: string;
  /** As in {@link ViewState}; `elsewhere` for one that another process keeps. */
  readonly state: ViewState['state'] | 'elsewhere';
  readonly position: Position | undefined;
  readonly lag: Lag | undefined;
}

/** What the process knows of itself and its stores at one moment. */
export interface Health {
  readonly checks: readonly Check[];
  /** Position of the last event there is. */
  readonly head: Position | undefined;
  readonly views: readonly ViewReport[];
}

/** A store that does not answer within so many milliseconds is not there. */
const PATIENCE_MS = 2000;
/** Reasons are for a person to read on one line. */
const LONGEST_REASON = 500;

/**
 * Looks at everything, each thing by itself, so that what is wrong with one hides nothing of the others.
 *
 * A store that does not answer, a view that has stopped and a coordination that is held up are `failed`: nothing but a
 * person or the store's return mends them. A view that lags is not, however far: it lags in the same way behind every
 * API, so turning those away would make of old answers none at all, and turning away a projector would not make it
 * faster. How far it may lag is for whoever is woken by an alert on `clawback_view_lag_seconds` to say. A subscription
 * that is being made again is not `failed` either: it comes back by itself, and the store has a check of its own.
 */
export async function healthOf(runtime: Runtime): Promise<Health> {
  const { events, readStore } = runtime;
  const [head, ...builds] = await Promise.all([
    answered(PATIENCE_MS, events.head()),
    ...Object.values(VIEWS).map((view) => answered(PATIENCE_MS, readStore.builds(view))),
  ]);
  const kept = Object.values(VIEWS).map(({ name }, index) =>
    keptBuilds(runtime.views(), name, valueOf(builds[index])?.active),
  );
  const views = await viewReports(runtime, head, builds, kept);
  const executor = runtime.executorState();
  const { subscriptions, queue } = runtime.connections;
  return {
    checks: [
      storeCheck('eventStore', [head]),
      storeCheck('readStore', builds),
      ...views.map((report, index) => viewCheck(report, kept[index])),
      ...subscriptions.map(subscriptionCheck),
      ...(queue === undefined ? [] : [connectionCheck('workQueue', queue)]),
      ...(executor === undefined ? [] : [executorCheck(executor)]),
    ],
    head: valueOf(head),
    views,
  };
}

async function viewReports(
  runtime: Runtime,
  head: Answered<Position>,
  builds: readonly Answered<Builds>[],
  kept: readonly KeptBuilds[],
): Promise<ViewReport[]> {
  const { events, clock } = runtime;
  const looking = AbortSignal.timeout(PATIENCE_MS);
  const meter = 'value' in head ? new LagMeter(events, head.value, clock.now(), looking) : undefined;
  return await Promise.all(
    Object.values(VIEWS).map(async ({ name: view }, index) => {
      const answer = valueOf(builds[index]);
      const position = answer && activeCheckpoint(answer);
      return {
        view,
        state: kept[index]?.active?.state ?? ('elsewhere' as const),
        position,
        lag: position === undefined ? undefined : await meter?.of(position),
      };
    }),
  );
}

const valueOf = <T>(answer: Answered<T> | undefined): T | undefined =>
  answer !== undefined && 'value' in answer ? answer.value : undefined;

function storeCheck(name: string, answers: readonly Answered<unknown>[]): Check {
  const bad = answers.find((answer) => 'failure' in answer);
  if (bad === undefined) return { name, state: 'ok', detail: 'answers' };
  return { name, state: 'failed', detail: `does not answer: ${errorClass(bad.failure)}` };
}

function viewCheck({ view, state, position, lag }: ViewReport, kept: KeptBuilds | undefined): Check {
  const name = `view:${view}`;
  const { active, stopped } = kept ?? {};
  // Only what the view itself says of its events may be shown as it is: what a store says names hosts.
  if (state === 'failed') return { name, state: 'failed', detail: `has stopped: ${reason(active?.error)}` };
  const where = `${state}, ${position === undefined ? 'position unknown' : lagInWords(lag)}`;
  if (active?.error !== undefined) {
    return { name, state: 'degraded', detail: `${where}; waits: ${errorClass(active.cause)}` };
  }
  if (stopped !== undefined) {
    const build = `build ${String(stopped.build)}, which is not read, has stopped`;
    return { name, state: 'degraded', detail: `${where}; ${build}: ${reason(stopped.error)}` };
  }
  return { name, state: 'ok', detail: where };
}

function lagInWords(lag: Lag | undefined): string {
  if (lag === undefined) return 'lag unknown';
  if (lag.positions === 0n) return 'not behind';
  const since = lag.seconds === undefined ? '' : ` for ${lag.seconds.toFixed(1)} s`;
  return `${String(lag.positions)} positions behind${since}`;
}

const subscriptionCheck = (report: ConnectionReport<SubscriptionState['state']>): Check =>
  connectionCheck(`subscription:${report.name}`, report);

function connectionCheck(name: string, { state, lastError }: ConnectionReport<string>): Check {
  const well = lastError === undefined && state !== 'ended';
  const detail = lastError === undefined ? state : `${state}; last error: ${lastError}`;
  return { name, state: well ? 'ok' : 'degraded', detail };
}

const CHECK_OF: Readonly<Record<CoordinationState['state'], Check['state']>> = {
  following: 'ok',
  waiting: 'degraded',
  heldUp: 'failed',
};

function executorCheck({ coordination, position, remediations, batches }: ExecutorState): Check {
  const work =
    `${String(remediations)} remediations under way; batches: ${String(batches.running)} running, ` +
    `${String(batches.waiting)} waiting, ${String(batches.deferred)} deferred, ` +
    `${String(batches.retrying)} tried again`;
  const at = `${coordination.state}, at ${String(position)}`;
  return {
    name: 'executor',
    state: CHECK_OF[coordination.state],
    detail: `${at}${coordination.state === 'following' ? '' : since(coordination)}; ${work}`,
  };
}

function since(coordination: Exclude<CoordinationState, { state: 'following' }>): string {
  const { state, since: instant, event, error } = coordination;
  const what =
    event === undefined ? '' : `${event.eventType} of ${event.stream}, revision ${event.revision}: `;
  const why = state === 'heldUp' && error instanceof Error ? reason(error.message) : errorClass(error);
  return ` since ${instant.toISOString()} by ${what}${why}`;
}

const reason = (text = 'unknown'): string => {
  const clean = scrub(text);
  return clean.length > LONGEST_REASON ? `${clean.slice(0, LONGEST_REASON)}…` : clean;
};
