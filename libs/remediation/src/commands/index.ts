export * from './approval.handler.js';
export * from './deciders.js';
export * from './plan-selection.js';
export * from './retry-remediation.handler.js';
export * from './submission.js';
export * from './submit-remediation.handler.js';
export * from './undo-remediation.handler.js';
