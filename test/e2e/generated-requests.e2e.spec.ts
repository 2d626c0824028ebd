import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { START, type Position } from '#libs/kernel';
import { hasBegun, isFinished, type Status } from '#libs/remediation';
import { SHAPES, requestsTo, wrongMembers, type Known, type Shape } from '../support/generated-requests.js';
import { expectRefusal, routesOf, type OpenApi, type Route } from '../support/open-api.js';
import {
  OUTCOMES,
  TestServer,
  allPages,
  bodyOf,
  emailRef,
  emailRow,
  messageId,
  request,
  until,
  type Answer,
  type Api,
  type EmailBody,
  type EntryBody,
  type RequestParts,
  type TestTenant,
} from '../support/server.js';
import { SEED } from '../support/seed.js';
import type { WebhookBody } from '../../apps/server/src/webhooks/webhooks.dto.js';

/** How many requests of each shape each route gets in one round. */
const EACH = 3;
const ROUNDS = 10;

const LEE = 'lee@fabrikam.example';
const KIM = 'kim@fabrikam.example';

interface Sent {
  readonly route: string;
  readonly shape: Shape;
  readonly parts: RequestParts;
  readonly answer: Answer;
}

let server: TestServer;
let tenant: TestTenant;
let admin: Api;
let document: OpenApi;
let messages = 0;
beforeAll(async () => {
  server = await TestServer.start({
    executor: { copyDeadlineMs: 300 },
    webhooks: { timeoutMs: 200, retryMs: 60_000 },
  });
  document = (await server.api().get('/openapi.json')).body as OpenApi;
  tenant = server.tenant();
  admin = tenant.as('admin');
});
afterAll(async () => {
  await server.dispose();
});

/** Everything of the tenant that a request could change and that does not change by itself. */
const state = async () => ({
  history: await tenant.history(),
  emails: await tenant.search(),
  folders: tenant.folders(),
  moves: tenant.moves(),
  faults: bodyOf(await admin.get('/v1/sandbox/faults'), 200),
  webhooks: (bodyOf(await admin.get('/v1/webhooks'), 200) as { items: WebhookBody[] }).items.map(
    ({ webhookId, url, types, description, status }) => ({ webhookId, url, types, description, status }),
  ),
});

/** What the next requests can be about: something finished, something failed, something to decide. */
async function prepared(): Promise<Known> {
  for (const { mailbox } of (
    bodyOf(await admin.get('/v1/sandbox/faults'), 200) as { items: { mailbox: string }[] }
  ).items) {
    await admin.delete(`/v1/sandbox/faults/${encodeURIComponent(mailbox)}`);
  }
  const webhooks = (bodyOf(await admin.get('/v1/webhooks'), 200) as { items: WebhookBody[] }).items;
  for (const { webhookId } of webhooks) await admin.delete(`/v1/webhooks/${webhookId}`);
  messages += 3;
  const fresh = [messages - 2, messages - 1, messages];
  await tenant.import(fresh.map((message) => emailRow({ message })));
  const one = (message: number) => request({ selection: { emails: [emailRef(message)] } });
  const done = await tenant.run(one(messages - 2));
  const proposals = [
    await tenant.submit(one(messages - 1), 'proposer'),
    await tenant.submit(
      request({ selection: { emails: fresh.map((message) => emailRef(message)) } }),
      'proposer',
    ),
  ];
  const { webhookId } = bodyOf(
    await admin.post('/v1/webhooks', { url: 'https://hooks.invalid/' }),
    201,
  ) as WebhookBody;
  const cursorOf = async (path: string): Promise<string[]> => {
    const { nextCursor } = bodyOf(await admin.get(path, { limit: 1 }), 200) as { nextCursor: string | null };
    return nextCursor === null ? [] : [nextCursor];
  };
  const goesOn = await tenant.run(
    request({ lateArrivalsHours: 1, selection: { query: { networkMessageId: messageId(messages) } } }),
  );
  await tenant.fault(LEE, { kind: 'error', code: 'ErrorAccessDenied', retryable: false });
  const failed = await tenant.run(one(messages - 1));
  await tenant.clearFault(LEE);
  const ids = [
    done.approvalId,
    failed.approvalId,
    goesOn.approvalId,
    ...proposals.map(({ approvalId }) => approvalId),
  ];
  const analyzed = fresh.map((message) => `${messageId(message)}-${Buffer.from(LEE).toString('base64url')}`);
  const batched = [
    '/security/collaboration/analyzedEmails',
    `/security/collaboration/analyzedEmails/${String(analyzed[0])}`,
    `/security/collaboration/remediations/${done.approvalId}`,
    '/v1/emails',
  ];
  return {
    approvalId: ids,
    selectionHash: proposals.map(({ selectionHash }) => selectionHash),
    networkMessageId: fresh.map(messageId),
    NetworkMessageId: fresh.map(messageId),
    recipient: [LEE],
    recipientEmailAddress: [LEE],
    RecipientEmailAddress: [LEE],
    sender: [KIM],
    mailbox: [LEE, KIM],
    approver: ['approver@ops.example'],
    internetMessageId: [`<${String(messages)}@fabrikam.example>`],
    clusterId: ['42'],
    view: ['history', 'emails', 'messageBatches', 'actionLog'],
    webhookId: [webhookId],
    analyzedEmailId: analyzed,
    id: [...analyzed, '1', '2'],
    url: ['https://hooks.invalid/', 'http://127.0.0.1:9/', ...batched],
    cursor: [...(await cursorOf('/v1/emails')), ...(await cursorOf('/v1/remediations'))],
    after: ['0', '12', '99999999999999999999'],
    fromPosition: ['1', '12'],
    fromTime: [new Date().toISOString()],
    code: ['ErrorServerBusy'],
    folder: ['Archive'],
    $filter: [`networkMessageId eq '${messageId(messages)}'`, `recipientEmailAddress eq '${LEE}'`],
    $top: ['1', '50'],
    $count: ['true', 'false'],
    startTime: ['2026-01-01', '2026-03-02T08:15:00Z'],
    endTime: ['2026-04-01', '2027-01-01T00:00:00Z'],
    startAt: [new Date(Date.now() + 3_600_000).toISOString()],
    remediateSendersCopy: ['true', 'false'],
    body: [
      ...fresh.map((message) => emailRow({ message })),
      { displayName: 'In a batch', action: 'moveToJunk', analyzedEmails: [emailRef(messages)] },
    ],
    results: fresh.map((message) => emailRow({ message })),
    headers: [{ 'Content-Type': 'application/json' }],
  };
}

