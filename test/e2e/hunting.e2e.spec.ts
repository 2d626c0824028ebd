import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Folders,
  TestServer,
  bodyOf,
  emailRow,
  expectProblem,
  messageId,
  type Answer,
  type PreviewBody,
  type Query,
  type SubmittedBody,
  type TestTenant,
} from '../support/server.js';

const PATH = '/v1/remediations/from-hunting';
const LEE = 'lee@fabrikam.example';
const KIM = 'kim@fabrikam.example';

interface Hunted {
  readonly hunting: {
    readonly rows: number;
    readonly emails: number;
    readonly duplicates: number;
    readonly leftOut: number;
    readonly leftOutRows: readonly number[];
  };
}

let server: TestServer;
let tenant: TestTenant;
beforeAll(async () => {
  server = await TestServer.start({
    limits: { hunting: 150 },
    http: { bodyLimitBytes: 2000, huntingLimitBytes: 100_000 },
  });
});
afterAll(async () => {
  await server.dispose();
});
beforeEach(async () => {
  tenant = server.tenant();
  await tenant.import([1, 2, 3].map((message) => emailRow({ message })));
});

const terms = (over: Query = {}): Query => ({
  name: 'Hunt',
  severity: 'high',
  action: 'softDelete',
  sendersCopy: true,
  ...over,
});

/** A row with the columns that the reference query of Microsoft's page projects. */
const row = (message: number, over: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  NetworkMessageId: messageId(message),
  RecipientEmailAddress: LEE,
  EmailDirection: 'Intra-org',
  SenderFromAddress: KIM,
  LatestDeliveryAction: 'Delivered',
  ...over,
});

/** As Graph's `runHuntingQuery` answers. */
const result = (rows: readonly Record<string, unknown>[]): object => ({
  '@odata.context': 'https://graph.microsoft.com/v1.0/$metadata#microsoft.graph.security.huntingQueryResults',
  schema: Object.keys(row(1)).map((name) => ({ name, type: 'String' })),
  results: rows.map((each) => ({ '@odata.type': '#microsoft.graph.security.huntingRowResult', ...each })),
});

const csv = (rows: readonly Record<string, unknown>[], columns = Object.keys(row(1))): string =>
  [columns, ...rows.map((each) => columns.map((name) => each[name]))]
    .map((cells) => cells.map((cell) => `"${String(cell).replaceAll('"', '""')}"`).join(','))
    .join('\r\n');

const send = (step: string, query: Query, body: unknown, type = 'application/json'): Promise<Answer> =>
  tenant.as('approver').send({
    method: 'POST',
    path: `${PATH}${step}`,
    query,
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: { 'content-type': type },
  });

