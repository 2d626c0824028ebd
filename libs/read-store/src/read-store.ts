import { isClawbackError, pause, START, type Position } from '#libs/kernel';

export type Scalar = string | number;

/** A value that queries filter or sort by, computed from the document when it is written. */
export interface FieldSpec<Doc> {
  /** `text` and `number` compare by value (text by its bytes); `tags` is a set of strings for the operator `has`. */
  readonly type: 'text' | 'number' | 'tags';
  readonly of: (doc: Doc) => Scalar | readonly string[] | null;
}

/** The shape of one view in the store. A new `version` is a new, empty place beside the old one. */
export interface ViewSpec<Doc> {
  readonly name: string;
  readonly version: number;
  /**
   * Which build of this version, from 1: a version can be built again from the events beside the build that is read.
   * Without one, the active build is meant.
   */
  readonly build?: number;
  /**
   * Not to be queried yet but by id: its indexes wait until it is prepared without this. To fill a build from the whole
   * log is much faster without them.
   */
  readonly unindexed?: true;
  readonly fields: Readonly<Record<string, FieldSpec<Doc>>>;
  /** Each a list of field names (`id` may be one), in the order of the index. */
  readonly indexes: readonly (readonly string[])[];
  /**
   * Members of the document that a {@link Patch} may set. Each is a text without NUL or half characters, the field of the
   * same name, which is where it is kept, and in no index: what changes often would be written there as well.
   */
  readonly patchable?: readonly string[];
  /**
   * The right to do something rather than a view: where one process writes a view at a time, it is nothing to the others that
   * a process writes whether it has this one.
   */
  readonly isRight?: true;
}

/** A document with its key and the position of the last event in it. */
export interface Stored<Doc> {
  readonly id: string;
  readonly position: Position;
  readonly doc: Doc;
}

/** New values of patchable members of the document with this key, if there is one, and the position of their event. */
export interface Patch<Doc> {
  readonly id: string;
  readonly position: Position;
  readonly set: Partial<Doc>;
}

/** A whole document. */
export interface Put<Doc> extends Stored<Doc> {
  /** It is most likely not there yet: nothing rests on that but the way in which it is written. */
  readonly isNew?: boolean;
}

/** What a projector writes: a whole document, or less. */
export type Write<Doc> = Put<Doc> | Patch<Doc>;

/** All conditions hold together. `contains` and `startsWith` are exact about case: fold on both sides. */
export type Condition =
  | { readonly field: string; readonly op: 'eq' | 'gt' | 'gte' | 'lt' | 'lte'; readonly value: Scalar }
  | { readonly field: string; readonly op: 'in'; readonly value: readonly Scalar[] }
  | { readonly field: string; readonly op: 'startsWith' | 'contains' | 'has'; readonly value: string };

export interface Query {
  readonly where: readonly Condition[];
  /** Fields to sort by, all in one direction; `id` is added last as the tie-breaker. Default: by `id`. */
  readonly orderBy?: readonly string[];
  readonly descending?: boolean;
  /** Keyset: continue after the document with these values of `orderBy` and `id` (as {@link Page.next} gave them). */
  readonly after?: readonly Scalar[];
  readonly limit: number;
}

/** The builds of one version of a view, in the order in which they were begun. */
export interface Builds {
  /** The one that queries without a build read. */
  readonly active: number;
  readonly builds: readonly { readonly build: number; readonly checkpoint: Position }[];
}

/** How far the build is that queries without a build read. */
export const activeCheckpoint = ({ active, builds }: Builds): Position =>
  builds.find(({ build }) => build === active)?.checkpoint ?? START;

export interface Total {
  readonly count: number;
  readonly sum: number;
}

/** How documents are spread over the values of a field. */
export interface Spread {
  /** Different values. */
  readonly distinct: number;
  /** Documents with the value that most of them have; 0 when there are none. */
  readonly most: number;
}

