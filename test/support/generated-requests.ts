import fc from 'fast-check';
import type { Route, OpenApi, Schema } from './open-api.js';
import { emailRow, gzip, type RequestParts } from './server.js';

/** How far a request is from one that is right: as the document has it, wrong in one place, or broken. */
export const SHAPES = ['valid', 'nearlyValid', 'broken'] as const;
export type Shape = (typeof SHAPES)[number];

/** Values that a member or a parameter of this name may well have; `body` for a body, or an item of one. */
export type Known = Readonly<Record<string, readonly unknown[]>>;

/** One request of this shape to a route. */
export function requestsTo(
  { components: { schemas } }: OpenApi,
  route: Route,
  shape: Shape,
  known: Known,
): fc.Arbitrary<RequestParts> {
  const valueOf = rightValues(schemas, known);
  const { operation } = route;
  const parameters = (operation.parameters ?? []).filter(({ in: place }) => place !== 'header');
  const [type = 'application/json', { schema = {} } = {}] =
    Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const hasBody = operation.requestBody !== undefined;
  const json = type.endsWith('/json') ? valueOf(schema, 'body') : fc.constant(emailRow());

  const draft = fc.record({
    path: fc.record(
      Object.fromEntries(
        parameters
          .filter(({ in: place }) => place === 'path')
          .map(({ name, schema: of }) => [name, valueOf(of, name)]),
      ),
    ),
    query: fewOf(
      parameters
        .filter(({ in: place }) => place === 'query')
        .map(({ name, schema: of, required = false }) => ({ name, required, value: valueOf(of, name) })),
    ),
    body: hasBody ? json : fc.constant(undefined),
  });

  const written = (
    { path, query, body }: { path: unknown; query: unknown; body: unknown },
    type_ = type,
  ): Written => ({
    method: route.method.toUpperCase(),
    path: route.path.replace(/\{(\w+)\}/g, (_all, name: string) =>
      encodeURIComponent(wellFormed(textOf((path as Record<string, unknown>)[name]))),
    ),
    query: Object.entries(Object(query) as Record<string, unknown>).map(
      ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(wellFormed(textOf(value)))}`,
    ),
    body: body === undefined ? undefined : textOf(body),
    headers: body === undefined ? {} : { 'content-type': type_ },
  });

  switch (shape) {
    case 'valid':
      return draft.map((made) => sent(written(made)));
    case 'nearlyValid':
      return draft.chain((made) => withOneWrong(made)).map((made) => sent(written(made)));
    case 'broken':
      return draft
        .map((made) => written(made))
        .chain(broken)
        .map(sent);
  }
}

/** Requests with a JSON body that are right but for one member of it, which has a value of no use: each in turn. */
export function wrongMembers(
  { components: { schemas } }: OpenApi,
  { method, path, operation }: Route,
  known: Known,
): { readonly parts: RequestParts; readonly name: string; readonly value: unknown }[] {
  const schema = operation.requestBody?.content['application/json']?.schema;
  if (schema === undefined) return [];
  const valueOf = rightValues(schemas, known);
  const [first] = fc.sample(valueOf(schema, 'body'), 1);
  const { properties = {} } = resolved(schemas, schema);
  const url = path.replace(/\{(\w+)\}/g, (_all, name: string) => String(known[name]?.[0]));
  return Object.keys(properties).flatMap((name) =>
    [null, 0, '', 'x', true, [], {}, [null]].map((value) => ({
      name,
      value,
      parts: {
        method: method.toUpperCase(),
        path: url,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...(first as object), [name]: value }),
      },
    })),
  );
}

interface Written {
  readonly method: string;
  readonly path: string;
  readonly query: readonly string[];
  readonly body: string | Uint8Array | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

const sent = ({ method, path, query, body, headers }: Written): RequestParts => ({
  method,
  path: query.length === 0 ? path : `${path}?${query.join('&')}`,
  headers,
  ...(body === undefined ? {} : { body }),
});

/** A text for anything, also for nothing. */
const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value ?? null);

/** As it would arrive anyway: half a character has no UTF-8. */
const wellFormed = (text: string): string => Buffer.from(text).toString();

/** All that is required and a few others: filters all hold together, and some members exclude each other. */
const fewOf = (
  members: readonly {
    readonly name: string;
    readonly required: boolean;
    readonly value: fc.Arbitrary<unknown>;
  }[],
): fc.Arbitrary<Record<string, unknown>> =>
  subsetOf(members.filter(({ required }) => !required)).chain((chosen) =>
    fc.record(
      Object.fromEntries(
        members
          .filter((member) => member.required || chosen.includes(member))
          .map(({ name, value }) => [name, value]),
      ),
    ),
  );

const subsetOf = <T>(all: readonly T[]): fc.Arbitrary<T[]> =>
  fc.subarray([...all], { maxLength: Math.min(3, all.length) });

/** The schema that this one stands for. */
function resolved(schemas: OpenApi['components']['schemas'], schema: Schema): Schema {
  const { $ref, allOf } = schema;
  if ($ref !== undefined) return resolved(schemas, schemas[$ref.slice($ref.lastIndexOf('/') + 1)] ?? {});
  return allOf?.[0] === undefined ? schema : resolved(schemas, allOf[0]);
}

/** Values as the schema has them, taken from what is known where something is known. */
function rightValues(
  schemas: OpenApi['components']['schemas'],
  known: Known,
): (schema: Schema, name: string) => fc.Arbitrary<unknown> {
  const valueOf = (schema: Schema, name: string): fc.Arbitrary<unknown> => {
    if (schema.$ref !== undefined || schema.allOf !== undefined) {
      return valueOf(resolved(schemas, schema), name);
    }
    const { oneOf } = schema;
    if (oneOf !== undefined) return fc.oneof(...oneOf.map((one) => valueOf(one, name)));
    if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
    switch (schema.type) {
      case 'string': {
        const values = known[name];
        return values === undefined
          ? fc.oneof(
              fc.constantFrom('a', 'Wave', '🦊 Ω'),
              fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }),
            )
          : fc.constantFrom(...values);
      }
      case 'number':
      case 'integer':
        return fc.integer({ min: 1, max: 50 });
      case 'boolean':
        return fc.boolean();
      case 'array':
        return fc.array(valueOf(schema.items ?? {}, name), { minLength: 1, maxLength: 3 });
      case 'object': {
        const { properties, required = [] } = schema;
        if (properties === undefined) return fc.constantFrom(...(known[name] ?? [{}]));
        return fewOf(
          Object.entries(properties).map(([key, of]) => ({
            name: key,
            required: required.includes(key),
            value: valueOf(of, key),
          })),
        );
      }
      default:
        return fc.oneof(fc.constant('x'), fc.constant({}));
    }
  };
  return valueOf;
}

const WRONG: readonly unknown[] = [
  ...[null, '', ' ', '\0', 'a\ud800', '../..', '%', '%00', "' OR 1=1 --", '$where', '\u202egnp.exe'],
  ...[0, -1, 1.5, 1e300, -1e300, 2 ** 53, '9'.repeat(400), true, 'true', [], {}, [[]], [null]],
  ...['x'.repeat(5000), 'é'.repeat(2000), '2026-02-30', '9999-12-31T23:59:60Z', '-000001-01-01T00:00:00Z'],
  { $ne: '' },
  { constructor: { prototype: 'x' } },
  { toString: 1, valueOf: 1, then: 1 },
];
const wrong = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...WRONG) },
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.object({ maxDepth: 2 }),
);

type Place = readonly (string | number)[];

/** Every place in a value, that of the value itself as well. */
function placesIn(value: unknown, at: Place = []): Place[] {
  if (typeof value !== 'object' || value === null) return [at];
  return [at, ...Object.entries(value).flatMap(([key, inner]) => placesIn(inner, [...at, key]))];
}

type Change = (value: unknown) => unknown;

function changedAt(value: unknown, place: Place, change: Change): unknown {
  const [key, ...rest] = place;
  if (key === undefined) return change(value);
  const changed = changedAt((value as Record<string | number, unknown>)[key], rest, change);
  if (Array.isArray(value)) return value.with(Number(key), changed) as unknown;
  return Object.fromEntries(
    Object.entries(value as object).flatMap(([name, inner]): [string, unknown][] =>
      name !== key ? [[name, inner]] : changed === LEFT_OUT ? [] : [[name, changed]],
    ),
  );
}

const LEFT_OUT = Symbol('left out');
const added =
  (name: string, more: unknown): Change =>
  (value) =>
    typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value, [name]: more } : more;

/** One place of the path, the query or the body is left out, has another value, or one member more. */
function withOneWrong<Made extends object>(made: Made): fc.Arbitrary<Made> {
  const places = placesIn(made).filter(
    // The path has its parameters and no others.
    (place) =>
      place.length > 1 ||
      (place.length === 1 &&
        place[0] !== 'path' &&
        Object.entries(made).some(([name, part]) => name === place[0] && part !== undefined)),
  );
  const change: fc.Arbitrary<Change> = fc.oneof(
    { weight: 5, arbitrary: wrong.map((value) => () => value) },
    fc.constant<Change>(() => LEFT_OUT),
    fc.constant<Change>((value) => [value, value]),
    fc.constant<Change>((value) => (typeof value === 'string' ? value.toUpperCase() : textOf(value))),
    fc
      .tuple(
        fc.constantFrom(
          'admin',
          'approve',
          '__proto__',
          'constructor',
          'toString',
          '$gt',
          '',
          'x'.repeat(300),
        ),
        wrong,
      )
      .map(([name, value]) => added(name, value)),
  );
  if (places.length === 0) return fc.constant(made);
  return fc.tuple(fc.constantFrom(...places), change).map(([place, by]) => {
    const changed = changedAt(made, place, by) as Made;
    // Without its body or its whole query a request is still one.
    return { query: {}, ...changed };
  });
}

const SPOILED_TYPES = [
  ...[
    'text/plain',
    'application/xml',
    'application/x-www-form-urlencoded',
    'multipart/form-data',
    'nonsense',
    '',
  ],
  ...['application/json; charset=utf-16', 'application/json; charset=', 'application/x-ndjson', 'text/csv'],
  ...['application/octet-stream', 'application/json, application/json', 'application/vnd.api+json'],
];

/** Spoils a request on its way: what is sent is no such request any more. */
function broken(request: Written): fc.Arbitrary<Written> {
  const { path, query, body, headers } = request;
  const ofBody = (change: (text: string) => string | Uint8Array): Written => ({
    ...request,
    body: change(typeof body === 'string' ? body : '{"name":"x"}'),
    headers: { 'content-type': 'application/json', ...headers },
  });
  const withHeaders = (more: Readonly<Record<string, string>>): Written => ({
    ...request,
    headers: { ...headers, ...more },
  });
  const withQuery = (...more: readonly string[]): Written => ({ ...request, query: [...query, ...more] });
  const inBody: fc.Arbitrary<Written> = fc.oneof(
    fc.nat(200).map((at) => ofBody((text) => text.slice(0, at))),
    fc.nat(200).map((at) => ofBody((text) => `${text.slice(0, at)}\u0000${text.slice(at)}`)),
    fc
      .constantFrom('', 'null', '[]', '""', '0', 'true', '{}', '{', ']', 'NaN', '\ufeff{}', '{"a":1,"a":2}')
      .map((text) => ofBody(() => text)),
    fc
      .constantFrom('1e400', '-1e400', '9'.repeat(500), `${'9'.repeat(30)}.5`, '0x10', '01')
      .map((number) => ofBody((text) => text.replace(/:("[^"]*"|\d+|true|false)/, `:${number}`))),
    fc
      .constantFrom('__proto__', 'constructor', 'prototype')
      .map((name) => ofBody((text) => text.replace('{', `{"${name}":{"admin":true},`))),
    fc
      .integer({ min: 50, max: 3000 })
      .map((depth) => ofBody(() => `${'['.repeat(depth)}${']'.repeat(depth)}`)),
    fc
      .integer({ min: 50, max: 3000 })
      .map((depth) => ofBody(() => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`)),
    fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => ofBody(() => bytes)),
    fc.constant(
      ofBody((text) =>
        Buffer.concat([Buffer.from(text.slice(0, -1)), Buffer.from([0xff, 0xc0]), Buffer.from('}')]),
      ),
    ),
    fc.constant(ofBody((text) => Buffer.from(text, 'utf16le'))),
    fc.constant(ofBody((text) => text.repeat(2))),
    fc
      .constantFrom(...SPOILED_TYPES)
      .map((type) => ({ ...ofBody((text) => text), headers: { 'content-type': type } })),
    fc.constantFrom('gzip', 'br', 'deflate', 'identity', 'gzip, gzip', 'x').map((encoding) => ({
      ...ofBody((text) => text),
      headers: { ...headers, 'content-type': 'application/json', 'content-encoding': encoding },
    })),
    fc.constant({
      ...ofBody((text) => gzip(text)),
      headers: {
        ...headers,
        'content-type': headers['content-type'] ?? 'application/json',
        'content-encoding': 'gzip',
      },
    }),
  );
  const around: fc.Arbitrary<Written> = fc.oneof(
    // Twice, as a list and as an object: a query string has many ways to say what nobody expects.
    fc.constant(withQuery(...query)),
    fc
      .constantFrom(
        'limit',
        'cursor',
        'status',
        'name',
        'startTime',
        '$filter',
        '$top',
        'format',
        'after',
        'top',
      )
      .chain((name) =>
        fc.constantFrom(
          withQuery(`${name}=1`, `${name}=2`),
          withQuery(`${name}[]=1`),
          withQuery(`${name}[a]=1`),
          withQuery(`${name}=`),
          withQuery(name),
          withQuery(`${name}=%00`),
          withQuery(`${name}=%ff`),
          withQuery(`${name}=%`),
          withQuery(`${name}=${'9'.repeat(400)}`),
        ),
      ),
    fc
      .constantFrom(
        '__proto__=x',
        '__proto__[a]=1',
        'constructor=1',
        'toString=1',
        '&&&=',
        '=x',
        '?',
        '%zz=1',
      )
      .map((more) => withQuery(more)),
    fc
      .constantFrom('%', '%zz', '%ff', '%00', '..%2f..', '%2f', ';a=1', 'x'.repeat(2000), '%e2%80%ae')
      .map((more) => ({
        ...request,
        path: `${path}${more}`,
      })),
    fc.constantFrom('PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD').map((method) => ({
      ...request,
      method,
      ...(method === 'HEAD' ? { body: undefined } : {}),
    })),
    fc
      .constantFrom(
        { 'idempotency-key': ' ' },
        { 'idempotency-key': 'x'.repeat(300) },
        { 'idempotency-key': 'é' },
        { accept: 'text/nonsense' },
        { accept: 'application/x-ndjson;q=x, */*;q=0' },
        { 'last-event-id': 'x' },
        { 'last-event-id': '9'.repeat(40) },
        { prefer: 'include-unknown-enum-members; x="' },
        { 'client-request-id': 'x'.repeat(500) },
        { range: 'bytes=0-' },
        { 'if-match': '*' },
        { traceparent: '00-zz' },
        { 'x-http-method-override': 'DELETE' },
      )
      .map((more) => withHeaders(more as Record<string, string>)),
  );
  return body === undefined
    ? fc.oneof(around, { weight: 1, arbitrary: around })
    : fc.oneof({ weight: 2, arbitrary: inBody }, around);
}
