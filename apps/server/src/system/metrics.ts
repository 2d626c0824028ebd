import type { SubscriptionState, WorkQueueState } from '#libs/event-store';
import type { CoordinationState } from '#libs/executor';
import type { ViewState } from '#libs/read-store';
import type { FastifyInstance } from 'fastify';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { Runtime } from '../runtime.js';
import { healthOf, type Health } from './health.js';

/** Seconds; most answers take milliseconds, an import takes as long as it takes. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

const VIEW_STATES: readonly ViewState['state'][] = ['catchingUp', 'live', 'failed'];
const SUBSCRIPTION_STATES: readonly SubscriptionState['state'][] = [
  'catchingUp',
  'live',
  'reconnecting',
  'ended',
];
const QUEUE_STATES: readonly WorkQueueState['state'][] = ['consuming', 'reconnecting', 'ended'];
const COORDINATION_STATES: readonly CoordinationState['state'][] = ['following', 'waiting', 'heldUp'];

/** What Prometheus reads of this process. docs/servers.md has the table. */
export class Metrics {
  private readonly registry = new Registry();
  private readonly requests: Histogram<'method' | 'route' | 'status'>;
  private readonly show: (health: Health) => void;

  constructor(private readonly runtime: Runtime) {
    collectDefaultMetrics({ register: this.registry, prefix: 'clawback_' });
    this.requests = new Histogram({
      name: 'clawback_http_request_seconds',
      help: 'Time to answer a request',
      labelNames: ['method', 'route', 'status'],
      buckets: BUCKETS,
      registers: [this.registry],
    });
    const shows = [this.stores(), this.views(), this.subscriptions(), this.workQueue(), this.executor()];
    this.show = (health) => {
      for (const show of shows) show(health);
    };
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  /** Everything as it is now, in the text format of Prometheus. */
  async text(): Promise<string> {
    this.show(await healthOf(this.runtime));
    return await this.registry.metrics();
  }

  /** Times every request by its route, not by its path, which may name a person. */
  observe(fastify: FastifyInstance): void {
    fastify.addHook('onResponse', (request, reply, done) => {
      const { method, routeOptions } = request;
      const labels = { method, route: routeOptions.url ?? 'none', status: String(reply.statusCode) };
      this.requests.observe(labels, reply.elapsedTime / 1000);
      done();
    });
  }

  private stores(): (health: Health) => void {
    const up = this.gauge('store_up', '1 when the store answers, 0 when it does not', 'store');
    const head = this.gauge('event_log_head_position', 'Position of the last event there is');
    return ({ checks, head: position }) => {
      for (const { name, state } of checks) {
        if (name === 'eventStore' || name === 'readStore') up.set({ store: name }, state === 'ok' ? 1 : 0);
      }
      if (position === undefined) head.remove();
      else head.set(Number(position));
    };
  }

  /** Positions and lags of all views, by every process: a projector that is gone tells nobody that it is. */
  private views(): (health: Health) => void {
    const state = this.gauge(
      'view_state',
      '1 for the state that a view of this process is in',
      'view',
      'state',
    );
    const position = this.gauge('view_position', 'Position of the last event in the view', 'view');
    const positions = this.gauge(
      'view_lag_positions',
      'Position of the last event less that of the last one in the view: events on SQLite, bytes on EventStoreDB',
      'view',
    );
    const seconds = this.gauge(
      'view_lag_seconds',
      'How long the oldest event that is not in the view has been recorded; 0 without one',
      'view',
    );
    return ({ views }) => {
      for (const gauge of [state, position, positions, seconds]) gauge.reset();
      for (const { view, state: kept, position: at, lag } of views) {
        if (kept !== 'elsewhere') setState(state, { view }, VIEW_STATES, kept);
        if (at !== undefined) position.set({ view }, Number(at));
        if (lag !== undefined) positions.set({ view }, Number(lag.positions));
        if (lag?.seconds !== undefined) seconds.set({ view }, lag.seconds);
      }
    };
  }

  private subscriptions(): (health: Health) => void {
    const state = this.gauge(
      'subscription_state',
      '1 for the state that a subscription to the event log is in',
      'subscription',
      'state',
    );
    const errors = this.counter(
      'subscription_errors_total',
      'Faults of a subscription to the event log, by their class',
      'subscription',
      'error',
    );
    return () => {
      errors.reset();
      for (const report of this.runtime.connections.subscriptions) {
        const { name: subscription } = report;
        setState(state, { subscription }, SUBSCRIPTION_STATES, report.state);
        for (const [error, count] of report.errors) errors.inc({ subscription, error }, count);
      }
    };
  }

  private workQueue(): (health: Health) => void {
    const state = this.gauge(
      'work_queue_state',
      '1 for the state that the consumer of the queue is in',
      'state',
    );
    const errors = this.counter(
      'work_queue_errors_total',
      'Faults of the work queue, by their class',
      'error',
    );
    return () => {
      const { queue } = this.runtime.connections;
      if (queue === undefined) return;
      setState(state, {}, QUEUE_STATES, queue.state);
      errors.reset();
      for (const [error, count] of queue.errors) errors.inc({ error }, count);
    };
  }

  private executor(): (health: Health) => void {
    const { runtime } = this;
    if (!runtime.roles.has('executor')) return () => undefined;
    const coordination = this.gauge(
      'executor_coordination_state',
      '1 for the state of the coordination; heldUp: by an event that cannot be read or makes no sense',
      'state',
    );
    const position = this.gauge('executor_position', 'Position of the last event that was coordinated');
    const remediations = this.gauge('executor_remediations', 'Approved remediations that have not finished');
    const batches = this.gauge(
      'executor_batches',
      'Batches: in this process running, waiting for a place, and (among the running) retrying after a fault; ' +
        'in all deferred until their mailboxes answer again',
      'state',
    );
    const claimed = this.counter(
      'executor_batches_claimed_total',
      'Claims on batches that this process has won',
    );
    const errors = this.counter(
      'executor_errors_total',
      'Faults that the executor has met, by their class',
      'error',
    );
    return () => {
      const state = runtime.executorState();
      if (state === undefined) return;
      setState(coordination, {}, COORDINATION_STATES, state.coordination.state);
      position.set(Number(state.position));
      remediations.set(state.remediations);
      for (const part of ['running', 'waiting', 'deferred', 'retrying'] as const)
        batches.set({ state: part }, state.batches[part]);
      claimed.reset();
      claimed.inc(state.batches.claimed);
      errors.reset();
      for (const [error, count] of runtime.executorErrors) errors.inc({ error }, count);
    };
  }

  private gauge<Label extends string>(name: string, help: string, ...labelNames: Label[]): Gauge<Label> {
    return new Gauge({ name: `clawback_${name}`, help, labelNames, registers: [this.registry] });
  }

  private counter<Label extends string>(name: string, help: string, ...labelNames: Label[]): Counter<Label> {
    return new Counter({ name: `clawback_${name}`, help, labelNames, registers: [this.registry] });
  }
}

/** One series a state, so that a question about a state needs no table of numbers. */
function setState<Label extends string>(
  gauge: Gauge<Label | 'state'>,
  labels: Readonly<Partial<Record<Label, string>>>,
  states: readonly string[],
  current: string,
): void {
  for (const state of states) {
    gauge.set({ ...labels, state } as Partial<Record<Label | 'state', string>>, state === current ? 1 : 0);
  }
}
