import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isClawbackError } from '#libs/kernel';
import { parseFilter } from './filter.js';

const ID = '73ca4154-58d8-43d0-a890-08dc18c52e6d';
const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

const refusal = (text: string): string => {
  try {
    parseFilter(text);
  } catch (error) {
    if (isClawbackError(error) && error.code === 'invalidQueryOption') return error.message;
    throw error;
  }
  throw new Error(`it was read: ${text}`);
};

describe('$filter of analyzedEmails', () => {
  it.each([
    [`networkMessageId eq '${ID}'`, { networkMessageId: ID }],
    [`networkMessageId eq '${ID.toUpperCase()}'`, { networkMessageId: ID }],
    [`recipientEmailAddress eq 'Lee@Fabrikam.example'`, { recipient: 'lee@fabrikam.example' }],
    [`recipientEmailAddress eq 'o''hara@x.example'`, { recipient: "o'hara@x.example" }],
    [
      `networkMessageId eq '${ID}' and recipientEmailAddress eq 'a@b.example'`,
      { networkMessageId: ID, recipient: 'a@b.example' },
    ],
    [
      ` ( recipientEmailAddress eq 'a@b.example' and(networkMessageId eq'${ID}') ) `,
      { networkMessageId: ID, recipient: 'a@b.example' },
    ],
  ])('reads %s', (text, filter) => {
    expect(parseFilter(text)).toEqual(filter);
  });

  it.each([
    [`networkMessageId ne '${ID}'`, 'has "ne" where eq is expected'],
    [`networkMessageId eq '${ID}' or subject eq 'x'`, 'has "or" where and is expected'],
    [`subject eq 'x'`, 'has "subject" where a property is expected'],
    [`'x' eq subject`, 'has a text where a property is expected'],
    [`networkMessageId eq ${ID}`, 'cannot be read from character'],
    [`networkMessageId eq 'x'`, 'compares networkMessageId with something else than a GUID'],
    [`recipientEmailAddress eq ''`, 'no address'],
    [`recipientEmailAddress eq 'a' and recipientEmailAddress eq 'b'`, 'names recipientEmailAddress twice'],
    [`(recipientEmailAddress eq 'a'`, 'has its end where a closing parenthesis is expected'],
    [`recipientEmailAddress eq 'a`, 'cannot be read from character'],
    [`recipientEmailAddress eq 'a')`, 'has ")" where and is expected'],
    [`startswith(recipientEmailAddress,'a')`, 'cannot be read from character 33 on'],
    ['', 'has its end where a property is expected'],
    [`${'('.repeat(100)}recipientEmailAddress eq 'a'`, 'is nested too deep'],
  ])('refuses %s and says what is supported', (text, problem) => {
    const message = refusal(text);
    expect(message).toContain(problem);
    expect(message).toContain('supported are networkMessageId eq');
  });

  it('takes every address back out of its literal, quotes included', () => {
    const address = fc.stringMatching(/^[a-z'.+]{1,30}@[a-z.]{1,20}$/);
    fc.assert(
      fc.property(address, (text) => {
        expect(parseFilter(`recipientEmailAddress eq ${literal(text)}`)).toEqual({ recipient: text });
      }),
    );
  });

  it('reads or refuses whatever comes', () => {
    const words = fc.constantFrom(
      'networkMessageId',
      'eq',
      'and',
      "'a'",
      '(',
      ')',
      ' ',
      "''",
      `'${ID}'`,
      "'",
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(words, { maxLength: 12 }).map((parts) => parts.join(' ')),
    );
    fc.assert(
      fc.property(text, (filter) => {
        try {
          parseFilter(filter);
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalidQueryOption' });
        }
      }),
    );
  });
});
