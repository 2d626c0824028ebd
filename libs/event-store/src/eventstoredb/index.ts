export { type SubscriptionState } from '../event-store.js';
export { type WorkQueueState } from '../work-queue.js';
export { type ConnectionOptions } from './connection.js';
export * from './eventstoredb-event-store.js';
export * from './work-queue.js';
