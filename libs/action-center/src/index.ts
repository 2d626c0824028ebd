export * from './action-center.js';
export * from './action-log.view.js';
export * from './copies.view.js';
export * from './counts.js';
export * from './history.view.js';
export * from './live/index.js';
export * from './log-csv.js';
