import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { PROJECT_ROOT } from '../support/mail-input.js';

type Status = 'passed' | 'failed' | 'pending';

describe('the count of the tests of a run', () => {
  let directory: string;

  beforeEach(() => {
    directory = realpathSync(mkdtempSync(join(tmpdir(), 'clawback-count-')));
    mkdirSync(join(directory, 'test/servers'), { recursive: true });
    for (const name of ['a.spec.ts', 'servers/b.servers.spec.ts']) {
      writeFileSync(join(directory, 'test', name), '');
    }
  });

  afterEach(() => {
    rmSync(directory, { recursive: true });
  });

  /** A report as jest writes it: spec files by their tests. */
  const report = (name: string, suites: Readonly<Record<string, readonly Status[]>>): string => {
    const statuses = Object.values(suites).flat();
    const count = (status: Status) => statuses.filter((each) => each === status).length;
    const text = JSON.stringify({
      numPassedTests: count('passed'),
      numFailedTests: count('failed'),
      numPendingTests: count('pending'),
      numTodoTests: 0,
      numRuntimeErrorTestSuites: 0,
      testResults: Object.entries(suites).map(([path, tests]) => ({
        name: join(directory, path),
        assertionResults: tests.map((status) => ({ status })),
      })),
    });
    writeFileSync(join(directory, name), text);
    return name;
  };

  const counted = (...parameters: readonly string[]) => {
    const script = join(PROJECT_ROOT, 'tools/count-tests.mjs');
    const { stdout, status } = spawnSync(process.execPath, [script, ...parameters], {
      cwd: directory,
      encoding: 'utf8',
    });
    return { lines: stdout.trimEnd().split('\n'), status };
  };

  const a = 'test/a.spec.ts';
  const b = 'test/servers/b.servers.spec.ts';

  it('adds up the reports', () => {
    const first = report('first.json', { [a]: ['passed', 'passed'] });
    const second = report('second.json', { [a]: ['passed'], [b]: ['passed'] });
    expect(counted(first, second)).toEqual({ lines: ['4 passed, 0 failed'], status: 0 });
  });

  it('fails with a test that has failed', () => {
    const all = report('all.json', { [a]: ['passed', 'failed'], [b]: ['passed'] });
    expect(counted(all)).toEqual({ lines: ['2 passed, 1 failed'], status: 1 });
  });

  it('fails when a suite was left out of the run', () => {
    const all = report('all.json', { [a]: ['passed'] });
    expect(counted(all)).toEqual({ lines: [`left out: ${b} was not run`, '1 passed, 1 failed'], status: 1 });
  });

  it('fails when a suite that runs twice was run once', () => {
    const first = report('first.json', { [a]: ['passed'], [b]: ['passed'] });
    const second = report('second.json', { [b]: ['passed'] });
    expect(counted('--twice=servers', first, second).status).toBe(0);
    expect(counted('--twice=servers', first)).toEqual({
      lines: [`left out: ${b} was not run twice`, '2 passed, 1 failed'],
      status: 1,
    });
  });

  it('fails when a step has left no report', () => {
    const all = report('all.json', { [a]: ['passed'], [b]: ['passed'] });
    expect(counted(all, 'servers.json')).toEqual({
      lines: ['left out: there is no report servers.json', '2 passed, 1 failed'],
      status: 1,
    });
  });

  it('fails when a suite skips tests, unless that suite is named', () => {
    const all = report('all.json', { [a]: ['passed'], [b]: ['passed', 'pending', 'pending'] });
    expect(counted(all)).toEqual({
      lines: [`left out: 2 tests were skipped in ${b}`, '2 passed, 1 failed, 2 skipped'],
      status: 1,
    });
    expect(counted('--skips=a', all).status).toBe(1);
    expect(counted('--skips=a,b', all)).toEqual({ lines: ['2 passed, 0 failed, 2 skipped'], status: 0 });
  });

  it('fails when nothing was run', () => {
    expect(counted().status).toBe(1);
  });
});
