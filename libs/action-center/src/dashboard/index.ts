export * from './dashboard.js';
export * from './dashboard.view.js';
export * from './heavy-hitters.js';
