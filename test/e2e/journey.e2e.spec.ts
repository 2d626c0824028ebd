import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  Folders,
  OUTCOMES,
  TestServer,
  allPages,
  emailRef,
  emailRow,
  expectProblem,
  gzip,
  messageId,
  request,
  type CsvTable,
  type EntryBody,
  type LogRowBody,
  type PageOf,
  type PreviewBody,
  type Query,
  type TestTenant,
} from '../support/server.js';
import { everyPageIsDear } from '../support/stores.js';

interface Row {
  readonly NetworkMessageId: string;
  readonly RecipientEmailAddress: string;
  readonly SenderFromAddress: string;
  readonly Subject: string;
  readonly EmailDirection: string;
  readonly LatestDeliveryLocation: string;
}

const sample = await readFile('samples/fabrikam.ndjson', 'utf8');
const rows = sample
  .trimEnd()
  .split('\n')
  .map((line) => (JSON.parse(line) as { properties: Row }).properties);

// What has to come out, counted from the sample itself.
const at = (...locations: readonly string[]): number =>
  rows.filter((row) => locations.includes(row.LatestDeliveryLocation)).length;
const sent = new Map(
  rows
    .filter(({ EmailDirection }) => EmailDirection !== 'Inbound')
    .map((row) => [row.NetworkMessageId, row.SenderFromAddress]),
);
const REASONS = {
  onPremisesExternal: at('On-premises/External'),
  deliveryFailed: at('Failed'),
  deliveryDropped: at('Dropped'),
  locationUnknown: at('Unknown'),
};
const UNREACHABLE = Object.values(REASONS).reduce((sum, count) => sum + count, 0);
const THERE_ALREADY = at('Recoverable Items/Deletions');
const COPIES = rows.length + sent.size;
const MOVED = COPIES - UNREACHABLE - THERE_ALREADY;

const FOLDER_AT: Readonly<Record<string, string>> = {
  'Inbox/folder': Folders.inbox,
  Junk: Folders.junk,
  'Deleted items': Folders.deletedItems,
  Quarantine: Folders.quarantine,
  'Recoverable Items/Deletions': Folders.recoverableDeletions,
};
const FOLDERS_AT_FIRST = {
  ...Object.fromEntries(Object.entries(FOLDER_AT).map(([location, folder]) => [folder, at(location)])),
  [Folders.sentItems]: sent.size,
};

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(async () => {
  await server.dispose();
});

const keyOf = ({ networkMessageId, mailbox, isSendersCopy }: LogRowBody): string =>
  `${networkMessageId}/${isSendersCopy ? 'sender' : 'recipient'}/${mailbox}`;

describe('the sample', () => {
  it('has everything that the journey is about', () => {
    expect(Math.min(...Object.values(REASONS), ...Object.values(FOLDERS_AT_FIRST))).toBeGreaterThan(0);
  });
});

