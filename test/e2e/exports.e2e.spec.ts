import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { HISTORY_COLUMNS, LOG_COLUMNS, SELECTION_COLUMNS, type Manifest } from '#libs/action-center';
import {
  TestServer,
  bodyOf,
  csvTable,
  emailRef,
  emailRow,
  expectProblem,
  messageId,
  request,
  type EntryBody,
  type TestTenant,
} from '../support/server.js';

const FORMULA = '=HYPERLINK("http://evil.example","お支払い")';

let server: TestServer;
let tenant: TestTenant;
let done: EntryBody;
let token: string;
beforeAll(async () => {
  server = await TestServer.start({ executor: { copyDeadlineMs: 500 } });
  tenant = server.tenant();
  token = await server.token({ roles: ['viewer'], subject: 'v', tenant: tenant.name, ttlSeconds: 3600 });
  await tenant.import([
    emailRow({ message: 1, subject: FORMULA }),
    emailRow({ message: 2, to: 'sam@fabrikam.example', latest: 'Soft deleted' }),
    emailRow({ message: 3, from: 'eve@evil.example', direction: 'Inbound' }),
    emailRow({ message: 4, location: 'Failed', direction: 'Inbound', from: 'eve@evil.example' }),
  ]);
  done = await tenant.run(request());
});
afterAll(async () => {
  await server.dispose();
});

interface Taken {
  readonly answer: IncomingMessage;
  readonly bytes: Buffer;
  /** From the trailer. */
  readonly manifest: Manifest;
}

/** As a client that reads trailers. */
async function take(path: string, accept = '*/*'): Promise<Taken> {
  const sent = get(`${server.url}${path}`, { headers: { authorization: `Bearer ${token}`, accept } });
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  const bytes = await buffer(answer);
  expect({ status: answer.statusCode, bytes: bytes.toString() }).toMatchObject({ status: 200 });
  return { answer, bytes, manifest: JSON.parse(String(answer.trailers['clawback-manifest'])) as Manifest };
}

const rowsOf = ({ bytes }: Taken): Record<string, unknown>[] =>
  bytes
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Every export, and how many rows it has. */
const EXPORTS: readonly [string, () => string, number, readonly string[]][] = [
  ['a log', () => `/v1/remediations/${done.approvalId}/export`, 6, LOG_COLUMNS],
  ['a part of a log', () => `/v1/remediations/${done.approvalId}/export?isSendersCopy=true`, 2, LOG_COLUMNS],
  ['a selection', () => `/v1/remediations/${done.approvalId}/selection/export`, 4, SELECTION_COLUMNS],
  ['the history', () => '/v1/remediations/export', 1, HISTORY_COLUMNS],
  ['nothing of the history', () => '/v1/remediations/export?status=failed', 0, HISTORY_COLUMNS],
  ['emails', () => '/v1/emails/export?sender=kim@fabrikam.example', 2, SELECTION_COLUMNS],
];

const manifestPath = (path: string): string => {
  const [route = '', query] = path.split('?');
  return `${route}/manifest${query === undefined ? '' : `?${query}`}`;
};

describe.each(EXPORTS)('the export of %s', (_name, path, count, columns) => {
  it('is CSV, with a manifest of these very bytes after the last one', async () => {
    const taken = await take(path());
    const { header, rows } = csvTable(taken.bytes.toString());
    expect([header, rows.length]).toEqual([columns, count]);
    expect(taken.answer.headers['content-type']).toBe('text/csv; charset=utf-8');
    expect(taken.manifest).toMatchObject({
      format: 'csv',
      columns,
      rows: count,
      bytes: taken.bytes.length,
      sha256: sha256(taken.bytes),
      consistent: true,
    });
    const digest = Buffer.from(taken.manifest.sha256, 'hex').toString('base64');
    expect(taken.answer.trailers['content-digest']).toBe(`sha-256=:${digest}:`);
  });

  it.each([
    ['by the query', (url: string) => take(`${url}${url.includes('?') ? '&' : '?'}format=ndjson`)],
    ['by Accept', (url: string) => take(url, 'application/x-ndjson')],
  ])('is NDJSON when asked for %s, with the same columns and rows', async (_how, ask) => {
    const taken = await ask(path());
    expect(taken.answer.headers['content-type']).toBe('application/x-ndjson; charset=utf-8');
    const rows = rowsOf(taken);
    expect(rows).toHaveLength(count);
    for (const row of rows) expect(Object.keys(row)).toEqual(columns);
    expect(taken.manifest).toMatchObject({ format: 'ndjson', rows: count, sha256: sha256(taken.bytes) });
  });

  it('has the same manifest where its link leads, and at its own address', async () => {
    for (const accept of ['*/*', 'application/x-ndjson']) {
      const { answer, manifest } = await take(path(), accept);
      const [, linked = ''] = /<([^>]+)>; rel="describedby"/.exec(String(answer.headers.link)) ?? [];
      const again = bodyOf(await tenant.as('viewer').get(linked), 200) as Manifest;
      expect(again).toEqual({ ...manifest, createdAt: again.createdAt });
    }
    const own = bodyOf(await tenant.as('viewer').get(manifestPath(path())), 200) as Manifest;
    expect(own).toMatchObject({ format: 'csv', rows: count });
  });

  it('is taken by its address only, without a body, by HEAD', async () => {
    const { status, text } = await tenant.as('viewer').send({ method: 'HEAD', path: path() });
    expect([status, text]).toEqual([200, '']);
  });
});

