import type { AnyBulkWriteOperation, Collection, Db, Filter, FindOptions, IndexDescription } from 'mongodb';
import { formatPosition, parsePosition } from '#libs/kernel';
import type { Scalar, Stored, ViewSpec } from '../read-store.js';
import {
  checkId,
  docOf,
  fieldValues,
  jsonOf,
  NO_NUMBER,
  placeKey,
  type CheckedCondition,
  type CheckedQuery,
  type FieldValue,
} from '../view-rules.js';
import { firstAfter } from '../text-range.js';

/** A document at rest. */
export interface ViewDocument {
  readonly _id: string;
  readonly state: DocumentState;
}

/**
 * Everything of a document but its key. MongoDB compares such objects field by field, so that the later of two states is
 * the greater one: by position, and of two at the same position the one that was written first. `$max` over the whole
 * therefore never replaces a state by an older or equal one.
 */
interface DocumentState {
  /** 20 digits: a number of BSON is signed, and cannot hold every position. */
  readonly position: string;
  /** Falls with every commit, see {@link turnOf}. */
  readonly turn: number;
  /** What queries filter and sort by. */
  readonly f: Readonly<Record<string, FieldValue>>;
  /** As JSON: BSON would change what JSON may hold, such as half surrogate pairs and keys that begin with `$`. */
  readonly doc: string;
}

/** A query over one range of an index. */
export interface RangeQuery {
  readonly filter: Filter<ViewDocument>;
  readonly options: FindOptions;
}

/** The collection of one build of a view, and what to say to it. */
export class ViewCollection {
  readonly documents: Collection<ViewDocument>;

  /** The name of the collection. */
  readonly place: string;

  constructor(
    private readonly view: ViewSpec<never>,
    build: number,
    database: Db,
  ) {
    this.place = placeKey(view, build);
    this.documents = database.collection(this.place);
  }

  /** With the id at the end, a query in the order of the index needs no sort for its tie-breaker. */
  get indexes(): IndexDescription[] {
    const lists = this.view.indexes
      .map((fields) => [...new Set([...fields, 'id'])])
      .map((fields) => fields.slice(0, fields.indexOf('id') + 1))
      // The index that every collection has.
      .filter(([first]) => first !== 'id');
    const distinct = new Map(lists.map((fields) => [fields.join('_'), fields]));
    return [...distinct].map(([name, fields]) => ({
      name,
      key: Object.fromEntries(fields.map((field) => [pathOf(field), 1])),
    }));
  }

  /** One write for each id, whatever order they are carried out in. @throws {TypeError} a document that the view refuses. */
  writes<Doc>(
    view: ViewSpec<Doc>,
    documents: readonly Stored<Doc>[],
    turn: number,
  ): AnyBulkWriteOperation<ViewDocument>[] {
    const latest = new Map<string, Stored<Doc>>();
    for (const document of documents) {
      checkId(view, document.id);
      const known = latest.get(document.id);
      if (known === undefined || document.position > known.position) latest.set(document.id, document);
    }
    // Every document is checked, those too that a later one in the same commit replaces.
    const states = new Map(documents.map((document) => [document, stateOf(view, document, turn)]));
    return Array.from(latest.values(), (document) => ({
      updateOne: {
        filter: { _id: document.id },
        update: { $max: { state: states.get(document) as DocumentState } },
        upsert: true,
      },
    }));
  }

  /** What a document is read from. */
  get whole(): Record<string, 1> {
    return { 'state.position': 1, 'state.doc': 1, ...fieldsIn(this.view.patchable ?? []) };
  }

  stored<Doc>(view: ViewSpec<Doc>, { _id, state }: ViewDocument): Stored<Doc> {
    return {
      id: _id,
      position: parsePosition(state.position),
      doc: docOf(view, state.doc, (member) => state.f[member]),
    };
  }

  /**
   * A page as queries of one index range each, in the order of the page: first what shares all sort values with the place
   * to go on from but the last, and so on. One query with `$or` would leave it to the planner whether it seeks or scans.
   */
  pages({ where, sortBy, descending, after }: CheckedQuery): readonly RangeQuery[] {
    const paths = sortBy.map(pathOf);
    const options: FindOptions = {
      sort: Object.fromEntries(paths.map((path) => [path, descending ? -1 : 1])),
      projection: { ...this.whole, ...fieldsIn(sortBy) },
    };
    const conditions = where.map(toFilter);
    if (after === undefined) return [{ filter: allOf(conditions), options }];
    return rangesAfter(paths, descending ? '$lt' : '$gt', after).map((range) => ({
      filter: allOf([...conditions, ...range]),
      options,
    }));
  }
}

/** The counter of a process: starts below all earlier ones, as long as a process commits less often than 1000 times a ms. */
export const turnOf = (now: Date): number => -now.getTime() * 1000;

export const filterOf = (where: readonly CheckedCondition[]): Filter<ViewDocument> =>
  allOf(where.map(toFilter));

/** Where a page that ends with this document is continued. */
export const placeOf = (sortBy: readonly string[], { _id, state }: ViewDocument): Scalar[] =>
  sortBy.map((field) => (field === 'id' ? _id : (state.f[field] as Scalar)));

function stateOf<Doc>(view: ViewSpec<Doc>, { position, doc }: Stored<Doc>, turn: number): DocumentState {
  const f = fieldValues(view, doc);
  return { position: formatPosition(position), turn, f, doc: jsonOf(view, doc, f) };
}

const pathOf = (field: string): string => (field === 'id' ? '_id' : `state.f.${field}`);

const fieldsIn = (sortBy: readonly string[]): Record<string, 1> =>
  Object.fromEntries(sortBy.filter((field) => field !== 'id').map((field) => [pathOf(field), 1]));

const allOf = (filters: readonly Filter<ViewDocument>[]): Filter<ViewDocument> =>
  filters.length === 0 ? {} : { $and: [...filters] };

const on = (path: string, condition: unknown): Filter<ViewDocument> => ({ [path]: condition });

function rangesAfter(
  paths: readonly string[],
  beyond: '$gt' | '$lt',
  after: readonly Scalar[],
): readonly (readonly Filter<ViewDocument>[])[] {
  return paths
    .map((path, depth) => [
      ...paths.slice(0, depth).map((tied, index) => on(tied, { $eq: after[index] })),
      on(path, { [beyond]: after[depth] }),
    ])
    .reverse();
}

function toFilter(condition: CheckedCondition): Filter<ViewDocument> {
  const path = pathOf(condition.field);
  switch (condition.op) {
    case 'in':
      return on(path, { $in: condition.value });
    case 'startsWith':
      return on(path, rangeOf(condition.value));
    case 'contains':
      return condition.value === '' ? {} : on(path, { $regex: literally(condition.value) });
    case 'has':
      return on(path, { $eq: condition.value });
    case 'lt':
    case 'lte':
      // What stands for "no number" is below every number, but no number.
      return on(path, {
        [`$${condition.op}`]: condition.value,
        ...(condition.type === 'number' ? { $gt: NO_NUMBER } : {}),
      });
    case 'eq':
    case 'gt':
    case 'gte':
      return on(path, { [`$${condition.op}`]: condition.value });
  }
}

function rangeOf(prefix: string): object {
  const end = firstAfter(prefix);
  return end === undefined ? { $gte: prefix } : { $gte: prefix, $lt: end };
}

const literally = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
