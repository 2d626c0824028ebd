import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import { ClawbackError } from '#libs/kernel';
import { errorClass } from './error-class.js';

class Unanswered extends Error {}

describe('errorClass', () => {
  it.each([
    [
      'the code of an error of ours',
      new ClawbackError('unavailable', 'storeDown', 'host 10.0.0.1'),
      'storeDown',
    ],
    [
      'the name that an error says',
      Object.assign(new Error('x'), { name: 'SilentSubscription' }),
      'SilentSubscription',
    ],
    ['the class of one that says none', new Unanswered('10.0.0.1'), 'Unanswered'],
    ['an error of another realm', runInNewContext('new TypeError("x")') as unknown, 'TypeError'],
    ['an aborted wait', new DOMException('enough', 'AbortError'), 'AbortError'],
    ['what is no error', 'kim@contoso.example', 'string'],
  ])('is %s', (_title, error, expected) => {
    expect(errorClass(error)).toBe(expected);
  });
});
