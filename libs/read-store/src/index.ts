export * from './compare-builds.js';
export * from './read-store.js';
export * from './projection.js';
export { type ViewState } from './projected-view.js';
export * from './projector.js';
export { MAX_LIMIT } from './view-rules.js';
export * from './freshness.js';
export * from './pages.js';
