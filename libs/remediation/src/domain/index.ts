export * from './batch.js';
export * from './plan.js';
export * from './possible.js';
export * from './reasons.js';
export * from './remediation.js';
export * from './selection.js';
export * from './vocabulary.js';
export * from './catalogue.js';
