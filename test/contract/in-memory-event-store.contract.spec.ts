import { InMemoryEventStore, InMemoryLog } from '../support/in-memory-event-store.js';
import { describeEventStoreContract } from './event-store.contract.js';

// The log that other tests run on is held to what every real adapter is held to.
describeEventStoreContract('in memory', () => {
  const log = new InMemoryLog();
  let store = new InMemoryEventStore(log);
  return Promise.resolve({
    store,
    async reopen() {
      await store.close();
      store = new InMemoryEventStore(log);
      return store;
    },
    dispose: () => store.close(),
  });
});
