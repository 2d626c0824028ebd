import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isClawbackError } from '#libs/kernel';
import { HuntingReader, type HuntingSelection } from './hunting-rows.js';

const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const row = (n: number, over: Readonly<Record<string, unknown>> = {}): object => ({
  NetworkMessageId: id(n),
  RecipientEmailAddress: 'lee@fabrikam.example',
  ...over,
});

const read = (
  rows: readonly unknown[],
  options: { columns?: readonly string[]; sendersCopy?: boolean; limit?: number } = {},
): HuntingSelection => {
  const reader = new HuntingReader({ sendersCopy: false, limit: 1000, ...options });
  for (const each of rows) reader.add(each);
  return reader.end();
};

const refusal = (...args: Parameters<typeof read>): { code: string; details: Record<string, unknown> } => {
  try {
    read(...args);
  } catch (error) {
    if (isClawbackError(error)) return { code: error.code, details: error.details };
    throw error;
  }
  throw new Error('it was taken');
};

describe('rows of advanced hunting', () => {
  it('are folded: each email once, by its first row, and every row counted', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 20 }), { minLength: 1, maxLength: 100 }), (numbers) => {
        const { rows, emails, duplicates } = read(numbers.map((n) => row(n)));
        expect(rows).toBe(numbers.length);
        expect(emails.length + duplicates).toBe(rows);
        expect(emails.map(({ networkMessageId }) => networkMessageId)).toEqual([...new Set(numbers)].map(id));
        for (const { row: first, networkMessageId } of emails) {
          expect(numbers.map(id).indexOf(networkMessageId)).toBe(first - 1);
        }
      }),
    );
  });

  it('do not depend on case or on space around a value', () => {
    const odd = row(1, {
      RecipientEmailAddress: ' LEE@fabrikam.example ',
      NetworkMessageId: id(1).toUpperCase(),
    });
    expect(read([row(1), odd])).toMatchObject({ duplicates: 1, emails: [{ row: 1 }] });
  });

  it('are refused with the number of every wrong one', () => {
    const wrong = [7, null, [], row(1, { NetworkMessageId: 5 }), row(1, { RecipientEmailAddress: 'x' })];
    expect(refusal([row(1), ...wrong, row(2)])).toMatchObject({
      code: 'huntingRowsInvalid',
      details: { count: 5, rows: [2, 3, 4, 5, 6] },
    });
    const many = refusal(Array.from({ length: 300 }, () => row(1, { NetworkMessageId: 'x' })));
    expect(many.details).toMatchObject({ count: 300 });
    expect(many.details['rows']).toHaveLength(100);
  });

  it('need their columns, which a schema may name before there is a row', () => {
    const fields = ({ details }: ReturnType<typeof refusal>): unknown[] =>
      (details['errors'] as { field: string }[]).map(({ field }) => field);
    expect(fields(refusal([{ Subject: 'x' }]))).toEqual(['NetworkMessageId', 'RecipientEmailAddress']);
    expect(fields(refusal([], { columns: ['RecipientEmailAddress'] }))).toEqual(['NetworkMessageId']);
    expect(fields(refusal([row(1)], { sendersCopy: true }))).toEqual(['EmailDirection', 'SenderFromAddress']);
    const full = row(1, { EmailDirection: 'Intra-org', SenderFromAddress: 'kim@fabrikam.example' });
    expect(read([full], { sendersCopy: true }).emails).toHaveLength(1);
  });

  it('are limited by the emails that they name, and not by their number', () => {
    expect(read([row(1), row(1), row(2)], { limit: 2 }).emails).toHaveLength(2);
    expect(refusal([row(1), row(2), row(3)], { limit: 2 })).toMatchObject({
      code: 'selectionOverLimit',
      details: { limit: 2 },
    });
  });
});
