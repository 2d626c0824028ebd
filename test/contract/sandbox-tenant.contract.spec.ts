import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SandboxTenant, type Sandbox } from '#libs/mailbox/sandbox';
import { sandboxOverAChannel } from '../support/sandbox-over-a-channel.js';
import { describeMailboxGatewayContract, type MailboxGatewayFixture } from './mailbox-gateway.contract.js';

describeMailboxGatewayContract('sandbox tenant', () => sandboxIn((open) => open()));
describeMailboxGatewayContract('sandbox tenant over a channel', () => sandboxIn(sandboxOverAChannel));

async function sandboxIn(reach: (open: () => SandboxTenant) => Sandbox): Promise<MailboxGatewayFixture> {
  const folder = await mkdtemp(join(tmpdir(), 'clawback-sandbox-'));
  const open = () => new SandboxTenant(join(folder, 'sandbox.db'));
  /** Looks at the mailboxes beside the gateway. */
  const eye = open();
  let gateway = reach(open);
  return {
    get gateway() {
      return gateway;
    },
    place: (copies) => gateway.deliver(copies, 0n),
    locate: ({ tenant, mailbox, networkMessageId, copyKind }) =>
      Promise.resolve(eye.locate(tenant, mailbox, networkMessageId, copyKind)?.folder),
    reopen: async () => {
      await gateway.close();
      gateway = reach(open);
    },
    dispose: async () => {
      await gateway.close();
      await eye.close();
      await rm(folder, { recursive: true });
    },
  };
}
