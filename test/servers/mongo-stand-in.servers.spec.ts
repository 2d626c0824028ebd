import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Collection } from 'mongodb';
import { mongoName, startMongo, type MongoUnderTest } from '../support/mongodb.js';

interface Counter {
  readonly _id: string | number;
  readonly count: number;
}

const RUNS = 40;

/** Where the order of the bytes, of the characters, and of the text as JSON has it, differ. */
const LETTERS = ['a', 'b', '"', '\\', ' ', '!', '<', '&', '/', '\u0000', '\n', '\u007f', 'é', '￿', '😀'];

const ids = fc.string({ unit: fc.constantFrom(...LETTERS), minLength: 1, maxLength: 4 });
const keys = fc.oneof(ids, fc.integer({ min: 0, max: 3 }));

/** One update of a command: of one document by its id, or of all of some kind. */
const updates = fc.record({
  id: keys,
  by: fc.integer({ min: -2, max: 2 }),
  upsert: fc.boolean(),
  operator: fc.constantFrom('$inc' as const, '$max' as const, '$set' as const),
});
type Update = typeof updates extends fc.Arbitrary<infer T> ? T : never;

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** What these commands come to. */
function apply(counters: Map<string | number, number>, { id, by, upsert, operator }: Update): void {
  const before = counters.get(id);
  if (before === undefined) {
    if (upsert) counters.set(id, by);
  } else {
    counters.set(id, { $inc: before + by, $max: Math.max(before, by), $set: by }[operator]);
  }
}

describe(`${mongoName}, as the mends of the stand-in have to leave it`, () => {
  let mongo: MongoUnderTest;
  let collections = 0;

  beforeAll(async () => {
    mongo = await startMongo();
  });

  afterAll(() => mongo.dispose());

  const newCollection = (): Collection<Counter> => {
    collections += 1;
    return mongo.client.db(mongo.database).collection<Counter>(`counters${collections}`);
  };

  const commandOf = (commands: readonly Update[]) =>
    commands.map(({ id, by, upsert, operator }) => ({
      updateOne: { filter: { _id: id }, update: { [operator]: { count: by } }, upsert },
    }));

  it('an update command does the same whether its ids are different, repeated, or of several types', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(updates, { maxLength: 8 }), { maxLength: 4 }), async (commands) => {
        const counters = newCollection();
        const expected = new Map<string | number, number>();
        for (const command of commands.filter(({ length }) => length > 0)) {
          const before = new Map(expected);
          for (const update of command) apply(expected, update);
          const { matchedCount, upsertedCount } = await counters.bulkWrite(commandOf(command));
          expect(upsertedCount).toBe(expected.size - before.size);
          expect(matchedCount).toBe(matchesIn(before, command));
        }
        const found = await counters.find().toArray();
        expect(new Map(found.map(({ _id, count }) => [_id, count]))).toEqual(expected);
      }),
      { numRuns: RUNS },
    );
  });

  it('a command that is refused half way has done what comes before', async () => {
    const counters = newCollection();
    await counters.insertOne({ _id: 'text', count: 'none' as unknown as number });
    const add = (id: string) => ({ id, by: 1, upsert: true, operator: '$inc' as const });
    await expect(counters.bulkWrite(commandOf([add('a'), add('text'), add('b')]))).rejects.toThrow();
    expect(await counters.find({ _id: { $ne: 'text' } }).toArray()).toEqual([{ _id: 'a', count: 1 }]);
    // Not a second time.
    await counters.bulkWrite(commandOf([add('a'), add('c')]));
    expect(await counters.findOne({ _id: 'a' })).toEqual({ _id: 'a', count: 2 });
  });

  it('two commands at the same time count every one of their steps', async () => {
    const counters = newCollection();
    const names = Array.from({ length: 50 }, (_, n) => `counter ${n}`);
    await counters.insertMany(names.map((_id) => ({ _id, count: 0 })));
    const step = () =>
      counters.bulkWrite(commandOf(names.map((id) => ({ id, by: 1, upsert: true, operator: '$inc' }))));
    await Promise.all(Array.from({ length: 6 }, step));
    expect(await counters.distinct('count')).toEqual([6]);
  });

  it('a range of ids comes in the order of their bytes, and holds texts only', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(keys, { maxLength: 12 }),
        ids,
        ids,
        fc.integer({ min: 1, max: 5 }),
        async (all, from, below, limit) => {
          const counters = newCollection();
          const documents = all.map((_id, count) => ({ _id, count }));
          if (documents.length > 0) await counters.insertMany(documents);
          const expected = all
            .filter((id) => typeof id === 'string')
            .filter((id) => byBytes(id, from) >= 0 && byBytes(id, below) < 0)
            .sort(byBytes);
          const filter = { $and: [{ _id: { $gte: from, $lt: below } }, { count: { $gte: 0 } }] };
          const idsOf = (found: readonly Counter[]) => found.map(({ _id }) => _id);
          const sorted = counters.find(filter, { sort: { _id: 1 }, batchSize: 2 });
          expect(idsOf(await sorted.toArray())).toEqual(expected);
          expect(idsOf(await counters.find(filter, { sort: { _id: 1 }, limit }).toArray())).toEqual(
            expected.slice(0, limit),
          );
          expect(idsOf(await counters.find(filter, { sort: { _id: -1 } }).toArray())).toEqual(
            expected.toReversed(),
          );
          expect(await counters.countDocuments(filter)).toBe(expected.length);
        },
      ),
      { numRuns: RUNS },
    );
  });
});

/** How many of the updates find a document. */
function matchesIn(before: ReadonlyMap<string | number, number>, command: readonly Update[]): number {
  const counters = new Map(before);
  return command.filter((update) => {
    const there = counters.has(update.id);
    apply(counters, update);
    return there;
  }).length;
}
