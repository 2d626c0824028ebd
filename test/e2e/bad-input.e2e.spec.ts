import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SignJWT, UnsecuredJWT, generateKeyPair } from 'jose';
import { canonicalJson, sha256 } from '#libs/kernel';
import { loadOrCreateLocalKey, signLocalToken } from '#libs/platform';
import {
  Folders,
  TestServer,
  emailRef,
  emailRow,
  expectProblem,
  gzip,
  messageId,
  ndjson,
  request,
  until,
  type Answer,
  type EntryBody,
  type Query,
  type SubmittedBody,
  type TestTenant,
} from '../support/server.js';

const LEE = 'lee@fabrikam.example';
const BODY_LIMIT = 64 * 1024;
const IMPORT_LIMIT = 96 * 1024;

let server: TestServer;
/** Six mails, a finished remediation of the first and a proposal over the second. */
let tenant: TestTenant;
let done: EntryBody;
let proposal: SubmittedBody;
beforeAll(async () => {
  server = await TestServer.start({
    http: { bodyLimitBytes: BODY_LIMIT, importLimitBytes: IMPORT_LIMIT },
    limits: { byQuery: 5, exclusions: 2 },
  });
  tenant = server.tenant();
  await tenant.import([1, 2, 3, 4, 5, 6].map((message) => emailRow({ message })));
  done = await tenant.run(request({ selection: { emails: [emailRef(1)] } }));
  proposal = await tenant.submit(request({ selection: { emails: [emailRef(2)] } }), 'proposer');
});
afterAll(async () => {
  await server.dispose();
});

/** Sends something that is refused, and looks that nothing at all has changed: no event, no view, no mailbox. */
async function refused(send: () => Promise<Answer>): Promise<Answer> {
  const before = await tenant.state();
  const answer = await send();
  expect(await tenant.state()).toEqual(before);
  return answer;
}

const selecting = (selection: unknown): object => request({ selection });
const without = (field: string): object =>
  Object.fromEntries(Object.entries(request()).filter(([name]) => name !== field));