describe('the result of advanced hunting', () => {
  it.each<[string, () => unknown, string]>([
    ['as Graph answers it', () => result([row(1), row(2), row(1)]), 'application/json'],
    ['as bare rows', () => [row(1), row(2), row(1)], 'application/json'],
    ['as CSV', () => csv([row(1), row(2), row(1)]), 'text/csv'],
    [
      'as CSV with a mark and a charset',
      () => `\uFEFF${csv([row(1), row(2), row(1)])}`,
      'text/csv; charset=utf-8',
    ],
  ])('%s is remediated, with the copy of the sender', async (_what, body, type) => {
    const preview = bodyOf(await send('/preview', terms(), body(), type), 200) as PreviewBody & Hunted;
    expect(preview.plan).toMatchObject({ emails: 2, recipientCopies: 2, sendersCopies: 2 });
    const answer = await send('', terms(), body(), type);
    const submitted = bodyOf(answer, 202) as SubmittedBody & Hunted;
    expect(submitted).toMatchObject({
      selectionHash: preview.selectionHash,
      hunting: { rows: 3, emails: 2, duplicates: 1, leftOut: 0, leftOutRows: [] },
    });
    expect(answer.headers.get('location')).toBe(`/v1/remediations/${submitted.approvalId}`);
    expect(await tenant.untilFinished(submitted.approvalId)).toMatchObject({
      surface: 'advancedHunting',
      status: 'completed',
      counts: { succeeded: 4 },
    });
    for (const [mailbox, isSendersCopy] of [
      [LEE, false],
      [KIM, true],
    ] as const) {
      const copy = { networkMessageId: messageId(2), mailbox, isSendersCopy };
      expect(tenant.folderOf(copy)).toBe(Folders.recoverableDeletions);
    }
  });

  it('may be larger than what is picked by hand, and than other bodies', async () => {
    const many = Array.from({ length: 120 }, (_, n) => n + 10);
    await tenant.import(
      many.map((message) => emailRow({ message, to: `u${String(message)}@fabrikam.example` })),
    );
    const rows = many.map((n) => row(n, { RecipientEmailAddress: `u${String(n)}@fabrikam.example` }));
    for (const [body, type] of [
      [rows, 'application/json'],
      [csv(rows), 'text/csv'],
    ] as const) {
      expect(bodyOf(await send('/preview', terms(), body, type), 200)).toMatchObject({
        plan: { emails: 120 },
      });
    }
  });

  it('gives the same remediation under the same Idempotency-Key', async () => {
    const post = (): Promise<Answer> =>
      tenant.as('approver').send({
        method: 'POST',
        path: PATH,
        query: terms(),
        body: [row(1)],
        headers: { 'idempotency-key': 'hunt' },
      });
    const [first, again] = [await post(), await post()].map((answer) => bodyOf(answer, 202) as SubmittedBody);
    expect(again?.approvalId).toBe(first?.approvalId);
  });

  it('names every column that is missing; two of them are for the copy of the sender only', async () => {
    const bare = { NetworkMessageId: messageId(1), RecipientEmailAddress: LEE };
    const columns = Object.keys(bare);
    for (const [body, type] of [
      [[bare], 'application/json'],
      [csv([bare], columns), 'text/csv'],
      [{ schema: columns.map((name) => ({ name })), results: [row(1)] }, 'application/json'],
    ] as const) {
      const answer = await send('', terms(), body, type);
      expectProblem(answer, 400, 'huntingColumnMissing', /EmailDirection: .*SenderFromAddress: /);
      expect((await send('/preview', terms({ sendersCopy: false }), body, type)).status).toBe(200);
    }
    const answer = await send('', terms({ sendersCopy: false }), [{ Subject: 'x' }]);
    expectProblem(answer, 400, 'huntingColumnMissing', /NetworkMessageId: .*RecipientEmailAddress: /);
  });

  it.each<[string, unknown, string, string, number[] | undefined]>([
    [
      'wrong rows',
      [row(1), 7, row(2, { NetworkMessageId: 'x' })],
      'application/json',
      'huntingRowsInvalid',
      [2, 3],
    ],
    ['a row of another length', `${csv([row(1)])}\r\n"a","b"`, 'text/csv', 'huntingRowsInvalid', [2]],
    ['a wrong direction', [row(1, { EmailDirection: 'up' })], 'application/json', 'huntingRowsInvalid', [1]],
    ['no rows', [], 'application/json', 'selectionEmpty', undefined],
    ['no lines', '', 'text/csv', 'selectionEmpty', undefined],
    ['only a header', csv([]), 'text/csv', 'selectionEmpty', undefined],
    ['no result', { rows: [] }, 'application/json', 'invalidInput', undefined],
  ])('with %s is refused, and nothing has changed', async (_what, body, type, code, rows) => {
    const before = await tenant.state();
    const answer = await send('', terms(), body, type);
    expectProblem(answer, 400, code);
    if (rows !== undefined) expect(answer.body).toMatchObject({ rows, count: rows.length });
    expect(await tenant.state()).toEqual(before);
  });

  it('with rows that the catalogue does not have is refused with their numbers, unless they may be left out', async () => {
    const body = [row(1), row(9), row(2), row(8)];
    const answer = await send('', terms(), body);
    expectProblem(answer, 400, 'emailUnknown', /^rows\[2\]: is not an email of the catalogue; rows\[4\]: /);
    const less = bodyOf(await send('', terms({ unknownRows: 'leaveOut' }), body), 202) as SubmittedBody &
      Hunted;
    expect(less).toMatchObject({
      plan: { emails: 2 },
      hunting: { rows: 4, emails: 2, leftOut: 2, leftOutRows: [2, 4] },
    });
    expectProblem(await send('', terms({ unknownRows: 'leaveOut' }), [row(9)]), 400, 'emailUnknown');
  });

  it('is limited by number and by size, and the refusal names both', async () => {
    const rows = Array.from({ length: 151 }, (_, n) => row(n + 1));
    for (const [body, type] of [
      [rows, 'application/json'],
      [csv(rows), 'text/csv'],
    ] as const) {
      const answer = await send('', terms(), body, type);
      expectProblem(answer, 422, 'selectionOverLimit', /limit \(CLAWBACK_LIMIT_HUNTING\) is 150; split/);
      expect(answer.body).toMatchObject({ limit: 150 });
    }
    const large = csv(Array.from({ length: 1500 }, () => row(1)));
    expectProblem(await send('', terms(), large, 'text/csv'), 413, 'bodyTooLarge', /100000 bytes/);
    expectProblem(
      await send('', terms(), [row(1, { x: 'x'.repeat(100_000) })]),
      413,
      'bodyTooLarge',
      /100000/,
    );
  });

  it('needs its terms in the query string, and another type is refused', async () => {
    expectProblem(await send('', {}, [row(1)]), 400, 'invalidInput', /name: .*severity: .*action: /);
    expectProblem(await send('', terms(), 'x', 'text/plain'), 415, 'unsupportedMediaType');
    expectProblem(await send('', terms(), 'x', 'application/x-ndjson'), 415, 'unsupportedMediaType');
    expectProblem(
      await send('', terms({ action: 'hardDelete', sendersCopy: false }), [row(1)]),
      403,
      'roleMissing',
    );
  });
});
