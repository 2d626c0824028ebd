export * from './codec.js';
export * from './decide-and-append.js';
export * from './event-store.js';
export * from './follow-log.js';
export * from './named-subscriber.js';
export * from './work-queue.js';