describe('a soft delete of everything with the senders’ copies', () => {
  let tenant: TestTenant;
  let previewed: PreviewBody;
  let afterPreview: readonly EntryBody[];
  let eventsOfPreview: bigint;
  let entry: EntryBody;
  let log: LogRowBody[];
  beforeAll(async () => {
    tenant = server.tenant();
    await tenant.import([sample]);
    const before = await server.head();
    previewed = await tenant.preview(request());
    eventsOfPreview = (await server.head()) - before;
    afterPreview = await tenant.history();
    entry = await tenant.run(request());
    log = await tenant.log(entry.approvalId);
  });

  it('previews what it then submits, and the preview changes nothing', async () => {
    const plan = {
      emails: rows.length,
      copies: COPIES,
      recipientCopies: rows.length,
      sendersCopies: sent.size,
      remediable: COPIES - UNREACHABLE,
      nonRemediable: UNREACHABLE,
      reasons: REASONS,
    };
    expect(previewed).toEqual({ selectionHash: entry.selectionHash, plan, undoable: true });
    expect(entry.plan).toEqual(plan);
    expect(eventsOfPreview).toBe(0n);
    expect(afterPreview).toEqual([]);
    expect(await tenant.preview(request({ sendersCopy: false }))).toMatchObject({
      plan: { copies: rows.length, sendersCopies: 0 },
    });
  });

  it('answers with the approval ID, the plan and where to look', async () => {
    const other = server.tenant();
    await other.import([emailRow()]);
    const answer = await other.as('approver').post('/v1/remediations', request());
    expect(answer.status).toBe(202);
    const { approvalId } = answer.body as { approvalId: string };
    expect(answer.body).toEqual({
      approvalId: expect.stringMatching(/./),
      status: 'started',
      selectionHash: expect.stringMatching(/^[0-9a-f]{64}$/),
      plan: expect.objectContaining({ copies: 2 }),
      undoable: true,
      undoOf: null,
      retryOf: null,
    });
    const location = answer.headers.get('location') ?? '';
    expect(location).toBe(`/v1/remediations/${approvalId}`);
    expect(await other.as('viewer').get(location)).toMatchObject({ status: 200, body: { approvalId } });
    await other.untilFinished(approvalId);
  });

  it('completes with counts that reconcile, in all and for both kinds of copies', () => {
    expect(entry).toMatchObject({ status: 'completed', action: 'softDelete', sendersCopy: true });
    const { recipientCopies, sendersCopies, ...all } = entry.counts;
    expect(all).toMatchObject({
      submitted: COPIES,
      pending: 0,
      succeeded: MOVED,
      alreadyInDestination: THERE_ALREADY,
      nonRemediable: UNREACHABLE,
    });
    expect(recipientCopies).toMatchObject({ submitted: rows.length, nonRemediable: UNREACHABLE });
    expect(sendersCopies).toMatchObject({ submitted: sent.size, succeeded: sent.size });
    for (const counts of [all, recipientCopies, sendersCopies]) {
      expect(OUTCOMES.reduce((sum, outcome) => sum + counts[outcome], 0)).toBe(counts.submitted);
    }
    for (const name of ['submitted', ...OUTCOMES] as const) {
      expect(recipientCopies[name] + sendersCopies[name]).toBe(all[name]);
    }
  });

  it('says who and when', () => {
    const { submittedBy, decidedBy, submittedAt, decidedAt, startedAt, finishedAt } = entry;
    expect([submittedBy, decidedBy]).toEqual(['approver@ops.example', 'approver@ops.example']);
    const times = [submittedAt, decidedAt, startedAt, finishedAt].map((time) => time ?? '');
    expect(times).toEqual([...times].sort());
    expect(times.every((time) => /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(time))).toBe(true);
  });

  it('leaves every copy in Recoverable Items, and no other moved', () => {
    expect(tenant.folders()).toEqual({ [Folders.recoverableDeletions]: MOVED + THERE_ALREADY });
    expect(tenant.moves()).toBe(MOVED);
  });

  it('logs one row a copy, in the order of the plan, with the folder that each came from', () => {
    const planned = rows.map(
      (row) => `${row.NetworkMessageId}/recipient/${row.RecipientEmailAddress.toLowerCase()}`,
    );
    for (const [id, sender] of sent) planned.push(`${id}/sender/${sender.toLowerCase()}`);
    expect(log.map(keyOf).sort()).toEqual(planned.sort());
    const ids = log.map((row) => row.networkMessageId);
    expect(ids).toEqual([...ids].sort());
    for (const row of rows) {
      const logged = log.find(
        (item) =>
          !item.isSendersCopy &&
          item.networkMessageId === row.NetworkMessageId &&
          item.mailbox === row.RecipientEmailAddress.toLowerCase(),
      );
      const folder = FOLDER_AT[row.LatestDeliveryLocation];
      expect(logged).toMatchObject({
        approvalId: entry.approvalId,
        subject: row.Subject,
        sender: row.SenderFromAddress.toLowerCase(),
        action: 'softDelete',
        fromFolder: folder ?? null,
        toFolder: folder === undefined ? null : Folders.recoverableDeletions,
      });
    }
  });

  describe('its log', () => {
    it.each(OUTCOMES)('is filtered by the outcome %s', async (outcome) => {
      const found = await tenant.log(entry.approvalId, { outcome });
      expect(found).toEqual(log.filter((row) => row.outcome === outcome));
      expect(found).toHaveLength(entry.counts[outcome]);
    });

    it.each([true, false])('is filtered by isSendersCopy=%s', async (isSendersCopy) => {
      const found = await tenant.log(entry.approvalId, { isSendersCopy });
      expect(found).toEqual(log.filter((row) => row.isSendersCopy === isSendersCopy));
      expect(found).toHaveLength(isSendersCopy ? sent.size : rows.length);
    });

    it('is filtered by mailbox, whatever its case, and by everything together', async () => {
      const { mailbox } = log.find((row) => row.isSendersCopy) as LogRowBody;
      const all = await tenant.log(entry.approvalId, { mailbox: mailbox.toUpperCase() });
      expect(all).toEqual(log.filter((row) => row.mailbox === mailbox));
      expect(all).not.toEqual([]);
      expect(
        await tenant.log(entry.approvalId, { mailbox, isSendersCopy: true, outcome: 'succeeded' }),
      ).toEqual(all.filter((row) => row.isSendersCopy && row.outcome === 'succeeded'));
      expect(await tenant.log(entry.approvalId, { mailbox: 'nobody@fabrikam.example' })).toEqual([]);
    });

    it.each([1, 7, 1000])('is paged by %s, every copy once and in order', async (limit) => {
      expect(await tenant.log(entry.approvalId, { limit })).toEqual(log);
    });

    it('gives full pages, filters or not', async () => {
      const path = `/v1/remediations/${entry.approvalId}/log`;
      for (const query of [{}, { isSendersCopy: true }, { outcome: 'nonRemediable' }] satisfies Query[]) {
        const { body } = await tenant.as('viewer').get(path, { ...query, limit: 3 });
        expect((body as PageOf<LogRowBody>).items).toHaveLength(3);
        expect(await tenant.log(entry.approvalId, { ...query, limit: 3 })).toEqual(
          await tenant.log(entry.approvalId, query),
        );
      }
    });

    it('refuses a cursor that belongs to other filters or another remediation', async () => {
      const path = `/v1/remediations/${entry.approvalId}/log`;
      const { body } = await tenant.as('viewer').get(path, { limit: 1 });
      const cursor = (body as PageOf<LogRowBody>).nextCursor ?? '';
      const elsewhere = await tenant.as('viewer').get(path, { limit: 1, isSendersCopy: true, cursor });
      expectProblem(elsewhere, 400, 'cursorInvalid', 'cursor: belongs to a listing with other filters');
      const history = await tenant.as('viewer').get('/v1/remediations', { cursor });
      expectProblem(history, 400, 'cursorInvalid', 'cursor');
    });
  });

  describe('its export', () => {
    let table: CsvTable;
    beforeAll(async () => {
      table = await tenant.export(entry.approvalId);
    });

    it('is a CSV file of one row a copy', () => {
      expect(table.answer.headers.get('content-type')).toBe('text/csv; charset=utf-8');
      expect(table.answer.headers.get('content-disposition')).toBe(
        `attachment; filename="action-log-${entry.approvalId}.csv"`,
      );
      expect(table.header).toEqual(
        expect.arrayContaining([
          ...['ApprovalId', 'NetworkMessageId', 'InternetMessageId', 'Subject', 'Sender', 'Mailbox'],
          ...['IsSendersCopy', 'Action', 'Status', 'Reason', 'FromFolder', 'ToFolder', 'Time'],
        ]),
      );
      expect(table.rows).toHaveLength(COPIES);
      expect(table.rows.filter((row) => row.IsSendersCopy === 'true')).toHaveLength(sent.size);
      expect(table.rows.filter((row) => row.IsSendersCopy === 'false')).toHaveLength(rows.length);
      for (const outcome of OUTCOMES) {
        expect(table.rows.filter((row) => row.Status === outcome)).toHaveLength(entry.counts[outcome]);
      }
    });

    it('says what the log says', () => {
      expect(table.rows.map(plain)).toEqual(log.map(exported));
    });

    it('takes the filters of the log', async () => {
      const { rows: found } = await tenant.export(entry.approvalId, {
        isSendersCopy: false,
        outcome: 'succeeded',
      });
      expect(found).toHaveLength(entry.counts.recipientCopies.succeeded);
      const empty = await tenant.export(entry.approvalId, { outcome: 'timedOut' });
      expect([empty.rows, empty.header]).toEqual([[], table.header]);
    });

    it('has no cell that a spreadsheet would take for a formula', () => {
      const cells = table.rows.flatMap((row) => Object.values(row));
      expect(cells.filter((cell) => /^[=+\-@\t\r]/.test(cell))).toEqual([]);
      expect(cells.filter((cell) => cell.startsWith("'="))).not.toEqual([]);
    });
  });

  describe('its events', () => {
    it('are all there, and paged', async () => {
      const all = await tenant.events(entry.approvalId);
      const types = [
        ...['RemediationSubmitted', 'RemediationApproved', 'RemediationQueued'],
        ...['RemediationStarted', 'RemediationCompleted'],
        ...['BatchPlanned', 'BatchReleased', 'BatchAttemptStarted', 'BatchSettled'],
        ...['RecipientCopySoftDeleted', 'SenderCopySoftDeleted', 'CopyAlreadyInDestination'],
      ];
      expect(new Set(all.map(({ type }) => type))).toEqual(new Set(types));
      expect(all.filter(({ type }) => type === 'RecipientCopySoftDeleted')).toHaveLength(MOVED - sent.size);
      expect(all.filter(({ type }) => type === 'SenderCopySoftDeleted')).toHaveLength(sent.size);
      expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
      expect(await tenant.events(entry.approvalId, { limit: 50 })).toEqual(all);
      for (const { metadata } of all) {
        expect(metadata).toMatchObject({
          tenant: tenant.name,
          actor: 'approver@ops.example',
          correlationId: entry.approvalId,
          schemaVersion: '1',
        });
      }
    });

    it('are not for a viewer', async () => {
      const answer = await tenant.as('viewer').get(entry.links.events ?? '');
      expectProblem(answer, 403, 'roleMissing', /auditor/);
    });
  });

  it('links to what belongs to it', async () => {
    const { undo, ...links } = entry.links;
    for (const link of Object.values(links)) {
      expect(await tenant.as('auditor').get(link)).toMatchObject({ status: 200 });
    }
    expect(undo).toBe(`/v1/remediations/${entry.approvalId}/undo`);
  });

  it('shows on the email where its copies are, and what touched them', async () => {
    const row = rows.find(
      ({ EmailDirection, LatestDeliveryLocation }) =>
        EmailDirection === 'Intra-org' && LatestDeliveryLocation === 'Junk',
    ) as Row;
    const touch = (fromFolder: string) => ({
      approvalId: entry.approvalId,
      outcome: 'succeeded',
      reason: null,
      fromFolder,
      toFolder: Folders.recoverableDeletions,
      time: expect.stringMatching(/Z$/),
    });
    expect(await tenant.email(row.NetworkMessageId, row.RecipientEmailAddress)).toMatchObject({
      subject: row.Subject,
      deliveryLocation: expect.stringMatching(/Folder$/),
      location: 'softDeleted',
      copies: [
        {
          mailbox: row.RecipientEmailAddress,
          isSendersCopy: false,
          folder: Folders.recoverableDeletions,
          lastMovedBy: entry.approvalId,
          remediations: [touch(Folders.junk)],
        },
        {
          mailbox: row.SenderFromAddress,
          isSendersCopy: true,
          folder: Folders.recoverableDeletions,
          lastMovedBy: entry.approvalId,
          remediations: [touch(Folders.sentItems)],
        },
      ],
    });
    expectProblem(
      await tenant.as('viewer').get(`/v1/emails/${messageId(1)}/nobody@fabrikam.example`),
      404,
      'emailNotFound',
    );
  });

  it('is seen by the search of the catalogue', async () => {
    expect(await tenant.search({ location: 'softDeleted' })).toHaveLength(rows.length - UNREACHABLE);
    expect(await tenant.search({ location: 'inboxFolder' })).toEqual([]);
    expect(await tenant.search()).toHaveLength(rows.length);
  });
});

