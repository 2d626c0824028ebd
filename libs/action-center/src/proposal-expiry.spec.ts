import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { SqliteReadStore } from '#libs/read-store/sqlite';
import { historyDocOf } from '../../../test/support/examples.js';
import { TestClock } from '../../../test/support/test-clock.js';
import { historyView, type HistoryDoc } from './history.view.js';
import { ProposalExpiry } from './proposal-expiry.js';

const proposal = (approvalId: string, status: HistoryDoc['status'], expiresAt?: string): HistoryDoc =>
  historyDocOf({
    tenant: `tenant of ${approvalId}`,
    approvalId,
    status,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  });

describe('ProposalExpiry', () => {
  let folder: string;
  let store: SqliteReadStore;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'expiry-'));
    store = new SqliteReadStore(folder);
    await store.prepare(historyView);
  });
  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });

  it('ends pending proposals of every tenant whose time is over, and no others', async () => {
    const clock = new TestClock();
    const at = (ms: number) => new Date(clock.now().getTime() + ms).toISOString();
    const entries = [
      proposal('over', 'pending', at(-1)),
      proposal('now', 'pending', at(0)),
      proposal('later', 'pending', at(1)),
      proposal('for ever', 'pending'),
      proposal('approved', 'started', at(-1)),
    ];
    await store.commit(
      historyView,
      entries.map((doc) => ({ id: doc.approvalId, position: 1n, doc })),
      1n,
    );
    const ended: string[] = [];
    const expiry = new ProposalExpiry({
      store,
      clock,
      expire: (tenant, approvalId) => {
        ended.push(`${approvalId} of ${tenant}`);
        return Promise.resolve();
      },
      onError: (error) => {
        throw error;
      },
    });
    await expiry.sweep();
    expect(ended).toEqual(['over of tenant of over', 'now of tenant of now']);
  });

  it('goes on after a fault, and stops at once', async () => {
    const faults: unknown[] = [];
    const told = new Promise<void>((resolve) => {
      const expiry = new ProposalExpiry({
        store: {
          find: () => Promise.reject(new Error('away')),
        } as unknown as SqliteReadStore,
        clock: new TestClock(),
        everyMs: 1,
        expire: () => Promise.resolve(),
        onError: (error) => {
          faults.push(error);
          if (faults.length === 2) void expiry.stop().then(resolve);
        },
      });
      expiry.start();
    });
    await told;
    expect(faults).toHaveLength(2);
  });
});
