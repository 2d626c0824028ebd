import { firstAfter } from '../text-range.js';
import type { SqlRow, SqlValue } from '#libs/sqlite';
import type { Patch, Stored, ViewSpec } from '../read-store.js';
import {
  checkId,
  docOf,
  fieldValues,
  jsonOf,
  NO_NUMBER,
  patchedValues,
  TAG_SEPARATOR,
  placeKey,
  type CheckedCondition,
  type CheckedQuery,
  type FieldType,
  type FieldValue,
} from '../view-rules.js';

/** A statement with the values of its placeholders. */
export interface Sql {
  readonly text: string;
  readonly values: readonly SqlValue[];
}

const COLUMN_TYPES: Readonly<Record<FieldType, string>> = { text: 'TEXT', number: 'REAL', tags: 'TEXT' };

/** Where new values of one patchable member are kept: a row for each document that was patched. */
export interface PatchTable {
  readonly member: string;
  /** What stands around (id, position, value), so that a value is replaced by a later one only. */
  readonly insert: { readonly into: string; readonly otherwise: string };
  /** For one row. */
  readonly upsert: string;
}

/**
 * The tables of one build of a view, and the SQL over them. No value is ever part of the text of a statement.
 *
 * What is patched stands in narrow tables beside the documents, in the order of the ids: a patch writes a few bytes, and
 * those of documents with neighbouring ids come onto one page, where a row of the wide table would be a page each. Readers
 * go through an SQL view that lays them over the documents.
 */
export class ViewTable {
  readonly name: string;
  /** What stands around values of {@link row}, so that a document is replaced by a later one only. */
  readonly insert: { readonly into: string; readonly otherwise: string };
  /**
   * Replaces a document by a later one with the same values in every index, and nothing else: the upsert would write all
   * index entries anew, since it names their columns. Takes the values of {@link narrowed}. Undefined without indexes.
   */
  readonly update: string | undefined;
  readonly patches: readonly PatchTable[];
  /** For a list of ids in JSON. */
  readonly getMany: string;
  /** What documents are read from: the table, or the view that lays the patches over it. */
  private readonly source: string;
  /** What a document is read from. */
  private readonly whole: readonly string[];
  private readonly order: readonly number[];
  private readonly fields: readonly string[];
  /** Of {@link row}. */
  private readonly columns: readonly string[];

  constructor(
    private readonly view: ViewSpec<never>,
    readonly build: number,
  ) {
    this.name = placeKey(view, build);
    const { patchable = [] } = view;
    this.patches = patchable.map((member) => {
      const into = `INSERT INTO ${this.patchesOf(member)} (id, position, value)`;
      const set = 'position = excluded.position, value = excluded.value';
      const otherwise = `ON CONFLICT (id) DO UPDATE SET ${set} WHERE excluded.position > position`;
      return { member, insert: { into, otherwise }, upsert: `${into} VALUES (?, ?, ?) ${otherwise}` };
    });
    this.source = patchable.length === 0 ? this.name : `${this.name}_patched`;
    this.fields = Object.keys(view.fields);
    const columns = ['id', 'position', ...this.fields.map(columnOf), 'doc'];
    this.columns = columns;
    const updates = columns.slice(1).map((column) => `${column} = excluded.${column}`);
    this.insert = {
      into: `INSERT INTO ${this.name} (${columns.join(', ')})`,
      otherwise: `ON CONFLICT (id) DO UPDATE SET ${updates.join(', ')} WHERE excluded.position > ${this.lastOf()}`,
    };
    const indexed = new Set(view.indexes.flat());
    const [kept, changed] = [true, false].map((isIndexed) =>
      this.fields.filter((field) => indexed.has(field) === isIndexed),
    ) as [string[], string[]];
    const set = ['position', ...changed.map(columnOf), 'doc'].map((column) => `${column} = ?`);
    const where = ['id', ...kept.map(columnOf)].map((column) => `${column} = ?`);
    this.update =
      kept.length === 0
        ? undefined
        : `UPDATE ${this.name} SET ${set.join(', ')} WHERE ${where.join(' AND ')} AND ${this.lastOf()} < ?`;
    const at = (column: string): number => columns.indexOf(column);
    this.order = [
      ...['position', ...changed.map(columnOf), 'doc', 'id', ...kept.map(columnOf), 'position'].map(at),
    ];
    this.whole = ['id', 'position', ...patchable.map(columnOf), 'doc'];
    this.getMany = `SELECT ${this.whole.join(', ')} FROM ${this.source} WHERE ${inJson('id')}`;
  }

