import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { lockDataDirectory } from './data-lock.js';

/** Takes the same lock in another process, says what came of it and waits to be killed. */
const SCRIPT = `
  import { DatabaseSync } from '@photostructure/sqlite';
  const db = new DatabaseSync(process.argv[1], { timeout: 50 });
  try {
    db.exec('BEGIN EXCLUSIVE');
    process.stdout.write('held');
  } catch (error) {
    process.stdout.write(error.message);
  }
  setInterval(() => db.isOpen, 1000);
`;

describe('lockDataDirectory', () => {
  let directory: string;
  let child: ChildProcess | undefined;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'clawback-lock-'));
  });
  afterEach(async () => {
    await kill();
    await rm(directory, { recursive: true });
  });

  const inAnotherProcess = async (): Promise<string> => {
    const args = ['--no-warnings', '--input-type=module', '-e', SCRIPT, join(directory, 'lock.db')];
    child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    if (child.stdout === null) throw new Error('the child has no output');
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    return said.toString();
  };
  const kill = async () => {
    if (child === undefined) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    child = undefined;
  };
  const inUse = expect.objectContaining({ kind: 'conflict', code: 'dataDirectoryInUse' });

  it('refuses a directory that another process holds, until that is killed', async () => {
    expect(await inAnotherProcess()).toBe('held');
    expect(() => lockDataDirectory(directory)).toThrow(inUse);
    await kill();
    lockDataDirectory(directory).release();
  });

  it('keeps other processes out until released', async () => {
    const lock = lockDataDirectory(directory);
    expect(await inAnotherProcess()).toContain('locked');
    await kill();
    lock.release();
    expect(await inAnotherProcess()).toBe('held');
  });

  it('holds within one process too, and names the directory', () => {
    const lock = lockDataDirectory(directory);
    expect(() => lockDataDirectory(directory)).toThrow(inUse);
    expect(() => lockDataDirectory(directory)).toThrow(directory);
    lock.release();
    const next = lockDataDirectory(directory);
    lock.release();
    expect(() => lockDataDirectory(directory)).toThrow(inUse);
    next.release();
  });

  it('creates the directory, and nothing but the lock in it', async () => {
    const data = join(directory, 'not', 'there', 'yet');
    const lock = lockDataDirectory(data);
    lock.release();
    expect(await readdir(data)).toEqual(['lock.db']);
  });

  it('says when the directory cannot be used', async () => {
    await writeFile(join(directory, 'file'), '');
    expect(() => lockDataDirectory(join(directory, 'file'))).toThrow(
      expect.objectContaining({ kind: 'unavailable', code: 'dataDirectoryUnusable' }),
    );
  });
});
