import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SandboxTenant } from '#libs/mailbox/sandbox';
import { sandboxOverAChannel } from '../support/sandbox-over-a-channel.js';
import { describeMailboxGatewayContract } from './mailbox-gateway.contract.js';

describeMailboxGatewayContract('sandbox tenant over a channel', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'clawback-sandbox-'));
  const tenant = () => new SandboxTenant(join(folder, 'sandbox.db'));
  const eye = tenant();
  let gateway = sandboxOverAChannel(tenant);
  return {
    get gateway() {
      return gateway;
    },
    place: (copies) => gateway.deliver(copies, 0n),
    locate: ({ tenant, mailbox, networkMessageId, copyKind }) =>
      Promise.resolve(eye.locate(tenant, mailbox, networkMessageId, copyKind)?.folder),
    reopen: async () => {
      await gateway.close();
      gateway = sandboxOverAChannel(tenant);
    },
    dispose: async () => {
      await gateway.close();
      await eye.close();
      await rm(folder, { recursive: true });
    },
  };
});
