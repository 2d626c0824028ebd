export * from './read-store.js';
export * from './projection.js';
