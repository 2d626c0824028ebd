import { describe, expect, it } from '@jest/globals';
import { ExitCode, exitCodeHelp, exitCodeOfResult, exitCodeOfStatus } from './exit-codes.js';

const NONE = { failed: 0, timedOut: 0, notFound: 0 };

describe('exit codes', () => {
  it.each([
    [400, ExitCode.refused],
    [401, ExitCode.notAllowed],
    [403, ExitCode.notAllowed],
    [404, ExitCode.refused],
    [409, ExitCode.refused],
    [422, ExitCode.refused],
    [500, ExitCode.unavailable],
    [503, ExitCode.unavailable],
    [302, ExitCode.unavailable],
  ])('of status %i', (status, expected) => {
    expect(exitCodeOfStatus(status)).toBe(expected);
  });

  it.each([
    ['completed', 'softDelete', NONE, ExitCode.ok],
    ['completed', 'softDelete', { ...NONE, failed: 1 }, ExitCode.incomplete],
    ['completed', 'softDelete', { ...NONE, timedOut: 1 }, ExitCode.incomplete],
    ['completed', 'softDelete', { ...NONE, notFound: 1 }, ExitCode.ok],
    ['completed', 'undo', { ...NONE, notFound: 1 }, ExitCode.incomplete],
    ['completed', 'moveToInbox', { ...NONE, notFound: 1 }, ExitCode.incomplete],
    ['failed', 'softDelete', { ...NONE, failed: 1 }, ExitCode.remediationFailed],
    ['rejected', 'softDelete', NONE, ExitCode.remediationFailed],
  ])('of a remediation that is %s (%s, %j)', (status, action, counts, expected) => {
    expect(exitCodeOfResult({ status, action, counts })).toBe(expected);
  });

  it('are all in the help', () => {
    const codes = Object.values(ExitCode).filter((value) => typeof value === 'number');
    const lines = exitCodeHelp().split('\n');
    expect(lines.map((line) => Number.parseInt(line, 10))).toEqual([...codes].sort((a, b) => a - b));
  });
});
