import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { pause } from '#libs/kernel';
import { Deployment } from '../support/deployment.js';
import { serverName } from '../support/eventstoredb/server-under-test.js';
import { foldersOf, repeated } from '../support/evidence.js';
import { MailInput } from '../support/mail-input.js';
import { mongoName } from '../support/mongodb.js';
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
  allPages,
  bodyOf,
  countsOf,
  csvTable,
  request,
  type EntryBody,
  type LogRowBody,
  type SubmittedBody,
} from '../support/server.js';

/** For one step of the journey, on a machine that has other work too. */
const STEP_MS = 240_000;
const LOOK_EVERY_MS = 200;

(realInputRuns() ? describe : describe.skip)(
  `real mail by one API, one projector and three executors, on ${serverName} and ${mongoName}`,
  () => {
    let input: MailInput;
    let deployment: Deployment;
    let deleted: EntryBody;
    let restored: EntryBody;

    beforeAll(async () => {
      input = await MailInput.real();
      deployment = await Deployment.start({ tenant: `real-mail-${randomUUID()}`, executors: 3 });
    }, STEP_MS);

    afterAll(() => deployment.dispose(), STEP_MS);

    afterEach(() => {
      deployment.throwIfOneEnded();
    });

    it(
      'imports every email, and finds nothing new the second time',
      async () => {
        const send = async (): Promise<unknown> =>
          bodyOf(await deployment.api.import(input.gzip, { 'content-encoding': 'gzip' }), 200);
        const none = { rejected: 0, rejections: [] };
        expect(await send()).toEqual({ accepted: EMAILS, unchanged: 0, ...none });
        expect(await send()).toEqual({ accepted: 0, unchanged: EMAILS, ...none });
      },
      STEP_MS,
    );

    it(
      'finds every copy in the folder of its delivery',
      async () => {
        const held = async (): Promise<number> =>
          Object.values(await folderCounts()).reduce((sum, count) => sum + count, 0);
        while ((await held()) < PLAN.remediable) await pause(LOOK_EVERY_MS);
        expect(await folders()).toEqual(input.delivered());
      },
      STEP_MS,
    );

    it(
      'soft deletes every copy that there is, the senders’ included',
      async () => {
        const preview = bodyOf(await deployment.api.post('/v1/remediations/preview', request()), 200);
        expect(preview).toMatchObject({ plan: PLAN });
        const { approvalId, plan } = await submitted('/v1/remediations', request());
        expect(plan).toEqual(PLAN);
        deleted = await deployment.untilFinished(approvalId, STEP_MS);
        expect(deleted).toMatchObject({
          status: 'completed',
          counts: countsOf(
            { succeeded: RECIPIENTS_MOVED, nonRemediable: PLAN.nonRemediable },
            { succeeded: SENDERS_MOVED },
          ),
        });
        expect(await folderCounts()).toEqual({ [Folders.recoverableDeletions]: PLAN.remediable });
      },
      STEP_MS,
    );

    it(
      'exports a row for each copy, and tells the senders’ copies by IsSendersCopy',
      async () => {
        const answer = await deployment.api.get(`/v1/remediations/${deleted.approvalId}/export`);
        expect(answer.status).toBe(200);
        const { rows } = csvTable(answer.text);
        expect(rows).toHaveLength(PLAN.copies);
        expect(rows.filter(({ IsSendersCopy }) => IsSendersCopy === 'true')).toHaveLength(SENDERS_MOVED);
        expect(rows.filter(({ IsSendersCopy }) => IsSendersCopy === 'false')).toHaveLength(EMAILS);
        expect(rowsOfOtherSubjects(rows, input.subjects)).toEqual([]);

        const log = await logOf(deleted);
        expect(new Set(log.map(keyOfRow)).size).toBe(PLAN.copies);
      },
      STEP_MS,
    );

    it(
      'brings every copy back to exactly where it was',
      async () => {
        const undo = await submitted(`/v1/remediations/${deleted.approvalId}/undo`, {});
        expect(undo.plan).toMatchObject({ copies: PLAN.remediable, nonRemediable: 0 });
        restored = await deployment.untilFinished(undo.approvalId, STEP_MS);
        expect(restored).toMatchObject({
          status: 'completed',
          undoOf: deleted.approvalId,
          counts: countsOf({ succeeded: RECIPIENTS_MOVED }, { succeeded: SENDERS_MOVED }),
        });
        expect(await folders()).toEqual(input.delivered());

        const there = movesOf(await logOf(deleted, { outcome: 'succeeded' }));
        const back = movesOf(await logOf(restored, { outcome: 'succeeded' }));
        expect(there).toHaveLength(PLAN.remediable);
        expect(back).toEqual(there.map(({ copy, from, to }) => ({ copy, from: to, to: from })));
      },
      STEP_MS,
    );

    it(
      'has made every move once, and recorded every move that it made',
      async () => {
        const evidence = await deployment.evidence();
        expect(evidence.contradictions()).toEqual([]);
        expect(evidence.inDoubt()).toBe(0);
        expect(evidence.journal).toHaveLength(2 * PLAN.remediable);
        expect(repeated(evidence.journal.map(({ operationId }) => operationId))).toEqual([]);
      },
      STEP_MS,
    );

    const submitted = async (path: string, body: object): Promise<SubmittedBody> =>
      bodyOf(await deployment.api.post(path, body), 202) as SubmittedBody;

    const logOf = async ({ approvalId }: EntryBody, query = {}): Promise<LogRowBody[]> =>
      (await allPages(deployment.api, `/v1/remediations/${approvalId}/log`, query)) as LogRowBody[];

    const folders = () => foldersOf(deployment.dataDirectory, input.copies, deployment.tenant);

    const folderCounts = () => deployment.sandbox((sandbox) => sandbox.countByFolder(deployment.tenant));
  },
);
