export * from './sandbox-tenant.js';
