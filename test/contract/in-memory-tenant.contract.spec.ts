import { InMemoryTenant } from '../support/in-memory-tenant.js';
import { describeMailboxGatewayContract } from './mailbox-gateway.contract.js';

// The mailboxes that other tests move copies in are held to what every real gateway is held to.
describeMailboxGatewayContract('in memory', () => {
  const gateway = new InMemoryTenant();
  return Promise.resolve({
    gateway,
    place(copies) {
      for (const copy of copies) gateway.put(copy, copy.folder);
      return Promise.resolve();
    },
    locate: (copy) => Promise.resolve(gateway.locate(copy)),
    reopen: () => Promise.resolve(),
    dispose: () => gateway.close(),
  });
});
