import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { GraphProgram, TlsFront, type GraphCall } from '../support/graph-client.js';
import {
  Folders,
  TestServer,
  emailRef,
  emailRow,
  gzip,
  messageId,
  until,
  type Answer,
  type Api,
  type TestTenant,
} from '../support/server.js';

const EMAILS = '/security/collaboration/analyzedEmails';
const LEE = 'lee@fabrikam.example';
const KIM = 'kim@fabrikam.example';

interface AnalyzedEmail {
  readonly id: string;
  readonly networkMessageId: string;
  readonly recipientEmailAddress: string;
  readonly latestDelivery: { readonly action: string; readonly location: string };
}

interface EmailPage {
  readonly '@odata.context': string;
  readonly '@odata.count'?: number;
  readonly '@odata.nextLink'?: string;
  readonly value: readonly AnalyzedEmail[];
}

interface Status {
  readonly '@odata.context': string;
  readonly id: string;
  readonly action: string;
  readonly status: string;
  readonly remediateSendersCopy: boolean;
  readonly counts: { readonly submitted: number; readonly succeeded: number };
}

interface GraphError {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly innerError: Readonly<Record<string, unknown>>;
  };
}

let front: TlsFront;
let server: TestServer;
beforeAll(async () => {
  front = await TlsFront.start();
  server = await TestServer.start({ http: { publicUrl: front.url, bodyLimitBytes: 20_000 } });
  front.leadTo(server.url);
});
afterAll(async () => {
  await front.close();
  await server.dispose();
});

const tokenFor = (
  tenant: TestTenant,
  ...roles: Parameters<TestServer['token']>[0]['roles']
): Promise<string> => server.token({ roles, subject: 'an-app', tenant: tenant.name, ttlSeconds: 3600 });

const app = (tenant: TestTenant, ...roles: Parameters<TestServer['token']>[0]['roles']): Api =>
  server.api(tokenFor(tenant, ...roles));

const READ = 'SecurityAnalyzedMessage.Read.All';
const WRITE = 'SecurityAnalyzedMessage.ReadWrite.All';

const remediation = (over: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  displayName: 'Clean up',
  severity: 'medium',
  action: 'softDelete',
  analyzedEmails: [emailRef(1)],
  ...over,
});

/** The path of a link that the server gave, as its client sends it. */
const pathIn = (link: string | null | undefined): string => {
  const url = new URL(link ?? '');
  return `${url.pathname}${url.search}`;
};

const finished = async (api: Api, location: string | null): Promise<Status> =>
  until(
    async () => (await api.get(pathIn(location))).body as Status,
    ({ status }) => status === 'completed' || status === 'failed',
  );

/** Asserts that the answer is a refusal in Graph's shape, with our own code inside. */
function expectGraphError(answer: Answer, status: number, code: string, own: string, says = /./): void {
  const { error } = answer.body as GraphError;
  expect({ status: answer.status, error }).toEqual({
    status,
    error: expect.objectContaining({
      code,
      message: expect.stringMatching(says),
      innerError: expect.objectContaining({
        code: own,
        date: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        'request-id': answer.headers.get('request-id'),
        'client-request-id': answer.headers.get('client-request-id'),
      }),
    }),
  });
  expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
}