export interface Page<Doc> {
  readonly items: readonly Stored<Doc>[];
  /** Where the next page begins; undefined when there is none. */
  readonly next?: readonly Scalar[];
}

/** A page of values, a row for each document. */
export interface Rows {
  readonly rows: readonly (readonly string[])[];
  /** As in {@link Page.next}. */
  readonly next?: readonly Scalar[];
}

/**
 * The port to the read models. Documents are JSON, keyed by id, replaced whole or patched. Nothing but a projector
 * writes. Every adapter passes `describeReadStoreContract`.
 */
export abstract class ReadStore {
  /**
   * Makes the place for a build of a view, and its indexes, if they are not there; the first one, which is active then, when none is named and
   * there is none. Idempotent. Must be called before any other use of the view.
   */
  abstract prepare(view: ViewSpec<never>): Promise<void>;

  /** The builds that there are. Never empty. */
  abstract builds(view: ViewSpec<never>): Promise<Builds>;

  /**
   * Makes a prepared build the active one: in this process at once, in others within a second, so that the one before
   * has to be kept up to date a little longer.
   * @param asOf where this was decided: a switch that was decided earlier than the last one changes nothing.
   */
  abstract activate(view: ViewSpec<never>, build: number, asOf: Position): Promise<void>;

  /** Removes a build with all that is in it. Idempotent. @throws {ClawbackError} `buildInUse`: it is the active one. */
  abstract discard(view: ViewSpec<never>, build: number): Promise<void>;

  /** The documents that exist among these ids, in no order. */
  abstract getMany<Doc>(view: ViewSpec<Doc>, ids: readonly string[]): Promise<Stored<Doc>[]>;

  /** The same documents as {@link getMany}, and of each only values, as {@link select} gives them. */
  abstract selectMany(
    view: ViewSpec<never>,
    fields: readonly string[],
    ids: readonly string[],
  ): Promise<(readonly string[])[]>;

  /**
   * Writes documents and moves the checkpoint as one: after a crash either both are there or the same events are
   * projected again. A document is replaced or patched only by a later position, and the checkpoint never goes back. An
   * id that is patched is in no other write of the same commit.
   */
  abstract commit<Doc>(
    view: ViewSpec<Doc>,
    writes: readonly Write<Doc>[],
    checkpoint: Position,
  ): Promise<void>;

  /** How far the view has come; `START` at first. */
  abstract checkpoint(view: ViewSpec<never>): Promise<Position>;

  /**
   * For those who wait for a checkpoint: resolves when it is time to look again. That is after `pollMs`, or, where the
   * store is told of every commit, with the next one to this view; in any case after `withinMs`.
   */
  untilCommit(
    _view: ViewSpec<never>,
    { pollMs, withinMs }: { readonly pollMs: number; readonly withinMs: number },
  ): Promise<void> {
    return pause(Math.min(pollMs, withinMs));
  }

  abstract find<Doc>(view: ViewSpec<Doc>, query: Query): Promise<Page<Doc>>;

  /**
   * The same documents as {@link find}, and of each only the values of some text fields (or its `id`), in the order in
   * which these are named: one who goes through a large part of a view need not read and parse all of every document.
   */
  abstract select(view: ViewSpec<never>, fields: readonly string[], query: Query): Promise<Rows>;

  abstract count<Doc>(view: ViewSpec<Doc>, where: readonly Condition[]): Promise<number>;

  /** How many documents there are, and the sum of a number field over them; where the field has no number it is 0. */
  abstract total<Doc>(view: ViewSpec<Doc>, field: string, where: readonly Condition[]): Promise<Total>;

  /** How the documents are spread over the values of a text field; none of them is read. */
  abstract spread<Doc>(view: ViewSpec<Doc>, field: string, where: readonly Condition[]): Promise<Spread>;

  abstract close(): Promise<void>;
}

/** What a store whose views one process writes at a time throws to the others, as long as that one does. */
export const isWriterWaiting = (error: unknown): boolean =>
  isClawbackError(error) && error.code === 'writerWaiting';
