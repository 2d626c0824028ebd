import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { newId, START, type Position } from '#libs/kernel';
import { InMemoryEventStore } from '../../../test/support/in-memory-event-store.js';
import { compareBuilds, type CompareOptions, type Comparison } from './compare-builds.js';
import type { Projection } from './projection.js';
import { Projector } from './projector.js';
import type { Stored, ViewSpec } from './read-store.js';
import { SqliteReadStore } from './sqlite/sqlite-read-store.js';

interface Note {
  readonly text: string;
  readonly more?: unknown;
}

const notes = (name = 'notes'): ViewSpec<Note> => ({ name, version: 1, fields: {}, indexes: [] });
const note = (id: string, position: Position, text = `text of ${id}`): Stored<Note> => ({
  id,
  position,
  doc: { text },
});

describe('compareBuilds', () => {
  let folder: string;
  let store: SqliteReadStore;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'compare-builds-'));
    store = new SqliteReadStore(folder);
  });

  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });

  async function write(
    build: number,
    documents: readonly Stored<Note>[],
    checkpoint: Position,
    view = notes(),
  ): Promise<void> {
    await store.prepare({ ...view, build });
    await store.commit({ ...view, build }, documents, checkpoint);
  }

  const compare = (more: Partial<CompareOptions> = {}, view = notes()): Promise<Comparison> =>
    compareBuilds(store, view, [1, 2], {
      signal: new AbortController().signal,
      reachOf: () => Promise.resolve(1000n),
      ...more,
    });

  it('finds nothing between two that are empty', async () => {
    await write(1, [], 10n);
    await write(2, [], 10n);
    const nothing = { documents: 0, checksum: '0'.repeat(64) };
    expect(await compare()).toEqual({
      first: { build: 1, ...nothing },
      second: { build: 2, ...nothing },
      differing: 0,
      examples: [],
    });
  });

  it('gives equal builds one checksum, in whatever order and by whatever commits they were written', async () => {
    // Over several pages, and with ids that sort by their bytes otherwise than by their characters.
    const ids = ['\uFFFF', '😀', 'é', 'e', 'Z', ...Array.from({ length: 250 }, (_, index) => `n${index}`)];
    const documents = ids.map((id, index) => note(id, BigInt(index)));
    await write(1, documents, 500n);
    for (const document of [...documents].reverse()) await write(2, [document], document.position);
    await write(2, [], 500n);
    const { first, second, differing, examples } = await compare();
    expect({ differing, examples }).toEqual({ differing: 0, examples: [] });
    expect(first.documents).toBe(255);
    expect(second).toEqual({ ...first, build: 2 });
    expect(first.checksum).toMatch(/^[0-9a-f]{64}$/);
  });

  it('does not mind the order of keys, and minds everything else', async () => {
    const doc = { text: 'x', more: { a: 1, b: [1, 2] } };
    await write(1, [{ id: 'a', position: 1n, doc }], 5n);
    await write(2, [{ id: 'a', position: 1n, doc: { more: { b: [1, 2], a: 1 }, text: 'x' } }], 5n);
    expect(await compare()).toMatchObject({ differing: 0 });
    await write(2, [{ id: 'a', position: 2n, doc }], 5n);
    await write(1, [{ id: 'a', position: 2n, doc: { ...doc, more: { a: 1, b: [2, 1] } } }], 5n);
    const { first, second, differing } = await compare();
    expect(differing).toBe(1);
    expect(first.checksum).not.toBe(second.checksum);
  });

  it('names documents that differ in content or position, or are in one only', async () => {
    const same = [note('b', 2n), note('e', 2n)];
    await write(1, [...same, note('a', 1n), note('c', 3n), note('d', 4n)], 10n);
    await write(2, [...same, note('c', 3n, 'another'), note('d', 5n), note('f', 6n)], 10n);
    const { first, second, differing, examples } = await compare();
    expect({ differing, examples }).toEqual({ differing: 4, examples: ['a', 'c', 'd', 'f'] });
    expect([first.documents, second.documents]).toEqual([5, 5]);
    expect(first.checksum).not.toBe(second.checksum);
  });

  it('counts all and names some', async () => {
    const documents = Array.from({ length: 1234 }, (_, index) =>
      note(String(index).padStart(4, '0'), BigInt(index)),
    );
    await write(1, documents, 2000n);
    await write(2, [], 2000n);
    const { first, second, differing, examples } = await compare();
    expect(differing).toBe(1234);
    expect(examples).toEqual(['0000', '0001', '0002', '0003', '0004']);
    expect([first.documents, second.documents]).toEqual([1234, 0]);
  });

  it('finds exactly the documents that were damaged', async () => {
    const damage = fc.constantFrom('none', 'none', 'content', 'position', 'lost', 'invented');
    let round = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(fc.string({ unit: 'grapheme', maxLength: 4 }), damage), {
          selector: ([id]) => id,
          maxLength: 150,
        }),
        fc.boolean(),
        async (documents, swapped) => {
          round += 1;
          const view = notes(`round${String(round)}`);
          const [sound, damaged] = swapped ? [2, 1] : [1, 2];
          const right = documents.filter(([, how]) => how !== 'invented').map(([id]) => note(id, 10n));
          const wrong = documents.flatMap(([id, how]) => {
            if (how === 'lost') return [];
            return [note(id, how === 'position' ? 9n : 10n, how === 'content' ? 'damaged' : undefined)];
          });
          await write(sound, right, 10n, view);
          await write(damaged, wrong, 10n, view);
          const expected = documents.filter(([, how]) => how !== 'none').map(([id]) => id);
          const { first, second, differing, examples } = await compare({}, view);
          expect(differing).toBe(expected.length);
          expect(examples).toHaveLength(Math.min(5, expected.length));
          expect(expected).toEqual(expect.arrayContaining([...examples]));
          expect(first.checksum === second.checksum).toBe(expected.length === 0);
          const sizes = swapped ? [second.documents, first.documents] : [first.documents, second.documents];
          expect(sizes).toEqual([right.length, wrong.length]);
        },
      ),
      { numRuns: 60 },
    );
  });

  describe('while the builds follow the events', () => {
    it.each([
      ['first', 1, 2],
      ['second', 2, 1],
    ])('waits for the %s where it has not come as far', async (_, slow, fast) => {
      await write(fast, [note('a', 20n, 'later'), note('b', 20n)], 20n);
      await write(slow, [note('a', 10n, 'earlier')], 10n);
      let looks = 0;
      const comparison = await compare({
        reachOf: async () => {
          looks += 1;
          if (looks === 3) await write(slow, [note('a', 20n, 'later'), note('b', 20n)], 20n);
          return 1000n;
        },
      });
      expect(looks).toBeGreaterThan(2);
      expect(comparison).toMatchObject({ differing: 0, examples: [] });
      expect(comparison.first).toEqual({ ...comparison.second, build: 1 });
      expect(comparison.first.documents).toBe(2);
    });

    it('finds a difference once both have come past it, and waits for no more', async () => {
      await write(1, [note('a', 20n, 'right')], 20n);
      await write(2, [note('a', 10n)], 10n);
      let looks = 0;
      const comparison = await compare({
        reachOf: async () => {
          looks += 1;
          if (looks === 3) await write(2, [note('a', 15n, 'wrong')], 20n);
          return 1000n;
        },
      });
      expect(comparison).toMatchObject({ differing: 1, examples: ['a'] });
    });

    it('does not wait for a build that has stopped', async () => {
      await write(1, [note('a', 10n)], 10n);
      await write(2, [note('a', 20n), note('b', 20n)], 20n);
      const comparison = await compare({ reachOf: (build) => Promise.resolve(build === 1 ? 10n : 1000n) });
      expect(comparison).toMatchObject({ differing: 2, examples: ['a', 'b'] });
      expect([comparison.first.documents, comparison.second.documents]).toEqual([1, 2]);
    });

    it('does not wait for an event that there is not', async () => {
      await write(1, [note('a', 77n, 'tampered with')], 20n);
      await write(2, [note('a', 10n)], 20n);
      const comparison = await compare({ reachOf: () => Promise.resolve(20n) });
      expect(comparison).toMatchObject({ differing: 1, examples: ['a'] });
    });

    it('finds builds equal whatever is recorded meanwhile', async () => {
      const events = new InMemoryEventStore();
      const revisions = new Map<string, bigint>();
      const record = async (stream: string) => {
        const expected = revisions.get(stream) ?? 'noStream';
        const event = { id: newId(), type: 'Noted', data: {}, metadata: {} };
        const { revision } = await events.append(stream, expected, [event]);
        revisions.set(stream, revision);
      };
      const seen = (build: number): Projection<{ readonly seen: number }> => ({
        ...notes(),
        fields: {},
        build,
        project: ({ stream }) => [{ id: stream, apply: (doc) => ({ seen: (doc?.seen ?? 0) + 1 }) }],
      });
      for (let index = 0; index < 300; index += 1) await record(`s${String(index % 150)}`);
      const projector = new Projector({ events, store, projections: [seen(1), seen(2)], batchSize: 7 });
      await projector.start();
      const over = new AbortController();
      const recording = (async () => {
        for (let index = 0; !over.signal.aborted; index += 1) {
          await record(`s${String(index % 150)}`);
          await new Promise(setImmediate);
        }
      })();
      try {
        for (let round = 0; round < 3; round += 1) {
          const { first, second, differing } = await compare({ reachOf: () => events.head() });
          expect(differing).toBe(0);
          expect(second).toEqual({ ...first, build: 2 });
        }
      } finally {
        over.abort();
      }
      await recording;
      await projector.stop();
    });
  });

  describe('the signal', () => {
    const stopped = { name: 'AbortError' };

    it('ends it before it begins', async () => {
      await write(1, [note('a', 1n)], 1n);
      await write(2, [note('a', 1n)], 1n);
      await expect(compare({ signal: AbortSignal.abort() })).rejects.toMatchObject(stopped);
    });

    it('ends its waiting', async () => {
      await write(1, [note('a', 20n)], 20n);
      await write(2, [], START);
      const stopping = new AbortController();
      let looks = 0;
      const comparing = compare({
        signal: stopping.signal,
        reachOf: () => {
          looks += 1;
          if (looks === 5) stopping.abort();
          return Promise.resolve(1000n);
        },
      });
      await expect(comparing).rejects.toMatchObject(stopped);
      expect(looks).toBe(6);
    });
  });

  it('throws what the store throws', async () => {
    await write(1, [note('a', 1n)], 1n);
    await write(2, [note('a', 1n)], 1n);
    await store.close();
    await expect(compare()).rejects.toMatchObject({ kind: 'unavailable' });
  });
});
