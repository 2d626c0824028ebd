export { hostSandbox } from './host-sandbox.js';
export { parseFault } from './parse-fault.js';
export { RemoteSandbox } from './remote-sandbox.js';
export { Sandbox, type Fault, type MailboxFault, type SandboxCopy } from './sandbox.js';
export { SandboxTenant, type JournalEntry, type SandboxOptions } from './sandbox-tenant.js';
export { openSandboxThread } from './sandbox-thread.js';