describe('the undo of everything', () => {
  it('brings every moved copy back to its own folder, once; its undo deletes them again', async () => {
    const tenant = server.tenant();
    await tenant.import([sample]);
    expect(tenant.folders()).toEqual(FOLDERS_AT_FIRST);
    const emails = await tenant.search();
    const first = await tenant.run(request());
    const log = await tenant.log(first.approvalId);

    const undo = await tenant.runUndo(first.approvalId);
    expect(undo).toMatchObject({
      status: 'completed',
      action: 'undo',
      name: `Undo: ${first.name}`,
      undoOf: first.approvalId,
      plan: { copies: MOVED, sendersCopies: sent.size, nonRemediable: 0 },
      counts: { submitted: MOVED, succeeded: MOVED, sendersCopies: { succeeded: sent.size } },
      links: { undoOf: `/v1/remediations/${first.approvalId}` },
    });
    expect(tenant.folders()).toEqual(FOLDERS_AT_FIRST);
    const moved = log.filter(({ outcome }) => outcome === 'succeeded');
    expect(new Set(moved.map(({ fromFolder }) => fromFolder)).size).toBe(5);
    for (const copy of moved) expect(tenant.folderOf(copy)).toBe(copy.fromFolder);
    expect(moved.filter(({ isSendersCopy }) => isSendersCopy).map(({ fromFolder }) => fromFolder)).toEqual(
      Array.from(sent, () => Folders.sentItems),
    );
    expect(await tenant.search()).toEqual(emails);
    expect(new Set((await tenant.events(undo.approvalId)).map(({ type }) => type))).toEqual(
      new Set([
        ...['RemediationSubmitted', 'RemediationApproved', 'RemediationQueued'],
        ...['RemediationStarted', 'RemediationCompleted'],
        ...['BatchPlanned', 'BatchReleased', 'BatchAttemptStarted', 'BatchSettled'],
        ...['RecipientCopyRestored', 'SenderCopyRestored'],
      ]),
    );

    const original = await tenant.entry(first.approvalId);
    expect(original).toMatchObject({
      status: 'completed',
      undoneBy: [undo.approvalId],
      counts: first.counts,
    });
    expect((await tenant.events(first.approvalId)).map(({ type }) => type)).toContain('RemediationUndone');

    const again = await tenant.as('approver').post(`/v1/remediations/${first.approvalId}/undo`, {});
    expectProblem(again, 409, 'alreadyUndone');
    expect(again.body).toMatchObject({ undoneBy: [undo.approvalId] });
    expect(tenant.moves()).toBe(2 * MOVED);

    const redo = await tenant.runUndo(undo.approvalId);
    expect(redo).toMatchObject({
      status: 'completed',
      undoOf: undo.approvalId,
      counts: { succeeded: MOVED },
    });
    expect(tenant.folders()).toEqual({ [Folders.recoverableDeletions]: MOVED + THERE_ALREADY });
    expect(tenant.moves()).toBe(3 * MOVED);
  });
});