describe.each(['/v1/remediations', '/v1/remediations/preview'])('POST %s', (path) => {
  const post = (body: unknown, headers = {}): Promise<Answer> =>
    refused(() => tenant.as('approver').post(path, body, headers));

  it.each<[string, unknown, string]>([
    ['an unknown field', request({ approve: true }), 'approve: unknown field'],
    [
      'an unknown field of the selection',
      selecting({ query: {}, all: true }),
      'selection.all: unknown field',
    ],
    ['an unknown filter', selecting({ query: { folder: 'x' } }), 'selection.query.folder: unknown field'],
    [
      'an unknown field of an email',
      selecting({ emails: [emailRef(3), { ...emailRef(4), subject: 'x' }] }),
      'selection.emails[1].subject: unknown field',
    ],
    [
      'an unknown field of an exclusion',
      selecting({ query: {}, excluding: [{ ...emailRef(4), subject: 'x' }] }),
      'selection.excluding[0].subject: unknown field',
    ],
    ['a wrong severity', request({ severity: 'extreme' }), 'severity: must be one of low, medium, high'],
    [
      'a wrong action',
      request({ action: 'shred' }),
      'action: must be one of softDelete, hardDelete, moveToInbox',
    ],
    ['an action of another case', request({ action: 'SoftDelete' }), 'action'],
    ['an undo as an action', request({ action: 'undo' }), 'action'],
    ['a wrong surface', request({ surface: 'telephone' }), 'surface: must be one of threatExplorer'],
    [
      'a wrong direction',
      selecting({ query: { direction: 'up' } }),
      'selection.query.direction: must be one of',
    ],
    [
      'a wrong location',
      selecting({ query: { location: 'attic' } }),
      'selection.query.location: must be one of',
    ],
    ...['name', 'severity', 'action', 'sendersCopy', 'surface', 'selection'].map(
      (field): [string, unknown, string] => [`no ${field}`, without(field), `${field}: `],
    ),
    ...['name', 'severity', 'action', 'sendersCopy', 'surface', 'selection'].map(
      (field): [string, unknown, string] => [`null as ${field}`, request({ [field]: null }), `${field}: `],
    ),
    ['a number as name', request({ name: 5 }), 'name: must be a string'],
    ['an object as name', request({ name: { $ne: '' } }), 'name: must be a string'],
    ['an empty name', request({ name: '' }), 'name: must be longer than or equal to 1'],
    ['a long name', request({ name: 'x'.repeat(201) }), 'name: must be shorter than or equal to 200'],
    [
      'a long description',
      request({ description: 'x'.repeat(1025) }),
      'description: must be shorter than or equal to 1024',
    ],
    ['a number as description', request({ description: 5 }), 'description: must be a string'],
    ['a text as sendersCopy', request({ sendersCopy: 'true' }), 'sendersCopy: must be a boolean'],
    ['a text as selection', selecting('everything'), 'selection: must be an object'],
    ['a list as selection', selecting([emailRef(3)]), 'selection: must be an object'],
    ['an object as emails', selecting({ emails: emailRef(3) }), 'selection.emails: must be an array'],
    ['texts as emails', selecting({ emails: ['x'] }), 'selection.emails'],
    ['lists as emails', selecting({ emails: [[emailRef(3)]] }), 'selection.emails'],
    ['null as an email', selecting({ emails: [null] }), 'selection.emails'],
    ['a list as query', selecting({ query: [] }), 'selection.query: must be an object'],
    ['a text as query', selecting({ query: 'from:kim' }), 'selection.query: must be an object'],
    [
      'a text as excluding',
      selecting({ query: {}, excluding: 'x' }),
      'selection.excluding: must be an array',
    ],
    ['a number as a filter', selecting({ query: { sender: 5 } }), 'selection.query.sender: must be a string'],
    [
      'a list as a filter',
      selecting({ query: { sender: ['a', 'b'] } }),
      'selection.query.sender: must be a string',
    ],
    ['an empty filter', selecting({ query: { subject: '' } }), 'selection.query.subject'],
    [
      'a day that does not exist',
      selecting({ query: { startTime: '2026-02-30' } }),
      'selection.query.startTime',
    ],
    [
      'a time that does not exist',
      selecting({ query: { endTime: '2026-02-01T25:00:00Z' } }),
      'selection.query.endTime',
    ],
    ['a word as a time', selecting({ query: { startTime: 'yesterday' } }), 'selection.query.startTime'],
    ['a number as a time', selecting({ query: { startTime: 1770000000 } }), 'selection.query.startTime'],
    [
      'a message id that is none',
      selecting({ emails: [{ ...emailRef(3), networkMessageId: 'x' }] }),
      'selection.emails[0].networkMessageId: must be a network message id',
    ],
    [
      'an email without its recipient',
      selecting({ emails: [{ networkMessageId: messageId(3) }] }),
      'selection.emails[0].recipientEmailAddress',
    ],
    [
      'a long recipient',
      selecting({ emails: [emailRef(3, 'x'.repeat(321))] }),
      'selection.emails[0].recipientEmailAddress: must be shorter than or equal to 320',
    ],
    ['no selection in the selection', selecting({}), 'selection: must have either emails or query'],
    [
      'only exclusions',
      selecting({ excluding: [emailRef(3)] }),
      'selection: must have either emails or query',
    ],
    [
      'emails and query',
      selecting({ emails: [emailRef(3)], query: {} }),
      'selection: must not have emails together with query',
    ],
    [
      'emails and exclusions',
      selecting({ emails: [emailRef(3)], excluding: [] }),
      'selection: must not have emails together with',
    ],
    ['a list as the body', [request()], ''],
    ['null as the body', 'null', ''],
    ['null as description', request({ description: null }), 'description'],
    ['null as emails', selecting({ emails: null, query: {} }), 'selection.emails'],
    ['null as query', selecting({ emails: [emailRef(3)], query: null }), 'selection.query'],
    ['null as excluding', selecting({ query: {}, excluding: null }), 'selection.excluding'],
    ['null as a filter', selecting({ query: { sender: null } }), 'selection.query.sender'],
    ['null as a time', selecting({ query: { startTime: null } }), 'selection.query.startTime'],
    ['a NUL in a name', request({ name: 'a\0b' }), 'name'],
    ['half a character in a name', request({ name: 'a\ud800b' }), 'name'],
    ['a NUL in a filter', selecting({ query: { subject: 'a\0b' } }), 'selection.query.subject'],
    ['half a character in a filter', selecting({ query: { sender: 'a\ud800b' } }), 'selection.query.sender'],
    [
      'a NUL in an address',
      selecting({ emails: [emailRef(3, `${LEE}\0`)] }),
      'selection.emails[0].recipientEmailAddress',
    ],
  ])('refuses %s', async (_what, body, says) => {
    const answer = await post(body, { 'content-type': 'application/json' });
    expectProblem(answer, 400, 'invalidInput', says);
    expect(answer.body).toMatchObject({ errors: expect.any(Array), instance: path });
  });

  it('names every wrong field at once', async () => {
    const answer = await post(
      request({ name: '', severity: 'x', selection: { query: { direction: 'up' } } }),
    );
    const fields = (answer.body as { errors: { field: string }[] }).errors.map(({ field }) => field);
    expect(new Set(fields)).toEqual(new Set(['name', 'severity', 'selection.query.direction']));
  });

  it.each<[string, unknown, string, string]>([
    ['no email', { emails: [] }, 'selectionEmpty', 'selection.emails: must name at least one'],
    [
      'a query that finds nothing',
      { query: { sender: 'nobody@fabrikam.example' } },
      'selectionEmpty',
      'selection.query: matches no email',
    ],
    [
      'a query of which all is excluded',
      { query: { networkMessageId: messageId(3) }, excluding: [emailRef(3)] },
      'selectionEmpty',
      'selection.query: matches no email',
    ],
    [
      'an unknown email',
      { emails: [emailRef(3), emailRef(99)] },
      'emailUnknown',
      'selection.emails[1]: is not an email of the catalogue',
    ],
    [
      'a known message and an unknown recipient',
      { emails: [emailRef(3, 'eve@fabrikam.example')] },
      'emailUnknown',
      'selection.emails[0]',
    ],
    [
      'an unknown exclusion',
      { query: { networkMessageId: messageId(3) }, excluding: [emailRef(99)] },
      'emailUnknown',
      'selection.excluding[0]',
    ],
    [
      'an email twice',
      { emails: [emailRef(3), emailRef(4), emailRef(3)] },
      'selectionRepeats',
      'selection.emails[2]: is the same as selection.emails[0]',
    ],
    [
      'an email twice in another case',
      { emails: [emailRef(3), emailRef(3, LEE.toUpperCase())] },
      'selectionRepeats',
      'selection.emails[1]: is the same as selection.emails[0]',
    ],
    [
      'an exclusion twice',
      { query: { networkMessageId: messageId(3) }, excluding: [emailRef(3), emailRef(3)] },
      'selectionRepeats',
      'selection.excluding[1]',
    ],
  ])('refuses %s', async (_what, selection, code, says) => {
    expectProblem(await post(selecting(selection)), 400, code, says);
  });

  it.each<[string, unknown, string, number, number]>([
    [
      '101 emails by hand',
      { emails: Array.from({ length: 101 }, (_, n) => emailRef(n)) },
      'selection.emails',
      101,
      100,
    ],
    ['a query that finds too many', { query: {} }, 'selection.query', 6, 5],
    [
      'too many exclusions',
      { query: {}, excluding: [3, 4, 5].map((n) => emailRef(n)) },
      'selection.excluding',
      3,
      2,
    ],
  ])('refuses %s, with the number and the limit', async (_what, selection, field, actual, limit) => {
    const answer = await post(selecting(selection));
    expectProblem(
      answer,
      422,
      'selectionOverLimit',
      `${field}: names ${String(actual)} emails, the limit is ${String(limit)}`,
    );
    expect(answer.body).toMatchObject({ field, actual, limit });
  });

  it.each<[string, string, string, number, string]>([
    ['half a JSON text', '{"name":', 'application/json', 400, 'malformedJson'],
    ['JSON with a comma too many', '{"name":"x",}', 'application/json', 400, 'malformedJson'],
    ['nothing that is called JSON', '', 'application/json', 400, 'emptyBody'],
    ['a body with a prototype', '{"__proto__":{"name":"x"}}', 'application/json', 400, 'malformedJson'],
    ['plain text', 'softDelete everything', 'text/plain', 415, 'unsupportedMediaType'],
    ['a form', 'name=x', 'application/x-www-form-urlencoded', 415, 'unsupportedMediaType'],
    ['XML', '<name/>', 'application/xml', 415, 'unsupportedMediaType'],
    ['lines', JSON.stringify(request()), 'application/x-ndjson', 415, 'unsupportedMediaType'],
    ['bytes', 'x', 'application/octet-stream', 415, 'unsupportedMediaType'],
  ])('refuses %s', async (_what, body, type, status, code) => {
    expectProblem(await post(body, { 'content-type': type }), status, code);
  });

  it('refuses a body over the limit, naming it', async () => {
    const answer = await post(request({ description: 'x'.repeat(BODY_LIMIT) }));
    expectProblem(answer, 413, 'bodyTooLarge', String(BODY_LIMIT));
    expect(answer.body).toMatchObject({ limit: BODY_LIMIT });
  });

  it('refuses JSON that is nested without end', async () => {
    const deep = `${'{"selection":'.repeat(4000)}1${'}'.repeat(4000)}`;
    expectProblem(await post(deep, { 'content-type': 'application/json' }), 400, 'invalidInput');
  });

  it('does not mind what means nothing: an empty description, an empty list of exclusions', async () => {
    const body = request({
      description: '',
      selection: { query: { networkMessageId: messageId(3) }, excluding: [] },
    });
    const { status } = await tenant.as('proposer').post('/v1/remediations/preview', body);
    expect(status).toBe(200);
  });
});