describe('the official client, given nothing but a base URL and a token', () => {
  let tenant: TestTenant;
  let program: GraphProgram;
  const from = (n: number): string => `2026-03-0${String(n)}T08:15:00.000Z`;
  beforeAll(async () => {
    tenant = server.tenant();
    await tenant.import([
      ...[1, 2, 3, 4, 5].map((message) => emailRow({ message, time: from(message) })),
      emailRow({ message: 5, to: "o'hara@fabrikam.example", time: from(5) }),
    ]);
    program = GraphProgram.start(front, await tokenFor(tenant, WRITE));
  });
  afterAll(async () => {
    await program.stop();
  });
  const list = async (call: Omit<GraphCall, 'kind' | 'path'>): Promise<EmailPage> =>
    (await program.call({ kind: 'get', path: EMAILS, ...call })) as EmailPage;
  const messagesOf = ({ value }: EmailPage): string[] => value.map((email) => email.networkMessageId);

  it('lists emails, newest first, and counts them', async () => {
    const page = await list({ count: true, top: 2 });
    expect(page['@odata.context']).toBe(`${front.url}/v1.0/$metadata#security/collaboration/analyzedEmails`);
    expect(page['@odata.count']).toBe(6);
    expect(page.value).toHaveLength(2);
    expect(page['@odata.nextLink']).toMatch(
      `${front.url}/v1.0${EMAILS}?$top=2&$count=true&$skiptoken=`.slice(0, 60),
    );
    expect(await list({})).not.toHaveProperty(['@odata.nextLink']);
  });

  it('filters by time, message and recipient', async () => {
    expect(messagesOf(await list({ query: { startTime: '2026-03-02', endTime: '2026-03-04' } }))).toEqual([
      messageId(3),
      messageId(2),
    ]);
    expect(messagesOf(await list({ filter: `networkMessageId eq '${messageId(5)}'` }))).toHaveLength(2);
    const both = `networkMessageId eq '${messageId(5)}' and recipientEmailAddress eq 'o''hara@fabrikam.example'`;
    expect((await list({ filter: both })).value).toMatchObject([
      { networkMessageId: messageId(5), recipientEmailAddress: "o'hara@fabrikam.example" },
    ]);
  });

  it('goes from page to page, and gets one email', async () => {
    const all = (await program.call({
      kind: 'pages',
      path: EMAILS,
      top: 1,
      filter: `recipientEmailAddress eq '${LEE}'`,
    })) as AnalyzedEmail[];
    expect(all.map((email) => email.networkMessageId)).toEqual([5, 4, 3, 2, 1].map(messageId));
    const [first] = all;
    expect(await program.call({ kind: 'get', path: `${EMAILS}/${first?.id ?? ''}` })).toMatchObject({
      ...first,
      '@odata.context': `${front.url}/v1.0/$metadata#security/collaboration/analyzedEmails/$entity`,
      senderDetail: { fromAddress: KIM, displayName: 'Kim', domainName: 'fabrikam.example' },
      directionality: 'intraOrg',
      originalDelivery: { action: 'delivered', location: 'inbox_folder' },
      timelineEvents: [{ eventType: 'originalDelivery', eventSource: 'system' }],
    });
  });

  it('remediates, gets 202 without a body, and finds out how it went where Location points', async () => {
    const body = remediation({ remediateSendersCopy: true, analyzedEmails: [emailRef(4)] });
    const answer = (await program.call({ kind: 'raw', path: `${EMAILS}/remediate`, body })) as {
      status: number;
      headers: Record<string, string>;
      text: string;
    };
    expect(answer).toMatchObject({ status: 202, text: '' });
    expect(answer.headers).not.toHaveProperty('content-type');
    const { location = '' } = answer.headers;
    expect(location).toMatch(`${front.url}/v1.0/security/collaboration/remediations/`);
    const done = await until(
      async () => (await program.call({ kind: 'get', path: location })) as Status,
      ({ status }) => status === 'completed',
    );
    expect(done).toMatchObject({ action: 'softDelete', counts: { submitted: 2, succeeded: 2 } });
    const copy = { networkMessageId: messageId(4), mailbox: LEE, isSendersCopy: false };
    expect(tenant.folderOf(copy)).toBe(Folders.recoverableDeletions);
    expect(tenant.folderOf({ ...copy, mailbox: KIM, isSendersCopy: true })).toBe(
      Folders.recoverableDeletions,
    );
  });

  it('uses the qualified name of the action, and the version beta', async () => {
    const beta = GraphProgram.start(front, await tokenFor(tenant, WRITE), 'beta');
    const path = `${EMAILS}/microsoft.graph.security.remediate`;
    const body = remediation({ action: 'moveToJunk', analyzedEmails: [emailRef(3)] });
    const { status, headers } = (await beta.call({ kind: 'raw', path, body })) as {
      status: number;
      headers: Record<string, string>;
    };
    await beta.stop();
    expect(status).toBe(202);
    expect(headers.location).toMatch(`${front.url}/beta/security/collaboration/remediations/`);
    await finished(app(tenant, READ), headers.location ?? '');
  });

  it('understands what is refused', async () => {
    const failure = await program.failure({ kind: 'get', path: EMAILS, filter: "subject eq 'x'" });
    expect(failure).toMatchObject({ statusCode: 400, code: 'invalidQueryOption' });
    expect(failure.message).toContain('supported are networkMessageId eq');
    expect(failure.requestId).toMatch(/^[\da-f-]{36}$/);
    expect(JSON.parse(failure.body)).toMatchObject({
      innerError: { 'client-request-id': expect.stringMatching(/^[\da-f-]{36}$/) },
    });
    expect(await program.failure({ kind: 'get', path: `${EMAILS}/nothing` })).toMatchObject({
      statusCode: 404,
      code: 'itemNotFound',
    });
    const outsider = GraphProgram.start(front, 'no.token.here');
    expect(await outsider.failure({ kind: 'get', path: EMAILS })).toMatchObject({
      statusCode: 401,
      code: 'unauthenticated',
    });
    await outsider.stop();
  });

  it('sends a batch', async () => {
    const path = `${EMAILS}?$top=1`;
    const answer = await program.call({
      kind: 'post',
      path: '/$batch',
      body: {
        requests: [
          { id: '1', method: 'GET', url: path },
          { id: '2', method: 'GET', url: `${EMAILS}/nothing`, dependsOn: ['1'] },
          { id: '3', method: 'GET', url: path, dependsOn: ['2'] },
        ],
      },
    });
    expect(answer).toMatchObject({
      responses: [
        { id: '1', status: 200, body: { value: [{ networkMessageId: messageId(5) }] } },
        { id: '2', status: 404, body: { error: { code: 'itemNotFound' } } },
        { id: '3', status: 424, body: { error: { code: 'failedDependency' } } },
      ],
    });
  });
});