/** Some requests of every shape to every route, in an order that has nothing to do with it. */
function requestsOf(round: number, known: Known): Omit<Sent, 'answer'>[] {
  const all = routesOf(document).flatMap((route, index) =>
    SHAPES.flatMap((shape, nth) => {
      const seed = SEED + round * 10_007 + index * 101 + nth;
      return fc
        .sample(requestsTo(document, route, shape, known), { numRuns: EACH, seed })
        .map((parts) => ({ route: route.route, shape, parts }));
    }),
  );
  const [shuffled = []] = fc.sample(fc.shuffledSubarray(all, { minLength: all.length }), {
    numRuns: 1,
    seed: SEED + round,
  });
  return shuffled;
}

const idsOfRefused = new Set<string>();
let read: Position = START;

/** Nothing that was recorded since the last look was caused by a request that was refused. */
async function expectNothingRecordedForRefused(): Promise<void> {
  for await (const { position, type, stream, metadata } of server.events.readAll(read)) {
    read = position;
    if (idsOfRefused.has(String(metadata.causationId))) {
      throw new Error(`${type} in ${stream} was recorded for the refused ${String(metadata.causationId)}`);
    }
  }
}

interface BatchAnswer {
  readonly responses: readonly {
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
  }[];
}

/** The request IDs under which an answer refuses something: its own, or those of requests of a batch. */
function refusedIn({ status, headers, body }: Answer, route: string): string[] {
  if (status >= 400) return [headers.get('x-request-id') ?? ''];
  if (route !== 'post /$batch') return [];
  return (body as BatchAnswer).responses
    .filter((inner) => inner.status >= 400)
    .map((inner) => inner.headers['request-id'] ?? '');
}

async function send({ route, shape, parts }: Omit<Sent, 'answer'>): Promise<Sent> {
  const answer = await admin.send(parts);
  if (answer.status >= 500) throw new Error(`a failure: ${answer.text}`);
  if (route === 'post /$batch' && answer.status === 200) {
    for (const { status } of (answer.body as BatchAnswer).responses) expect(status).toBeLessThan(500);
  }
  if (answer.status >= 400 && parts.method !== 'HEAD') {
    const { code, error } = answer.body as { code?: string; error?: { innerError: { code: string } } };
    const said = error?.innerError.code ?? code ?? '';
    // What is too long to be read belongs to no interface.
    const path = answer.status === 431 ? '/' : new URL(parts.path, server.url).pathname;
    expectRefusal(path, answer, answer.status, said);
  }
  for (const id of refusedIn(answer, route)) idsOfRefused.add(id);
  await expectNothingRecordedForRefused();
  return { route, shape, parts, answer };
}