describe('the import of the sample', () => {
  const whole = { accepted: rows.length, unchanged: 0, rejected: 0, rejections: [] };
  const known = { ...whole, accepted: 0, unchanged: rows.length };

  it('is accepted, and unchanged the second time, plain or gzip', async () => {
    const tenant = server.tenant();
    expect(await tenant.import([sample])).toEqual(whole);
    const places = tenant.folders();
    const head = await server.head();
    expect(await tenant.import([sample])).toEqual(known);
    const zipped = await tenant.as('ingest').import(gzip(sample), { 'content-encoding': 'gzip' });
    expect(zipped).toMatchObject({ status: 200, body: known });
    expect(await server.head()).toBe(head);
    expect(tenant.folders()).toEqual(places);
  });

  it('takes gzip by its header or by its content, and the catalogue is the same', async () => {
    const [plainly, byHeader, byContent] = [server.tenant(), server.tenant(), server.tenant()];
    await plainly.import([sample]);
    const answers = [
      await byHeader.as('ingest').import(gzip(sample), { 'content-encoding': 'gzip' }),
      await byContent.as('ingest').import(gzip(sample), { 'content-type': 'application/gzip' }),
    ];
    for (const answer of answers) expect(answer).toMatchObject({ status: 200, body: whole });
    const emails = await plainly.search();
    expect(emails).toHaveLength(rows.length);
    for (const tenant of [byHeader, byContent]) {
      expect(await tenant.search()).toEqual(emails);
      expect(tenant.folders()).toEqual(FOLDERS_AT_FIRST);
    }
  });
});

