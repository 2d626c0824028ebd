import type { AnyBulkWriteOperation, Collection, Filter, FindOptions, IndexDescription } from 'mongodb';
import { formatPosition, parsePosition, type Position } from '#libs/kernel';
import type { Patch, Scalar, Stored, ViewSpec, Write } from '../read-store.js';
import {
  checkId,
  docOf,
  fieldValues,
  jsonOf,
  NO_NUMBER,
  patchedValues,
  placeKey,
  type CheckedCondition,
  type CheckedQuery,
  type FieldValue,
} from '../view-rules.js';
import { firstAfter } from '../text-range.js';
import type { Collections } from './mongo-connection.js';

/** A document at rest. */
export interface ViewDocument {
  readonly _id: string;
  readonly state: DocumentState;
  /** The patchable members by name, each by itself, so that a patch need not know the rest. */
  readonly patch?: Readonly<Record<string, MemberState>>;
}

/**
 * MongoDB compares such objects field by field, so that the later of two states is the greater one: by position, and of
 * two at the same position the one that was written first. `$max` over the whole therefore never replaces a state by an
 * older or equal one.
 */
interface Guarded {
  /** 20 digits: a number of BSON is signed, and cannot hold every position. */
  readonly position: string;
  /** Falls with every commit, see {@link turnOf}. */
  readonly turn: number;
}

interface MemberState extends Guarded {
  readonly value: FieldValue;
}

/** Everything of a document but its key and what can be patched. */
interface DocumentState extends Guarded {
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
  /** The name of the collection. */
  readonly place: string;

  constructor(
    private readonly view: ViewSpec<never>,
    build: number,
    private readonly database: Collections,
  ) {
    this.place = placeKey(view, build);
  }

  get documents(): Collection<ViewDocument> {
    return this.database.collection(this.place);
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
      key: Object.fromEntries(fields.map((field) => [this.pathOf(field), 1])),
    }));
  }

  /** One write for each id, whatever order they are carried out in. @throws {TypeError} a document that the view refuses. */
  writes<Doc>(
    view: ViewSpec<Doc>,
    writes: readonly Write<Doc>[],
    turn: number,
  ): AnyBulkWriteOperation<ViewDocument>[] {
    const latest = new Map<string, { position: Position; command: AnyBulkWriteOperation<ViewDocument> }>();
    for (const write of writes) {
      const { id, position } = write;
      checkId(view, id);
      // Every document is checked, those too that a later one in the same commit replaces.
      const command = 'set' in write ? patching(view, write, turn) : putting(view, write, turn);
      const known = latest.get(id);
      if (known === undefined || position > known.position) latest.set(id, { position, command });
    }
    return Array.from(latest.values(), ({ command }) => command);
  }

  /** What a document is read from. */
  get whole(): Record<string, 1> {
    return {
      'state.position': 1,
      'state.doc': 1,
      ...(this.view.patchable === undefined ? {} : { patch: 1 }),
    };
  }

  /** What the values of these fields are read from. */
  only(fields: readonly string[]): Record<string, 1> {
    return Object.fromEntries(fields.map((field) => [this.pathOf(field), 1]));
  }

  stored<Doc>(view: ViewSpec<Doc>, { _id, state, patch = {} }: ViewDocument): Stored<Doc> {
    const positions = [state, ...Object.values(patch)].map(({ position }) => position);
    return {
      id: _id,
      position: parsePosition(positions.reduce((latest, one) => (one > latest ? one : latest))),
      doc: docOf(view, state.doc, (member) => patch[member]?.value),
    };
  }

  filterOf(where: readonly CheckedCondition[]): Filter<ViewDocument> {
    return allOf(where.map((condition) => this.toFilter(condition)));
  }

  /** The values of fields in a document that was read with them. */
  valuesAt(fields: readonly string[], document: ViewDocument): Scalar[] {
    return fields.map((field) => valueAt(document, this.pathOf(field)) as Scalar);
  }

  /** Where the value of a field is. */
  pathOf(field: string): string {
    if (field === 'id') return '_id';
    return this.view.patchable?.includes(field) === true ? `patch.${field}.value` : `state.f.${field}`;
  }

  /**
   * A page as queries of one index range each, in the order of the page: first what shares all sort values with the place
   * to go on from but the last, and so on. One query with `$or` would leave it to the planner whether it seeks or scans.
   */
  pages(
    { where, sortBy, descending, after }: CheckedQuery,
    projection: Readonly<Record<string, 1>>,
  ): readonly RangeQuery[] {
    const paths = sortBy.map((field) => this.pathOf(field));
    const options: FindOptions = {
      sort: Object.fromEntries(paths.map((path) => [path, descending ? -1 : 1])),
      projection: { ...projection, ...this.fieldsIn(sortBy, projection) },
    };
    const conditions = where.map((condition) => this.toFilter(condition));
    if (after === undefined) return [{ filter: allOf(conditions), options }];
    return rangesAfter(paths, descending ? '$lt' : '$gt', after).map((range) => ({
      filter: allOf([...conditions, ...range]),
      options,
    }));
  }

  /** To name a part of what is named as a whole would be refused. */
  private fieldsIn(sortBy: readonly string[], projection: Readonly<Record<string, 1>>): Record<string, 1> {
    const paths = Object.keys(this.only(sortBy));
    const isWhole = (path: string) => path.startsWith('patch.') && 'patch' in projection;
    return Object.fromEntries(paths.filter((path) => !isWhole(path)).map((path) => [path, 1]));
  }

  private toFilter(condition: CheckedCondition): Filter<ViewDocument> {
    const path = this.pathOf(condition.field);
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
}

