import { describe, expect, it } from '@jest/globals';
import { duration, instant, trueOrFalse, wholeNumber } from './options.js';

describe('option values', () => {
  it.each([
    ['90s', 90],
    ['15m', 900],
    ['8h', 28_800],
    ['7d', 604_800],
  ])('reads %s as a length of time', (text, seconds) => {
    expect(duration(text)).toBe(seconds);
  });

  it.each(['8', 'h', '0h', '-1h', '1.5h', '8 h', '1w', ''])('takes no length of time from %j', (text) => {
    expect(() => duration(text)).toThrow('length of time');
  });

  it.each([
    ['2026-11-02', '2026-11-02T00:00:00.000Z'],
    ['2026-11-02T08:15', '2026-11-02T08:15:00.000Z'],
    ['2026-11-02T08:15:00Z', '2026-11-02T08:15:00.000Z'],
    ['2026-11-02T08:15:00.5+01:00', '2026-11-02T07:15:00.500Z'],
  ])('reads %s as a time in UTC', (text, expected) => {
    expect(instant(text)).toBe(expected);
  });

  it.each(['1', 'yesterday', '2026-13-01', '2026-11-02T25:00Z', '02.11.2026'])(
    'takes no time from %j',
    (text) => {
      expect(() => instant(text)).toThrow('date or a time');
    },
  );

  it('reads whole numbers within their limits', () => {
    const port = wholeNumber(0, 65_535);
    expect([port('0'), port('65535')]).toEqual([0, 65_535]);
    for (const text of ['-1', '65536', '1.5', '1e3', '', ' 1', 'x'])
      expect(() => port(text)).toThrow('whole number');
  });

  it('reads flags', () => {
    expect([trueOrFalse('true'), trueOrFalse('false')]).toEqual([true, false]);
    expect(() => trueOrFalse('yes')).toThrow('true or false');
  });
});
