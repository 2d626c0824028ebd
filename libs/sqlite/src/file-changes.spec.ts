import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { FileChanges } from './file-changes.js';
import { SqliteFile } from './sqlite-file.js';

describe('FileChanges', () => {
  let folder: string;
  let file: SqliteFile;
  let changes: FileChanges;

  const open = (): SqliteFile => new SqliteFile(join(folder, 'test.db'), { durability: 'normal' });
  const write = (through: SqliteFile): void => {
    through.exec('INSERT INTO notes VALUES (1)');
  };
  const tick = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms);

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawback-changes-'));
    file = open();
    file.exec('CREATE TABLE notes (id INTEGER)');
    changes = new FileChanges(file);
    jest.useFakeTimers();
  });

  afterEach(async () => {
    jest.useRealTimers();
    file.close();
    await rm(folder, { recursive: true });
  });

  /** One who waits, after the first look, which wakes for nothing. */
  async function waiter(): Promise<{ woken: boolean }> {
    const first = changes.next({});
    await tick(1);
    await first;
    const state = { woken: false };
    void changes.next({}).then(() => (state.woken = true));
    return state;
  }

  it('wakes for a commit of another connection at the next look, and not before', async () => {
    const other = open();
    const state = await waiter();
    await tick(50);
    expect(state.woken).toBe(false);
    write(other);
    await tick(16);
    expect(state.woken).toBe(true);
    other.close();
  });

  it('looks soon when somebody comes to wait, and less and less often', async () => {
    const other = open();
    const versions = jest.spyOn(file, 'get');
    await waiter();
    versions.mockClear();
    await tick(15);
    // After 1, 2, 3, 4, 6, 9 and 12 ms.
    expect(versions).toHaveBeenCalledTimes(7);
    // In a while every 16 ms.
    await tick(160);
    versions.mockClear();
    await tick(160);
    expect(versions).toHaveBeenCalledTimes(10);
    write(other);
    const late = changes.next({});
    await tick(1);
    await late;
    other.close();
  });

  it('is not put off by others who come to wait', async () => {
    const other = open();
    const state = await waiter();
    write(other);
    for (let count = 0; count < 4; count += 1) {
      void changes.next({});
      await tick(0.25);
    }
    expect(state.woken).toBe(true);
    other.close();
  });

  it('misses no commit between two waits', async () => {
    const other = open();
    const state = await waiter();
    write(other);
    await tick(16);
    write(other);
    expect(state.woken).toBe(true);
    const again = { woken: false };
    void changes.next({}).then(() => (again.woken = true));
    await tick(1);
    expect(again.woken).toBe(true);
    other.close();
  });

  it('wakes at once when it is told, and sees no change in what this connection commits', async () => {
    const state = await waiter();
    write(file);
    await tick(50);
    expect(state.woken).toBe(false);
    changes.wakeAll();
    await tick(0);
    expect(state.woken).toBe(true);
  });

  it('wakes when the time is over, at the signal, and when the file cannot say', async () => {
    await waiter();
    const signal = new AbortController();
    const late = changes.next({ withinMs: 20 });
    const ended = changes.next({ signal: signal.signal });
    await tick(20);
    await late;
    signal.abort();
    await ended;
    const left = changes.next({});
    file.close();
    await tick(1);
    await left;
  });

  it('does not look when nobody waits', async () => {
    const wait = changes.next({ withinMs: 1 });
    await tick(1);
    await wait;
    expect(jest.getTimerCount()).toBe(0);
  });
});
