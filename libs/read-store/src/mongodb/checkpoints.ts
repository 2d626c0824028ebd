import type { Collection } from 'mongodb';
import { ClawbackError, formatPosition, parsePosition, type Position } from '#libs/kernel';
import { isDuplicateKey } from './faults.js';
import type { Collections } from './mongo-connection.js';

/** How far a view has come, and who writes it. */
export interface CheckpointDocument {
  readonly _id: string;
  /** As text that sorts as the position does; empty before the first event. */
  readonly position: string;
  /** Who may write until then; empty when nobody has the lease. */
  readonly owner: string;
  /** Grows with every change of the writer. What is done in the name of an earlier one is refused. */
  readonly epoch: number;
  /** When the lease lapses, in milliseconds since 1970. */
  readonly until: number;
}

export interface WriterOptions {
  /** Names this writer. Whoever comes with the same name takes over from it at once. */
  readonly owner: string;
  readonly leaseMs: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** The right to write one view. */
export interface Lease {
  readonly epoch: number;
  /** Nobody else can have taken it over before then. */
  until: number;
  /** Given back at the end only. */
  readonly isRight: boolean;
}

/**
 * The checkpoints of all views, and the leases of those that this process writes. A lease is a hint that keeps writers
 * from doing the work twice; what makes a stale writer harmless is the epoch for the checkpoint, and the position for
 * each document. Clocks that differ by less than the lease only let a writer be replaced too early or too late.
 */
export class Checkpoints {
  private readonly leases = new Map<string, Lease>();
  private refreshing: NodeJS.Timeout | undefined;

  /** @param writer none: whoever calls may write, and is told nothing of other writers. */
  constructor(
    private readonly database: Collections,
    private readonly writer: WriterOptions | undefined,
  ) {}

  private get collection(): Collection<CheckpointDocument> {
    // What is not on a majority may be rolled back, and a projector that began after it would leave events out.
    return this.database.collection('checkpoints', { readConcern: { level: 'majority' } });
  }

  async prepare(key: string): Promise<void> {
    await insertIfMissing(this.collection, { _id: key, position: '', owner: '', epoch: 0, until: 0 });
  }

  async read(key: string): Promise<Position> {
    const found = await this.collection.findOne({ _id: key });
    return parsePosition(found?.position ?? '');
  }

  /**
   * Makes sure that this process may write the view, before it does.
   * @param isRight as in the spec of the view
   * @throws {ClawbackError} `writerWaiting`, kind `unavailable`: somebody else is writing it; the call may be repeated
   * until that one is gone. `writerFenced`, kind `conflict`: somebody else has taken over from this process.
   * @throws {Error} the view has been discarded.
   */
  async hold(key: string, isRight: boolean): Promise<Lease | undefined> {
    if (this.writer === undefined) return undefined;
    const lease = this.leases.get(key);
    if (lease === undefined) return await this.acquire(key, isRight, this.writer);
    if (this.writer.now() < lease.until || (await this.renew(key, lease, this.writer))) return lease;
    throw this.fenced(key);
  }

  /**
   * Never back. Renews the lease on the way.
   * @param lease what {@link hold} gave
   * @throws {ClawbackError} `writerFenced`: somebody else has taken over.
   */
  async move(key: string, position: Position, lease: Lease | undefined): Promise<void> {
    const further = { $max: { position: formatPosition(position) } };
    if (this.writer === undefined || lease === undefined) {
      await this.collection.updateOne({ _id: key }, further);
      return;
    }
    if (!(await this.renew(key, lease, this.writer, further))) throw this.fenced(key);
  }

  /** Forgets a view: who still writes it is refused. */
  async drop(key: string): Promise<void> {
    this.leases.delete(key);
    await this.collection.deleteOne({ _id: key });
  }

  /** Lets the next writer begin at once. A lease that cannot be given back lapses by itself. */
  async release(): Promise<void> {
    clearInterval(this.refreshing);
    await this.giveBack([...this.leases]);
  }

  private async giveBack(held: readonly (readonly [key: string, lease: Lease])[]): Promise<void> {
    for (const [key] of held) this.leases.delete(key);
    await Promise.allSettled(
      held.map(([key, { epoch }]) =>
        this.collection.updateOne({ _id: key, epoch }, { $set: { owner: '', until: 0 } }),
      ),
    );
  }

  private async acquire(
    key: string,
    isRight: boolean,
    { owner, leaseMs, now }: WriterOptions,
  ): Promise<Lease> {
    const time = now();
    const until = time + leaseMs;
    const taken = await this.collection.findOneAndUpdate(
      { _id: key, $or: [{ owner }, { until: { $lte: time } }] },
      { $set: { owner, until }, $inc: { epoch: 1 } },
      { returnDocument: 'after' },
    );
    if (taken === null) {
      if ((await this.collection.findOne({ _id: key })) === null) {
        throw new Error(`the view ${key} has been discarded`);
      }
      // Two that held a view each and waited for the other's would wait for ever.
      if (!isRight) await this.giveBack([...this.leases].filter(([, held]) => !held.isRight));
      throw new ClawbackError('unavailable', 'writerWaiting', `another process writes the view ${key}`, {
        view: key,
      });
    }
    const lease = { epoch: taken.epoch, until, isRight };
    this.leases.set(key, lease);
    this.refreshing ??= this.refreshInTheBackground(leaseMs);
    return lease;
  }

  /** @returns false: the lease is somebody else's by now. */
  private async renew(
    key: string,
    lease: Lease,
    { owner, leaseMs, now }: WriterOptions,
    more: object = {},
  ): Promise<boolean> {
    const until = now() + leaseMs;
    const { matchedCount } = await this.collection.updateOne(
      { _id: key, epoch: lease.epoch, owner },
      { ...more, $set: { until } },
    );
    if (matchedCount > 0) lease.until = until;
    return matchedCount > 0;
  }

  /** Without it a writer that has nothing to write would lose its lease to another that has nothing to write either. */
  private refreshInTheBackground(leaseMs: number): NodeJS.Timeout {
    return setInterval(() => {
      void this.refresh();
    }, leaseMs / 3).unref();
  }

  /** Whatever goes wrong here shows again at the next commit, once the lease is over. */
  private async refresh(): Promise<void> {
    const { writer } = this;
    if (writer === undefined) return;
    await Promise.allSettled(Array.from(this.leases, ([key, lease]) => this.renew(key, lease, writer)));
  }

  /** Told once: the next commit waits for its turn as any newcomer does. */
  private fenced(key: string): ClawbackError {
    this.leases.delete(key);
    return new ClawbackError('conflict', 'writerFenced', `another process has taken over the view ${key}`, {
      view: key,
    });
  }
}

/** Of two that insert the same document at once, one does. */
export async function insertIfMissing<Doc extends { readonly _id: string }>(
  collection: Collection<Doc>,
  document: Doc,
): Promise<void> {
  try {
    await collection.insertOne(document as Parameters<typeof collection.insertOne>[0]);
  } catch (error) {
    if (!isDuplicateKey(error)) throw error;
  }
}
