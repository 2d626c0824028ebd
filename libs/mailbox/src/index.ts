export * from './mailbox-gateway.js';
export * from './sandbox/sandbox-tenant.js';