describe('an Idempotency-Key', () => {
  const submit = (by: TestTenant, key: string, over = {}): Promise<Answer> =>
    by.as('approver').post('/v1/remediations', request(over), { 'idempotency-key': key });

  it('gives the same remediation for the same request, at once and later, and runs it once', async () => {
    const own = server.tenant();
    await own.import([emailRow()]);
    const answers = await Promise.all(Array.from({ length: 8 }, () => submit(own, 'key-1')));
    const { approvalId } = answers[0]?.body as SubmittedBody;
    await own.untilFinished(approvalId);
    answers.push(await submit(own, 'key-1'));
    for (const answer of answers) {
      expect({ status: answer.status, body: answer.body }).toMatchObject({
        status: 202,
        body: { approvalId },
      });
      expect(answer.headers.get('location')).toBe(`/v1/remediations/${approvalId}`);
    }
    expect(await own.history()).toHaveLength(1);
    expect(own.moves()).toBe(2);
    expect(await own.log(approvalId)).toHaveLength(2);
  });

  it('is refused for another request', async () => {
    const own = server.tenant();
    await own.import([emailRow(), emailRow({ message: 2 })]);
    const { approvalId } = (await submit(own, 'key-2')).body as SubmittedBody;
    await own.untilFinished(approvalId);
    for (const over of [
      { name: 'another' },
      { sendersCopy: false },
      { selection: { emails: [emailRef(1)] } },
    ]) {
      const answer = await submit(own, 'key-2', over);
      expectProblem(answer, 409, 'idempotencyKeyReused', 'Idempotency-Key');
      expect(answer.body).toMatchObject({ approvalId });
    }
    expect(await own.history()).toHaveLength(1);
    expect(own.moves()).toBe(4);
  });

  it('is a tenant’s own', async () => {
    const [one, other] = [server.tenant(), server.tenant()];
    await one.import([emailRow()]);
    await other.import([emailRow()]);
    const [first, second] = [await submit(one, 'key-3'), await submit(other, 'key-3')];
    expect([first.status, second.status]).toEqual([202, 202]);
    expect((first.body as SubmittedBody).approvalId).not.toBe((second.body as SubmittedBody).approvalId);
  });

  it('makes two remediations with two keys, and without one', async () => {
    const own = server.tenant();
    await own.import([emailRow()]);
    for (const key of ['key-4', 'key-5']) expect((await submit(own, key)).status).toBe(202);
    await own.submit(request());
    await own.submit(request());
    expect(await own.history()).toHaveLength(4);
  });

  it.each([
    ['empty', ''],
    ['too long', 'k'.repeat(256)],
    ['two words', 'key one'],
    ['not ASCII', 'clé'],
  ])('is refused when it is %s', async (_what, key) => {
    const body = selecting({ emails: [emailRef(3)] });
    const headers = { 'idempotency-key': key };
    for (const path of ['/v1/remediations', `/v1/remediations/${done.approvalId}/undo`]) {
      const answer = await refused(() =>
        tenant.as('approver').post(path, path.endsWith('undo') ? {} : body, headers),
      );
      expectProblem(answer, 400, 'invalidInput', 'Idempotency-Key: must be 1 to 255');
    }
  });
});

