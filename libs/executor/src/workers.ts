import type { CommandContext } from '#libs/event-store';
import type { Position } from '#libs/kernel';

/** A batch that is due. */
export interface DueBatch {
  readonly planId: string;
  readonly batch: number;
  readonly context: Omit<CommandContext, 'commandId' | 'now'>;
  /** The mailboxes must have what was recorded up to here. */
  readonly after: Position;
}

/** A few workers over a queue of due batches. A batch that is queued or under way is not taken twice. */
export class Workers {
  private readonly queue: { readonly key: string; readonly due: DueBatch; readonly done: () => void }[] = [];
  private readonly taken = new Map<string, Promise<void>>();
  private readonly underWay = new Set<Promise<void>>();
  private stopped = false;

  /** @param run does one batch; must not reject. */
  constructor(
    private readonly places: number,
    private readonly run: (due: DueBatch) => Promise<void>,
  ) {}

  /** Batches under way. */
  get running(): number {
    return this.underWay.size;
  }

  /** Batches that wait for a place. */
  get waiting(): number {
    return this.queue.length;
  }

  /** Whether the batch is queued or under way. */
  have(planId: string, batch: number): boolean {
    return this.taken.has(keyOf({ planId, batch }));
  }

  /** Resolves when the batch was run, well or not; at once when the workers were stopped. */
  take(due: DueBatch): Promise<void> {
    const key = keyOf(due);
    const known = this.taken.get(key);
    if (known !== undefined) return known;
    if (this.stopped) return Promise.resolve();
    const promise = new Promise<void>((done) => {
      this.queue.push({ key, due, done });
    });
    this.taken.set(key, promise);
    this.next();
    return promise;
  }

  /** Takes no more; resolves when what is under way has ended. */
  async stop(): Promise<void> {
    this.stopped = true;
    for (const { done } of this.queue.splice(0)) done();
    await Promise.all(this.underWay);
  }

  private next(): void {
    while (!this.stopped && this.underWay.size < this.places) {
      const item = this.queue.shift();
      if (item === undefined) return;
      const work = this.run(item.due).finally(() => {
        this.underWay.delete(work);
        this.taken.delete(item.key);
        item.done();
        this.next();
      });
      this.underWay.add(work);
    }
  }
}

const keyOf = ({ planId, batch }: Pick<DueBatch, 'planId' | 'batch'>): string => `${planId}/${String(batch)}`;
