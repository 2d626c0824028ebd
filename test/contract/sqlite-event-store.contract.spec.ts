import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SqliteEventStore } from '#libs/event-store/sqlite';
import { describeEventStoreContract } from './event-store.contract.js';

describeEventStoreContract('SQLite', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'clawback-events-'));
  const path = join(folder, 'events.db');
  let store = new SqliteEventStore(path);
  // Something of others is in the log already.
  const other = { id: crypto.randomUUID(), type: 'Other', data: null, metadata: {} };
  await store.append('other', 'noStream', [other]);
  return {
    store,
    async reopen() {
      await store.close();
      store = new SqliteEventStore(path);
      return store;
    },
    async dispose() {
      await store.close();
      await rm(folder, { recursive: true });
    },
  };
});