describe('a listing', () => {
  const LISTINGS = ['/v1/emails', '/v1/remediations', 'log', 'events'] as const;
  const pathOf = (listing: string): string =>
    listing.startsWith('/') ? listing : `/v1/remediations/${done.approvalId}/${listing}`;
  const get = (listing: string, query: Query): Promise<Answer> =>
    refused(() => tenant.as('admin').get(pathOf(listing), query));

  describe.each(LISTINGS)('of %s', (listing) => {
    it.each(['0', '1001', '-1', '1.5', 'x', '', '1e9', 'NaN'])('refuses limit=%s', async (limit) => {
      expectProblem(await get(listing, { limit }), 400, 'invalidInput', 'limit: ');
    });

    it('refuses a limit that is given twice', async () => {
      const answer = await refused(() => tenant.as('admin').get(`${pathOf(listing)}?limit=1&limit=2`));
      expectProblem(answer, 400, 'invalidInput', 'limit: ');
    });

    it('refuses a filter that it does not know', async () => {
      expectProblem(await get(listing, { folder: 'Inbox' }), 400, 'invalidInput', 'folder: unknown field');
    });

    it.each(['x', '!!!', 'bnVsbA', 'W10', 'eyJhIjoxfQ', 'W3t9XQ', 'WyJhIiwxLDJd'])(
      'refuses the cursor %s',
      async (cursor) => {
        expectProblem(await get(listing, { cursor }), 400, 'cursorInvalid', 'cursor: ');
      },
    );

    it('refuses a cursor that is empty, or longer than any is', async () => {
      for (const cursor of ['', 'x'.repeat(2049)]) {
        expectProblem(await get(listing, { cursor }), 400, 'invalidInput', 'cursor: ');
      }
    });

    it.each<[string, readonly unknown[]]>([
      ['nothing', []],
      ['one text', ['x']],
      ['texts', ['x', 'y']],
      ['numbers', [0, 1]],
      ['a number and a text', [0, 'y']],
      ['too much', ['x', 'y', 'z', 1]],
      ['numbers out of range', [-7, 1e300]],
      ['a fraction', [0.5, '1.5']],
      ['a NUL', ['\0', '\0']],
    ])('refuses a forged cursor with %s in it', async (_what, after) => {
      const filters = { '/v1/emails': {}, '/v1/remediations': { sort: 'submittedAt', order: 'desc' } }[
        listing as string
      ] ?? { approvalId: done.approvalId };
      const digest = sha256(canonicalJson(filters)).slice(0, 16);
      const cursor = Buffer.from(JSON.stringify([digest, ...after])).toString('base64url');
      const answer = await get(listing, { cursor });
      // One that only points to a place between the items, or past them, is no harm.
      if (answer.status !== 200) expectProblem(answer, 400, 'cursorInvalid', 'cursor: ');
    });
  });

  it.each<[string, Query, string]>([
    ['/v1/emails', { direction: 'up' }, 'direction: must be one of'],
    ['/v1/emails', { location: 'attic' }, 'location: must be one of'],
    ['/v1/emails', { startTime: 'x' }, 'startTime: must be a date or a time in ISO 8601'],
    ['/v1/emails', { endTime: '2026-02-30' }, 'endTime: must be a date or a time in ISO 8601'],
    ['/v1/emails', { startTime: '2026-1-1' }, 'startTime'],
    ['/v1/emails', { networkMessageId: 'x' }, 'networkMessageId: must be a network message id'],
    ['/v1/emails', { sender: '' }, 'sender'],
    ['/v1/emails', { subject: 'a\0b' }, 'subject'],
    ['/v1/emails', { clusterId: '1'.repeat(41) }, 'clusterId'],
    ['/v1/remediations', { status: 'lost' }, 'status: must be one of'],
    ['/v1/remediations', { action: 'purge' }, 'action: must be one of'],
    ['/v1/remediations', { surface: 'x' }, 'surface: must be one of'],
    ['/v1/remediations', { sort: 'mood' }, 'sort: must be one of'],
    ['/v1/remediations', { order: 'sideways' }, 'order: must be one of'],
    ['/v1/remediations', { startTime: '2026-99-01' }, 'startTime'],
    ['/v1/remediations', { name: 'x'.repeat(201) }, 'name'],
    ['/v1/remediations', { name: '\0' }, 'name'],
    ['log', { outcome: 'lost' }, 'outcome: must be one of'],
    ['log', { isSendersCopy: 'maybe' }, 'isSendersCopy: must be true or false'],
    ['log', { isSendersCopy: '' }, 'isSendersCopy: must be true or false'],
    ['log', { mailbox: '\0' }, 'mailbox'],
    ['export', { outcome: 'lost' }, 'outcome: must be one of'],
    ['export', { isSendersCopy: '1' }, 'isSendersCopy: must be true or false'],
    ['export', { limit: '5' }, 'limit: unknown field'],
  ])('of %s refuses %j', async (listing, query, says) => {
    const answer = await get(listing, query);
    expectProblem(answer, 400, 'invalidInput', says);
    // A refused export is a problem and no file.
    expect(answer.headers.get('content-disposition')).toBeNull();
  });
});