  /**
   * `seq` grows with every new document: sequential keys are much faster to insert than random ids. A view that is only
   * asked by id needs no other order than that of its ids. `doc` is last, so that a scan over the other columns does not
   * read the pages that long documents overflow to.
   */
  get schema(): string {
    const fields = Object.entries(this.view.fields).map(
      ([name, { type }]) => `${columnOf(name)} ${COLUMN_TYPES[type]} NOT NULL, `,
    );
    const byId = this.view.indexes.length === 0;
    const key = byId ? 'id TEXT PRIMARY KEY' : 'seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE';
    const columns = `${key}, position INTEGER NOT NULL, ${fields.join('')}doc TEXT NOT NULL`;
    return `CREATE TABLE ${this.name} (${columns})${byId ? ' WITHOUT ROWID' : ''}`;
  }

  /** The tables of the patches and the view over them. What is there is left as it is. */
  get patching(): string {
    if (this.patches.length === 0) return '';
    const members = this.patches.map(({ member }) => ({ member, table: this.patchesOf(member) }));
    const tables = members.map(
      ({ table }) =>
        `CREATE TABLE IF NOT EXISTS ${table} (id TEXT PRIMARY KEY, position INTEGER NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;`,
    );
    const columns = this.columns.map((column) => {
      const patched = members.find(({ member }) => columnOf(member) === column);
      return patched === undefined
        ? `whole.${column}`
        : `iif(${patched.table}.position > whole.position, ${patched.table}.value, whole.${column}) AS ${column}`;
    });
    const positions = members.map(({ table }) => `coalesce(${table}.position, 0)`);
    columns[1] = `max(whole.position, ${positions.join(', ')}) AS position`;
    const joins = members.map(({ table }) => `LEFT JOIN ${table} ON ${table}.id = whole.id`);
    return (
      tables.join(' ') +
      `CREATE VIEW IF NOT EXISTS ${this.source} AS SELECT ${columns.join(', ')} FROM ${this.name} AS whole ${joins.join(' ')};`
    );
  }

  /** Removes the build with all that is in it. */
  get drop(): string {
    const view = this.patches.length === 0 ? '' : `DROP VIEW IF EXISTS ${this.source};`;
    const tables = [this.name, ...this.patches.map(({ member }) => this.patchesOf(member))];
    return view + tables.map((table) => `DROP TABLE IF EXISTS ${table};`).join(' ');
  }

  /** A statement for each index; one that is there is left as it is. */
  get indexes(): readonly string[] {
    return this.view.indexes.map((fields) => this.index(fields));
  }

  /** For one row. */
  get upsert(): string {
    const { into, otherwise } = this.insert;
    return `${into} VALUES (${this.columns.map(() => '?').join(', ')}) ${otherwise}`;
  }

  row<Doc>(view: ViewSpec<Doc>, stored: Stored<Doc>): readonly SqlValue[] {
    checkId(view, stored.id);
    const values = fieldValues(view, stored.doc);
    const fields = this.fields.map((field) => toColumn(values[field]));
    return [stored.id, stored.position, ...fields, jsonOf(view, stored.doc, values)];
  }

  /** The rows of a patch, by the member that each is for. */
  patched<Doc>(
    view: ViewSpec<Doc>,
    { id, position, set }: Patch<Doc>,
  ): readonly (readonly [member: string, row: readonly SqlValue[]])[] {
    checkId(view, id);
    return patchedValues(view, set).map(([member, value]) => [member, [id, position, value]]);
  }

  /** A document from a row of {@link getMany} or {@link select}. */
  stored<Doc>(view: ViewSpec<Doc>, row: SqlRow): Stored<Doc> {
    return {
      id: row.id as string,
      position: BigInt(row.position as number),
      doc: docOf(view, row.doc as string, (member) => row[columnOf(member)]),
    };
  }

  /** The values of a row in the order of {@link update}. */
  narrowed(row: readonly SqlValue[]): readonly SqlValue[] {
    return this.order.map((index) => row[index] ?? null);
  }

