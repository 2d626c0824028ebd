import { isClawbackError, pause, START } from '#libs/kernel';
import { type ReadStore, type ViewSpec, pagesOf } from '#libs/read-store';
import { webhookCodecs } from './codecs.js';
import { Courier, type CourierPorts } from './courier.js';
import { webhooksView } from './webhooks.view.js';

export interface DispatcherOptions extends CourierPorts {
  /** Where the webhooks are found. Whoever gives it has prepared their view there. */
  readonly views: ReadStore;
  /** Of several processes one writes a view at a time: that one dispatches. */
  readonly turns: ReadStore;
  /** How often a process asks for its turn, or makes sure that it still has it; default 2,000 ms. */
  readonly turnMs?: number;
  /** How long a shutdown waits for the attempts under way; default 2,000 ms. */
  readonly graceMs?: number;
}

/** The right to dispatch: a view without documents, whose writer has it. */
export const dispatchTurn: ViewSpec<never> = {
  name: 'webhookDispatch',
  version: 1,
  fields: {},
  indexes: [],
  isRight: true,
};

const PAGE = 1000;

/**
 * Keeps one courier for each active webhook, in one process at a time. It learns of webhooks from their view, then from the
 * log. Starts once and stops once.
 */
export class WebhookDispatcher {
  private readonly stopping = new AbortController();
  private running: Promise<void> | undefined;

  constructor(private readonly options: DispatcherOptions) {}

  /** Goes on in the background. */
  start(): void {
    this.running ??= this.run(this.stopping.signal);
  }

  /** Waits for the attempts under way, within reason; what is broken off is sent again by whoever goes on. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async run(signal: AbortSignal): Promise<void> {
    const { turnMs = 2000, onError } = this.options;
    while (!signal.aborted) {
      try {
        if (await this.hasTurn()) await this.term(signal);
      } catch (error) {
        onError(error, 'the dispatch of webhooks was interrupted');
      }
      await pause(turnMs, signal);
    }
  }

  /** Another process may have it, or the store may be away: then this one waits. */
  private async hasTurn(): Promise<boolean> {
    try {
      await this.options.turns.prepare(dispatchTurn);
      await this.options.turns.commit(dispatchTurn, [], START);
      return true;
    } catch (error) {
      if (isClawbackError(error) && (error.kind === 'unavailable' || error.code === 'writerFenced'))
        return false;
      throw error;
    }
  }

  /** Dispatches until this process is stopped or has lost its turn. */
  private async term(stopped: AbortSignal): Promise<void> {
    const ending = new AbortController();
    const signal = AbortSignal.any([stopped, ending.signal]);
    const couriers = new Couriers(this.options, signal, this.options.graceMs ?? 2000);
    const watch = this.watchTurn(signal).finally(() => {
      ending.abort();
    });
    try {
      await this.follow(couriers, signal);
    } finally {
      ending.abort();
      await watch;
      await couriers.stopped();
    }
  }

  private async watchTurn(signal: AbortSignal): Promise<void> {
    do await pause(this.options.turnMs ?? 2000, signal);
    while (!signal.aborted && (await this.hasTurn()));
  }

  private async follow(couriers: Couriers, signal: AbortSignal): Promise<void> {
    const { events, views } = this.options;
    // Read before the webhooks, which therefore show at least everything up to here.
    const after = await views.checkpoint(webhooksView);
    for await (const webhookId of this.active()) couriers.renew(webhookId);
    const types = new Set(webhookCodecs.types);
    for await (const delivery of events.subscribe({ after, signal, types })) {
      for (const event of delivery.events) {
        const change = webhookCodecs.decode(event);
        if (change !== undefined) couriers.renew(change.data.webhookId);
      }
    }
  }

  private async *active(): AsyncGenerator<string> {
    const where = [{ field: 'status', op: 'eq' as const, value: 'active' }];
    for await (const items of pagesOf(this.options.views, webhooksView, { where, limit: PAGE })) {
      for (const { id } of items) yield id;
    }
  }
}

/** At most one courier for each webhook. */
class Couriers {
  private readonly current = new Map<string, { readonly stop: () => void; readonly over: Promise<void> }>();
  private readonly breaking = new AbortController();

  constructor(
    private readonly ports: CourierPorts,
    private readonly signal: AbortSignal,
    private readonly graceMs: number,
  ) {}

  /** Something has changed: the courier that there is ends after its attempt, and one that knows follows it. */
  renew(webhookId: string): void {
    const before = this.current.get(webhookId);
    before?.stop();
    const own = new AbortController();
    const stopping = AbortSignal.any([this.signal, own.signal]);
    const signals = { stopping, breaking: this.breaking.signal };
    const over = (before?.over ?? Promise.resolve()).then(() =>
      new Courier(this.ports, webhookId).run(signals),
    );
    const courier = {
      stop: () => {
        own.abort();
      },
      over,
    };
    this.current.set(webhookId, courier);
    void over.then(() => {
      if (this.current.get(webhookId) === courier) this.current.delete(webhookId);
    });
  }

  /** Resolves when all have ended. Their signal has fired already. */
  async stopped(): Promise<void> {
    const all = Promise.all(Array.from(this.current.values(), ({ over }) => over));
    const grace = new AbortController();
    const late = pause(this.graceMs, grace.signal).then(() => {
      this.breaking.abort();
    });
    await all;
    grace.abort();
    await late;
  }
}