describe('a path', () => {
  it.each<[string, string, number, string]>([
    ['GET', '/', 404, 'routeNotFound'],
    ['GET', '/v1', 404, 'routeNotFound'],
    ['GET', '/v2/remediations', 404, 'routeNotFound'],
    ['DELETE', '/v1/remediations', 404, 'routeNotFound'],
    ['PUT', '/v1/remediations/x', 404, 'routeNotFound'],
    ['GET', '/v1/remediations/%zz', 400, 'malformedUrl'],
    ['GET', '/v1/remediations/%ff', 400, 'malformedUrl'],
    ['GET', '/v1/remediations/no-id', 404, 'remediationNotFound'],
    ['GET', '/v1/remediations/%00', 404, 'remediationNotFound'],
    ['GET', '/v1/remediations/..%2f..%2fetc%2fpasswd', 404, 'remediationNotFound'],
    ['GET', "/v1/remediations/'%20OR%201=1--", 404, 'remediationNotFound'],
    ['GET', `/v1/remediations/${'x'.repeat(1000)}`, 404, 'remediationNotFound'],
    ['GET', '/v1/remediations/no-id/log', 404, 'remediationNotFound'],
    ['GET', '/v1/remediations/no-id/export', 404, 'remediationNotFound'],
    ['GET', '/v1/remediations/no-id/events', 404, 'remediationNotFound'],
    ['GET', '/v1/emails/x', 404, 'routeNotFound'],
    ['GET', '/v1/emails/x/y', 404, 'emailNotFound'],
    ['GET', '/v1/emails/%00/%00', 404, 'emailNotFound'],
    ['GET', `/v1/emails/${messageId(1)}/..%2f${messageId(2)}%2f${LEE}`, 404, 'emailNotFound'],
  ])('%s %s gives %s %s', async (method, path, status, code) => {
    expectProblem(await refused(() => tenant.as('admin').send({ method, path })), status, code);
  });

  it.each(['%00', 'x'.repeat(321)])('to a fault of no possible mailbox is refused (%#)', async (mailbox) => {
    const api = tenant.as('admin');
    const path = `/v1/sandbox/faults/${mailbox}`;
    const put = await refused(() => api.put(path, { kind: 'missingMailbox' }));
    for (const answer of [put, await refused(() => api.delete(path))]) {
      expectProblem(answer, 400, 'invalidInput', 'mailbox: ');
    }
  });

  it('that is endless gives a 4xx', async () => {
    for (const path of [`/v1/remediations/${'x'.repeat(5000)}`, `/v1/emails?subject=${'x'.repeat(5000)}`]) {
      const answer = await refused(() => tenant.as('admin').get(path));
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
      expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    }
  });

  it('keeps its query out of the problem', async () => {
    const answer = await tenant.as('admin').get('/v1/emails', { subject: 'secret', limit: 0 });
    expect(answer.text).not.toContain('secret');
  });
});

