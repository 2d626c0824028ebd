import { readdir } from 'node:fs/promises';
import { request as httpRequest, type ClientRequest } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { sampleLines } from '#libs/mail-catalog';
import {
  Folders,
  TestServer,
  countsOf,
  emailRow,
  enveloped,
  gzip,
  messageId,
  ndjson,
  request,
  until,
  type ImportReportBody,
  type TestTenant,
} from '../support/server.js';

const LEE = 'lee@fabrikam.example';
/** Enough emails for several chunks of an import. */
const many = [...sampleLines({ messages: 500, seed: 'import' })];

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(async () => {
  await server.dispose();
});

const spooled = (): Promise<string[]> => readdir(join(server.dataDirectory, 'spool'));

describe('what is imported', () => {
  it('may be bare rows or the envelopes of the streaming API: both mean the same', async () => {
    const [bare, wrapped] = [server.tenant(), server.tenant()];
    const rows = [emailRow({ location: 'Junk' }), emailRow({ message: 2, direction: 'Outbound' })];
    await bare.import(rows);
    await wrapped.import(rows.map(enveloped));
    expect(await wrapped.search()).toEqual(await bare.search());
    expect(wrapped.folders()).toEqual({ [Folders.junk]: 1, [Folders.inbox]: 1, [Folders.sentItems]: 2 });
    expect(wrapped.folders()).toEqual(bare.folders());
    // The envelope names the tenant of the source, which is news for the catalogue.
    expect(await bare.import(rows.map(enveloped))).toMatchObject({ accepted: 2, unchanged: 0 });
    expect(await bare.import(rows.map(enveloped))).toMatchObject({ accepted: 0, unchanged: 2 });
  });

  it('may come in any case and with any line end, also without a last one', async () => {
    const tenant = server.tenant();
    const row = JSON.stringify(emailRow({ to: 'Lee@Fabrikam.example', from: 'KIM@fabrikam.example' }));
    const answer = await tenant.as('ingest').import(`\ufeff${row}\r\n\r\n${row}`);
    expect(answer).toMatchObject({ status: 200, body: { accepted: 1, unchanged: 1, rejected: 0 } });
    expect(await tenant.search()).toMatchObject([
      { recipientEmailAddress: LEE, senderFromAddress: 'kim@fabrikam.example' },
    ]);
  });

  it('is a repetition when the same record comes twice in one file, near or far', async () => {
    const tenant = server.tenant();
    const report = await tenant.import([many[0] ?? '', ...many, many[0] ?? ''].map((line) => line.trimEnd()));
    expect(report).toEqual({ accepted: many.length, unchanged: 2, rejected: 0, rejections: [] });
    expect(await tenant.search()).toHaveLength(many.length);
  });

  it('is changed by a later record of the same email, also in one file; the last one counts', async () => {
    const tenant = server.tenant();
    const first = emailRow({ subject: 'First' });
    const second = emailRow({ subject: 'Second' });
    expect(await tenant.import([first, second, first])).toMatchObject({ accepted: 3, unchanged: 0 });
    expect(await tenant.search()).toMatchObject([{ subject: 'First' }]);
    expect(await tenant.import([second])).toMatchObject({ accepted: 1 });
    expect(await tenant.search()).toMatchObject([{ subject: 'Second' }]);
  });

  it('moves the location only when the source says something new about it', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    await tenant.run(request());
    const location = async () => (await tenant.search())[0]?.location;
    expect(await location()).toBe('softDeleted');
    // A record that is better in other ways, but says of the place what it said before the deletion.
    await tenant.import([emailRow({ subject: 'Invoice overdue!' })]);
    expect(await location()).toBe('softDeleted');
    await tenant.import([emailRow({ latest: 'Quarantine' })]);
    expect(await location()).toBe('quarantine');
    // The mailbox itself is not moved by what a record says.
    const copy = { networkMessageId: messageId(1), mailbox: LEE, isSendersCopy: false };
    expect(tenant.folderOf(copy)).toBe(Folders.recoverableDeletions);
  });

  it('places a copy once: an import does not bring back what was deleted', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    const { approvalId } = await tenant.run(request());
    await tenant.import([emailRow({ subject: 'again' }), emailRow({ message: 2 })]);
    await tenant.run(request({ selection: { query: { networkMessageId: messageId(2) } } }));
    expect(tenant.folders()).toEqual({ [Folders.recoverableDeletions]: 4 });
    await tenant.runUndo(approvalId);
    expect(tenant.folders()).toEqual({
      [Folders.recoverableDeletions]: 2,
      [Folders.inbox]: 1,
      [Folders.sentItems]: 1,
    });
  });

  it('is seen at once by who imported it', async () => {
    const tenant = server.tenant();
    for (let message = 1; message <= 10; message += 1) {
      await tenant.import([emailRow({ message })]);
      expect(await tenant.search({ networkMessageId: messageId(message) })).toHaveLength(1);
      expect(await tenant.email(messageId(message), LEE)).toMatchObject({ copies: [{}, {}] });
    }
  });

  it('may be deleted at once, since the executor waits until the mailboxes have it', async () => {
    const tenant = server.tenant();
    await tenant.import(many.map((line) => line.trimEnd()));
    const { counts, plan } = await tenant.run(request());
    expect(counts.notFound).toBe(0);
    expect(counts.succeeded + counts.alreadyInDestination).toBe(plan.remediable);
  });
});

