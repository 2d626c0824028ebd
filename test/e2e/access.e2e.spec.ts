import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  ROLES,
  TestServer,
  bodyOf,
  emailRef,
  emailRow,
  messageId,
  ndjson,
  request,
  type Answer,
  type EntryBody,
  type Role,
  type SubmittedBody,
  type TestTenant,
} from '../support/server.js';
import { expectRefusal, routesOf, type OpenApi, type Route } from '../support/open-api.js';
import { rebuild } from '../support/rebuild.js';

import type { WebhookBody } from '../../apps/server/src/webhooks/webhooks.dto.js';

const LEE = 'lee@fabrikam.example';

let server: TestServer;
let document: OpenApi;
beforeAll(async () => {
  server = await TestServer.start({ executor: { copyDeadlineMs: 500 } });
  document = (await server.api().get('/openapi.json')).body as OpenApi;
  // So that there is a build to switch to, and one to discard.
  for (const view of ['emails', 'history']) await rebuild(server.tenant().as('admin'), view);
});
afterAll(async () => {
  await server.dispose();
});

/** What a request of the table is made of. */
interface Things {
  readonly tenant: TestTenant;
  readonly done: EntryBody;
  readonly proposal: SubmittedBody;
  /** Paused: whoever looks for 'nothing changed' must not find its attempts. */
  readonly webhook: WebhookBody;
  /** The copy of message 3 could not be moved. Only where a rule asks for it. */
  readonly failed?: EntryBody;
  /** Goes on with mail that arrives later. Only where a rule asks for it. */
  readonly goesOn?: EntryBody;
}

interface Rule {
  /** Who may; admins may everything. */
  readonly roles: readonly Role[] | 'public';
  /** What those get who may. */
  readonly status: number;
  /** A request that is right. The path defaults to the route's own. */
  readonly send?: (things: Things) => { readonly path?: string; readonly body?: unknown };
  /** It can be done once only. */
  readonly once?: true;
  /** What it needs besides. */
  readonly needs?: 'failed' | 'goesOn';
}

const READERS: readonly Role[] = ['viewer', 'proposer', 'approver', 'auditor'];
const byId =
  (step: string) =>
  ({ done }: Things) => ({ path: `/v1/remediations/${done.approvalId}${step}` });
const decided =
  (step: string, body: (proposal: SubmittedBody) => object) =>
  ({ proposal }: Things) => ({
    path: `/v1/remediations/${proposal.approvalId}/${step}`,
    body: body(proposal),
  });
const ofWebhook =
  (step: string, body?: object) =>
  ({ webhook }: Things) => ({
    path: `/v1/webhooks/${webhook.webhookId}${step}`,
    ...(body === undefined ? {} : { body }),
  });
const hunting = (step = '') => ({
  path: `/v1/remediations/from-hunting${step}?name=Hunt&severity=low&action=moveToJunk`,
  body: [emailRow({ message: 2 })],
});
const GRAPH = '/security/collaboration';
const anAnalyzedEmail = `${messageId(1)}-${Buffer.from(LEE).toString('base64url')}`;
const viaGraph = (name: string) => () => ({
  path: `${GRAPH}/analyzedEmails/${name}`,
  body: { displayName: 'Via Graph', action: 'moveToJunk', analyzedEmails: [emailRef(2)] },
});
const aFault = () => ({ path: `/v1/sandbox/faults/${LEE}` });

