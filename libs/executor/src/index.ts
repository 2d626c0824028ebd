export * from './batch-runner.js';
export * from './executor.js';
