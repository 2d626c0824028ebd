import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SqliteReadStore } from '#libs/read-store/sqlite';
import { describeReadStoreContract } from './read-store.contract.js';

describeReadStoreContract('SQLite', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'read-store-'));
  const store = new SqliteReadStore(folder);
  let current = store;
  return {
    store,
    async reopen() {
      await current.close();
      current = new SqliteReadStore(folder);
      return current;
    },
    async dispose() {
      await current.close();
      await rm(folder, { recursive: true });
    },
  };
});