  /** The values of fields, for a list of ids in JSON. */
  selectMany(fields: readonly string[]): string {
    return `SELECT ${fields.map(columnOf).join(', ')} FROM ${this.sourceOf(fields)} WHERE ${inJson('id')}`;
  }

  select(query: CheckedQuery): Sql {
    const columns = new Set([...query.sortBy.map(columnOf), ...this.whole]);
    return pageOf([...columns], this.source, query);
  }

  /** The values of fields, and behind them those that the page is sorted by. */
  values(fields: readonly string[], query: CheckedQuery): Sql {
    const wanted = [...fields, ...query.sortBy];
    return pageOf(wanted.map(columnOf), this.sourceOf([...fieldsOf(query.where), ...wanted]), query);
  }

  /** A row when there is any: to select one more than the limit would read a document, which may be long, for nothing. */
  more(query: CheckedQuery): Sql {
    const filter = filterOf(query);
    const source = this.sourceOf([...fieldsOf(query.where), ...query.sortBy]);
    return { text: `SELECT 1 FROM ${source}${filter.text} LIMIT 1`, values: filter.values };
  }

  count(where: readonly CheckedCondition[]): Sql {
    const filter = matching(where);
    const source = this.sourceOf(fieldsOf(where));
    return { text: `SELECT count(*) AS count FROM ${source}${filter.text}`, values: filter.values };
  }

  total(field: string, where: readonly CheckedCondition[]): Sql {
    const filter = matching(where);
    const column = columnOf(field);
    const sum = `coalesce(sum(${column}) FILTER (WHERE ${column} > ?), 0)`;
    return {
      text: `SELECT count(*) AS count, ${sum} AS sum FROM ${this.sourceOf(fieldsOf(where))}${filter.text}`,
      values: [NO_NUMBER, ...filter.values],
    };
  }

  spread(field: string, where: readonly CheckedCondition[]): Sql {
    const filter = matching(where);
    const source = this.sourceOf([...fieldsOf(where), field]);
    const groups = `SELECT count(*) AS documents FROM ${source}${filter.text} GROUP BY ${columnOf(field)}`;
    const text = `SELECT count(*) AS groups, coalesce(max(documents), 0) AS most FROM (${groups})`;
    return { text, values: filter.values };
  }

  /** What a query of these fields alone is asked of: where none of them is patched, an index may hold all of it. */
  private sourceOf(fields: readonly string[]): string {
    return fields.some((field) => this.view.patchable?.includes(field)) ? this.source : this.name;
  }

  private patchesOf(member: string): string {
    return `${this.name}_p_${member}`;
  }

  /** The position of the last event in a document of the table, patches included. */
  private lastOf(): string {
    const own = `${this.name}.position`;
    const { patchable = [] } = this.view;
    if (patchable.length === 0) return own;
    const patches = patchable.map(
      (member) =>
        `coalesce((SELECT position FROM ${this.patchesOf(member)} AS patch WHERE patch.id = ${this.name}.id), 0)`,
    );
    return `max(${own}, ${patches.join(', ')})`;
  }

  /** With `id` at the end, a query in the order of the index needs no sort for its tie-breaker. */
  private index(fields: readonly string[]): string {
    const columns = [...new Set([...fields, 'id'])].map(columnOf);
    return `CREATE INDEX IF NOT EXISTS ix_${this.name}_${fields.join('_')} ON ${this.name} (${columns.join(', ')})`;
  }
}

/** The column of a field. The prefix keeps fields apart from our own columns and from the words of SQL. */
export const columnOf = (field: string): string => (field === 'id' ? 'id' : `f_${field}`);

const toColumn = (value: FieldValue | undefined): SqlValue =>
  typeof value === 'object' ? tagText(value) : (value ?? null);

/** `a`, `b` become `|a|b|` (with the separator for `|`), so that looking for `|a|` finds whole tags. */
const tagText = (tags: readonly string[]): string =>
  tags.length === 0 ? '' : `${TAG_SEPARATOR}${tags.join(TAG_SEPARATOR)}${TAG_SEPARATOR}`;

function pageOf(columns: readonly string[], source: string, query: CheckedQuery): Sql {
  const { sortBy, descending, limit } = query;
  const filter = filterOf(query);
  const order = sortBy.map(columnOf).map((column) => (descending ? `${column} DESC` : column));
  return {
    text: `SELECT ${columns.join(', ')} FROM ${source}${filter.text} ORDER BY ${order.join(', ')} LIMIT ?`,
    values: [...filter.values, limit],
  };
}

