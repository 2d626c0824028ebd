import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { pause } from '#libs/kernel';
import { DEFAULT_TENANT } from '#libs/platform';
import { foldersOf } from '../support/evidence.js';
import { MailInput } from '../support/mail-input.js';
import {
  EMAILS,
  PLAN,
  RECIPIENTS_MOVED,
  SENDERS_MOVED,
  keyOfRow,
  movesOf,
  realInputRuns,
  rowsOfOtherSubjects,
} from '../support/real-input.js';
import {
  Folders,
  TestServer,
  TestTenant,
  bodyOf,
  countsOf,
  request,
  until,
  type EntryBody,
  type ImportReportBody,
} from '../support/server.js';

const MINUTES = 60_000;

const FINISHED: readonly string[] = ['completed', 'failed', 'rejected'];

(realInputRuns() ? describe : describe.skip)('the journey on real mail', () => {
  let input: MailInput;
  let server: TestServer;
  let tenant: TestTenant;
  /** Where every copy was before anything was done. */
  let before: ReadonlyMap<string, string>;
  let deleted: EntryBody;
  let restored: EntryBody;

  beforeAll(async () => {
    server = await TestServer.start();
    input = await MailInput.real();
    tenant = new TestTenant(server, DEFAULT_TENANT);
  }, MINUTES);

  afterAll(async () => {
    await server.dispose();
  });

  it(
    'imports every email, and finds nothing new the second time',
    async () => {
      const send = async (): Promise<ImportReportBody> => {
        const answer = await tenant.as('ingest').import(input.gzip, { 'content-encoding': 'gzip' });
        return bodyOf(answer, 200) as ImportReportBody;
      };
      const none = { rejected: 0, rejections: [] };
      expect(await send()).toEqual({ accepted: EMAILS, unchanged: 0, ...none });
      expect(await send()).toEqual({ accepted: 0, unchanged: EMAILS, ...none });
    },
    MINUTES,
  );

  it('finds every copy in the folder of its delivery', async () => {
    const held = (): number => Object.values(tenant.folders()).reduce((sum, count) => sum + count, 0);
    await until(
      () => Promise.resolve(held()),
      (copies) => copies >= PLAN.remediable,
    );
    before = await foldersOf(server.dataDirectory, input.copies);
    expect(before.size).toBe(PLAN.remediable);
    expect(before).toEqual(input.delivered());
  });

  it('previews what it will plan', async () => {
    const preview = await tenant.preview(request());
    expect(preview.plan).toEqual(PLAN);
    expect(await tenant.history()).toEqual([]);
  });

  it(
    'soft deletes every copy that there is, the senders’ included',
    async () => {
      const submitted = await tenant.submit(request());
      expect(submitted.plan).toEqual(PLAN);
      deleted = await untilFinished(submitted.approvalId);
      expect(deleted).toMatchObject({
        status: 'completed',
        counts: countsOf(
          { succeeded: RECIPIENTS_MOVED, nonRemediable: PLAN.nonRemediable },
          { succeeded: SENDERS_MOVED },
        ),
      });
      expect(tenant.folders()).toEqual({ [Folders.recoverableDeletions]: PLAN.remediable });
    },
    MINUTES,
  );

  it(
    'exports a row for each copy, its subject as it was',
    async () => {
      const { rows } = await tenant.export(deleted.approvalId);
      expect(rows).toHaveLength(PLAN.copies);
      expect(rows.filter(({ IsSendersCopy }) => IsSendersCopy === 'true')).toHaveLength(SENDERS_MOVED);
      expect(rows.filter(({ IsSendersCopy }) => IsSendersCopy === 'false')).toHaveLength(EMAILS);

      const log = await tenant.log(deleted.approvalId);
      expect(new Set(log.map(keyOfRow)).size).toBe(PLAN.copies);
      const wrong = log.filter((row) => row.subject !== input.subjects.get(row.networkMessageId));
      expect(wrong).toEqual([]);
      expect(rowsOfOtherSubjects(rows, input.subjects)).toEqual([]);
    },
    MINUTES,
  );

  it(
    'brings every copy back to exactly where it was',
    async () => {
      const undo = await tenant.undo(deleted.approvalId);
      expect(undo.plan).toMatchObject({ copies: PLAN.remediable, nonRemediable: 0 });
      restored = await untilFinished(undo.approvalId);
      expect(restored).toMatchObject({
        status: 'completed',
        undoOf: deleted.approvalId,
        counts: countsOf({ succeeded: RECIPIENTS_MOVED }, { succeeded: SENDERS_MOVED }),
      });
      const folders = await foldersOf(server.dataDirectory, input.copies);
      expect(folders).toEqual(before);
      const there = await movesIn(deleted);
      const back = await movesIn(restored);
      expect(back).toEqual(there.map(({ copy, from, to }) => ({ copy, from: to, to: from })));
    },
    MINUTES,
  );

  it(
    'undoes the undo: everything is deleted again',
    async () => {
      const { approvalId } = await tenant.undo(restored.approvalId);
      const again = await untilFinished(approvalId);
      expect(again).toMatchObject({
        status: 'completed',
        undoOf: restored.approvalId,
        counts: countsOf({ succeeded: RECIPIENTS_MOVED }, { succeeded: SENDERS_MOVED }),
      });
      expect(tenant.folders()).toEqual({ [Folders.recoverableDeletions]: PLAN.remediable });
      expect(tenant.moves()).toBe(3 * PLAN.remediable);
      expect(await movesIn(again)).toEqual(await movesIn(deleted));
    },
    MINUTES,
  );

  /** As long as the test may take: more patient than for a handful of copies. */
  const untilFinished = async (approvalId: string): Promise<EntryBody> => {
    for (;;) {
      const entry = await tenant.entry(approvalId);
      if (FINISHED.includes(entry.status)) return entry;
      await pause(50);
    }
  };

  const movesIn = async (entry: EntryBody) =>
    movesOf(await tenant.log(entry.approvalId, { outcome: 'succeeded' }));
});
