export * from './view-builds.js';
