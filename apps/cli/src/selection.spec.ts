import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { EmailRef } from './api.js';
import { CliFailure } from './failure.js';
import { filterOf, parseEmails, selectionOf, type SelectionOptions } from './selection.js';
import { fakeIo } from './testing/fakes.js';

const ID = 'b4ae4ffd-126b-55dc-b19e-e4872f7649d4';
const EMAIL: EmailRef = { networkMessageId: ID, recipientEmailAddress: 'sam@fabrikam.example' };
const LINE = `${ID},sam@fabrikam.example`;

const failureOf = (work: () => unknown): CliFailure => {
  try {
    work();
  } catch (error) {
    if (error instanceof CliFailure) return error;
    throw error;
  }
  throw new Error('nothing failed');
};

describe('filterOf', () => {
  it('names the parts as the server does, and has only those that are given', () => {
    expect(filterOf({ sender: 'a@b.example', start: '2026-11-02T00:00:00.000Z', cluster: '7' })).toEqual({
      sender: 'a@b.example',
      startTime: '2026-11-02T00:00:00.000Z',
      clusterId: '7',
    });
    expect(filterOf({})).toEqual({});
  });
});

describe('selectionOf', () => {
  const select = (options: SelectionOptions, stdin = LINE) => selectionOf(options, fakeIo({ stdin }));

  it('selects all, by filters, or by a list', async () => {
    await expect(select({ all: true })).resolves.toEqual({ query: {} });
    await expect(select({ subject: 'voucher' })).resolves.toEqual({ query: { subject: 'voucher' } });
    await expect(select({ emails: '-' })).resolves.toEqual({ emails: [EMAIL] });
    await expect(select({ all: true, excluding: '-' })).resolves.toEqual({ query: {}, excluding: [EMAIL] });
  });

  it.each([
    ['nothing', {}, 'select emails'],
    ['--all and a filter', { all: true, sender: 'a@b.example' }, 'exclude each other'],
    ['--all and a list', { all: true, emails: '-' }, 'exclude each other'],
    ['a filter and a list', { sender: 'a@b.example', emails: '-' }, 'exclude each other'],
    ['a list less another', { emails: '-', excluding: '-' }, '--excluding'],
  ])('refuses %s', async (_name, options: SelectionOptions, message) => {
    await expect(select(options)).rejects.toThrow(message);
    await expect(select(options)).rejects.toMatchObject({ exitCode: 2 });
  });
});

describe('parseEmails', () => {
  it.each([
    ['lines', `${LINE}\n`],
    [
      'lines with a header, blank lines and CRLF',
      `\uFEFFNetworkMessageId,RecipientEmailAddress\r\n\r\n${LINE}\r\n`,
    ],
    ['quoted cells', `"${ID}", "sam@fabrikam.example"`],
    ['objects, one a line', JSON.stringify(EMAIL)],
    [
      "Defender's rows",
      JSON.stringify({ NetworkMessageId: ID, RecipientEmailAddress: 'sam@fabrikam.example', Subject: 'x' }),
    ],
    ['an array', JSON.stringify([EMAIL], null, 2)],
  ])('reads %s', (_name, text) => {
    expect(parseEmails(text, 'list')).toEqual([EMAIL]);
  });

  it('names every wrong line', () => {
    const text = `${LINE}\nx,sam@fabrikam.example\n${ID},sam\n${ID}\n{"a":\n{}\n`;
    expect(failureOf(() => parseEmails(text, 'list')).problems).toEqual([
      { field: 'line 2', problem: 'networkMessageId must be a GUID' },
      { field: 'line 3', problem: 'the recipient must be an email address' },
      { field: 'line 4', problem: 'expected networkMessageId,recipient' },
      { field: 'line 5', problem: 'not JSON' },
      { field: 'line 6', problem: 'networkMessageId must be a GUID' },
    ]);
  });

  it.each([
    ['nothing', '', 'lists no emails'],
    ['a header alone', 'NetworkMessageId,Recipient\n', 'lists no emails'],
    ['half an array', '[{', 'is none'],
    ['an array of something else', '[1]', 'does not list emails'],
  ])('refuses %s', (_name, text, message) => {
    const failure = failureOf(() => parseEmails(text, 'list'));
    expect(failure.message).toContain(message);
    expect(failure.exitCode).toBe(2);
  });

  it('tells the first twenty problems', () => {
    const { problems } = failureOf(() => parseEmails('x,y\n'.repeat(30), 'list'));
    expect(problems).toHaveLength(21);
    expect(problems.at(-1)).toEqual({ field: '...', problem: '10 more' });
  });

  it('reads what it would write, in every form', () => {
    const address = fc
      .tuple(fc.stringMatching(/^[a-z0-9.+'_-]{1,20}$/), fc.domain())
      .map((parts) => parts.join('@'));
    const email = fc.record({ networkMessageId: fc.uuid(), recipientEmailAddress: address });
    fc.assert(
      fc.property(fc.array(email, { minLength: 1 }), (emails) => {
        const lines = emails.map((each) => `${each.networkMessageId},${each.recipientEmailAddress}`);
        expect(parseEmails(lines.join('\n'), 'list')).toEqual(emails);
        expect(parseEmails(emails.map((each) => JSON.stringify(each)).join('\n'), 'list')).toEqual(emails);
        expect(parseEmails(JSON.stringify(emails), 'list')).toEqual(emails);
      }),
    );
  });
});
