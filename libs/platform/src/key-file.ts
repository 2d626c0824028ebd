import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hasCode } from './is-error.js';

/**
 * The text of a file that holds a key, for the owner only; made on the first call. Processes that start together agree on
 * one: it appears under its name whole, and only once.
 */
export async function readOrCreate(path: string, make: () => string | Promise<string>): Promise<string> {
  return (await readIfThere(path)) ?? (await create(path, make));
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** @returns what the file holds in the end: our key, or that of whoever was first. */
async function create(path: string, make: () => string | Promise<string>): Promise<string> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeDurably(temporary, await make());
    // A link, unlike a rename, refuses to replace a key that is there already.
    await link(temporary, path).catch((error: unknown) => {
      if (!hasCode(error, 'EEXIST')) throw error;
    });
  } finally {
    await rm(temporary, { force: true });
  }
  return readFile(path, 'utf8');
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
