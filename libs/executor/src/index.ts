export * from './batch-runner.js';
export { type CoordinationState, type EventFacts } from './coordination.js';
export * from './executor.js';
