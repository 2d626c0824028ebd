export * from './codec.js';
export * from './event-store.js';
export * from './work-queue.js';
