import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SandboxTenant } from '#libs/mailbox/sandbox';
import { describeMailboxGatewayContract } from './mailbox-gateway.contract.js';

describeMailboxGatewayContract('sandbox tenant', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'clawback-sandbox-'));
  const open = () => new SandboxTenant(join(folder, 'sandbox.db'));
  let gateway = open();
  return {
    get gateway() {
      return gateway;
    },
    place: (copies) => gateway.deliver(copies, 0n),
    locate: ({ tenant, mailbox, networkMessageId, copyKind }) =>
      Promise.resolve(gateway.locate(tenant, mailbox, networkMessageId, copyKind)?.folder),
    reopen: async () => {
      await gateway.close();
      gateway = open();
    },
    dispose: async () => {
      await gateway.close();
      await rm(folder, { recursive: true });
    },
  };
});