describe('an import', () => {
  const rows = [emailRow({ message: 50 }), emailRow({ message: 51 })];
  const send = (body: string | Uint8Array, headers = {}): Promise<Answer> =>
    refused(() => tenant.as('ingest').import(body, headers));
  const zipped = gzip(ndjson(rows));

  it.each<[string, Uint8Array]>([
    ['cut off', zipped.subarray(0, zipped.length - 4)],
    ['cut off in the middle', zipped.subarray(0, 60)],
    ['only a beginning', zipped.subarray(0, 2)],
    ['broken inside', zipped.map((byte, index) => (index === 40 ? byte ^ 0xff : byte))],
    ['of a wrong checksum', zipped.map((byte, index) => (index === zipped.length - 6 ? byte ^ 0xff : byte))],
    ['no gzip at all', new TextEncoder().encode(ndjson(rows))],
    ['empty', new Uint8Array()],
  ])('of gzip that is %s changes nothing', async (_what, body) => {
    const answer = await send(body, { 'content-encoding': 'gzip' });
    expectProblem(answer, 400, 'brokenGzip', 'gzip');
  });

  const large = ndjson(Array.from({ length: 400 }, (_, n) => emailRow({ message: 1000 + n })));
  it.each<[string, string | Uint8Array, Record<string, string>]>([
    ['plain', large, {}],
    ['compressed', gzip(large), { 'content-encoding': 'gzip' }],
    ['a gzip bomb', gzip('\n'.repeat(50_000_000)), { 'content-encoding': 'gzip' }],
  ])('over the limit is refused, naming it (%s)', async (_what, body, headers) => {
    const answer = await send(body, headers);
    expectProblem(answer, 413, 'bodyTooLarge', String(IMPORT_LIMIT));
    expect(answer.body).toMatchObject({ maxBytes: IMPORT_LIMIT });
  });

  it.each(['text/plain', 'text/csv', 'application/x-www-form-urlencoded', 'nonsense'])(
    'as %s is refused',
    async (type) => {
      expectProblem(await send(ndjson(rows), { 'content-type': type }), 415, 'unsupportedMediaType');
    },
  );

  it('as JSON is refused', async () => {
    const answer = await send(JSON.stringify(rows), { 'content-type': 'application/json' });
    expectProblem(answer, 415, 'ndjsonExpected', 'Content-Type: must be application/x-ndjson');
  });

  it('in another encoding is refused', async () => {
    for (const encoding of ['br', 'deflate', 'gzip, gzip', 'GZIP2']) {
      const answer = await send(ndjson(rows), { 'content-encoding': encoding });
      expectProblem(answer, 415, 'encodingUnsupported', 'Content-Encoding: must be gzip or absent');
    }
  });

  it.each<[string, string, string]>([
    ['nothing', '', 'holds no line'],
    ['blank lines', '\n \r\n\n', 'holds no line'],
    ['a line that is not JSON', 'Subject: hello\n', 'line 1: line: not JSON'],
    ['a JSON list', `\n${JSON.stringify(rows)}\n`, 'line 2: line: not a JSON object'],
    [
      'a row without its message',
      ndjson([{ ...rows[0], NetworkMessageId: '' }]),
      'line 1: NetworkMessageId: missing',
    ],
    [
      'a row of another table',
      ndjson([{ category: 'AdvancedHunting-UrlClickEvents', properties: {} }]),
      'line 1: category',
    ],
    ['a line without end', `{"Subject":"${'x'.repeat(90_000)}`, 'line 1: line: not JSON'],
  ])('of %s is refused as a whole', async (_what, body, says) => {
    const answer = await send(body);
    expectProblem(answer, 400, 'nothingImported', says);
    expect(answer.body).toMatchObject({ accepted: 0, unchanged: 0 });
  });

  it('with wrong lines among good ones takes the good, and names the others by line and reason', async () => {
    const own = server.tenant();
    const report = await own.import([
      emailRow({ message: 1 }),
      'not JSON at all',
      emailRow({ message: 2 }),
      '',
      { ...emailRow({ message: 3 }), EmailDirection: 'Sideways' },
      { ...emailRow({ message: 4 }), RecipientEmailAddress: 'nobody' },
      { ...emailRow({ message: 5 }), Subject: 'half\ud800' },
      { ...emailRow({ message: 6 }), DeliveryLocation: '' },
      emailRow({ message: 1 }),
    ]);
    expect(report).toEqual({
      accepted: 2,
      unchanged: 1,
      rejected: 5,
      rejections: [
        { line: 2, reason: 'line: not JSON' },
        { line: 5, reason: expect.stringMatching(/^EmailDirection: "Sideways" is not known/) },
        { line: 6, reason: 'RecipientEmailAddress: not an email address' },
        { line: 7, reason: 'Subject: has a lone surrogate' },
        { line: 8, reason: 'DeliveryLocation: missing' },
      ],
    });
    expect(await own.search()).toHaveLength(2);
    expect(own.folders()).toEqual({ [Folders.inbox]: 2, [Folders.sentItems]: 2 });
  });
});

