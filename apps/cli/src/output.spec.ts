import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Output, Table, counted, facts, printable, widthOf } from './output.js';
import { fakeIo } from './testing/fakes.js';

const outputs = (json: boolean) => {
  const io = fakeIo({});
  return { io, out: new Output(io.stdout, io.stderr, json) };
};

describe('Output', () => {
  it('prints results as text on stdout, and notes on stderr', () => {
    const { io, out } = outputs(false);
    out.result({ a: 1 }, 'one');
    out.print('two');
    out.note('three');
    out.document({ b: 2 });
    expect(io.out()).toBe('one\ntwo\n');
    expect(io.err()).toBe('three\n');
    expect(out.hasDocument).toBe(false);
  });

  it('has one document on stdout with --json, and all text on stderr', () => {
    const { io, out } = outputs(true);
    out.print('two');
    out.note('three');
    out.result({ a: 1 }, 'one');
    expect(io.out()).toBe('{"a":1}\n');
    expect(io.err()).toBe('two\nthree\n');
    expect(out.hasDocument).toBe(true);
  });
});

describe('printable', () => {
  it.each([
    ['a\u001b[2Jb', 'a\\x1b[2Jb'],
    ['a\r\nb\tc', 'a\\x0d\\x0ab\\x09c'],
    ['\u009b31m', '\\x9b31m'],
    ['invoice\u202efdp.exe', 'invoice\\u202efdp.exe'],
    ['\u2028', '\\u2028'],
    ['\ud800', '\\ud800'],
    ['\u{e0041}', '\\u{e0041}'],
    ['Zollgebühr 1,99 € 📦 👩‍👩‍👧 お支払い', 'Zollgebühr 1,99 € 📦 👩‍👩‍👧 お支払い'],
  ])('shows %j as %j', (text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  it('never lets a control character through, and changes nothing else', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(printable(text)).not.toMatch(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u);
        expect(printable(printable(text))).toBe(printable(text));
      }),
    );
  });
});

describe('widthOf', () => {
  it.each([
    ['abc', 3],
    ['お支払い', 8],
    ['Cafe\u0301', 4],
    ['📦', 2],
    ['👩‍👩‍👧', 2],
    ['', 0],
  ])('%s takes %i columns', (text, width) => {
    expect(widthOf(text)).toBe(width);
  });
});

describe('Table', () => {
  const table = () =>
    new Table<{ name: string | null; count: number }>([
      { title: 'name', of: (row) => row.name },
      { title: 'count', of: (row) => row.count, right: true },
    ]);

  it('aligns its columns', () => {
    const rows = [
      { name: 'お', count: 1234 },
      { name: null, count: 5 },
    ];
    expect(table().add(rows)).toBe('name  count\nお    1,234\n          5');
  });

  it('has its titles once, and makes texts safe', () => {
    const growing = table();
    expect(growing.isEmpty).toBe(true);
    growing.add([{ name: 'a', count: 1 }]);
    expect(growing.isEmpty).toBe(false);
    expect(growing.add([{ name: 'long\u001b[2J', count: 1 }])).toBe('long\\x1b[2J      1');
  });

  it('cuts long cells', () => {
    const [, row = ''] = table()
      .add([{ name: 'お'.repeat(100), count: 1 }])
      .split('\n');
    expect(row).toBe(`${'お'.repeat(23)}…      1`);
  });
});

describe('facts and counted', () => {
  it('leave out what is not known', () => {
    expect(
      facts([
        ['Name', 'x\u0007'],
        ['Empty', ''],
        ['None', null],
        ['Emails', 1234],
      ]),
    ).toBe('Name    x\\x07\nEmails  1,234');
  });

  it('know one from many', () => {
    expect([0, 1, 2000].map((count) => counted(count, 'copy', 'copies'))).toEqual([
      '0 copies',
      '1 copy',
      '2,000 copies',
    ]);
  });
});
