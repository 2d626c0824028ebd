export * from './file-changes.js';
export * from './sqlite-file.js';