describe('a token', () => {
  const claims = { tid: 'tenant-1', roles: ['admin'] };
  const jwt = (over: Record<string, unknown> = {}, alg = 'EdDSA'): SignJWT =>
    new SignJWT({ ...claims, ...over })
      .setProtectedHeader({ alg, typ: 'JWT' })
      .setIssuer('clawback-local')
      .setAudience('clawback')
      .setSubject('eve@evil.example')
      .setIssuedAt()
      .setExpirationTime('1h');
  const localKey = async () => (await loadOrCreateLocalKey(server.dataDirectory)).privateKey;

  const foreign = async (): Promise<string> => {
    const directory = await mkdtemp(join(tmpdir(), 'clawback-foreign-'));
    try {
      const key = await loadOrCreateLocalKey(directory);
      return await signLocalToken(key, { subject: 'eve', roles: ['admin'], tenant: tenant.name });
    } finally {
      await rm(directory, { recursive: true });
    }
  };
  const changed = async (): Promise<string> => {
    const [head, , signature] = (await jwt().sign(await localKey())).split('.');
    const payload = Buffer.from(JSON.stringify({ ...claims, tid: tenant.name, sub: 'eve', exp: 9e9 }));
    return [head, payload.toString('base64url'), signature].join('.');
  };

  it.each<[string, () => Promise<string | undefined>, string]>([
    ['that is missing', () => Promise.resolve(undefined), 'tokenMissing'],
    ['that is none', () => Promise.resolve('sesame'), 'tokenMalformed'],
    ['that looks like one', () => Promise.resolve('a.b.c'), 'tokenMalformed'],
    ['that is empty', () => Promise.resolve(''), 'tokenMalformed'],
    ['of a foreign key', foreign, 'tokenForeign'],
    ['that was changed', changed, 'tokenForeign'],
    [
      'without a signature',
      () =>
        Promise.resolve(
          new UnsecuredJWT(claims)
            .setIssuer('clawback-local')
            .setAudience('clawback')
            .setSubject('eve')
            .setExpirationTime('1h')
            .encode(),
        ),
      'tokenForeign',
    ],
    [
      'signed with a secret',
      () => jwt({}, 'HS256').sign(new TextEncoder().encode('0123456789abcdef0123456789abcdef')),
      'tokenForeign',
    ],
    [
      'signed with another algorithm',
      async () => jwt({}, 'ES256').sign((await generateKeyPair('ES256')).privateKey),
      'tokenForeign',
    ],
    [
      'that has expired',
      async () =>
        jwt()
          .setExpirationTime('-1m')
          .sign(await localKey()),
      'tokenExpired',
    ],
    [
      'of the future',
      async () =>
        jwt()
          .setNotBefore('1h')
          .sign(await localKey()),
      'tokenNotYetValid',
    ],
    [
      'of another issuer',
      async () =>
        jwt()
          .setIssuer('https://evil.example')
          .sign(await localKey()),
      'tokenForeign',
    ],
    [
      'for another audience',
      async () =>
        jwt()
          .setAudience('elsewhere')
          .sign(await localKey()),
      'tokenForeign',
    ],
    ['without a tenant', async () => jwt({ tid: undefined }).sign(await localKey()), 'tokenWithoutTenant'],
    ['without a role', async () => jwt({ roles: [] }).sign(await localKey()), 'tokenWithoutRoles'],
    [
      'of unknown roles',
      async () => jwt({ roles: ['root', '*'] }).sign(await localKey()),
      'tokenWithoutRoles',
    ],
  ])('%s opens nothing', async (_what, make, code) => {
    const token = await make();
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const api = server.api();
    for (const [method, path, body] of [
      ['GET', '/v1/remediations', undefined],
      ['GET', `/v1/remediations/${done.approvalId}`, undefined],
      ['POST', '/v1/remediations', selecting({ emails: [emailRef(3)] })],
      ['POST', `/v1/remediations/${done.approvalId}/undo`, {}],
    ] as const) {
      const answer = await refused(() => api.send({ method, path, headers, body }));
      expectProblem(answer, 401, code);
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
    }
    const imported = await refused(() => api.import(ndjson([emailRow({ message: 60 })]), headers));
    expectProblem(imported, 401, code);
  });

  it('is only taken as Bearer', async () => {
    const token = await jwt({ tid: tenant.name }).sign(await localKey());
    const get = (authorization: string): Promise<Answer> =>
      server.api().send({ method: 'GET', path: '/v1/remediations', headers: { authorization } });
    expect((await get(`bearer ${token}`)).status).toBe(200);
    for (const other of [`Basic ${token}`, token, `Token ${token}`]) {
      expectProblem(await get(other), 401, 'tokenMissing');
    }
  });

  it('of another tenant sees nothing of this one, and changes nothing', async () => {
    const stranger = server.tenant();
    const admin = stranger.as('admin');
    const self = `/v1/remediations/${done.approvalId}`;
    for (const path of [self, `${self}/log`, `${self}/export`, `${self}/events`]) {
      expectProblem(await refused(() => admin.get(path)), 404, 'remediationNotFound');
    }
    for (const [id, step, body] of [
      [done.approvalId, 'undo', {}],
      [proposal.approvalId, 'approve', { selectionHash: proposal.selectionHash }],
      [proposal.approvalId, 'reject', { reason: 'x' }],
    ] as const) {
      const answer = await refused(() => admin.post(`/v1/remediations/${id}/${step}`, body));
      expectProblem(answer, 404, 'remediationNotFound');
    }
    expectProblem(await refused(() => admin.get(`/v1/emails/${messageId(1)}/${LEE}`)), 404, 'emailNotFound');
    expect(await stranger.history()).toEqual([]);
    expect(await stranger.history({ approvalId: done.approvalId })).toEqual([]);
    expect(await stranger.search()).toEqual([]);
    expect(await stranger.search({ networkMessageId: messageId(1) })).toEqual([]);
    const chosen = await refused(() => admin.post('/v1/remediations', selecting({ emails: [emailRef(3)] })));
    expectProblem(chosen, 400, 'emailUnknown');
    const query = await refused(() => admin.post('/v1/remediations', request()));
    expectProblem(query, 400, 'selectionEmpty');
  });

  it('of a tenant whose name begins like another’s sees only its own', async () => {
    const token = await jwt({ tid: tenant.name.slice(0, -1) }).sign(await localKey());
    const answer = await server.api(token).get('/v1/emails');
    expect(answer).toMatchObject({ status: 200, body: { items: [] } });
  });
});

it('still does its work after all that', async () => {
  const ready = await until(
    () => server.api().get('/health/ready'),
    ({ status }) => status === 200,
  );
  expect(ready.body).toMatchObject({ status: 'ready' });
  const finished = await tenant.run(selecting({ emails: [emailRef(6)] }));
  expect(finished).toMatchObject({ status: 'completed', counts: { succeeded: 2 } });
});
