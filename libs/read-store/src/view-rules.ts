import { ClawbackError, invalidInput } from '#libs/kernel';
import type { Condition, FieldSpec, Query, Scalar, ViewSpec } from './read-store.js';

/**
 * What all adapters of the read store agree on, so that one query means the same in each of them: which names, fields
 * and operators there are, and what a value becomes before it is stored or compared.
 *
 * - A text that is null is the empty text, in conditions and in the order.
 * - A number that is null sorts before every number and matches no condition.
 * - Tags that are null are no tags.
 * - NUL and half surrogate pairs count as U+FFFD in texts (U+001F too in tags). The document itself keeps them.
 */

export type FieldType = FieldSpec<never>['type'];

/** A field of a document as it is stored for queries. */
export type FieldValue = Scalar | readonly string[];

/** A condition whose field, operator and value fit together, with the value as it is stored. */
export type CheckedCondition = Condition & { readonly type: FieldType };

export interface CheckedQuery {
  readonly where: readonly CheckedCondition[];
  /** Ends with `id`, which makes the order total. */
  readonly sortBy: readonly string[];
  readonly descending: boolean;
  /** As long as `sortBy`. */
  readonly after?: readonly Scalar[];
  readonly limit: number;
}

/** Stands for a number that is null. A finite number, so that a cursor survives JSON. */
export const NO_NUMBER = -Number.MAX_VALUE;

/** The largest `limit` of a query, and the most values of one `in`. */
export const MAX_LIMIT = 10_000;

/** What stores put between tags; no tag holds it. */
export const TAG_SEPARATOR = '\u001F';

const NAME = /^[A-Za-z][A-Za-z0-9]*$/;

const OPERATORS: Readonly<Record<FieldType, readonly Condition['op'][]>> = {
  text: ['eq', 'gt', 'gte', 'lt', 'lte', 'in', 'startsWith', 'contains'],
  number: ['eq', 'gt', 'gte', 'lt', 'lte', 'in'],
  tags: ['has'],
};

/** The name of one version of a view. */
export const viewKey = (view: ViewSpec<never>): string => `${view.name}_v${view.version}`;

/** The name of the place of one build in a store: that of the version for the first, `<version>_b<n>` for the others. */
export const placeKey = (view: ViewSpec<never>, build: number): string =>
  build === FIRST_BUILD ? viewKey(view) : `${viewKey(view)}_b${build}`;

export const FIRST_BUILD = 1;

export const notPrepared = (view: ViewSpec<never>): Error =>
  new Error(`view ${view.name}: version ${view.version} is not prepared`);

/** @throws {Error} for the active build. */
export function checkDiscard(view: ViewSpec<never>, build: number, active: number): void {
  if (build === active) {
    const message = `build ${build} of the view ${view.name} is the active one`;
    throw new ClawbackError('conflict', 'buildInUse', message, { view: view.name, build });
  }
}

/** What of a view must not change without a new version. */
export function viewShape(view: ViewSpec<never>): object {
  return {
    fields: Object.fromEntries(Object.entries(view.fields).map(([name, field]) => [name, field.type])),
    indexes: view.indexes.map((index) => index.join(' ')).sort(),
    ...(view.patchable === undefined ? {} : { patchable: [...view.patchable].sort() }),
  };
}

/** The view is in the store already, with another shape. */
export const viewChanged = (view: ViewSpec<never>): Error =>
  new Error(
    `view ${view.name}: the fields or indexes of version ${view.version} have changed; raise the version`,
  );

/** @throws {TypeError} a name that not every store can take, or an index over something that is no field. */
export function checkView(view: ViewSpec<never>): void {
  if (!NAME.test(view.name)) throw misuse(view, 'a name consists of letters and digits');
  if (!isOrdinal(view.version)) throw misuse(view, 'versions begin with 1');
  if (view.build !== undefined && !isOrdinal(view.build)) throw misuse(view, 'builds begin with 1');
  const names = [...Object.keys(view.fields), 'id'];
  const wrong = names.find((name) => !NAME.test(name));
  if (wrong !== undefined) throw misuse(view, `field ${wrong}: a name consists of letters and digits`);
  if (new Set(names.map((name) => name.toLowerCase())).size < names.length) {
    throw misuse(view, 'two fields (one may be id) differ by case at most');
  }
  for (const index of view.indexes) {
    if (index.length === 0 || new Set(index).size < index.length) {
      throw misuse(view, 'an index needs fields, each once');
    }
    for (const field of index) fieldType(view, field);
  }
  for (const member of view.patchable ?? []) {
    if (view.fields[member]?.type !== 'text')
      throw misuse(view, `${member} can be patched only as a text field`);
    if (view.indexes.flat().includes(member))
      throw misuse(view, `${member} can be patched only where no index holds it`);
  }
}