describe('the export of odd texts', () => {
  const SUBJECTS = [
    'a comma, a "quote", and both ","',
    'two\r\nlines',
    'a lone\nline feed',
    'a lone\rcarriage return',
    '=HYPERLINK("https://evil.example","click")',
    '=1+2\nand a second line',
    '+1 missed call',
    '-50% today',
    '@everyone',
    '\tafter a tab',
    '＝FULL(WIDTH)',
    "'already quoted",
    '  spaces around  ',
    '',
    '"',
    ',',
    '日本語 🎣 עברית',
  ];

  it('keeps every character, but for the apostrophe before what looks like a formula', async () => {
    const tenant = server.tenant();
    await tenant.import(
      SUBJECTS.map((subject, index) =>
        emailRow({
          message: index,
          subject,
          from: '=cmd@evil.example',
          to: `+lee${String(index)}@fabrikam.example`,
          internetMessageId: '@SUM(1+1)',
        }),
      ),
    );
    const { approvalId } = await tenant.run(request());
    const { answer, rows: found } = await tenant.export(approvalId);
    const recipients = found.filter((row) => row.IsSendersCopy === 'false');
    expect(recipients.map((row) => row.Subject)).toEqual(
      SUBJECTS.map((subject) => (/^[=+\-@\t＝]/.test(subject) ? `'${subject}` : subject)),
    );
    for (const [index, row] of recipients.entries()) {
      expect(row).toMatchObject({
        Sender: "'=cmd@evil.example",
        Mailbox: `'+lee${String(index)}@fabrikam.example`,
        InternetMessageId: "'@SUM(1+1)",
      });
    }
    // RFC 4180: what holds a line break, a comma or a quote stands in quotes.
    expect(answer.text).toContain(',"a lone\nline feed",');
    expect(answer.text).toContain(',"a lone\rcarriage return",');
    expect(answer.text).toContain(',"two\r\nlines",');
    expect(answer.text).toContain(',"a comma, a ""quote"", and both "",""",');
    expect((await tenant.log(approvalId)).map(exported)).toEqual(found.map(plain));
  });
});

