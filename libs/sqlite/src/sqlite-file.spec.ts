import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { SqliteFile, type SqlValue } from './sqlite-file.js';

describe('SqliteFile', () => {
  let folder: string;
  let file: SqliteFile;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawback-sqlite-'));
    file = new SqliteFile(join(folder, 'below', 'test.db'), { durability: 'full' });
    file.exec('CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT UNIQUE)');
  });

  afterEach(async () => {
    file.close();
    await rm(folder, { recursive: true });
  });

  const add = (text: SqlValue): number => file.run('INSERT INTO notes (text) VALUES (?)', text);
  const texts = () => file.all('SELECT text FROM notes ORDER BY id').map((row) => row.text);
  const failure = new Error('refused');
  const fail = (): never => {
    throw failure;
  };

  it.each([
    ['full', 2],
    ['normal', 1],
  ] as const)('opens in WAL mode with durability %s', (durability, synchronous) => {
    const other = new SqliteFile(join(folder, `${durability}.db`), { durability });
    expect(other.get('PRAGMA journal_mode')?.journal_mode).toBe('wal');
    expect(other.get('PRAGMA synchronous')?.synchronous).toBe(synchronous);
    other.close();
  });

  it.each([0, 1, 15, 16, 17, 100])('inserts %i rows, in their order', (count) => {
    const rows = Array.from({ length: count }, (_, index) => [`text ${index}`]);
    file.insert('INSERT INTO notes (text)', rows);
    expect(texts()).toEqual(rows.flat());
  });

  it('inserts rows that are there already as it is told', () => {
    const rows = Array.from({ length: 40 }, (_, index) => [index % 20, `text ${index}`]);
    file.insert('INSERT INTO notes (id, text)', rows, 'ON CONFLICT (id) DO UPDATE SET text = excluded.text');
    expect(texts()).toEqual(Array.from({ length: 20 }, (_, index) => `text ${index + 20}`));
  });

  it('inserts no value that it would not bind', () => {
    expect(() => {
      file.insert('INSERT INTO notes (text)', [['a'], ['b\0']]);
    }).toThrow(TypeError);
  });

  it('refuses a file that is no database', async () => {
    const path = join(folder, 'text.db');
    await writeFile(path, 'this is not a database '.repeat(100));
    expect(() => new SqliteFile(path, { durability: 'full' })).toThrow('not a database');
  });

  it('answers with rows, one row or none, and the number of changes', () => {
    expect([add('a'), add('b')]).toEqual([1, 1]);
    expect(file.run('UPDATE notes SET text = text || ?', '!')).toBe(2);
    expect(texts()).toEqual(['a!', 'b!']);
    expect({ ...file.get('SELECT id FROM notes WHERE text = ?', 'b!') }).toEqual({ id: 2 });
    expect(file.get('SELECT id FROM notes WHERE text = ?', 'c')).toBeUndefined();
  });

  it('gives rows one by one, and may be left early', () => {
    for (const text of ['a', 'b', 'c']) add(text);
    const sql = 'SELECT text FROM notes WHERE id >= ? ORDER BY id';
    const seen: unknown[] = [];
    for (const row of file.iterate(sql, 2)) {
      seen.push(row.text);
      break;
    }
    expect(seen).toEqual(['b']);
    expect([...file.iterate(sql, 1)].map((row) => row.text)).toEqual(['a', 'b', 'c']);
    // A reader left open would hold the table.
    file.exec('DROP TABLE notes');
  });

  it('refuses to bind undefined, or a text with NUL', () => {
    const missing = undefined as unknown as SqlValue;
    for (const [value, message] of [
      [missing, 'cannot bind undefined'],
      ['a\0b', 'cannot bind a text with NUL'],
    ] as const) {
      expect(() => add(value)).toThrow(message);
      expect(() => file.get('SELECT ?', value)).toThrow(message);
      expect(() => file.all('SELECT ?', value)).toThrow(message);
      expect(() => file.iterate('SELECT ?', value)).toThrow(message);
    }
    expect(texts()).toEqual([]);
    expect(add(null)).toBe(1);
  });

  describe('transaction', () => {
    it('keeps the changes and gives the result', () => {
      expect(file.transaction(() => add('a') + add('b'))).toBe(2);
      expect(texts()).toEqual(['a', 'b']);
    });

    it('undoes all changes when the work throws, and tells why', () => {
      const work = () => {
        add('a');
        fail();
      };
      expect(() => {
        file.transaction(work);
      }).toThrow(failure);
      expect(texts()).toEqual([]);
      expect(file.transaction(() => add('b'))).toBe(1);
    });

    it('undoes all changes when the commit fails', () => {
      file.exec(DEFERRED_CHECK);
      expect(() => file.transaction(() => file.run(BREAK_THE_COMMIT) + add('a'))).toThrow('FOREIGN KEY');
      expect(texts()).toEqual([]);
    });
  });

  describe('grouped', () => {
    it('resolves after the commit, which all calls of one turn share', async () => {
      const reader = new SqliteFile(file.path, { durability: 'full' });
      const count = () => reader.get('SELECT count(*) AS n FROM notes')?.n;
      const counts = ['a', 'b', 'c'].map((text) => file.grouped(() => add(text)).then(count));
      expect(count()).toBe(0);
      expect(await Promise.all(counts)).toEqual([3, 3, 3]);
      reader.close();
    });

    it('takes into the commit what is asked for in the next turn', async () => {
      const reader = new SqliteFile(file.path, { durability: 'full' });
      const first = file.grouped(() => add('a')).then(() => reader.get('SELECT count(*) AS n FROM notes')?.n);
      await new Promise(setImmediate);
      const second = file.grouped(() => add('b'));
      expect([await first, await second]).toEqual([2, 1]);
      reader.close();
    });

    it('lets each see what those before it did', async () => {
      const first = file.grouped(() => add('a'));
      const second = file.grouped(() => texts());
      expect([await first, await second]).toEqual([1, ['a']]);
    });

    it('undoes only the member that throws, and tells only its caller', async () => {
      const outcomes = await Promise.allSettled([
        file.grouped(() => add('a')),
        file.grouped(() => {
          add('b');
          return fail();
        }),
        file.grouped(() => add('a')),
        file.grouped(() => add('c')),
      ]);
      expect(outcomes.map((outcome) => outcome.status)).toEqual([
        'fulfilled',
        'rejected',
        'rejected',
        'fulfilled',
      ]);
      expect(outcomes[1]).toEqual({ status: 'rejected', reason: failure });
      expect(texts()).toEqual(['a', 'c']);
    });

    it('tells all and keeps nothing when the commit fails', async () => {
      file.exec(DEFERRED_CHECK);
      const outcomes = await Promise.allSettled([
        file.grouped(() => add('a')),
        file.grouped(() => file.run(BREAK_THE_COMMIT)),
        file.grouped(() => add('b')),
      ]);
      for (const outcome of outcomes) {
        expect(outcome).toMatchObject({
          status: 'rejected',
          reason: { message: expect.stringContaining('FOREIGN KEY') },
        });
      }
      expect(texts()).toEqual([]);
      expect(await file.grouped(() => add('c'))).toBe(1);
    });

    it('tells all and keeps nothing when the disk is full for one', async () => {
      const pages = Number(file.get('PRAGMA page_count')?.page_count);
      file.exec(`PRAGMA max_page_count = ${pages + 1}`);
      const outcomes = await Promise.allSettled([
        file.grouped(() => add('a')),
        file.grouped(() => add('x'.repeat(100_000))),
        file.grouped(() => add('b')),
      ]);
      for (const outcome of outcomes) {
        expect(outcome).toMatchObject({
          status: 'rejected',
          reason: { message: expect.stringMatching('full') },
        });
      }
      expect(texts()).toEqual([]);
      expect(await file.grouped(() => add('c'))).toBe(1);
    });
  });

  describe('close', () => {
    it('finishes what waits, and may be repeated', async () => {
      const waiting = file.grouped(() => add('a'));
      file.close();
      file.close();
      expect(file.isOpen).toBe(false);
      expect(await waiting).toBe(1);
      file = new SqliteFile(file.path, { durability: 'full' });
      expect(texts()).toEqual(['a']);
    });

    it('makes every later call fail', async () => {
      file.close();
      expect(() => file.get('SELECT 1')).toThrow('not open');
      await expect(file.grouped(() => 1)).rejects.toThrow('not open');
    });
  });
});

/** A foreign key that is checked at the commit, and a row that violates it. */
const DEFERRED_CHECK = `CREATE TABLE links (
  note INTEGER REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED
)`;
const BREAK_THE_COMMIT = 'INSERT INTO links (note) VALUES (999)';
