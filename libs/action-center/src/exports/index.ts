export * from './columns.js';
export * from './export.js';
export * from './exports.js';
export * from './table.js';