describe('remediate', () => {
  const HANNAH = 'hannah.jarvis@contoso.com';
  const PRESTON = 'preston.morales@contoso.com';
  const MESSAGE = '73ca4154-58d8-43d0-a890-08dc18c52e6d';

  it("takes the example of Microsoft's page as it is printed, and does what it says", async () => {
    const tenant = server.tenant();
    const row = { ...emailRow({ from: 'adele.vance@contoso.com' }), NetworkMessageId: MESSAGE };
    await tenant.import([HANNAH, PRESTON].map((to) => ({ ...row, RecipientEmailAddress: to })));
    // learn.microsoft.com/graph/api/security-analyzedemail-remediate
    const printed = `{
      "displayName": "Clean up Phish email",
      "description": "Delete email",
      "severity": "medium",
      "action": "softDelete",
      "remediateSendersCopy": "false",
      "analyzedEmails": [
        {
          "networkMessageId": "73ca4154-58d8-43d0-a890-08dc18c52e6d",
          "recipientEmailAddress": "hannah.jarvis@contoso.com"
        },
        {
          "networkMessageId": "73ca4154-58d8-43d0-a890-08dc18c52e6d",
          "recipientEmailAddress": "preston.morales@contoso.com"
        }
      ]
    }`;
    const api = app(tenant, WRITE);
    const answer = await api.post(`/v1.0${EMAILS}/remediate`, printed, {
      'content-type': 'application/json',
    });
    expect([answer.status, answer.text]).toEqual([202, '']);
    const done = await finished(api, answer.headers.get('location'));
    expect(done).toMatchObject({
      displayName: 'Clean up Phish email',
      description: 'Delete email',
      severity: 'medium',
      action: 'softDelete',
      remediateSendersCopy: false,
      status: 'completed',
      createdBy: 'an-app',
      emailCount: 2,
      counts: { submitted: 2, succeeded: 2, sendersCopies: { submitted: 0 } },
    });
    for (const mailbox of [HANNAH, PRESTON]) {
      const copy = { networkMessageId: MESSAGE, mailbox, isSendersCopy: false };
      expect(tenant.folderOf(copy)).toBe(Folders.recoverableDeletions);
    }
    const [entry] = await tenant.history();
    expect(entry).toMatchObject({ approvalId: done.id, surface: 'graphApi', submittedBy: 'an-app' });
  });

  it.each<[string, unknown, boolean]>([
    ['true', true, true],
    ['the text "true"', 'true', true],
    ['false', false, false],
    ['nothing', undefined, false],
    ['null', null, false],
  ])('takes %s for remediateSendersCopy', async (_what, given, sendersCopy) => {
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    const api = app(tenant, WRITE);
    const answer = await api.post(`${EMAILS}/remediate`, remediation({ remediateSendersCopy: given }));
    expect(answer.status).toBe(202);
    const { remediateSendersCopy, counts } = await finished(api, answer.headers.get('location'));
    expect([remediateSendersCopy, counts.submitted]).toEqual([sendersCopy, sendersCopy ? 2 : 1]);
  });

  it('takes an email as the list gave it, and by its id alone; what a generated client adds does not matter', async () => {
    const tenant = server.tenant();
    await tenant.import([1, 2].map((message) => emailRow({ message })));
    const api = app(tenant, WRITE);
    const { value } = (await api.get(EMAILS)).body as EmailPage;
    const [first, second] = value;
    const answer = await api.post(`${EMAILS}/remediate`, {
      '@odata.type': '#x',
      ...remediation({ analyzedEmails: [{ '@odata.type': '#y', ...first }, { id: second?.id }] }),
    });
    expect(answer.status).toBe(202);
    expect(await finished(api, answer.headers.get('location'))).toMatchObject({ counts: { succeeded: 2 } });
  });

  it('gives the same remediation for the same Idempotency-Key; a client-request-id is for correlation only', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow(), emailRow({ message: 2 })]);
    const api = app(tenant, WRITE);
    const post = (headers: Record<string, string>, over = {}): Promise<Answer> =>
      api.post(`${EMAILS}/remediate`, remediation(over), { 'client-request-id': 'mine', ...headers });
    const key = { 'idempotency-key': 'k' };
    const [first, again, other] = [await post(key), await post(key), await post({})];
    expect(first.headers.get('client-request-id')).toBe('mine');
    expect(again.headers.get('location')).toBe(first.headers.get('location'));
    expect(other.headers.get('location')).not.toBe(first.headers.get('location'));
    expectGraphError(
      await post(key, { displayName: 'Other' }),
      409,
      'nameAlreadyExists',
      'idempotencyKeyReused',
    );
  });

  it('waits for an approver when a proposer has sent it, and answers no differently', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    const proposer = tenant.as('proposer');
    const answer = await proposer.post(`${EMAILS}/remediate`, remediation());
    expect([answer.status, answer.text]).toEqual([202, '']);
    expect((await proposer.get(pathIn(answer.headers.get('location')))).body).toMatchObject({
      status: 'pending',
      decidedBy: null,
    });
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['an unknown action', { action: 'vaporise' }, /^action: must be one of moveToJunk, moveToInbox/],
    ['the sentinel', { action: 'unknownFutureValue' }, /^action: must be one of/],
    ['an unknown severity', { severity: 'urgent' }, /^severity: must be one of low, medium, high/],
    ['no name', { displayName: undefined }, /^displayName: must be a text/],
    ['a flag that is none', { remediateSendersCopy: 'yes' }, /^remediateSendersCopy: must be true or false/],
    ['an unknown member', { approverUpn: 'a@b.example' }, /^approverUpn: unknown field/],
    ['no emails', { analyzedEmails: [] }, /^analyzedEmails: must name at least one/],
    [
      'an email that nothing names',
      { analyzedEmails: [{}] },
      /^analyzedEmails\[0\]: needs networkMessageId and/,
    ],
    [
      'a message id that is none',
      { analyzedEmails: [{ ...emailRef(1), networkMessageId: 'x' }] },
      /must be a GUID/,
    ],
    ['an id that is none', { analyzedEmails: [{ id: 'x' }] }, /^analyzedEmails\[0\]: id is none/],
    [
      'an unknown email',
      { analyzedEmails: [emailRef(9)] },
      /^analyzedEmails\[0\]: is not an email of the catalogue/,
    ],
    [
      'an email twice',
      { analyzedEmails: [emailRef(1), emailRef(1)] },
      /^analyzedEmails\[1\]: is the same as/,
    ],
    [
      "the sender's copy where there is no such option",
      { action: 'moveToJunk', remediateSendersCopy: true },
      /^remediateSendersCopy: is not possible with the action moveToJunk/,
    ],
  ])('refuses %s, and nothing has changed', async (_what, over, says) => {
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    const before = await tenant.state();
    const answer = await app(tenant, WRITE).post(`${EMAILS}/remediate`, remediation(over));
    expect(answer.status).toBe(400);
    expect((answer.body as GraphError).error).toMatchObject({
      code: 'invalidRequest',
      message: expect.stringMatching(says),
    });
    expect(await tenant.state()).toEqual(before);
  });

  it('names the number and the limit of too many emails', async () => {
    const tenant = server.tenant();
    const analyzedEmails = Array.from({ length: 101 }, (_, n) => emailRef(n + 1));
    const answer = await app(tenant, WRITE).post(`${EMAILS}/remediate`, remediation({ analyzedEmails }));
    expectGraphError(
      answer,
      422,
      'totalAffectedItemCountExceeded',
      'selectionOverLimit',
      /101 .*limit is 100/,
    );
    expect((answer.body as GraphError).error.innerError).toMatchObject({ actual: 101, limit: 100 });
  });
});

