export * from './attachments.js';
export * from './async.js';
export * from './clock.js';
export * from './errors.js';
export * from './ids.js';
export * from './json.js';
export * from './position.js';
