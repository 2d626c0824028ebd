import { Readable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { LogRow } from './api.js';
import { MAX_DIFFERENCES, compareLogs } from './compare-logs.js';

const move = (index: number, more: Partial<LogRow> = {}): LogRow => ({
  networkMessageId: `message-${index}`,
  mailbox: 'sam@fabrikam.example',
  isSendersCopy: index % 3 === 0,
  subject: '',
  outcome: 'succeeded',
  reason: null,
  fromFolder: index % 2 === 0 ? 'Inbox' : 'Junk Email',
  toFolder: 'Recoverable Items/Deletions',
  ...more,
});

const undoOf = (row: LogRow, more: Partial<LogRow> = {}): LogRow => ({
  ...row,
  fromFolder: row.toFolder,
  toFolder: row.fromFolder,
  ...more,
});

const compare = (moves: readonly LogRow[], undos: readonly LogRow[]) =>
  compareLogs(Readable.from(moves), Readable.from(undos));

describe('compareLogs', () => {
  it('finds every copy back, in whatever order the undo went', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(40), fc.infiniteStream(fc.nat()), async (count, dice) => {
        const moves = Array.from({ length: count }, (_, index) => move(index));
        const undos = moves
          .map((row) => ({ undo: undoOf(row), at: dice.next().value as number }))
          .sort((a, b) => a.at - b.at)
          .map(({ undo }) => undo);
        await expect(compare(moves, undos)).resolves.toEqual({ moved: count, back: count, differences: [] });
      }),
    );
  });

  it.each([
    ['another folder', { toFolder: 'Archive' }, 'is in Archive, not Inbox'],
    ['another source', { fromFolder: 'Archive' }, 'was taken from Archive, not Recoverable Items/Deletions'],
    ['a failure', { outcome: 'failed', toFolder: null }, 'the undo ended with failed'],
  ])('tells of %s', async (_name, wrong, problem) => {
    const moves = [move(1), move(2), move(3)];
    const undos = moves.map((row) => undoOf(row, row.networkMessageId === 'message-2' ? wrong : {}));
    await expect(compare(moves, undos)).resolves.toMatchObject({
      moved: 3,
      back: 2,
      differences: [{ networkMessageId: 'message-2', problem }],
    });
  });

  it("tells a recipient's copy from the sender's in the same mailbox", async () => {
    const moves = [move(1, { isSendersCopy: false })];
    const result = await compare(moves, [undoOf(move(1, { isSendersCopy: true }))]);
    expect(result.back).toBe(0);
    expect(result.differences.map(({ problem }) => problem)).toEqual([
      'was moved, and the undo left it out',
      'is in the undo, and was not moved',
    ]);
  });

  it('does not take a move without folders for a copy that is back', async () => {
    const row = move(1, { fromFolder: null, toFolder: null });
    await expect(compare([row], [undoOf(row)])).resolves.toMatchObject({ moved: 1, back: 0 });
  });

  it('keeps the first differences only', async () => {
    const moves = Array.from({ length: 100 }, (_, index) => move(index));
    const { moved, back, differences } = await compare(moves, []);
    expect([moved, back, differences.length]).toEqual([100, 0, MAX_DIFFERENCES]);
  });
});