describe('enum members beyond the sentinel', () => {
  it('are shown to those who ask for them, and are taken from everybody', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    const api = app(tenant, WRITE);
    const asking = { prefer: 'respond-async, include-unknown-enum-members' };
    const get = (path: string, headers = {}): Promise<Answer> => api.send({ method: 'GET', path, headers });
    const run = async (action: string): Promise<string> => {
      const answer = await api.post(`${EMAILS}/remediate`, remediation({ action }));
      const location = answer.headers.get('location');
      await finished(api, location);
      return pathIn(location);
    };
    const quarantine = await run('moveToQuarantine');
    expect((await get(quarantine)).body).toMatchObject({ action: 'unknownFutureValue' });
    const shown = await get(quarantine, asking);
    expect(shown.body).toMatchObject({ action: 'moveToQuarantine' });
    expect(shown.headers.get('preference-applied')).toBe('include-unknown-enum-members');

    const locationOf = async (headers = {}): Promise<string | undefined> =>
      ((await get(EMAILS, headers)).body as EmailPage).value[0]?.latestDelivery.location;
    expect(await locationOf()).toBe('quarantine');
    await run('softDelete');
    expect([await locationOf(), await locationOf(asking)]).toEqual(['unknownFutureValue', 'softDeleted']);
  });
});

