import type { RecordedEvent } from '#libs/event-store';
import type { ViewSpec } from './read-store.js';

/** What one event does to one document: a pure function from the document so far; `undefined` in means "none yet". */
export interface Change<Doc> {
  readonly id: string;
  readonly apply: (doc: Doc | undefined) => Doc | undefined;
}

/**
 * A view as a table of pure functions. `project` names the documents that an event touches and how; an event that does
 * not concern the view gives an empty list. Returning `undefined` (or the same object) from `apply` writes nothing.
 */
export interface Projection<Doc> extends ViewSpec<Doc> {
  readonly project: (event: RecordedEvent) => readonly Change<Doc>[];
}
