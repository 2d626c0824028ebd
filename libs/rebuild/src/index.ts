export * from './codecs.js';
export * from './commands/view-builds.handlers.js';
export * from './domain/index.js';
export * from './view-keeper.js';
export * from './view-status.js';