describe('application roles', () => {
  let tenant: TestTenant;
  beforeAll(async () => {
    tenant = server.tenant();
    await tenant.import([emailRow()]);
  });
  const post = (api: Api, over = {}): Promise<Answer> => api.post(`${EMAILS}/remediate`, remediation(over));

  it('to read do not allow to remediate', async () => {
    const reader = app(tenant, READ);
    expect((await reader.get(EMAILS)).status).toBe(200);
    expectGraphError(await post(reader), 403, 'accessDenied', 'roleMissing', /^this needs the role/);
  });

  it('count on these routes only', async () => {
    for (const role of [READ, WRITE] as const) {
      const api = app(tenant, role);
      for (const path of ['/v1/emails', '/v1/remediations', '/v1/catalogue']) {
        expect([path, (await api.get(path)).status]).toEqual([path, 403]);
      }
    }
  });

  it('do not include the role that a hard delete needs', async () => {
    const hardDelete = { action: 'hardDelete' };
    expectGraphError(
      await post(app(tenant, WRITE), hardDelete),
      403,
      'accessDenied',
      'roleMissing',
      /purger/,
    );
    expect((await post(app(tenant, WRITE, 'purger'), hardDelete)).status).toBe(202);
  });

  it('see their own tenant only', async () => {
    const answer = await post(app(tenant, WRITE));
    const stranger = app(server.tenant(), WRITE);
    expectGraphError(
      await stranger.get(pathIn(answer.headers.get('location'))),
      404,
      'itemNotFound',
      'remediationNotFound',
    );
    expect(((await stranger.get(EMAILS)).body as EmailPage).value).toEqual([]);
  });
});

