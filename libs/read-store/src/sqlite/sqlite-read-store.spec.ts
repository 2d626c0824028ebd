import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { SqliteFile } from '#libs/sqlite';
import { waitForCheckpoint } from '../projector.js';
import type { Condition, Query, ViewSpec } from '../read-store.js';
import { checkConditions, checkQuery } from '../view-rules.js';
import { SqliteReadStore } from './sqlite-read-store.js';
import { ViewTable } from './view-table.js';

interface Entry {
  readonly tenant: string;
  readonly status: string;
  readonly at: number | null;
}

const view: ViewSpec<Entry> = {
  name: 'entries',
  version: 1,
  fields: {
    tenant: { type: 'text', of: ({ tenant }) => tenant },
    status: { type: 'text', of: ({ status }) => status },
    at: { type: 'number', of: ({ at }) => at },
  },
  indexes: [['tenant', 'at'], ['status']],
};

describe('SqliteReadStore', () => {
  let folder: string;
  let path: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'read-store-'));
    path = join(folder, `${view.name}.db`);
  });

  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  describe('query plans', () => {
    const tenant: Condition = { field: 'tenant', op: 'eq', value: 't1' };

    async function planOf(query: Query): Promise<string> {
      const store = new SqliteReadStore(folder);
      await store.prepare(view);
      const entries = Array.from({ length: 200 }, (_, index) => ({
        id: String(index),
        position: 1n,
        doc: { tenant: `t${index % 2}`, status: `s${index % 3}`, at: index % 5 === 0 ? null : index },
      }));
      await store.commit(view, entries, 1n);
      await store.close();
      const file = new SqliteFile(path, { durability: 'normal' });
      try {
        const { text, values } = new ViewTable(view, 1).select(checkQuery(view, query));
        const steps = file.all(`EXPLAIN QUERY PLAN ${text}`, ...values);
        return steps.map(({ detail }) => String(detail)).join('\n');
      } finally {
        file.close();
      }
    }

    it.each<[string, Query, string]>([
      [
        'a page of one tenant in order of time',
        { where: [tenant], orderBy: ['at'], after: [7, '7'], limit: 50 },
        'SEARCH entries_v1 USING INDEX ix_entries_v1_tenant_at (f_tenant=? AND (f_at,id)>(?,?))',
      ],
      [
        'the same backwards',
        { where: [tenant], orderBy: ['at'], descending: true, after: [7, '7'], limit: 50 },
        'SEARCH entries_v1 USING INDEX ix_entries_v1_tenant_at (f_tenant=? AND (f_at,id)<(?,?))',
      ],
      [
        'a page in order of a text',
        { where: [], orderBy: ['status'], after: ['s1', '5'], limit: 50 },
        'SEARCH entries_v1 USING INDEX ix_entries_v1_status ((f_status,id)>(?,?))',
      ],
      [
        'a page in order of the id',
        { where: [], after: ['5'], limit: 50 },
        'SEARCH entries_v1 USING INDEX sqlite_autoindex_entries_v1_1 (id>?)',
      ],
      [
        'the beginning of a text',
        { where: [{ field: 'status', op: 'startsWith', value: 's' }], orderBy: ['status'], limit: 50 },
        'SEARCH entries_v1 USING INDEX ix_entries_v1_status (f_status>? AND f_status<?)',
      ],
    ])('%s seeks in an index and sorts nothing', async (_, query, step) => {
      expect(await planOf(query)).toBe(step);
    });

    it.each<[string, Omit<Query, 'limit'>, string]>([
      [
        'the next page of ids that begin alike',
        { where: [{ field: 'id', op: 'startsWith', value: 't/' }], after: ['t/5'] },
        '+id >= ? AND id < ? AND (id) > (?)',
      ],
      [
        'the same backwards',
        { where: [{ field: 'id', op: 'startsWith', value: 't/' }], after: ['t/5'], descending: true },
        'id >= ? AND +id < ? AND (id) < (?)',
      ],
      [
        'the next page of a time, newest first',
        {
          where: [tenant, { field: 'at', op: 'gte', value: 1 }, { field: 'at', op: 'lt', value: 9 }],
          orderBy: ['at'],
          descending: true,
          after: [7, '7'],
        },
        'f_tenant = ? AND f_at >= ? AND f_at > ? AND +f_at < ? AND (f_at, id) < (?, ?)',
      ],
      [
        'a condition on something else',
        { where: [{ field: 'id', op: 'startsWith', value: 't/' }], orderBy: ['at'], after: [7, 't/5'] },
        'id >= ? AND id < ? AND (f_at, id) > (?, ?)',
      ],
    ])('seek the place, and not a bound on the same side of it: %s', (_, query, conditions) => {
      const { text } = new ViewTable(view, 1).select(checkQuery(view, { ...query, limit: 50 }));
      expect(text).toContain(` WHERE ${conditions} ORDER BY`);
    });

    it('show a sort where no index has the order', async () => {
      expect(await planOf({ where: [], orderBy: ['at'], limit: 50 })).toContain('TEMP B-TREE');
    });
  });

  describe('patches', () => {
    const patched: ViewSpec<Entry> = { ...view, indexes: [['tenant', 'at']], patchable: ['status'] };
    const entry = (id: string, status: string, position = 1n) => ({
      id,
      position,
      doc: { tenant: 't', status, at: Number(id) },
    });

    /** What the file says of itself and its plans. */
    function inFile<T>(look: (file: SqliteFile) => T): T {
      const file = new SqliteFile(path, { durability: 'normal' });
      try {
        return look(file);
      } finally {
        file.close();
      }
    }

    const stepsOf = ({ text, values }: ReturnType<ViewTable['count']>): string[] =>
      inFile((file) => file.all(`EXPLAIN QUERY PLAN ${text}`, ...values).map(({ detail }) => String(detail)));

    it('are looked up for what is found by an index, and not looked at by what they do not change', async () => {
      const store = new SqliteReadStore(folder);
      await store.prepare(patched);
      await store.close();
      const table = new ViewTable(patched, 1);
      const where: Condition[] = [{ field: 'tenant', op: 'eq', value: 't' }];
      const page: Query = { where, orderBy: ['at'], descending: true, after: [7, '7'], limit: 9 };
      expect(stepsOf(table.select(checkQuery(patched, page)))).toEqual([
        'SEARCH whole USING INDEX ix_entries_v1_tenant_at (f_tenant=? AND (f_at,id)<(?,?))',
        'SEARCH entries_v1_p_status USING PRIMARY KEY (id=?) LEFT-JOIN',
      ]);
      expect(stepsOf(table.count(checkConditions(patched, where)))).toEqual([
        'SEARCH entries_v1 USING COVERING INDEX ix_entries_v1_tenant_at (f_tenant=?)',
      ]);
    });

    it('are taken into a file of before they had a table of their own', async () => {
      const before = new SqliteReadStore(folder);
      await before.prepare(patched);
      await before.commit(patched, [entry('1', 'old', 5n), entry('2', 'old', 5n)], 5n);
      await before.close();
      inFile((file) => {
        file.exec('DROP VIEW entries_v1_patched; DROP TABLE entries_v1_p_status');
      });
      const store = new SqliteReadStore(folder);
      await store.prepare(patched);
      await store.commit(patched, [{ id: '2', position: 6n, set: { status: 'new' } }], 6n);
      const { items } = await store.find(patched, { where: [], limit: 9 });
      expect(items).toEqual([entry('1', 'old', 5n), entry('2', 'new', 6n)]);
      await store.close();
    });

    it('go with their build', async () => {
      const store = new SqliteReadStore(folder);
      for (const build of [1, 2]) await store.prepare({ ...patched, build });
      await store.discard(patched, 2);
      await store.close();
      const names = inFile((file) =>
        file.all("SELECT name FROM sqlite_master WHERE name LIKE '%entries%' AND name NOT LIKE 'sqlite%'"),
      );
      expect(names.map(({ name }) => name).sort()).toEqual([
        'entries_v1',
        'entries_v1_p_status',
        'entries_v1_patched',
        'ix_entries_v1_tenant_at',
      ]);
    });
  });

  describe('faults', () => {
    const unavailable = { kind: 'unavailable', code: 'readStoreUnavailable' };

    it('says unavailable when the file cannot be opened', async () => {
      await mkdir(path);
      await expect(new SqliteReadStore(folder).prepare(view)).rejects.toMatchObject(unavailable);
    });

    it('says unavailable when its folder cannot be made, or the file is something else', async () => {
      await writeFile(path, 'x'.repeat(8192));
      await expect(new SqliteReadStore(folder).prepare(view)).rejects.toMatchObject(unavailable);
      await expect(new SqliteReadStore(join(path, 'sub')).prepare(view)).rejects.toMatchObject(unavailable);
    });

    it('says unavailable after close, with the cause', async () => {
      const store = new SqliteReadStore(folder);
      await store.prepare(view);
      await store.close();
      await expect(store.getMany(view, ['1'])).rejects.toMatchObject({
        ...unavailable,
        cause: expect.anything(),
      });
      await expect(store.prepare(view)).rejects.toMatchObject(unavailable);
    });

    it('does not call a wrong statement unavailable, which would be tried for ever', async () => {
      const store = new SqliteReadStore(folder);
      await store.prepare(view);
      const other = new SqliteFile(path, { durability: 'normal' });
      other.exec('DROP TABLE entries_v1');
      other.close();
      await expect(store.count(view, [])).rejects.toThrow('no such table');
      await expect(store.count(view, [])).rejects.not.toMatchObject({ kind: 'unavailable' });
      await store.close();
    });
  });

  describe('who waits for a commit', () => {
    const other: ViewSpec<Entry> = { ...view, name: 'others' };
    const forever = { withinMs: 60_000 };
    let store: SqliteReadStore;

    beforeEach(async () => {
      store = new SqliteReadStore(folder);
      for (const one of [view, other]) await store.prepare(one);
      // Time stands still: nobody is woken by it.
      jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick'] });
    });

    afterEach(async () => {
      jest.useRealTimers();
      await store.close();
    });

    it('is woken by the next one to that view, and by no other', async () => {
      const woken: string[] = [];
      const waits = [1, 2].map(() => store.untilCommit(view, forever).then(() => woken.push('view')));
      await store.commit(other, [], 1n);
      await nextTurn();
      expect(woken).toEqual([]);
      await store.commit(view, [], 2n);
      await Promise.all(waits);
      expect(woken).toEqual(['view', 'view']);
    });

    it('is woken when the store is closed, or his time is over', async () => {
      const late = store.untilCommit(view, { withinMs: 20 });
      jest.advanceTimersByTime(20);
      await late;
      const left = store.untilCommit(view, forever);
      await store.close();
      await left;
      expect(jest.getTimerCount()).toBe(0);
    });

    it('sees in the end what another opening has committed', async () => {
      const reached = waitForCheckpoint(store, view, 3n, { timeoutMs: 60_000 });
      const writer = new SqliteReadStore(folder);
      await writer.prepare(view);
      await writer.commit(view, [], 3n);
      await writer.close();
      await jest.advanceTimersByTimeAsync(1000);
      expect(await reached).toBe(true);
    });
  });

  describe('two openings of one directory', () => {
    const entry = { id: 'a', position: 3n, doc: { tenant: 't1', status: 's', at: 1 } };
    let writer: SqliteReadStore;
    let reader: SqliteReadStore;

    beforeEach(async () => {
      [writer, reader] = [new SqliteReadStore(folder), new SqliteReadStore(folder)];
      for (const store of [writer, reader]) await store.prepare(view);
    });

    afterEach(async () => {
      await reader.close();
      await writer.close();
    });

    it('show the same', async () => {
      await writer.commit(view, [entry], 3n);
      expect(await reader.checkpoint(view)).toBe(3n);
      expect(await reader.count(view, [])).toBe(1);
    });

    it('read the build that the other one has made and switched to', async () => {
      await writer.prepare({ ...view, build: 2 });
      await writer.commit({ ...view, build: 2 }, [entry], 4n);
      expect(await reader.count(view, [])).toBe(0);
      await writer.activate(view, 2, 4n);
      expect(await reader.count(view, [])).toBe(1);
      expect(await reader.checkpoint(view)).toBe(4n);
      await writer.discard(view, 1);
      expect(await reader.getMany(view, ['a'])).toEqual([entry]);
      expect(await reader.builds(view)).toEqual({ active: 2, builds: [{ build: 2, checkpoint: 4n }] });
    });

    it('write one view while the other writes another', async () => {
      const other = { ...view, name: 'others' };
      for (const store of [writer, reader]) await store.prepare(other);
      const held = new SqliteFile(path, { durability: 'normal' });
      held.exec('BEGIN IMMEDIATE');
      await reader.commit(other, [entry], 3n);
      expect(await writer.count(other, [])).toBe(1);
      held.exec('ROLLBACK');
      held.close();
    });
  });
});
