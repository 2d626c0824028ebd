import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  OUTCOMES,
  ROLES,
  TestServer,
  bodyOf,
  emailRef,
  emailRow,
  expectProblem,
  messageId,
  ndjson,
  request,
  type Answer,
  type EntryBody,
  type Query,
  type RequestParts,
  type Role,
  type SubmittedBody,
  type TestTenant,
} from '../support/server.js';
import { rebuild } from '../support/rebuild.js';

import type { WebhookBody } from '../../apps/server/src/webhooks/webhooks.dto.js';

type Method = 'get' | 'put' | 'post' | 'delete' | 'patch';

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly allOf?: readonly Schema[];
}

interface Operation {
  readonly operationId: string;
  readonly summary?: string;
  readonly security?: readonly object[];
  readonly parameters?: readonly { name: string; in: string; schema: Schema; required?: boolean }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, object>>;
}

interface OpenApi {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Partial<Record<Method, Operation>>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly securitySchemes: Readonly<Record<string, object>>;
  };
}

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
    send: () => ({ path: '/v1/views/copies/rebuild', body: {} }),
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

/** A refusal, in the shape of the interface that the route belongs to. */
function expectRefusal(path: string, answer: Answer, status: number, code: string, says?: RegExp): void {
  if (!/^\/(?:security\/|\$batch)/.test(path)) {
    expectProblem(answer, status, code, says);
    return;
  }
  expect({ status: answer.status, body: answer.body }).toMatchObject({
    status,
    body: {
      error: {
        code: expect.stringMatching(/./),
        message: expect.stringMatching(says ?? /./),
        innerError: { code, 'request-id': answer.headers.get('request-id') },
      },
    },
  });
}

const operations = (): { route: string; method: Method; path: string; operation: Operation }[] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      route: `${method} ${path}`,
      method: method as Method,
      path,
      operation,
    })),
  );

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