/** Every route, who may use it, and what they get. A route that is not here fails the suite. */
const TABLE: Readonly<Record<string, Rule>> = {
  'get /health/live': { roles: 'public', status: 200 },
  'get /health/ready': { roles: 'public', status: 200 },
  'get /metrics': { roles: 'public', status: 200 },
  'post /v1/emails/import': { roles: ['ingest'], status: 200, send: () => ({ body: ndjson([emailRow()]) }) },
  'get /v1/catalogue': { roles: ROLES.filter((role) => role !== 'admin'), status: 200 },
  'get /v1/emails': { roles: READERS, status: 200 },
  'get /v1/emails/{networkMessageId}/{recipient}': {
    roles: READERS,
    status: 200,
    send: () => ({ path: `/v1/emails/${messageId(1)}/${LEE}` }),
  },
  'get /v1/emails/{networkMessageId}/{recipient}/panel': {
    roles: READERS,
    status: 200,
    send: () => ({ path: `/v1/emails/${messageId(1)}/${LEE}/panel` }),
  },
  'post /v1/remediations/from-hunting': {
    roles: ['proposer', 'approver'],
    status: 202,
    send: () => hunting(),
  },
  'post /v1/remediations/from-hunting/preview': {
    roles: ['proposer', 'approver'],
    status: 200,
    send: () => hunting('/preview'),
  },
  'get /security/collaboration/analyzedEmails': { roles: READERS, status: 200 },
  'get /security/collaboration/analyzedEmails/{analyzedEmailId}': {
    roles: READERS,
    status: 200,
    send: () => ({ path: `${GRAPH}/analyzedEmails/${anAnalyzedEmail}` }),
  },
  'post /security/collaboration/analyzedEmails/remediate': {
    roles: ['proposer', 'approver'],
    status: 202,
    send: viaGraph('remediate'),
  },
  'post /security/collaboration/analyzedEmails/microsoft.graph.security.remediate': {
    roles: ['proposer', 'approver'],
    status: 202,
    send: viaGraph('microsoft.graph.security.remediate'),
  },
  'get /security/collaboration/remediations/{approvalId}': {
    roles: READERS,
    status: 200,
    send: ({ done }) => ({ path: `${GRAPH}/remediations/${done.approvalId}` }),
  },
  'post /$batch': {
    roles: READERS,
    status: 200,
    send: () => ({
      path: '/$batch',
      body: { requests: [{ id: '1', method: 'GET', url: `${GRAPH}/analyzedEmails` }] },
    }),
  },
  'post /v1/remediations/preview': {
    roles: ['proposer', 'approver'],
    status: 200,
    send: () => ({ body: request() }),
  },
  'post /v1/remediations': {
    roles: ['proposer', 'approver'],
    status: 202,
    send: () => ({ body: request({ selection: { emails: [emailRef(2)] } }) }),
  },
  'get /v1/remediations': { roles: READERS, status: 200 },
  'get /v1/remediations/live': { roles: READERS, status: 200 },
  'get /v1/remediations/{approvalId}/live': { roles: READERS, status: 200, send: byId('/live') },
  'get /v1/remediations/{approvalId}': { roles: READERS, status: 200, send: byId('') },
  'get /v1/remediations/{approvalId}/log': { roles: READERS, status: 200, send: byId('/log') },
  'get /v1/remediations/{approvalId}/export': { roles: READERS, status: 200, send: byId('/export') },
  'get /v1/remediations/{approvalId}/export/manifest': {
    roles: READERS,
    status: 200,
    send: byId('/export/manifest'),
  },
  'get /v1/remediations/{approvalId}/selection/export': {
    roles: READERS,
    status: 200,
    send: byId('/selection/export'),
  },
  'get /v1/remediations/{approvalId}/selection/export/manifest': {
    roles: READERS,
    status: 200,
    send: byId('/selection/export/manifest'),
  },
  'get /v1/remediations/export': { roles: READERS, status: 200 },
  'get /v1/remediations/export/manifest': { roles: READERS, status: 200 },
  'get /v1/emails/export': { roles: READERS, status: 200 },
  'get /v1/emails/export/manifest': { roles: READERS, status: 200 },
  'get /v1/dashboard': { roles: READERS, status: 200 },
  'get /v1/remediations/{approvalId}/events': {
    roles: ['auditor', 'approver'],
    status: 200,
    send: byId('/events'),
  },
  'post /v1/remediations/{approvalId}/approve': {
    roles: ['approver'],
    status: 202,
    once: true,
    send: decided('approve', ({ selectionHash }) => ({ selectionHash })),
  },
  'post /v1/remediations/{approvalId}/reject': {
    roles: ['approver'],
    status: 200,
    once: true,
    send: decided('reject', () => ({ reason: 'no' })),
  },
  'post /v1/remediations/{approvalId}/undo': {
    roles: ['approver'],
    status: 202,
    once: true,
    send: (things) => ({ ...byId('/undo')(things), body: {} }),
  },
  'post /v1/remediations/{approvalId}/cancel': {
    roles: ['proposer', 'approver'],
    status: 202,
    once: true,
    send: decided('cancel', () => ({ reason: 'no' })),
  },
  'post /v1/remediations/{approvalId}/retry': {
    roles: ['proposer', 'approver'],
    status: 202,
    needs: 'failed',
    send: ({ failed }) => ({ path: `/v1/remediations/${String(failed?.approvalId)}/retry`, body: {} }),
  },
  'post /v1/remediations/{approvalId}/late-arrivals/stop': {
    roles: ['approver'],
    status: 200,
    needs: 'goesOn',
    send: ({ goesOn }) => ({ path: `/v1/remediations/${String(goesOn?.approvalId)}/late-arrivals/stop` }),
  },
  'get /v1/views': { roles: [], status: 200 },
  'get /v1/views/{view}': { roles: [], status: 200, send: () => ({ path: '/v1/views/history' }) },
  'post /v1/views/{view}/rebuild': {
    roles: [],
    status: 202,
    send: () => ({ path: '/v1/views/messageBatches/rebuild', body: {} }),
  },
  'post /v1/views/{view}/switch': {
    roles: [],
    status: 202,
    send: () => ({ path: '/v1/views/emails/switch' }),
  },
  'post /v1/views/{view}/discard': {
    roles: [],
    status: 202,
    once: true,
    send: () => ({ path: '/v1/views/history/discard' }),
  },
  'post /v1/webhooks': {
    roles: [],
    status: 201,
    send: () => ({ body: { url: 'https://hooks.example/clawback' } }),
  },
  'get /v1/webhooks': { roles: [], status: 200 },
  'get /v1/webhooks/{webhookId}': { roles: [], status: 200, send: ofWebhook('') },
  'patch /v1/webhooks/{webhookId}': { roles: [], status: 200, send: ofWebhook('', { description: 'x' }) },
  'delete /v1/webhooks/{webhookId}': { roles: [], status: 204, once: true, send: ofWebhook('') },
  'post /v1/webhooks/{webhookId}/pause': { roles: [], status: 200, send: ofWebhook('/pause') },
  'post /v1/webhooks/{webhookId}/resume': { roles: [], status: 200, send: ofWebhook('/resume') },
  'post /v1/webhooks/{webhookId}/secret': { roles: [], status: 200, send: ofWebhook('/secret') },
  'post /v1/webhooks/{webhookId}/replay': {
    roles: [],
    status: 202,
    send: ofWebhook('/replay', { fromPosition: '1' }),
  },
  'post /v1/webhooks/{webhookId}/ping': { roles: [], status: 200, send: ofWebhook('/ping') },
  'get /v1/webhooks/{webhookId}/deliveries': { roles: [], status: 200, send: ofWebhook('/deliveries') },
  'get /v1/sandbox/faults': { roles: [], status: 200 },
  'put /v1/sandbox/faults/{mailbox}': {
    roles: [],
    status: 200,
    send: () => ({ ...aFault(), body: { kind: 'slow', delayMs: 1 } }),
  },
  'delete /v1/sandbox/faults/{mailbox}': { roles: [], status: 204, send: aFault },
};