function filterOf({ where, sortBy, descending, after }: CheckedQuery): Sql {
  if (after === undefined) return matching(where);
  const side = descending ? '<' : '>';
  const filters = where.map((condition) =>
    toSql(condition, condition.field === sortBy[0] ? side : undefined),
  );
  return allOf([...filters, keyset(sortBy.map(columnOf), side, after)]);
}

const fieldsOf = (where: readonly CheckedCondition[]): readonly string[] => where.map(({ field }) => field);

const matching = (where: readonly CheckedCondition[]): Sql =>
  allOf(where.map((condition) => toSql(condition)));

function allOf(filters: readonly Sql[]): Sql {
  if (filters.length === 0) return { text: '', values: [] };
  return {
    text: ` WHERE ${filters.map(({ text }) => text).join(' AND ')}`,
    values: filters.flatMap(({ values }) => values),
  };
}

/** As a comparison of rows, which an index over these columns can seek. */
const keyset = (columns: readonly string[], side: Side, after: readonly SqlValue[]): Sql => ({
  text: `(${columns.join(', ')}) ${side} (${columns.map(() => '?').join(', ')})`,
  values: after,
});

/** On which side of a value something lies. */
type Side = '<' | '>';

/**
 * Of two bounds on the same side SQLite seeks one and compares the other, and with the one of a filter it would go through
 * all earlier pages again to find the place where the next one begins. The sign keeps an index from being asked for it.
 */
const bound = (column: string, side: Side, orEqual: '=' | '', beyond: Side | undefined): string =>
  `${side === beyond ? '+' : ''}${column} ${side}${orEqual} ?`;

/** @param beyond the side on which the next page lies, for a condition on what it is sorted by. */
function toSql(condition: CheckedCondition, beyond?: Side): Sql {
  const column = columnOf(condition.field);
  switch (condition.op) {
    case 'in':
      return isOneOf(column, condition.type, condition.value);
    case 'startsWith':
      return startsWith(column, condition.value, beyond);
    case 'contains':
      return { text: `instr(${column}, ?) > 0`, values: [condition.value] };
    case 'has':
      return { text: `instr(${column}, ?) > 0`, values: [tagText([condition.value])] };
    case 'eq':
      return { text: `${column} = ?`, values: [condition.value] };
    case 'gt':
    case 'gte':
      return {
        text: bound(column, '>', condition.op === 'gte' ? '=' : '', beyond),
        values: [condition.value],
      };
    case 'lt':
    case 'lte': {
      const text = bound(column, '<', condition.op === 'lte' ? '=' : '', beyond);
      if (condition.type !== 'number') return { text, values: [condition.value] };
      // What stands for "no number" is below every number, but no number.
      return {
        text: `${bound(column, '>', '', beyond)} AND ${text}`,
        values: [NO_NUMBER, condition.value],
      };
    }
  }
}

/** The value is a list in JSON. */
const inJson = (column: string): string => `${column} IN (SELECT value FROM json_each(?))`;

/** Few different statements for any number of values, because each is kept prepared. */
function isOneOf(column: string, type: FieldType, values: readonly (string | number)[]): Sql {
  if (type !== 'number') {
    return { text: inJson(column), values: [JSON.stringify(values)] };
  }
  // SQLite reads a number in JSON with another rounding than it was written with: bind numbers one by one.
  const padded = padToPowerOfTwo(values);
  return { text: `${column} IN (${padded.map(() => '?').join(', ')})`, values: padded };
}

function padToPowerOfTwo<T>(values: readonly T[]): readonly T[] {
  if (values.length === 0) return values;
  const length = 2 ** Math.ceil(Math.log2(values.length));
  return [...values, ...Array<T>(length - values.length).fill(values[0] as T)];
}

/** As a range, which an index can seek. */
function startsWith(column: string, prefix: string, beyond: Side | undefined): Sql {
  const end = firstAfter(prefix);
  const from = bound(column, '>', '=', beyond);
  if (end === undefined) return { text: from, values: [prefix] };
  return { text: `${from} AND ${bound(column, '<', '', beyond)}`, values: [prefix, end] };
}