describe('every error', () => {
  it.each<[string, string, string, string, unknown, Record<string, string>, number, string, string]>([
    ['no token', 'GET', EMAILS, 'none', undefined, {}, 401, 'unauthenticated', 'tokenMissing'],
    ['no route', 'GET', '/v1.0/users', 'app', undefined, {}, 404, 'itemNotFound', 'routeNotFound'],
    [
      'no such method',
      'DELETE',
      `/beta${EMAILS}`,
      'app',
      undefined,
      {},
      405,
      'notAllowed',
      'methodNotAllowed',
    ],
    [
      'no such method of a batch',
      'GET',
      '/$batch',
      'app',
      undefined,
      {},
      405,
      'notAllowed',
      'methodNotAllowed',
    ],
    ['a malformed path', 'GET', `${EMAILS}/%zz`, 'app', undefined, {}, 400, 'invalidRequest', 'malformedUrl'],
    ['broken JSON', 'POST', `${EMAILS}/remediate`, 'app', '{', {}, 400, 'invalidRequest', 'malformedJson'],
    ['a list as body', 'POST', `${EMAILS}/remediate`, 'app', '[]', {}, 400, 'invalidRequest', 'invalidInput'],
    ['no body', 'POST', `${EMAILS}/remediate`, 'app', undefined, {}, 400, 'invalidRequest', 'invalidInput'],
    [
      'another type',
      'POST',
      `${EMAILS}/remediate`,
      'app',
      'x',
      { 'content-type': 'text/csv' },
      415,
      'notSupported',
      'unsupportedMediaType',
    ],
    [
      'too large a body',
      'POST',
      `${EMAILS}/remediate`,
      'app',
      JSON.stringify({ x: 'x'.repeat(30_000) }),
      {},
      413,
      'quotaLimitReached',
      'bodyTooLarge',
    ],
    [
      'an unknown option',
      'GET',
      `${EMAILS}?$orderby=x`,
      'app',
      undefined,
      {},
      400,
      'invalidRequest',
      'invalidInput',
    ],
    [
      'too long a page',
      'GET',
      `${EMAILS}?$top=1001`,
      'app',
      undefined,
      {},
      400,
      'invalidQueryOption',
      'invalidInput',
    ],
    [
      'a wrong time',
      'GET',
      `${EMAILS}?startTime=x`,
      'app',
      undefined,
      {},
      400,
      'invalidQueryOption',
      'invalidInput',
    ],
    [
      'a made-up token',
      'GET',
      `${EMAILS}?$skiptoken=x`,
      'app',
      undefined,
      {},
      400,
      'invalidQueryOption',
      'cursorInvalid',
    ],
  ])('has the shape of Graph: %s', async (_what, method, path, who, body, headers, status, code, own) => {
    const api = who === 'none' ? server.api() : app(server.tenant(), WRITE);
    const sent = { 'content-type': 'application/json', 'client-request-id': 'c-1', ...headers };
    const answer = await api.send({
      method,
      path,
      ...(body === undefined ? {} : { body }),
      headers: body === undefined ? { 'client-request-id': 'c-1' } : sent,
    });
    expectGraphError(answer, status, code, own);
    expect(answer.headers.get('client-request-id')).toBe('c-1');
    if (status === 405) expect(answer.headers.get('allow')).toMatch(/GET|POST/);
    if (status === 401) expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
  });

  it('of other routes stays as it is, and no other route is reached with a version', async () => {
    const api = app(server.tenant(), WRITE);
    expect((await api.get('/v1/nothing')).headers.get('content-type')).toMatch(/problem/);
    expectGraphError(await api.get('/v1.0/v1/emails'), 404, 'itemNotFound', 'routeNotFound');
    expectGraphError(await api.get('/v1.0/metrics'), 404, 'itemNotFound', 'routeNotFound');
  });

  it('and every other answer has ids to ask about it by; odd ones are not repeated', async () => {
    const api = app(server.tenant(), READ);
    const get = (id: string): Promise<Answer> =>
      api.send({ method: 'GET', path: EMAILS, headers: { 'client-request-id': id } });
    expect((await get('c-2')).headers.get('client-request-id')).toBe('c-2');
    const { headers } = await get('x'.repeat(200));
    expect(headers.get('client-request-id')).toBe(headers.get('request-id'));
  });
});

describe('a page', () => {
  it('says itself where the next one is, under the address that the client has used', async () => {
    const own = await TestServer.start();
    try {
      const tenant = own.tenant();
      await tenant.import([1, 2, 3].map((message) => emailRow({ message })));
      const api = tenant.as('viewer');
      const first = (await api.get(`/beta${EMAILS}`, { $top: 2 })).body as EmailPage;
      const link = first['@odata.nextLink'] ?? '';
      expect(link.startsWith(`${own.url}/beta${EMAILS}?$top=2&$skiptoken=`)).toBe(true);
      const last = (await api.get(pathIn(link))).body as EmailPage;
      expect(last).not.toHaveProperty(['@odata.nextLink']);
      expect(last).not.toHaveProperty(['@odata.count']);
      expect([...first.value, ...last.value].map((email) => email.networkMessageId)).toEqual(
        [3, 2, 1].map(messageId),
      );
    } finally {
      await own.dispose();
    }
  });
});