describe('what the rows say', () => {
  it('of a log: whose copy, and whether it was in the destination before', async () => {
    const rows = rowsOf(await take(`/v1/remediations/${done.approvalId}/export?format=ndjson`));
    const told = rows.map((row) => [
      row.ApprovalId,
      row.NetworkMessageId,
      row.IsSendersCopy,
      row.AlreadyInDestination,
      row.Status,
    ]);
    const id = done.approvalId;
    expect(told).toEqual([
      [id, messageId(1), false, false, 'succeeded'],
      [id, messageId(1), true, false, 'succeeded'],
      [id, messageId(2), false, true, 'alreadyInDestination'],
      [id, messageId(2), true, false, 'succeeded'],
      [id, messageId(3), false, false, 'succeeded'],
      [id, messageId(4), false, false, 'nonRemediable'],
    ]);
    const { rows: cells } = await tenant.export(done.approvalId);
    expect(cells.map((row) => row.AlreadyInDestination)).toEqual(told.map(([, , , there]) => String(there)));
  });

  it('of the history: its counts', async () => {
    const [row] = rowsOf(await take('/v1/remediations/export?format=ndjson'));
    expect(row).toMatchObject({
      ApprovalId: done.approvalId,
      Name: 'Payroll phish',
      Status: 'completed',
      Emails: 4,
      Copies: 6,
      SendersCopies: 2,
      Succeeded: 4,
      AlreadyInDestination: 1,
      NonRemediable: 1,
      FinishedTime: done.finishedAt,
    });
  });

  it('of a selection: emails and where they are by now', async () => {
    const id = done.approvalId;
    const rows = rowsOf(await take(`/v1/remediations/${id}/selection/export?format=ndjson`));
    expect(rows.map((row) => [row.ApprovalId, row.NetworkMessageId, row.LatestLocation])).toEqual([
      [id, messageId(1), 'softDeleted'],
      [id, messageId(2), 'softDeleted'],
      [id, messageId(3), 'softDeleted'],
      [id, messageId(4), 'failed'],
    ]);
    const found = rowsOf(await take('/v1/emails/export?format=ndjson'));
    expect(found).toEqual(rows.map((row) => ({ ...row, ApprovalId: null })));
  });

  it('as CSV: nothing that a spreadsheet takes for a formula; as NDJSON: what it is', async () => {
    for (const path of [`/v1/remediations/${done.approvalId}/export`, '/v1/emails/export']) {
      const { rows } = csvTable((await take(path)).bytes.toString());
      expect(rows[0]?.Subject).toBe(`'${FORMULA}`);
      expect(rowsOf(await take(`${path}?format=ndjson`))[0]?.Subject).toBe(FORMULA);
    }
  });
});

describe('a manifest', () => {
  it('says the query as it was understood, whatever its letters', async () => {
    const subject = '"お支払い"\\';
    const { manifest } = await take(
      `/v1/emails/export?subject=${encodeURIComponent(subject)}&sender=KIM@x.example`,
    );
    expect(manifest.query).toEqual({ subject, sender: 'kim@x.example' });
    expect(manifest).toMatchObject({ kind: 'selection', approvalId: null, rows: 0 });
  });

  it('of a finished log is final, and its bytes stay the same when others act', async () => {
    const path = `/v1/remediations/${done.approvalId}/export`;
    const before = await take(path);
    expect(before.manifest).toMatchObject({ final: true, consistent: true, approvalId: done.approvalId });
    await tenant.run(request({ action: 'moveToInbox', selection: { emails: [emailRef(3)] } }));
    const after = await take(path);
    expect(after.manifest.sha256).toBe(before.manifest.sha256);
    expect(BigInt(after.manifest.lastPosition)).toBeGreaterThan(BigInt(before.manifest.lastPosition));
  });

  it('of what still changes is not final, and a later one differs', async () => {
    const other = server.tenant();
    await other.import([emailRow()]);
    const { approvalId, selectionHash } = await other.submit(request(), 'proposer');
    const path = `/v1/remediations/${approvalId}/export/manifest`;
    const pending = bodyOf(await other.as('viewer').get(path), 200) as Manifest;
    expect(pending).toMatchObject({ final: false, rows: 2 });
    await other.as('approver').post(`/v1/remediations/${approvalId}/approve`, { selectionHash });
    await other.untilFinished(approvalId);
    const finished = bodyOf(await other.as('viewer').get(path), 200) as Manifest;
    expect(finished).toMatchObject({ final: true, rows: 2 });
    expect(finished.sha256).not.toBe(pending.sha256);
  });
});

describe('exports', () => {
  it('show nothing of another tenant', async () => {
    const other = server.tenant().as('admin');
    for (const step of ['export', 'export/manifest', 'selection/export', 'selection/export/manifest']) {
      const answer = await other.get(`/v1/remediations/${done.approvalId}/${step}`);
      expectProblem(answer, 404, 'remediationNotFound');
    }
    for (const path of ['/v1/remediations/export', '/v1/emails/export']) {
      expect(csvTable((await other.get(path)).text).rows).toEqual([]);
    }
  });

  it('refuse what they do not know', async () => {
    const viewer = tenant.as('viewer');
    for (const path of EXPORTS.map(([, path]) => path().split('?')[0] ?? '')) {
      for (const suffix of ['', '/manifest']) {
        expectProblem(
          await viewer.get(`${path}${suffix}`, { format: 'xlsx' }),
          400,
          'invalidInput',
          'format',
        );
        expectProblem(await viewer.get(`${path}${suffix}`, { limit: 1 }), 400, 'invalidInput', 'limit');
      }
    }
  });
});
