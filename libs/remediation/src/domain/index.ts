export * from './batch.js';
export * from './plan.js';
export * from './reasons.js';
export * from './remediation.js';
export * from './selection.js';
export * from './vocabulary.js';
