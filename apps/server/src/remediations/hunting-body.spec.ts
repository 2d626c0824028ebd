import { Readable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { readHunting } from './hunting-body.js';

const ROWS = 6000;
const OPTIONS = { sendersCopy: false, limit: ROWS, maxBytes: 10_000_000 };

const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const rows = Array.from({ length: ROWS }, (_, n) => ({
  NetworkMessageId: id(n),
  RecipientEmailAddress: 'lee@fabrikam.example',
}));
const csv = [
  'NetworkMessageId,RecipientEmailAddress',
  ...rows.map((row) => Object.values(row).join(',')),
].join('\r\n');

/** How many turns others get while this is done. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let done = false;
  const next = (): void => {
    turns += 1;
    if (!done) setImmediate(next);
  };
  setImmediate(next);
  await work();
  done = true;
  return turns;
}

describe('a large result of advanced hunting', () => {
  it.each([
    ['JSON', () => readHunting({ results: rows }, OPTIONS)],
    // All of it is there already: nothing has to be waited for that would give others a turn.
    ['CSV', () => readHunting(Readable.from([Buffer.from(csv)]), OPTIONS)],
  ])('is read whole, and others get their turns meanwhile: %s', async (_what, read) => {
    let found: Awaited<ReturnType<typeof read>> | undefined;
    const turns = await turnsDuring(async () => {
      found = await read();
    });
    expect(found).toMatchObject({ rows: ROWS, duplicates: 0 });
    expect(found?.emails).toHaveLength(ROWS);
    expect(turns).toBeGreaterThanOrEqual(ROWS / 1000);
  });
});