const isOrdinal = (number: number): boolean => Number.isSafeInteger(number) && number >= 1;

/** @throws {TypeError} an id that some store would change: it holds NUL or half a surrogate pair. */
export function checkId(view: ViewSpec<never>, id: string): void {
  if (plainText(id) !== id) throw misuse(view, 'an id holds whole characters without NUL');
}

/**
 * The fields of a document as they are stored.
 * @throws {TypeError} a value is not of the type of its field, or a number is not finite.
 */
export function fieldValues<Doc>(view: ViewSpec<Doc>, doc: Doc): Readonly<Record<string, FieldValue>> {
  return Object.fromEntries(
    Object.entries(view.fields).map(([field, spec]) => [
      field,
      storedValue(view, field, spec.type, spec.of(doc)),
    ]),
  );
}

/**
 * The JSON of a document, without the members that its fields hold.
 * @throws {TypeError} such a member is not the value of its field.
 */
export function jsonOf<Doc>(
  { name, patchable }: ViewSpec<Doc>,
  doc: Doc,
  values: Readonly<Record<string, FieldValue>>,
): string {
  if (patchable === undefined) return JSON.stringify(doc);
  const rest = { ...doc } as Record<string, unknown>;
  for (const member of patchable) {
    if (rest[member] !== values[member])
      throw new TypeError(`view ${name}: ${member} is not what its field holds`);
    // What is undefined is no part of JSON.
    rest[member] = undefined;
  }
  return JSON.stringify(rest);
}

/** The document again: its JSON, and what its fields hold of it. */
export function docOf<Doc>(
  { patchable }: ViewSpec<Doc>,
  json: string,
  fieldOf: (name: string) => unknown,
): Doc {
  const doc = JSON.parse(json) as Record<string, unknown>;
  for (const member of patchable ?? []) doc[member] = fieldOf(member);
  return doc as Doc;
}

/**
 * The fields that a patch sets, as they are stored.
 * @throws {TypeError} a member that is not patchable, or whose value is no text that is kept as it is.
 */
export function patchedValues<Doc>(
  view: ViewSpec<Doc>,
  set: Partial<Doc>,
): readonly [field: string, value: string][] {
  return Object.entries<unknown>(set).map(([member, value]) => {
    if (view.patchable?.includes(member) !== true) throw misuse(view, `${member} cannot be patched`);
    const text = textOf(view, member, value);
    if (plainText(text) !== text) throw misuse(view, `${member} must hold whole characters without NUL`);
    return [member, text];
  });
}

/** @throws {TypeError} an unknown field, or an operator or value that the field does not allow. */
export const checkConditions = (
  view: ViewSpec<never>,
  where: readonly Condition[],
): readonly CheckedCondition[] => where.map((condition) => checkCondition(view, condition));

/**
 * @throws {TypeError} as {@link checkConditions}, or an impossible order or limit: a mistake in the program.
 * @throws {ClawbackError} `invalidCursor`: `after` does not fit the order. It may have travelled through a client.
 */
export function checkQuery(view: ViewSpec<never>, query: Query): CheckedQuery {
  const { limit, after } = query;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw misuse(view, `limit must be a whole number from 1 to ${MAX_LIMIT}`);
  }
  const sortBy = sortFields(view, query.orderBy ?? []);
  return {
    where: checkConditions(view, query.where),
    sortBy,
    descending: query.descending ?? false,
    ...(after !== undefined && { after: checkAfter(view, sortBy, after) }),
    limit,
  };
}

/** What follows `id` in an order has no effect: no two documents have the same id. */
function sortFields(view: ViewSpec<never>, orderBy: readonly string[]): readonly string[] {
  const unsortable = orderBy.find((field) => fieldType(view, field) === 'tags');
  if (unsortable !== undefined) throw misuse(view, `cannot sort by ${unsortable}: it is a set of tags`);
  const end = orderBy.indexOf('id');
  return [...(end < 0 ? orderBy : orderBy.slice(0, end)), 'id'];
}