async function sendAll(round: number): Promise<Sent[]> {
  const all: Sent[] = [];
  for (const one of requestsOf(round, await prepared())) {
    try {
      all.push(await send(one));
    } catch (error) {
      const told = JSON.stringify({
        ...one,
        parts: {
          ...one.parts,
          path: one.parts.path.slice(0, 500),
          body: String(one.parts.body).slice(0, 2000),
        },
      });
      throw new Error(`CLAWBACK_SEED=${String(SEED)}: ${told}`, { cause: error });
    }
  }
  return all;
}

/** Ends everything that runs, so that nothing changes by itself. */
async function settle(): Promise<void> {
  const underWay = async (): Promise<EntryBody[]> =>
    (await tenant.history()).filter(({ status }) => hasBegun(status as Status));
  for (const { approvalId } of await underWay()) {
    await admin.post(`/v1/remediations/${approvalId}/cancel`, { reason: 'the round is over' });
  }
  await until(underWay, (open) => open.length === 0);
}

/** Requests that were refused are sent again: the whole state is the same before and after. */
async function expectRefusalsChangeNothing(refused: readonly Sent[]): Promise<number> {
  await settle();
  let before = await state();
  let compared = 0;
  for (const one of refused) {
    const { answer } = await send(one);
    if (answer.status >= 400) {
      compared += 1;
      continue;
    }
    // What stood in its way has gone.
    await settle();
    before = await state();
  }
  expect(await state()).toEqual(before);
  return compared;
}

describe('requests made from the OpenAPI document', () => {
  const all: Sent[] = [];

  it.each(Array.from({ length: ROUNDS }, (_, round) => round + 1))(
    'round %i: each is answered, none by a failure, and nothing is recorded for one that is refused',
    async (round) => {
      const sent = await sendAll(round);
      all.push(...sent);
      const refused = sent.filter(({ answer }) => answer.status >= 400);
      const again = refused.filter((_, index) => index % 3 === round % 3);
      expect(await expectRefusalsChangeNothing(again)).toBeGreaterThan(20);
    },
  );

  it('are refused when any one member of a body is null, and never fail on a value of the wrong type', async () => {
    const known = await prepared();
    let nulls = 0;
    for (const route of routesOf(document)) {
      for (const { parts, name, value } of wrongMembers(document, route, known)) {
        const { answer } = await send({ route: route.route, shape: 'nearlyValid', parts });
        if (value !== null) continue;
        nulls += 1;
        const told = `${route.route}, null as ${name}: ${answer.text}`;
        expect({ status: answer.status, told }).toEqual({ status: 400, told });
      }
    }
    expect(nulls).toBeGreaterThan(20);
  });

  it('were thousands, of every shape, to every route, taken and refused', () => {
    expect(all.length).toBeGreaterThanOrEqual(3000);
    const routes = routesOf(document);
    for (const shape of SHAPES) {
      expect(new Set(all.filter((one) => one.shape === shape).map(({ route }) => route)).size).toBe(
        routes.length,
      );
    }
    const taken = all.filter(({ answer }) => answer.status < 400);
    const valid = (which: readonly Sent[]) => which.filter(({ shape }) => shape === 'valid').length;
    // Most of what is right is taken, or else this would be a test of the validation alone.
    expect(valid(taken) / valid(all)).toBeGreaterThan(0.5);
    expect(all.length - taken.length).toBeGreaterThan(all.length / 4);
    const never = routes.filter(({ route }) => !taken.some((one) => one.route === route));
    // Chance may miss one that is right in few ways or only once a round; more would mean that too little is right.
    expect(never.map(({ route }: Route) => route).slice(3)).toEqual([]);
  });

  it('leave a log that tells of every move, counts that add up, and a server that works', async () => {
    let moved = 0;
    for await (const { data } of server.events.readAll(START)) {
      if (typeof data === 'object' && data !== null && 'from' in data && 'to' in data) moved += 1;
    }
    expect(tenant.moves()).toBe(moved);
    for (const { counts, status } of await tenant.history()) {
      expect(OUTCOMES.reduce((sum, outcome) => sum + counts[outcome], 0)).toBe(counts.submitted);
      if (isFinished(status as Status)) expect(counts.pending).toBe(0);
    }
    const emails = (await allPages(tenant.as('viewer'), '/v1/emails', {})) as EmailBody[];
    expect(emails.length).toBeGreaterThanOrEqual(messages);
    expect((await server.api().get('/health/ready')).status).toBe(200);
  });
});