const operations = (): Route[] => routesOf(document);

describe('the OpenAPI document', () => {
  it('describes exactly the routes of the table', () => {
    expect(
      operations()
        .map(({ route }) => route)
        .sort(),
    ).toEqual(Object.keys(TABLE).sort());
  });

  it('is one: a summary, a name of its own and an answer for every route, and no reference into nothing', () => {
    expect(document.openapi).toMatch(/^3\./);
    const all = operations();
    expect(new Set(all.map(({ operation }) => operation.operationId)).size).toBe(all.length);
    for (const { operation } of all) {
      expect(operation.summary).toMatch(/./);
      expect(Object.keys(operation.responses)).not.toEqual([]);
    }
    const references = JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g);
    for (const [, name = ''] of references) expect(document.components.schemas).toHaveProperty([name]);
  });

  it('says which routes need a token', () => {
    expect(document.components.securitySchemes).toMatchObject({
      bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
    });
    for (const { route, operation } of operations()) {
      const isPublic = TABLE[route]?.roles === 'public';
      expect([route, operation.security]).toEqual([route, isPublic ? undefined : [{ bearer: [] }]]);
    }
  });

  it('says in which status a right request is answered', () => {
    for (const { route, operation } of operations()) {
      expect([route, Object.keys(operation.responses)]).toEqual([
        route,
        expect.arrayContaining([String(TABLE[route]?.status)]),
      ]);
    }
  });

  it('has a page to read it, which needs no token', async () => {
    const page = await server.api().get('/docs');
    expect(page.status).toBe(200);
    expect(page.headers.get('content-type')).toMatch(/^text\/html/);
    expect(page.text).toContain('Clawback API');
  });
});

