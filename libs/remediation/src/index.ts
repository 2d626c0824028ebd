export * from './codecs.js';
export * from './commands/index.js';
export * from './domain/index.js';
export * from './ports.js';
