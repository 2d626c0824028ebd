import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { HuntingRows } from './api.js';
import type { Io } from './context.js';
import { usageError } from './failure.js';

/** For `--help`. */
export const HUNTING_FILE_HELP = `A file of --hunting is the result of a hunting query: JSON as Graph's runHuntingQuery answers it, a list of its
rows, or CSV with a line of names.`;

/**
 * @param file a path, or `-` for stdin; JSON or CSV, which its first character tells
 * @throws {CliFailure} of usage when the file is empty
 */
export async function readHuntingFile(file: string, io: Io): Promise<HuntingRows> {
  const bytes = file === '-' ? await buffer(io.stdin) : await readFile(resolve(io.cwd, file));
  const first = bytes
    .subarray(0, 1000)
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .trimStart()
    .charAt(0);
  if (first === '') throw usageError(`the file ${file} holds no rows`);
  if (first !== '[' && first !== '{') return { type: 'text/csv', bytes };
  return { type: 'application/json', bytes: withoutMark(bytes) };
}

/** What some editors and PowerShell write before a text is no JSON. */
const withoutMark = (bytes: Buffer): Buffer =>
  bytes.subarray(0, 3).equals(Buffer.from([0xef, 0xbb, 0xbf])) ? bytes.subarray(3) : bytes;
