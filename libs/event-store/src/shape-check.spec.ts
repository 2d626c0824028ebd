import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { z } from 'zod';
import { shapeCheck } from './shape-check.js';

const count = z.number().int().nonnegative();
const colour = z.enum(['red', 'green']);

/** Everything that schemas of events are made of. */
const schema = z.strictObject({
  id: z.string().min(1),
  name: z.string(),
  count,
  build: z.number().int().positive(),
  done: z.boolean(),
  colour,
  note: z.string().optional(),
  filter: z.strictObject({ sender: z.string().exactOptional() }),
  choice: z.discriminatedUnion('by', [
    z.strictObject({ by: z.literal('list') }),
    z.strictObject({ by: z.literal('query'), excluding: count }),
  ]),
  reasons: z.partialRecord(colour, count),
  items: z.array(z.strictObject({ of: count, colour: colour.optional() })),
});

const samples = [
  {
    id: 'a',
    name: '',
    count: 0,
    build: 1,
    done: true,
    colour: 'red',
    note: 'n',
    filter: { sender: 's' },
    choice: { by: 'query', excluding: 3 },
    reasons: { red: 2 },
    items: [{ of: 1 }, { of: 2, colour: 'green' }],
  },
  {
    id: '😀',
    name: '\uD83D',
    count: Number.MAX_SAFE_INTEGER,
    build: 7,
    done: false,
    colour: 'green',
    filter: {},
    choice: { by: 'list' },
    reasons: {},
    items: [],
  },
];

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Every place in a value, itself included. */
function placesIn(value: Json, path: readonly string[] = []): (readonly string[])[] {
  const within = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  return [path, ...within.flatMap(([name, member]) => placesIn(member, [...path, name]))];
}

/** A copy with something else at one place, or without it. */
function changedAt(value: Json, [name, ...rest]: readonly string[], to: Json | undefined): Json {
  if (name === undefined) return to ?? null;
  const copy = structuredClone(value) as Record<string, Json>;
  if (rest.length > 0) copy[name] = changedAt(copy[name] ?? null, rest, to);
  else if (to === undefined) Reflect.deleteProperty(copy, name);
  else copy[name] = to;
  return copy;
}

const odd = fc.oneof(
  fc.constantFrom<Json | undefined>(
    undefined,
    null,
    '',
    'red',
    'list',
    'query',
    0,
    1,
    -1,
    1.5,
    2 ** 53,
    true,
  ),
  fc.jsonValue() as fc.Arbitrary<Json>,
);

describe('the check of a shape', () => {
  const fits = shapeCheck(schema);

  it.each(samples)('lets pass what fits: %j', (sample) => {
    expect(fits(sample)).toBe(true);
  });

  it('says of any JSON what the schema says', () => {
    const cases = fc
      .constantFrom(...(samples as Json[]))
      .chain((sample) =>
        fc.tuple(
          fc.constant(sample),
          fc.array(
            fc.tuple(
              fc.constantFrom(...placesIn(sample), ['more'], ['filter', 'more'], ['reasons', 'blue']),
              odd,
            ),
            { maxLength: 2 },
          ),
        ),
      );
    fc.assert(
      fc.property(cases, ([sample, changes]) => {
        const value = changes.reduce(
          (before, [path, to]) => (canBeAt(before, path) ? changedAt(before, path, to) : before),
          sample,
        );
        expect(fits(value)).toBe(schema.safeParse(value).success);
      }),
      { numRuns: 2000 },
    );
  });

  it('refuses a schema that JSON Schema cannot say', () => {
    expect(() => shapeCheck(z.strictObject({ at: z.date() }))({})).toThrow();
  });
});

/** Whether everything on the way to a place is an object or a list. */
function canBeAt(value: Json, path: readonly string[]): boolean {
  if (path.length === 0) return true;
  if (typeof value !== 'object' || value === null) return false;
  const [name = '', ...rest] = path;
  return rest.length === 0 || canBeAt((value as Record<string, Json>)[name] ?? null, rest);
}