function checkAfter(
  view: ViewSpec<never>,
  sortBy: readonly string[],
  after: readonly Scalar[],
): readonly Scalar[] {
  const fits = (field: string, value: Scalar | undefined) =>
    fieldType(view, field) === 'number' ? Number.isFinite(value) : typeof value === 'string';
  if (after.length !== sortBy.length || !sortBy.every((field, index) => fits(field, after[index]))) {
    throw invalidInput(
      [{ field: 'after', problem: `must hold the values of ${sortBy.join(', ')}` }],
      'invalidCursor',
    );
  }
  return after.map((value) => (typeof value === 'string' ? plainText(value) : value));
}

/** @throws {TypeError} none at all, or one that is no text. */
export function checkSelected(view: ViewSpec<never>, fields: readonly string[]): void {
  if (fields.length === 0) throw misuse(view, 'nothing is selected');
  const wrong = fields.find((field) => fieldType(view, field) !== 'text');
  if (wrong !== undefined) throw misuse(view, `cannot select ${wrong}: it is no text`);
}

/** @throws {TypeError} not a number field. */
export function checkSummed(view: ViewSpec<never>, field: string): void {
  if (fieldType(view, field) !== 'number') throw misuse(view, `cannot add up ${field}: it is no number`);
}

/** @throws {TypeError} not a text field. */
export function checkSpread(view: ViewSpec<never>, field: string): void {
  if (fieldType(view, field) !== 'text') throw misuse(view, `cannot group by ${field}: it is no text`);
}

function checkCondition(view: ViewSpec<never>, condition: Condition): CheckedCondition {
  const { field, op } = condition;
  const type = fieldType(view, field);
  if (!OPERATORS[type].includes(op)) throw misuse(view, `${field} is of type ${type}: it has no ${op}`);
  switch (condition.op) {
    case 'in':
      if (condition.value.length > MAX_LIMIT) throw misuse(view, `${field}: in takes ${MAX_LIMIT} values`);
      return { ...condition, type, value: condition.value.map((one) => scalar(view, field, type, one)) };
    case 'has':
      return { ...condition, type, value: plainTag(textOf(view, field, condition.value)) };
    case 'startsWith':
    case 'contains':
      return { ...condition, type, value: plainText(textOf(view, field, condition.value)) };
    case 'eq':
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte':
      return { ...condition, type, value: scalar(view, field, type, condition.value) };
  }
}

function fieldType(view: ViewSpec<never>, field: string): FieldType {
  if (field === 'id') return 'text';
  if (!Object.hasOwn(view.fields, field)) throw misuse(view, `has no field ${field}`);
  return (view.fields[field] as FieldSpec<never>).type;
}

function storedValue(view: ViewSpec<never>, field: string, type: FieldType, value: unknown): FieldValue {
  switch (type) {
    case 'text':
      return value === null ? '' : plainText(textOf(view, field, value));
    case 'number':
      return value === null ? NO_NUMBER : numberOf(view, field, value);
    case 'tags':
      return tagsOf(view, field, value ?? []).map(plainTag);
  }
}

const scalar = (view: ViewSpec<never>, field: string, type: FieldType, value: unknown): Scalar =>
  type === 'number' ? numberOf(view, field, value) : plainText(textOf(view, field, value));

function textOf(view: ViewSpec<never>, field: string, value: unknown): string {
  if (typeof value !== 'string') throw misuse(view, `${field} must be a text`);
  return value;
}

function numberOf(view: ViewSpec<never>, field: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value === NO_NUMBER) {
    throw misuse(view, `${field} must be a finite number`);
  }
  return value;
}

function tagsOf(view: ViewSpec<never>, field: string, value: unknown): string[] {
  if (!Array.isArray(value)) throw misuse(view, `${field} must be a list of tags`);
  return value.map((tag) => textOf(view, field, tag));
}

const plainText = (text: string): string => text.toWellFormed().replaceAll('\0', '\uFFFD');

const plainTag = (tag: string): string => plainText(tag).replaceAll(TAG_SEPARATOR, '\uFFFD');

const misuse = (view: ViewSpec<never>, problem: string): TypeError =>
  new TypeError(`view ${view.name}: ${problem}`);