describe('the catalogue', () => {
  let tenant: TestTenant;
  beforeAll(async () => {
    tenant = server.tenant();
    await tenant.import([sample]);
  });

  const found = async (query: Query): Promise<string[]> =>
    (await tenant.search(query)).map((email) => `${email.networkMessageId}/${email.recipientEmailAddress}`);
  const expected = (matches: (row: Row) => boolean): string[] =>
    rows.filter(matches).map((row) => `${row.NetworkMessageId}/${row.RecipientEmailAddress}`);

  const [some] = rows.slice(40) as [Row];
  it.each<[string, Query, (row: Row) => boolean]>([
    [
      'sender',
      { sender: some.SenderFromAddress.toUpperCase() },
      (row) => row.SenderFromAddress === some.SenderFromAddress,
    ],
    [
      'recipient',
      { recipient: some.RecipientEmailAddress },
      (row) => row.RecipientEmailAddress === some.RecipientEmailAddress,
    ],
    ['a part of the subject', { subject: 'MAILBOX' }, (row) => /mailbox/i.test(row.Subject)],
    ['direction', { direction: 'outbound' }, (row) => row.EmailDirection === 'Outbound'],
    ['location', { location: 'quarantine' }, (row) => row.LatestDeliveryLocation === 'Quarantine'],
    [
      'message id',
      { networkMessageId: some.NetworkMessageId.toUpperCase() },
      (row) => row.NetworkMessageId === some.NetworkMessageId,
    ],
    [
      'two at once',
      { direction: 'inbound', location: 'junkFolder' },
      (row) => row.EmailDirection === 'Inbound' && row.LatestDeliveryLocation === 'Junk',
    ],
  ])('is searched by %s', async (_name, query, matches) => {
    const wanted = expected(matches);
    expect(wanted).not.toEqual([]);
    expect((await found(query)).sort()).toEqual(wanted.sort());
  });

  it('is searched by Message-ID, cluster and time', async () => {
    const { clusterId, internetMessageId, receivedAt } = await tenant.email(
      some.NetworkMessageId,
      some.RecipientEmailAddress,
    );
    const same = expected((row) => row.NetworkMessageId === some.NetworkMessageId).sort();
    expect((await found({ clusterId })).sort()).toEqual(same);
    expect((await found({ internetMessageId })).sort()).toEqual(same);
    const later = await found({ startTime: receivedAt });
    const earlier = await found({ endTime: receivedAt });
    expect(later.filter((key) => same.includes(key)).sort()).toEqual(same);
    expect([...later, ...earlier].sort()).toEqual(expected(() => true).sort());
  });

  it.each(everyPageIsDear ? [40, 1000] : [1, 7, 1000])(
    'is listed newest first in pages of %s, every email once',
    async (limit) => {
      const path = '/v1/emails';
      const items = (await allPages(tenant.as('viewer'), path, { limit })) as { receivedAt: string }[];
      expect(items).toEqual(await tenant.search());
      const times = items.map(({ receivedAt }) => receivedAt);
      expect(times).toEqual([...times].sort().reverse());
      expect(items).toHaveLength(rows.length);
    },
  );

  it('selects by query what it finds, less what is excluded', async () => {
    const [first, second] = await tenant.search({ direction: 'inbound' });
    if (first === undefined || second === undefined) throw new Error('no inbound mail');
    const excluding = [first, second].map(({ networkMessageId, recipientEmailAddress }) => ({
      networkMessageId: networkMessageId.toUpperCase(),
      recipientEmailAddress,
    }));
    const query = { direction: 'inbound' };
    const { plan } = await tenant.preview(request({ selection: { query } }));
    // Inbound mail has no sender's copy here, and that is no error.
    expect(plan).toMatchObject({ emails: at1('Inbound'), copies: at1('Inbound'), sendersCopies: 0 });
    const less = await tenant.preview(request({ selection: { query, excluding } }));
    expect(less.plan).toMatchObject({ emails: at1('Inbound') - 2 });
  });

  it('gives one sender’s copy a message, however many of its emails are chosen', async () => {
    const [id] = [...sent.keys()].filter(
      (key) => rows.filter((row) => row.NetworkMessageId === key).length > 2,
    );
    const emails = rows
      .filter((row) => row.NetworkMessageId === id)
      .slice(0, 2)
      .map((row) => ({
        networkMessageId: row.NetworkMessageId,
        recipientEmailAddress: row.RecipientEmailAddress,
      }));
    const { plan } = await tenant.preview(request({ selection: { emails } }));
    expect(plan).toMatchObject({ emails: 2, copies: 3, recipientCopies: 2, sendersCopies: 1 });
  });

  const at1 = (direction: string): number => rows.filter((row) => row.EmailDirection === direction).length;
});

