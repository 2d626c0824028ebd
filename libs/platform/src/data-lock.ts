import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { ClawbackError } from '#libs/kernel';
import { isError } from './is-error.js';

type Database = InstanceType<typeof DatabaseSync>;

const BUSY_TIMEOUT_MS = 100;
const SQLITE_BUSY = 5;

/** Keeps held locks from the garbage collector, which would close their files and so give them up. */
const held = new Set<Database>();

export interface DataLock {
  /** Gives the directory free; later calls do nothing. */
  release(): void;
}

/**
 * Makes this process the only user of a data directory (created when missing), until it releases the lock or ends in
 * whatever way: the lock is an open exclusive transaction on `<directory>/lock.db`, which the operating system drops
 * with the process. Only for local file systems.
 * @throws ClawbackError 'conflict' `dataDirectoryInUse` when another holds it; 'unavailable' `dataDirectoryUnusable`
 * when the directory cannot be created or written.
 */
export function lockDataDirectory(directory: string): DataLock {
  let db: Database | undefined;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    db = new DatabaseSync(join(directory, 'lock.db'), { timeout: BUSY_TIMEOUT_MS });
    // Not WAL: there, readers and writers would get along, and two files more would lie around.
    db.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE');
  } catch (error) {
    db?.close();
    throw isBusy(error) ? inUse(directory) : unusable(directory, error);
  }
  return hold(db);
}

function hold(db: Database): DataLock {
  held.add(db);
  return {
    release() {
      if (!held.delete(db)) return;
      db.close();
    },
  };
}

const isBusy = (error: unknown): boolean =>
  isError(error) &&
  'errcode' in error &&
  typeof error.errcode === 'number' &&
  (error.errcode & 0xff) === SQLITE_BUSY;

const inUse = (directory: string): ClawbackError =>
  new ClawbackError(
    'conflict',
    'dataDirectoryInUse',
    `another Clawback process uses the data directory ${directory}: stop it, or choose another with CLAWBACK_DATA`,
  );

const unusable = (directory: string, cause: unknown): ClawbackError =>
  new ClawbackError(
    'unavailable',
    'dataDirectoryUnusable',
    `the data directory ${directory} cannot be created or written`,
    {},
    { cause },
  );