describe('progress', () => {
  type Line =
    { progress: Record<string, number> } | { report: ImportReportBody } | { problem: { code: string } };
  const streamed = async (tenant: TestTenant, body: string | Uint8Array, headers = {}): Promise<Line[]> => {
    const response = await tenant.as('ingest').open('/v1/emails/import', {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson', accept: 'application/x-ndjson', ...headers },
      body,
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/x-ndjson');
    const text = await response.text();
    expect(text.endsWith('\n')).toBe(true);
    return text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Line);
  };

  it.each(['plain', 'gzip'])('is told line by line, and the report last (%s)', async (how) => {
    const tenant = server.tenant();
    const text = `${many.join('')}nonsense\n`;
    const lines =
      how === 'gzip'
        ? await streamed(tenant, gzip(text), { 'content-encoding': 'gzip' })
        : await streamed(tenant, text);
    const steps = lines.flatMap((line) => ('progress' in line ? [line.progress] : []));
    expect(lines.slice(0, -1)).toEqual(steps.map((progress) => ({ progress })));
    expect(steps.length).toBeGreaterThan(1);
    for (const [index, step] of steps.entries()) {
      const before = steps[index - 1] ?? { lines: 0, accepted: 0 };
      expect(Object.keys(step).sort()).toEqual(['accepted', 'lines', 'rejected', 'unchanged']);
      expect(step.lines).toBeGreaterThanOrEqual(before.lines ?? 0);
      expect(step.accepted).toBeGreaterThan(before.accepted ?? 0);
    }
    expect(lines.at(-1)).toEqual({
      report: {
        accepted: many.length,
        unchanged: 0,
        rejected: 1,
        rejections: [{ line: many.length + 1, reason: 'line: not JSON' }],
      },
    });
    expect(await tenant.search()).toHaveLength(many.length);
  });

  it('ends in a problem when nothing can be imported', async () => {
    const tenant = server.tenant();
    expect(await streamed(tenant, 'nonsense\n')).toEqual([
      {
        problem: expect.objectContaining({
          code: 'nothingImported',
          status: 400,
          instance: '/v1/emails/import',
          rejections: [{ line: 1, reason: 'line: not JSON' }],
        }),
      },
    ]);
    const [broken] = await streamed(tenant, gzip(many.join('')).subarray(0, 500), {
      'content-encoding': 'gzip',
    });
    expect(broken).toMatchObject({ problem: { code: 'brokenGzip', status: 400 } });
    expect(await tenant.search()).toEqual([]);
  });
});

describe('two imports of the same file at once', () => {
  it('come to what one would have come to', async () => {
    const [one, both] = [server.tenant(), server.tenant()];
    const lines = many.map((line) => line.trimEnd());
    await one.import(lines);
    const reports = await Promise.all([both.import(lines), both.import(lines)]);
    for (const { accepted, unchanged, rejected } of reports) {
      expect({ sum: accepted + unchanged, rejected }).toEqual({ sum: many.length, rejected: 0 });
    }
    expect(await both.search()).toEqual(await one.search());
    const [alone, together] = [await one.run(request()), await both.run(request())];
    expect(together.counts).toEqual(alone.counts);
    expect(together.plan).toEqual(alone.plan);
    expect(both.folders()).toEqual(one.folders());
    expect(both.moves()).toBe(one.moves());
  });

  it('of different records of one email leave one of them', async () => {
    const tenant = server.tenant();
    const subjects = ['a', 'b', 'c', 'd'];
    await Promise.all(subjects.map((subject) => tenant.import([emailRow({ subject })])));
    const emails = await tenant.search();
    expect(emails).toHaveLength(1);
    expect(subjects).toContain(emails[0]?.subject);
    expect(tenant.folders()).toEqual({ [Folders.inbox]: 1, [Folders.sentItems]: 1 });
  });
});

describe('a client that goes away in the middle of the body', () => {
  /** Sends only a part of what it announces, until the server has begun to write it down; then it is gone. */
  async function sendPart(tenant: TestTenant, part: string | Uint8Array, headers: Record<string, string>) {
    const token = await server.token({
      roles: ['ingest'],
      subject: 'feed',
      tenant: tenant.name,
      ttlSeconds: 60,
    });
    const sending: ClientRequest = httpRequest(`${server.url}/v1/emails/import`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-ndjson', ...headers },
    });
    sending.on('error', () => undefined);
    const closed = new Promise((resolve) => sending.once('close', resolve));
    sending.write(part);
    await until(spooled, (files) => files.length === 1);
    sending.destroy();
    await closed;
    await until(spooled, (files) => files.length === 0);
  }

  const text = ndjson([1, 2, 3].map((message) => emailRow({ message })));
  it.each<[string, string | Uint8Array, Record<string, string>]>([
    ['with a length', text, { 'content-length': String(2 * text.length) }],
    ['without one', text, {}],
    ['with gzip', gzip(text).subarray(0, 150), { 'content-encoding': 'gzip' }],
  ])('changes nothing, and leaves no file (%s)', async (_what, part, headers) => {
    const tenant = server.tenant();
    const before = await tenant.state();
    await sendPart(tenant, part, headers);
    expect(await tenant.state()).toEqual(before);
    expect(await tenant.import(text.trimEnd().split('\n'))).toMatchObject({ accepted: 3 });
  });
});

describe('a restart', () => {
  it('keeps what was imported, and knows it again', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow(), emailRow({ message: 2, direction: 'Inbound' })]);
    const before = await tenant.state();
    await server.restart();
    expect(await tenant.state()).toEqual(before);
    expect(await tenant.import([emailRow()])).toMatchObject({ accepted: 0, unchanged: 1 });
    expect((await tenant.run(request())).counts).toEqual(countsOf({ succeeded: 2 }, { succeeded: 1 }));
  });
});
