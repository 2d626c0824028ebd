import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Condition, Total, ViewSpec } from '#libs/read-store';
import { SqliteReadStore } from '#libs/read-store/sqlite';
import { historyDocOf, submissionOf } from '../../../test/support/examples.js';
import { ActiveRemediationsOfView } from './action-center.js';
import { historyView, type HistoryDoc } from './history.view.js';

const entry = (tenant: string, approvalId: string, emails: number): HistoryDoc =>
  historyDocOf({ tenant, approvalId, plan: { ...submissionOf().plan, emails } });

/** Counts how often it had to count, and may fail. */
class CountingStore extends SqliteReadStore {
  totals = 0;
  failing = false;

  override total<Doc>(view: ViewSpec<Doc>, field: string, where: readonly Condition[]): Promise<Total> {
    this.totals += 1;
    return this.failing ? Promise.reject(new Error('not now')) : super.total(view, field, where);
  }
}

describe('ActiveRemediationsOfView', () => {
  let folder: string;
  let store: CountingStore;
  let active: ActiveRemediationsOfView;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'active-'));
    store = new CountingStore(folder);
    await store.prepare(historyView);
    active = new ActiveRemediationsOfView(store);
  });

  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });

  const show = (tenant: string, approvalId: string, emails: number, position: bigint) =>
    store.commit(
      historyView,
      [{ id: approvalId, position, doc: entry(tenant, approvalId, emails) }],
      position,
    );

  it('counts once for all who ask before the view goes on, for each tenant', async () => {
    await show('t1', 'a', 3, 1n);
    const asked = await Promise.all(['t1', 't1', 't2', 't1'].map((tenant) => active.active(tenant)));
    const of1 = { remediations: 1, emails: 3 };
    expect(asked).toEqual([of1, of1, { remediations: 0, emails: 0 }, of1]);
    expect(await active.active('t1')).toEqual(of1);
    expect(store.totals).toBe(2);
  });

  it('knows at once what the view shows since', async () => {
    await show('t1', 'a', 3, 1n);
    await active.active('t1');
    await show('t1', 'b', 4, 2n);
    expect(await active.active('t1')).toEqual({ remediations: 2, emails: 7 });
  });

  it('asks a store again that could not answer', async () => {
    store.failing = true;
    await expect(active.active('t1')).rejects.toThrow('not now');
    store.failing = false;
    expect(await active.active('t1')).toEqual({ remediations: 0, emails: 0 });
  });
});
