import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { startProgress } from './progress.js';
import { fakeIo } from './testing/fakes.js';

describe('progress without a terminal', () => {
  const started = (total: number | undefined) => {
    const { stderr, err } = fakeIo({});
    let time = 0;
    const progress = startProgress(stderr, { label: 'moving', total, now: () => time });
    return {
      progress,
      lines: () => err().split('\n').slice(0, -1),
      pass: (ms: number) => {
        time += ms;
      },
    };
  };

  it('writes a line for every ten percent', () => {
    const { progress, lines } = started(1000);
    for (let value = 0; value <= 1000; value += 1) progress.update(value);
    progress.stop();
    expect(lines()).toHaveLength(10);
    expect(lines()[0]).toBe('moving: 100 of 1,000 (10 %)');
    expect(lines().at(-1)).toBe('moving: 1,000 of 1,000 (100 %)');
  });

  it('writes a line after five seconds, and none while nothing changes', () => {
    const { progress, lines, pass } = started(1000);
    progress.update(1);
    pass(4999);
    progress.update(2);
    expect(lines()).toEqual([]);
    pass(1);
    progress.update(3);
    pass(60_000);
    progress.update(3);
    progress.stop();
    expect(lines()).toEqual(['moving: 3 of 1,000 (0 %)']);
  });

  it('tells the end, also when there was nothing to do', () => {
    const { progress, lines } = started(0);
    progress.update(0, 'completed');
    progress.stop();
    progress.stop();
    expect(lines()).toEqual(['completed: 0 of 0 (100 %)']);
  });

  it('tells values when no total is known', () => {
    const { progress, lines } = started(undefined);
    progress.update(1500);
    progress.stop();
    expect(lines()).toEqual(['moving: 1,500']);
  });

  it('never writes more than ten lines and the last, however it goes', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100)), (values) => {
        const { progress, lines } = started(100);
        for (const value of [...values].sort((a, b) => a - b)) progress.update(value);
        progress.stop();
        expect(lines().length).toBeLessThanOrEqual(11);
        expect(lines().length).toBeGreaterThanOrEqual(1);
      }),
    );
  });
});

describe('progress on a terminal', () => {
  it('draws a bar', () => {
    const { stderr, err } = fakeIo({});
    const terminal = Object.assign(stderr, {
      isTTY: true,
      columns: 100,
      cursorTo: () => true,
      clearLine: () => true,
      moveCursor: () => true,
    });
    const progress = startProgress(terminal, { label: 'moving', total: 4 });
    progress.update(2);
    progress.update(4, 'completed');
    progress.stop();
    expect(err()).toContain('100 % | 4 of 4');
    expect(err()).toContain('completed');
  });
});
