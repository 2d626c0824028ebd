export { type SubscriptionState } from './catch-up.js';
export { type ConnectionOptions } from './connection.js';
export * from './eventstoredb-event-store.js';
export * from './work-queue.js';
