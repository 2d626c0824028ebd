export * from './mailbox-gateway.js';