describe('the history', () => {
  let tenant: TestTenant;
  let entries: readonly EntryBody[];
  beforeAll(async () => {
    tenant = server.tenant();
    await tenant.import([1, 2, 3].map((message) => emailRow({ message, location: 'Junk' })));
    const one = await tenant.run(
      request({ name: 'Alpha wave', severity: 'low', selection: { emails: [emailRef(1)] } }),
    );
    await tenant.runUndo(one.approvalId, { name: 'alpha back' });
    await tenant.run(
      request({
        name: 'beta',
        severity: 'medium',
        action: 'moveToInbox',
        surface: 'graphApi',
        sendersCopy: false,
      }),
    );
    const pending = await tenant.submit(request({ name: 'Gamma 100%_' }), 'proposer');
    const rejected = await tenant.submit(
      request({ name: 'delta', surface: 'emailEntity', selection: { emails: [emailRef(2), emailRef(3)] } }),
      'proposer',
    );
    await tenant
      .as('approver', 'viewer')
      .post(`/v1/remediations/${rejected.approvalId}/reject`, { reason: 'not needed' });
    entries = await tenant.history();
    expect(entries.map(({ approvalId }) => approvalId)).toContain(pending.approvalId);
  });

  it('lists everything, newest first', () => {
    expect(entries.map(({ name }) => name)).toEqual([
      'delta',
      'Gamma 100%_',
      'beta',
      'alpha back',
      'Alpha wave',
    ]);
  });

  it.each<[Query, readonly string[]]>([
    [{ status: 'completed' }, ['beta', 'alpha back', 'Alpha wave']],
    [{ status: 'pending' }, ['Gamma 100%_']],
    [{ status: 'rejected' }, ['delta']],
    [{ status: 'failed' }, []],
    [{ action: 'softDelete' }, ['delta', 'Gamma 100%_', 'Alpha wave']],
    [{ action: 'moveToInbox' }, ['beta']],
    [{ action: 'undo' }, ['alpha back']],
    [{ surface: 'graphApi' }, ['beta']],
    [{ name: 'ALPHA' }, ['alpha back', 'Alpha wave']],
    [{ name: '100%_' }, ['Gamma 100%_']],
    [{ name: '%' }, ['Gamma 100%_']],
    [{ approver: 'APPROVER-viewer@ops.example' }, ['delta']],
    [{ approver: 'approver@ops.example' }, ['beta', 'alpha back', 'Alpha wave']],
    [{ action: 'softDelete', status: 'completed', name: 'wave' }, ['Alpha wave']],
    [{ startTime: '2999-01-01T00:00:00Z' }, []],
    [{ endTime: '2000-01-01' }, []],
  ])('is filtered by %j', async (query, names) => {
    expect((await tenant.history(query)).map(({ name }) => name)).toEqual(names);
  });

  it('is filtered by approval ID and by time', async () => {
    for (const { approvalId, submittedAt } of entries) {
      expect(await tenant.history({ approvalId })).toMatchObject([{ approvalId }]);
      const since = await tenant.history({ startTime: submittedAt });
      const before = await tenant.history({ endTime: submittedAt });
      expect([...since, ...before]).toEqual(entries);
      expect(since.map((entry) => entry.approvalId)).toContain(approvalId);
    }
  });

  it.each<[string, (entry: EntryBody) => string | number]>([
    ['submittedAt', ({ submittedAt }) => submittedAt],
    ['name', ({ name }) => name.toLowerCase()],
    ['status', ({ status }) => status],
    ['action', ({ action }) => action],
    ['emails', ({ plan }) => plan.emails],
  ])('is sorted by %s, up and down, also page by page', async (sort, keyOfEntry) => {
    const byKey = (a: EntryBody, b: EntryBody): number =>
      keyOfEntry(a) < keyOfEntry(b)
        ? -1
        : keyOfEntry(a) > keyOfEntry(b)
          ? 1
          : a.approvalId < b.approvalId
            ? -1
            : 1;
    const sorted = [...entries].sort(byKey);
    expect(await tenant.history({ sort, order: 'asc' })).toEqual(sorted);
    expect(await tenant.history({ sort, order: 'asc', limit: 1 })).toEqual(sorted);
    expect(await tenant.history({ sort, order: 'desc', limit: 2 })).toEqual(sorted.reverse());
  });

  it('refuses a cursor with another sort', async () => {
    const { body } = await tenant.as('viewer').get('/v1/remediations', { limit: 1 });
    const cursor = (body as PageOf<EntryBody>).nextCursor ?? '';
    const answer = await tenant.as('viewer').get('/v1/remediations', { limit: 1, sort: 'name', cursor });
    expectProblem(answer, 400, 'cursorInvalid', 'cursor');
  });

  it('tells what was selected, and what was rejected and why', () => {
    const [delta, , beta, back] = entries;
    expect(delta).toMatchObject({
      selection: { by: 'emails' },
      rejectionReason: 'not needed',
      decidedBy: 'approver-viewer@ops.example',
      submittedBy: 'proposer@ops.example',
    });
    expect(beta).toMatchObject({ selection: { by: 'query', query: {}, excluding: 0 } });
    expect(back).toMatchObject({ selection: { by: 'undo', of: entries.at(-1)?.approvalId } });
  });
});

/** A row of the log as the CSV file has it. */
const exported = (row: LogRowBody): Record<string, string> => ({
  ApprovalId: row.approvalId,
  NetworkMessageId: row.networkMessageId,
  InternetMessageId: row.internetMessageId,
  Subject: row.subject,
  Sender: row.sender,
  Direction: row.direction,
  ReceivedTime: row.receivedAt,
  Mailbox: row.mailbox,
  IsSendersCopy: String(row.isSendersCopy),
  Action: row.action,
  Status: row.outcome,
  AlreadyInDestination: String(row.outcome === 'alreadyInDestination'),
  Reason: row.reason ?? '',
  Detail: row.detail ?? '',
  FromFolder: row.fromFolder ?? '',
  ToFolder: row.toFolder ?? '',
  Time: row.time ?? '',
});

/** The cells without the apostrophe that keeps a spreadsheet from computing them. */
const plain = (row: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(row).map(([name, cell]) => [name, cell.replace(/^'(?=[=+\-@\t\r\n＝＋－＠])/, '')]),
  );