async function prepare(needs?: Rule['needs']): Promise<Things> {
  const tenant = server.tenant();
  await tenant.import([emailRow(), emailRow({ message: 2 })]);
  const done = await tenant.run(request({ selection: { emails: [emailRef(1)] } }));
  const proposal = await tenant.submit(request(), 'proposer');
  const admin = tenant.as('admin');
  const registered = bodyOf(await admin.post('/v1/webhooks', { url: 'https://hooks.example/' }), 201);
  const { webhookId } = registered as WebhookBody;
  const webhook = bodyOf(await admin.post(`/v1/webhooks/${webhookId}/pause`), 200) as WebhookBody;
  const things = { tenant, done, proposal, webhook };
  if (needs === 'failed') {
    await tenant.import([emailRow({ message: 3 })]);
    await tenant.fault(LEE, { kind: 'error', code: 'accessDenied', retryable: false });
    const failed = await tenant.run(request({ selection: { emails: [emailRef(3)] }, sendersCopy: false }));
    await tenant.clearFault(LEE);
    return { ...things, failed };
  }
  if (needs === 'goesOn') {
    const query = { networkMessageId: messageId(2) };
    const goesOn = await tenant.run(request({ selection: { query }, lateArrivalsHours: 1 }));
    return { ...things, goesOn };
  }
  return things;
}

describe.each(Object.entries(TABLE))('%s', (route, { roles, status, send, once, needs }) => {
  const [method = '', path = ''] = route.split(' ');
  let things: Things;
  beforeAll(async () => {
    things = await prepare(needs);
  });
  beforeEach(async () => {
    if (once) things = await prepare(needs);
  });

  const call = (api: ReturnType<TestTenant['as']>): Promise<Answer> => {
    const { path: own = path, body } = send?.(things) ?? {};
    const lines = typeof body === 'string' ? { 'content-type': 'application/x-ndjson' } : {};
    return api.send({ method: method.toUpperCase(), path: own, body, headers: lines });
  };

  if (roles === 'public') {
    it('is open to everyone', async () => {
      expect((await call(server.api())).status).toBe(status);
    });
    return;
  }

  it('is closed without a token', async () => {
    expectRefusal(path, await call(server.api()), 401, 'tokenMissing');
  });

  const allowed = ROLES.filter((role) => role === 'admin' || roles.includes(role));
  it.each(allowed)('is open to the role %s', async (role) => {
    const answer = await call(things.tenant.as(role));
    expect({ status: answer.status, text: answer.text }).toMatchObject({ status });
  });

  it('is closed to every other role, and to all of them together', async () => {
    const others = ROLES.filter((role) => !allowed.includes(role));
    // Those who were let in have started work, which goes on after its answer.
    const head = await server.quietHead();
    for (const role of others) {
      expectRefusal(path, await call(things.tenant.as(role)), 403, 'roleMissing', /^this needs the role /);
    }
    const [first, ...rest] = others;
    if (first !== undefined) {
      expectRefusal(path, await call(things.tenant.as(first, ...rest)), 403, 'roleMissing');
    }
    expect(await server.head()).toBe(head);
  });
});

describe('every answer', () => {
  it('has a request id, the caller’s own when it is plain, and is not stored', async () => {
    const api = server.tenant().as('admin');
    const get = (id: string): Promise<Answer> =>
      api.send({ method: 'GET', path: '/v1/emails', headers: { 'x-request-id': id } });
    expect((await get('call-7')).headers.get('x-request-id')).toBe('call-7');
    for (const odd of ['two words', 'x'.repeat(129)]) {
      expect((await get(odd)).headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    }
    for (const path of ['/v1/emails', '/v1/nothing', '/v1/remediations/%zz', '/health/live']) {
      const { headers } = await api.get(path);
      expect([path, headers.get('x-content-type-options'), headers.get('cache-control')]).toEqual([
        path,
        'nosniff',
        'no-store',
      ]);
    }
  });
});
