import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import Papa from 'papaparse';
import { RecordCounter, saveCsv, writeWhole } from './csv-file.js';

const piecesOf = (text: string, size: number): Readable => {
  const bytes = Buffer.from(text);
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return Readable.from(pieces);
};

async function recordsIn(text: string, size = 3): Promise<number> {
  const counter = new RecordCounter();
  for await (const _piece of counter.through(piecesOf(text, size)));
  return counter.records;
}

describe('RecordCounter', () => {
  it.each([
    ['', 0],
    ['a,b\r\n', 1],
    ['a,b', 1],
    ['a,b\r\n1,2\r\n', 2],
    ['a\r\n"x\r\ny"\r\n', 2],
    ['a\r\n"say ""hi\n"""\r\nz', 3],
  ])('counts in %j', async (text, records) => {
    await expect(recordsIn(text)).resolves.toBe(records);
  });

  it('counts what a CSV library wrote, however it is cut', async () => {
    const cell = fc.string({ unit: fc.constantFrom('a', ',', '"', '\n', '\r', 'é') });
    const table = fc.array(fc.array(cell, { minLength: 2, maxLength: 2 }), { minLength: 1 });
    await fc.assert(
      fc.asyncProperty(table, fc.integer({ min: 1, max: 7 }), async (rows, size) => {
        await expect(recordsIn(`${Papa.unparse(rows, { newline: '\r\n' })}\r\n`, size)).resolves.toBe(
          rows.length,
        );
      }),
    );
  });
});

describe('files that appear whole', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'clawback-csv-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('are there when all is written', async () => {
    const file = join(directory, 'log.csv');
    await expect(saveCsv(file, piecesOf('a,b\r\n1,2\r\n3,4\r\n', 4))).resolves.toBe(2);
    await expect(readFile(file, 'utf8')).resolves.toBe('a,b\r\n1,2\r\n3,4\r\n');
    await expect(readdir(directory)).resolves.toEqual(['log.csv']);
  });

  it('leave nothing behind when the source breaks off, and keep what was there', async () => {
    const file = join(directory, 'log.csv');
    await writeWhole(file, piecesOf('old', 3));
    const broken = async function* () {
      yield Buffer.from('half');
      await Promise.reject(new Error('broken off'));
    };
    await expect(writeWhole(file, broken())).rejects.toThrow('broken off');
    await expect(readFile(file, 'utf8')).resolves.toBe('old');
    await expect(readdir(directory)).resolves.toEqual(['log.csv']);
  });
});