/** The counter of a process: starts below all earlier ones, as long as a process commits less often than 1000 times a ms. */
export const turnOf = (now: Date): number => -now.getTime() * 1000;

/** Makes, replaces or leaves the whole document. */
function putting<Doc>(
  view: ViewSpec<Doc>,
  { id, position, doc }: Stored<Doc>,
  turn: number,
): AnyBulkWriteOperation<ViewDocument> {
  const values = fieldValues(view, doc);
  const guard = { position: formatPosition(position), turn };
  const isPatchable = ([field]: readonly [string, FieldValue]): boolean =>
    view.patchable?.includes(field) === true;
  const fields = Object.entries(values);
  const f = Object.fromEntries(fields.filter((field) => !isPatchable(field)));
  const state: DocumentState = { ...guard, f, doc: jsonOf(view, doc, values) };
  const update = { $max: { state, ...members(guard, fields.filter(isPatchable)) } };
  return { updateOne: { filter: { _id: id }, update, upsert: true } };
}

/** Sets members of a document that is there; a condition beside its id would be no index lookup on every server. */
function patching<Doc>(
  view: ViewSpec<Doc>,
  { id, position, set }: Patch<Doc>,
  turn: number,
): AnyBulkWriteOperation<ViewDocument> {
  const guard = { position: formatPosition(position), turn };
  return { updateOne: { filter: { _id: id }, update: { $max: members(guard, patchedValues(view, set)) } } };
}

const members = (
  guard: Guarded,
  values: readonly (readonly [string, FieldValue])[],
): Readonly<Record<string, MemberState>> =>
  Object.fromEntries(values.map(([member, value]) => [`patch.${member}`, { ...guard, value }]));

/** What is in a document at a path. */
const valueAt = (document: ViewDocument, path: string): unknown =>
  path
    .split('.')
    .reduce<unknown>((value, name) => (value as Record<string, unknown> | undefined)?.[name], document);

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

function rangeOf(prefix: string): object {
  const end = firstAfter(prefix);
  return end === undefined ? { $gte: prefix } : { $gte: prefix, $lt: end };
}

const literally = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
