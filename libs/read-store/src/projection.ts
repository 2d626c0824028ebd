import type { RecordedEvent } from '#libs/event-store';
import type { ViewSpec } from './read-store.js';

/** What one event does to one document. */
export type Change<Doc> = Apply<Doc> | Setting<Doc> | Putting<Doc>;

/** By the document so far. */
interface Apply<Doc> {
  readonly id: string;
  /** Pure; `undefined` in means "none yet". Returning `undefined` (or the same object) writes nothing. */
  readonly apply: (doc: Doc | undefined) => Doc | undefined;
  /** Does the same in place, to a document that an `apply` beside an `amend` made a moment ago. Tells of any change. */
  readonly amend?: (doc: Doc) => boolean;
}

/**
 * Whatever the document is: new values of patchable members, if there is one. It is not read for that, so its position
 * rises even when the values are what they were.
 */
interface Setting<Doc> {
  readonly id: string;
  readonly set: Partial<Doc>;
}

/** Whatever the document was: it is this one now. It is not read for that, so its position rises even when it is the same. */
interface Putting<Doc> {
  readonly id: string;
  readonly put: Doc;
}

/**
 * What many events in a row do to one document that is there: it is copied for the first of them, in so far as it changes,
 * and amended for the others. All such changes of a view copy alike.
 */
export const amending = <Doc, Draft extends Doc>(
  id: string,
  copy: (doc: Doc) => Draft,
  amend: (draft: Draft) => boolean,
): Change<Doc> => ({
  id,
  apply: (doc) => {
    if (doc === undefined) return undefined;
    const draft = copy(doc);
    return amend(draft) ? draft : undefined;
  },
  amend: (doc) => amend(doc as Draft),
});

/**
 * A view as a table of pure functions. `project` names the documents that an event touches and how; an event that does
 * not concern the view gives an empty list.
 */
export interface Projection<Doc> extends ViewSpec<Doc> {
  /** The events that it takes; without it all. The others do not even reach it. */
  readonly types?: ReadonlySet<string>;
  readonly project: (event: RecordedEvent) => readonly Change<Doc>[];
  /** Takes every event after the views that do not say so: who finds it here finds it there as well. */
  readonly afterOthers?: true;
}

/** The document after a change; undefined where there is none. */
export function changed<Doc>(change: Change<Doc>, doc: Doc | undefined): Doc | undefined {
  if ('put' in change) return change.put;
  if ('apply' in change) return change.apply(doc) ?? doc;
  return doc === undefined ? doc : { ...doc, ...change.set };
}