describe('random requests made from the document', () => {
  it('are each answered, and none by a failure of the server', async () => {
    const tenant = server.tenant();
    await tenant.import([1, 2, 3].map((message) => emailRow({ message })));
    const done = await tenant.run(request({ selection: { emails: [emailRef(1)] } }));
    const proposal = await tenant.submit(request({ selection: { emails: [emailRef(2)] } }), 'proposer');
    const api = tenant.as('admin');
    const known: Known = {
      approvalId: [done.approvalId, proposal.approvalId],
      selectionHash: [proposal.selectionHash],
      networkMessageId: [1, 2, 3].map(messageId),
      recipient: [LEE],
      sender: ['kim@fabrikam.example'],
      subject: ['invoice'],
      clusterId: ['42'],
      internetMessageId: ['<3@fabrikam.example>'],
      recipientEmailAddress: [LEE],
      mailbox: [LEE, 'kim@fabrikam.example'],
      after: ['0', '12', '99999999999999999999'],
      analyzedEmailId: [anAnalyzedEmail],
      url: [
        'https://hooks.example/',
        'http://127.0.0.1:9/',
        `${GRAPH}/analyzedEmails`,
        `${GRAPH}/remediations/x`,
        '/v1/emails',
      ],
      NetworkMessageId: [1, 2, 3].map(messageId),
      RecipientEmailAddress: [LEE],
      $filter: [`networkMessageId eq '${messageId(1)}'`, "recipientEmailAddress eq 'x'"],
      startTime: ['2026-01-01', '2026-03-02T08:15:00Z'],
      endTime: ['2026-04-01', '2027-03-02T08:15:00Z'],
    };

    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...operations()).chain((found) => requestOf(found, known)),
        async (made) => {
          const answer = await api.send(made);
          expect(answer.status).toBeLessThan(500);
          if (answer.status >= 400) {
            const { code, error } = answer.body as {
              code?: string;
              error?: { innerError: { code: string } };
            };
            expectRefusal(made.path, answer, answer.status, error?.innerError.code ?? code ?? '');
          }
        },
      ),
      { numRuns: 600, interruptAfterTimeLimit: 15_000, markInterruptAsFailure: false },
    );

    expect((await server.api().get('/health/ready')).status).toBe(200);
    for (const { counts } of await tenant.history()) {
      expect(OUTCOMES.reduce((sum, outcome) => sum + counts[outcome], 0)).toBe(counts.submitted);
    }
  });

  /** Values that a member of this name may well have. */
  type Known = Readonly<Record<string, readonly string[]>>;

  const odd = fc.oneof(
    fc.constantFrom<unknown>(
      null,
      '',
      ' ',
      '\0',
      'a\ud800',
      '../..',
      '%',
      "' OR 1=1 --",
      0,
      -1,
      1e300,
      true,
      [],
      {},
    ),
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.constant('x'.repeat(5000)),
    fc.object({ maxDepth: 2 }),
  );

  /** Mostly what the schema says, now and then something else. */
  const valueOf = (schema: Schema, known: Known, name = ''): fc.Arbitrary<unknown> => {
    const right = (): fc.Arbitrary<unknown> => {
      const { $ref, allOf } = schema;
      if ($ref !== undefined) {
        const named = document.components.schemas[$ref.slice($ref.lastIndexOf('/') + 1)] ?? {};
        return valueOf(named, known, name);
      }
      if (allOf?.[0] !== undefined) return valueOf(allOf[0], known, name);
      if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
      switch (schema.type) {
        case 'string':
          return fc.oneof(
            { weight: 5, arbitrary: fc.constantFrom(...(known[name] ?? ['a', 'Wave'])) },
            fc.string({ unit: 'grapheme', maxLength: 40 }),
          );
        case 'number':
        case 'integer':
          return fc.integer({ min: -2, max: 2000 });
        case 'boolean':
          return fc.boolean();
        case 'array':
          return fc.array(valueOf(schema.items ?? {}, known, name), { maxLength: 3 });
        case 'object': {
          const { properties = {}, required = [] } = schema;
          const optional = Object.keys(properties).filter((key) => !required.includes(key));
          // Few of them: filters all hold together, and some members exclude each other.
          return fc
            .subarray(optional, { maxLength: Math.min(2, optional.length) })
            .chain((chosen) =>
              fc.record(
                Object.fromEntries(
                  [...required, ...chosen].map((key) => [key, valueOf(properties[key] ?? {}, known, key)]),
                ),
              ),
            );
        }
        default:
          return odd;
      }
    };
    return fc.oneof({ weight: 12, arbitrary: fc.constant(null).chain(right) }, { weight: 1, arbitrary: odd });
  };

  /** As it would arrive anyway: half a character has no UTF-8. */
  const textOf = (value: unknown): string =>
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString();

  const requestOf = (
    { method, path, operation }: { method: Method; path: string; operation: Operation },
    known: Known,
  ): fc.Arbitrary<RequestParts> => {
    const parameters = operation.parameters ?? [];
    const of = (place: string): Readonly<Record<string, fc.Arbitrary<string>>> =>
      Object.fromEntries(
        parameters
          .filter((parameter) => parameter.in === place)
          .map(({ name, schema }) => [name, valueOf(schema, known, name).map(textOf)]),
      );
    const content = Object.entries(operation.requestBody?.content ?? {});
    const [type = 'application/json', { schema = {} } = {}] = content[0] ?? [];
    const json = valueOf(schema, known).map((value) => JSON.stringify(value));
    const lines = fc
      .array(fc.oneof(json, fc.constant(JSON.stringify(emailRow())), fc.string()), { maxLength: 4 })
      .map((all) => all.join('\n'));
    const body = type.endsWith('ndjson') ? lines : fc.oneof({ weight: 9, arbitrary: json }, fc.string());
    const types = fc.constantFrom('application/x-ndjson', 'text/plain', 'application/json; charset=utf-16');
    return fc
      .record({
        path: fc.record(of('path')),
        query: fc.record(of('query'), { requiredKeys: [] }),
        body: content.length === 0 ? fc.constant(undefined) : body,
        type: fc.oneof({ weight: 9, arbitrary: fc.constant(type) }, types),
        key: fc.oneof(
          { weight: 9, arbitrary: fc.constant(undefined) },
          fc.constantFrom('k1', 'k2', ' ', 'x'.repeat(300)),
        ),
      })
      .map((made) => ({
        method: method.toUpperCase(),
        path: path.replace(/\{(\w+)\}/g, (_all, name: string) => encodeURIComponent(made.path[name] ?? '')),
        query: made.query as Query,
        ...(made.body === undefined ? {} : { body: made.body }),
        headers: {
          ...(made.body === undefined ? {} : { 'content-type': made.type }),
          ...(made.key === undefined ? {} : { 'idempotency-key': made.key }),
        },
      }));
  };
});
