import { pause, type Clock } from '#libs/kernel';
import type { ReadStore } from '#libs/read-store';
import { expiredProposals } from './action-center.js';

export interface ProposalExpiryDependencies {
  readonly store: ReadStore;
  readonly clock: Clock;
  /** Records the end of a proposal, if its time is over indeed. */
  readonly expire: (tenant: string, approvalId: string) => Promise<void>;
  readonly onError: (error: unknown, what: string) => void;
  /** How often it is looked; default a minute. */
  readonly everyMs?: number;
}

const EVERY_MS = 60_000;

/** Ends proposals that nobody has decided in time. The view only finds them; whether it is time is decided by the events. */
export class ProposalExpiry {
  private readonly stopping = new AbortController();
  private running: Promise<void> | undefined;

  constructor(private readonly deps: ProposalExpiryDependencies) {}

  start(): void {
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  /** Ends those whose time is over now. */
  async sweep(): Promise<void> {
    const { store, clock, expire } = this.deps;
    for (const { tenant, approvalId } of await expiredProposals(store, clock.now())) {
      await expire(tenant, approvalId);
    }
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        await this.sweep();
      } catch (error) {
        this.deps.onError(error, 'ending proposals that nobody has decided');
      }
      await pause(this.deps.everyMs ?? EVERY_MS, signal);
    }
  }
}