describe('$batch', () => {
  let tenant: TestTenant;
  let api: Api;
  beforeAll(async () => {
    tenant = server.tenant();
    await tenant.import([1, 2].map((message) => emailRow({ message })));
    api = app(tenant, WRITE);
  });
  interface Batch {
    readonly responses: readonly {
      readonly id: string;
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body?: { readonly error?: { readonly code: string; readonly message: string } };
    }[];
  }
  const send = async (requests: readonly object[], caller = api): Promise<Batch['responses']> => {
    const answer = await caller.post('/v1.0/$batch', { requests });
    expect(answer.status).toBe(200);
    return (answer.body as Batch).responses;
  };
  const JSON_TYPE = { 'Content-Type': 'application/json' };

  it('remediates and follows, in the order that is asked for', async () => {
    const [post, list] = await send([
      {
        id: 'do',
        method: 'POST',
        url: `${EMAILS}/remediate`,
        headers: { ...JSON_TYPE, 'idempotency-key': 'b-1' },
        body: remediation(),
      },
      { id: 'see', method: 'get', url: EMAILS.slice(1), dependsOn: ['DO'] },
    ]);
    expect(post).toMatchObject({ id: 'do', status: 202 });
    expect(post).not.toHaveProperty('body');
    expect(list).toMatchObject({ id: 'see', status: 200 });
    await finished(api, post?.headers.location ?? '');
  });

  it('answers each request by itself', async () => {
    const answers = await send([
      { id: '1', method: 'GET', url: 'https://graph.microsoft.com/v1.0/users' },
      { id: '2', method: 'GET', url: '//elsewhere.example/x' },
      { id: '3', method: 'GET', url: '/v1/emails' },
      { id: '4', method: 'GET', url: '/security/collaboration/../../v1/emails' },
      { id: '5', method: 'POST', url: '/$batch', headers: JSON_TYPE, body: { requests: [] } },
      { id: '6', method: 'POST', url: `${EMAILS}/remediate`, body: remediation() },
      { id: '7', method: 'DELETE', url: EMAILS },
      { id: '8', method: 'GET', url: `${EMAILS}?$top=0` },
      { id: '9', method: 'GET', url: EMAILS },
    ]);
    expect(answers.map(({ id, status }) => `${id}:${String(status)}`)).toEqual([
      ...['1:400', '2:400', '3:404', '4:404', '5:400', '6:400', '7:405', '8:400', '9:200'],
    ]);
    for (const { status, body } of answers) if (status >= 400) expect(body?.error?.message).toMatch(/./);
  });

  it('is of the caller who sent it: no request in it has another token', async () => {
    const stolen = await tokenFor(tenant, WRITE);
    const [answer] = await send(
      [
        {
          id: '1',
          method: 'POST',
          url: `${EMAILS}/remediate`,
          headers: { ...JSON_TYPE, Authorization: `Bearer ${stolen}` },
          body: remediation(),
        },
      ],
      app(tenant, READ),
    );
    expect(answer?.status).toBe(403);
  });

  it('is refused as a whole when it makes no sense, and then none of it is done', async () => {
    const before = await tenant.state();
    const request = {
      id: '1',
      method: 'POST',
      url: `${EMAILS}/remediate`,
      headers: JSON_TYPE,
      body: remediation(),
    };
    for (const requests of [
      [request, request],
      [{ ...request, dependsOn: ['2'] }],
      Array.from({ length: 21 }, (_, n) => ({ ...request, id: String(n) })),
    ]) {
      expectGraphError(await api.post('/$batch', { requests }), 400, 'invalidRequest', 'batchInvalid');
    }
    expect(await tenant.state()).toEqual(before);
  });
});

it('does not mind a body that is compressed where none is expected', async () => {
  const answer = await app(server.tenant(), WRITE).post(`${EMAILS}/remediate`, gzip('{}'), {
    'content-type': 'application/json',
    'content-encoding': 'gzip',
  });
  expect((answer.body as GraphError).error.code).toBe('invalidRequest');
});
