import { createHash } from 'node:crypto';
import { Readable, Writable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import Papa from 'papaparse';
import { TestClock } from '../../../../test/support/test-clock.js';
import { Export, type ExportSource, type RowGroup } from './export.js';
import { tableWriter, type Cell, type ExportColumn } from './table.js';

type Row = readonly Cell[];

const columns: readonly ExportColumn<Row>[] = ['A', 'B'].map((name, index) => ({
  name,
  of: (row) => row[index] ?? null,
}));

const source = (over: Partial<ExportSource<Row>>): ExportSource<Row> => ({
  kind: 'log',
  approvalId: 'r1',
  query: {},
  columns,
  groups: () => inOrder([]),
  view: () => Promise.resolve({ build: 1, position: 7n }),
  mayLose: false,
  final: false,
  ...over,
});

async function* inOrder(groups: readonly RowGroup<Row>[]): AsyncGenerator<RowGroup<Row>> {
  for (const group of groups) yield await Promise.resolve(group);
}

/** A view that goes on while it is read, from one position to the other, and may be switched to another build. */
const looks = (first: bigint, last: bigint, lastBuild = 1) => {
  const left = [
    { build: 1, position: first },
    { build: lastBuild, position: last },
  ];
  return () => Promise.resolve(left.shift() ?? { build: 0, position: 0n });
};

const clock = new TestClock();

describe('an export', () => {
  it('reads no further than its consumer has got, and ends with it', async () => {
    let read = 0;
    let ended = false;
    async function* endless(): AsyncGenerator<RowGroup<Row>> {
      try {
        for (;;) {
          read += 1;
          yield await Promise.resolve({ rows: [['x'.repeat(1000), read]], position: 1n });
        }
      } finally {
        ended = true;
      }
    }
    const made = new Export(source({ groups: endless }), 'ndjson', clock);
    const stream = Readable.from(made.bytes(), { objectMode: false, highWaterMark: 10_000 });
    let release: () => void = () => undefined;
    const slow = new Writable({
      highWaterMark: 1,
      write(_chunk, _encoding, next) {
        release = next;
      },
    });
    stream.pipe(slow);
    for (let chunk = 0; chunk < 50; chunk += 1) {
      await new Promise(setImmediate);
      // Ten groups fill what is kept for a slow reader; more are never read ahead of it.
      expect(read).toBeLessThanOrEqual(chunk + 13);
      release();
    }
    expect(read).toBeGreaterThan(40);
    const closed = new Promise((resolve) => stream.once('close', resolve));
    stream.destroy();
    await closed;
    expect(ended).toBe(true);
    expect(() => made.manifest).toThrow('not complete');
  });

  it('has the same bytes however the rows are grouped, and a manifest that fits them', async () => {
    const cell = fc.oneof(fc.string({ unit: 'binary' }), fc.integer(), fc.boolean(), fc.constant(null));
    const groups = fc.array(fc.array(fc.tuple(cell, cell), { maxLength: 4 }), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(groups, fc.constantFrom('csv', 'ndjson'), async (grouped, format) => {
        const made = new Export(
          source({ groups: () => inOrder(grouped.map((rows) => ({ rows, position: 1n }))) }),
          format,
          clock,
        );
        const chunks: Buffer[] = [];
        for await (const chunk of made.bytes()) chunks.push(chunk);
        const bytes = Buffer.concat(chunks);
        const writer = tableWriter(format, columns);
        expect(bytes).toEqual(Buffer.concat([writer.head, writer.lines(grouped.flat())]));
        expect(made.manifest).toMatchObject({
          rows: grouped.flat().length,
          bytes: bytes.length,
          sha256: createHash('sha256').update(bytes).digest('hex'),
        });
        expect(await made.run()).toEqual(made.manifest);
      }),
      { numRuns: 50 },
    );
  });

  it.each([
    ['nothing else happened', { view: looks(7n, 7n) }, true],
    ['others acted, and its rows are older', { view: looks(7n, 9n) }, true],
    ['a row changed while it was read', { view: looks(2n, 9n) }, false],
    ['others acted, and a row may have left the query', { view: looks(7n, 9n), mayLose: true }, false],
    ['the view was switched to another build', { view: looks(7n, 7n, 2), final: true }, false],
    ['all of it has ended', { view: looks(2n, 9n), mayLose: true, final: true }, true],
  ])('when %s: consistent or not', async (_what, over, consistent) => {
    const groups = () => inOrder([{ rows: [['a', 1]], position: 3n }]);
    const manifest = await new Export(source({ groups, ...over }), 'csv', clock).run();
    expect(manifest.consistent).toBe(consistent);
  });

  it('stops working out a manifest that nobody waits for', async () => {
    const groups = () => inOrder([{ rows: [['a', 1]], position: 3n }]);
    await expect(new Export(source({ groups }), 'csv', clock).run(AbortSignal.abort())).rejects.toMatchObject(
      { code: 'callerGone' },
    );
  });
});

describe('the lines of a table', () => {
  it('are the same whatever the lines above have in common with them, and however long they are', () => {
    const wide: readonly ExportColumn<Row>[] = Array.from({ length: 6 }, (_, index) => ({
      name: String(index),
      of: (row) => row[index] ?? null,
    }));
    const cell = fc.constantFrom('', 'a', 'ä𝄞', 'b'.repeat(700), null, true, 'true');
    const row = fc.array(cell, { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(fc.array(row), fc.constantFrom('csv', 'ndjson'), (rows, format) => {
        const writer = tableWriter(format, wide);
        const alone = rows.map((one) => writer.lines([one]).toString()).join('');
        expect(writer.lines(rows).toString()).toBe(alone);
      }),
    );
  });
});

describe('NDJSON', () => {
  it('has an object a row, whatever the row before holds', () => {
    const cell = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('', '1', 1, 0, true, 'true', null));
    fc.assert(
      fc.property(fc.array(fc.tuple(cell, cell)), (rows) => {
        const expected = rows.map(([a, b]) => `${JSON.stringify({ A: a, B: b })}\n`).join('');
        expect(tableWriter('ndjson', columns).lines(rows).toString()).toBe(expected);
      }),
    );
  });
});

describe('CSV', () => {
  const text = (rows: readonly Row[]): string => {
    const writer = tableWriter('csv', columns);
    return Buffer.concat([writer.head, writer.lines(rows)]).toString();
  };

  it('is read back as it was, by the rules of RFC 4180', () => {
    const cell = fc.string({ unit: fc.constantFrom('a', ',', '"', '\n', '\r', ' ', 'é', '𝄞') });
    fc.assert(
      fc.property(fc.array(fc.tuple(cell, cell), { minLength: 1 }), (rows) => {
        const { data } = Papa.parse<string[]>(text(rows), { delimiter: ',', newline: '\r\n' });
        const unguarded = data
          .slice(1, -1)
          .map((row) => row.map((value) => value.replace(/^'(?=[\r\n])/, '')));
        expect(unguarded).toEqual(rows);
      }),
    );
  });

  it.each(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '\n=1', '＝1', '=1\n+2'])(
    'has no formula: %j',
    (formula) => {
      const { data } = Papa.parse<string[]>(text([[formula, 'x']]), { delimiter: ',', newline: '\r\n' });
      expect(data[1]).toEqual([`'${formula}`, 'x']);
    },
  );

  it('quotes as a library does, byte for byte', () => {
    const unit = fc.constantFrom(
      'a',
      ',',
      '"',
      '\n',
      '\r',
      '\t',
      ' ',
      '=',
      '-',
      "'",
      '\uFEFF',
      '\uFF1D',
      '𝄞',
    );
    const cell = fc.oneof(fc.string({ unit, maxLength: 4 }), fc.integer(), fc.boolean(), fc.constant(null));
    const escapeFormulae = /^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/;
    fc.assert(
      fc.property(fc.array(fc.tuple(cell, cell), { minLength: 1 }), (rows) => {
        const texts = rows.map((row) => row.map((one) => (one === null ? null : String(one))));
        const expected = Papa.unparse(texts, { newline: '\r\n', escapeFormulae });
        expect(text(rows)).toBe(`A,B\r\n${expected}\r\n`);
      }),
      { numRuns: 1000 },
    );
  });

  it('writes booleans as words and nothing for null', () => {
    expect(text([[true, null]])).toBe('A,B\r\ntrue,\r\n');
  });
});
