import type { FastifyInstance } from 'fastify';
import { Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { Runtime } from '../runtime.js';

/** Seconds; most answers take milliseconds, an import takes as long as it takes. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

/** What Prometheus reads of this process. */
export class Metrics {
  readonly registry = new Registry();
  private readonly requests: Histogram<'method' | 'route' | 'status'>;

  constructor(runtime: Runtime) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry, prefix: 'clawback_' });
    this.requests = new Histogram({
      name: 'clawback_http_request_seconds',
      help: 'Time to answer a request',
      labelNames: ['method', 'route', 'status'],
      buckets: BUCKETS,
      registers,
    });
    const position = new Gauge({
      name: 'clawback_view_position',
      help: 'Position of the last event in the view; positions grow but have gaps',
      labelNames: ['view'],
      registers,
    });
    const live = new Gauge({
      name: 'clawback_view_live',
      help: '1 when the view has caught up and follows, 0 while it catches up, -1 when it has stopped',
      labelNames: ['view'],
      registers,
      collect() {
        for (const { view, state, position: at } of runtime.views()) {
          live.set({ view }, state === 'live' ? 1 : state === 'failed' ? -1 : 0);
          position.set({ view }, Number(at));
        }
      },
    });
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
}
