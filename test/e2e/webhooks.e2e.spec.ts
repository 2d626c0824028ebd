import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  TestServer,
  allPages,
  bodyOf,
  countsOf,
  emailRef,
  emailRow,
  expectProblem,
  request,
  until,
  type EventBody,
  type TestTenant,
} from '../support/server.js';
import { WebhookReceiver, verified, type Received } from '../support/webhook-receiver.js';
import { START } from '#libs/kernel';
import type {
  DeliveryBody,
  WebhookBody,
  WebhookWithSecretBody,
} from '../../apps/server/src/webhooks/webhooks.dto.js';

const SETTINGS = {
  webhooks: { networks: '127.0.0.0/8', retryMs: 5, longestRetryMs: 20, timeoutMs: 1500, perTenant: 3 },
};

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start(SETTINGS);
});
afterAll(() => server.dispose());

let receiver: WebhookReceiver;
beforeEach(async () => {
  receiver = await WebhookReceiver.start();
});
afterEach(() => receiver.stop());

const register = async (tenant: TestTenant, over: object = {}): Promise<WebhookWithSecretBody> =>
  bodyOf(
    await tenant.as('admin').post('/v1/webhooks', { url: receiver.url, ...over }),
    201,
  ) as WebhookWithSecretBody;

const look = async (tenant: TestTenant, id: string): Promise<WebhookBody> =>
  bodyOf(await tenant.as('admin').get(`/v1/webhooks/${id}`), 200) as WebhookBody;

const step = async (tenant: TestTenant, id: string, name: string, body?: object): Promise<unknown> =>
  bodyOf(await tenant.as('admin').post(`/v1/webhooks/${id}/${name}`, body), name === 'replay' ? 202 : 200);

const deliveries = async (tenant: TestTenant, id: string, query = {}): Promise<DeliveryBody[]> =>
  (await allPages(tenant.as('admin'), `/v1/webhooks/${id}/deliveries`, query)) as DeliveryBody[];

/** A tenant with so many emails. */
async function tenantWith(emails: number, on = server): Promise<TestTenant> {
  const tenant = on.tenant();
  await tenant.import(Array.from({ length: emails }, (_, index) => emailRow({ message: index + 1 })));
  return tenant;
}

const runOn = (tenant: TestTenant, message: number) =>
  tenant.run(request({ selection: { emails: [emailRef(message)] } }));

const LIFE = ['submitted', 'approved', 'queued', 'started', 'completed'];
const said = (received: readonly Received[]): string[] =>
  received.map(({ body }) => body.type.replace('remediation.', ''));
const positions = (received: readonly Received[]): unknown[] =>
  received.map(({ body }) => body.data.position);

describe('a webhook', () => {
  it('is sent what happens, in order, each message signed so that its receiver can verify it', async () => {
    const tenant = await tenantWith(2);
    const { secret, webhookId } = await register(tenant);
    const done = await runOn(tenant, 1);
    const taken = await receiver.untilTaken(5);
    expect(said(taken)).toEqual(LIFE);
    expect(new Set(taken.map(({ id }) => id)).size).toBe(5);
    for (const message of taken) {
      expect(message.contentType).toBe('application/json');
      expect(message.id).toMatch(/^msg_[0-9a-f-]{36}$/);
      expect(verified(secret, message)).toBe(true);
      expect(verified(secret, { ...message, text: `${message.text} ` })).toBe(false);
      expect(verified(secret, { ...message, timestamp: message.timestamp + 1 })).toBe(false);
      expect(message.body.data.approvalId).toBe(done.approvalId);
    }
    expect(taken[4]?.body.data.counts).toEqual(countsOf({ succeeded: 1 }, { succeeded: 1 }));

    const log = await until(
      () => deliveries(tenant, webhookId, { limit: 3 }),
      (all) => all.length === 5,
    );
    expect(log.map(({ position }) => position)).toEqual(positions(taken).reverse());
    for (const delivery of log) {
      expect(delivery).toMatchObject({ state: 'delivered', attempts: 1, approvalId: done.approvalId });
      expect(delivery.lastAttempts).toMatchObject([{ status: 200, error: null }]);
    }
    expect(await look(tenant, webhookId)).toMatchObject({
      status: 'active',
      failing: null,
      deliveredUpTo: taken[4]?.body.data.position,
    });
  });

  it('is sent only what it asked for, of its own tenant, and only what the history shows', async () => {
    const [tenant, other] = [await tenantWith(2), await tenantWith(1)];
    await register(tenant, { types: ['remediation.completed'] });
    const statuses: Promise<string>[] = [];
    receiver.behaviour = ({ body }) => {
      statuses.push(tenant.entry(String(body.data.approvalId)).then(({ status }) => status));
      return 204;
    };
    await runOn(other, 1);
    for (const message of [1, 2]) await runOn(tenant, message);
    expect(said(await receiver.untilTaken(2))).toEqual(['completed', 'completed']);
    expect(await Promise.all(statuses)).toEqual(['completed', 'completed']);
  });

  it('is sent progress when it asks for it', async () => {
    const tenant = await tenantWith(3);
    await register(tenant, { types: ['remediation.progress', 'remediation.completed'] });
    await tenant.fault('lee@fabrikam.example', { kind: 'slow', delayMs: 400 });
    await tenant.run(request());
    const taken = await until(
      () => Promise.resolve(receiver.taken),
      (all) => said(all).includes('completed'),
    );
    const [first] = taken;
    expect(first?.body.type).toBe('remediation.progress');
    expect(first?.body.data.counts).toMatchObject({ submitted: 6 });
  });

  it('gets every message in the end, in order, though its receiver fails, hangs and cuts connections', async () => {
    const tenant = await tenantWith(3);
    const { webhookId, secret } = await register(tenant);
    const failures = ['hang', 500, 'cut', { status: 503, headers: { 'retry-after': '0' } }, 302] as const;
    const seen = new Map<string, number>();
    receiver.behaviour = ({ id }) => {
      const times = seen.get(id) ?? 0;
      seen.set(id, times + 1);
      // Each message fails in a way of its own, some of them more than once.
      return times < seen.size % 3 ? (failures[(seen.size + times) % failures.length] ?? 500) : 202;
    };
    for (const message of [1, 2, 3]) await runOn(tenant, message);
    const taken = await receiver.untilTaken(15);
    expect(said(taken)).toEqual([...LIFE, ...LIFE, ...LIFE]);
    expect(positions(taken)).toEqual(positions(taken).map(String).sort());
    expect(receiver.requests.length).toBeGreaterThan(15);
    expect(receiver.requests.every((message) => verified(secret, message))).toBe(true);
    // A message is tried until it is taken, and the next one not before.
    const order = receiver.requests.map(({ id }) => id);
    expect(order).toEqual(taken.flatMap(({ id }) => order.filter((one) => one === id)));
    const tried = await until(
      () => deliveries(tenant, webhookId, { state: 'delivered' }),
      (all) => all.length === 15,
    );
    expect(tried.reduce((sum, { attempts }) => sum + attempts, 0)).toBe(receiver.requests.length);
    const errors = tried.flatMap(({ lastAttempts }) => lastAttempts.flatMap(({ error }) => error ?? []));
    expect(new Set(errors)).toEqual(
      new Set(['timeout', 'status500', 'ECONNRESET', 'status503', 'status302']),
    );
  });

  it('says in its log that it is failing, with the error and the next attempt', async () => {
    const tenant = await tenantWith(1);
    const { webhookId } = await register(tenant);
    receiver.behaviour = () => 500;
    await runOn(tenant, 1);
    const { failing } = await until(
      () => look(tenant, webhookId),
      (webhook) => (webhook.failing?.attempts ?? 0) >= 3,
    );
    expect(failing).toMatchObject({ error: 'status500', nextAttemptAt: expect.stringMatching(/^\d{4}-/) });
    const [delivery, ...others] = await deliveries(tenant, webhookId, { state: 'failing' });
    expect(others).toEqual([]);
    expect(delivery).toMatchObject({ type: 'remediation.submitted', position: failing?.position });
    expect(delivery?.lastAttempts[0]).toMatchObject({ status: 500, error: 'status500' });
    receiver.behaviour = () => 200;
    expect(said(await receiver.untilTaken(5))).toEqual(LIFE);
  });

  it('is paused by hand and goes on where it was', async () => {
    const tenant = await tenantWith(2);
    const { webhookId } = await register(tenant);
    await runOn(tenant, 1);
    await receiver.untilTaken(5);
    expect(await step(tenant, webhookId, 'pause')).toMatchObject({
      status: 'paused',
      pausedBecause: 'byHand',
    });
    await runOn(tenant, 2);
    expect(receiver.requests).toHaveLength(5);
    expect(await step(tenant, webhookId, 'resume')).toMatchObject({ status: 'active', pausedBecause: null });
    expect(said(await receiver.untilTaken(10))).toEqual([...LIFE, ...LIFE]);
  });

  it('is paused when its receiver says that it is gone, and nothing is skipped', async () => {
    const tenant = await tenantWith(1);
    const { webhookId } = await register(tenant);
    receiver.behaviour = () => 410;
    await runOn(tenant, 1);
    const paused = await until(
      () => look(tenant, webhookId),
      ({ status }) => status === 'paused',
    );
    expect(paused).toMatchObject({ pausedBecause: 'gone', failing: { nextAttemptAt: null } });
    expect(paused.pauseDetail).toMatch(/^remediation\.submitted at \d{20}: status410$/);
    expect((await deliveries(tenant, webhookId, { state: 'givenUp' })).map(({ type }) => type)).toEqual([
      'remediation.submitted',
    ]);
    receiver.behaviour = () => 200;
    await step(tenant, webhookId, 'resume');
    expect(said(await receiver.untilTaken(5))).toEqual(LIFE);
  });

  it('is changed: goes on at the new address with what the old one would not take', async () => {
    const tenant = await tenantWith(1);
    const { webhookId } = await register(tenant);
    receiver.behaviour = () => 404;
    await runOn(tenant, 1);
    await receiver.untilAsked(2);
    const second = await WebhookReceiver.start();
    try {
      const changed = bodyOf(
        await tenant.as('admin').send({
          method: 'PATCH',
          path: `/v1/webhooks/${webhookId}`,
          body: { url: second.url, description: 'moved' },
        }),
        200,
      );
      expect(changed).toMatchObject({ url: second.url, description: 'moved' });
      expect(said(await second.untilTaken(5))).toEqual(LIFE);
      expect(receiver.taken).toEqual([]);
    } finally {
      await second.stop();
    }
  });

  it('is removed, and sent nothing more', async () => {
    const tenant = await tenantWith(2);
    const { webhookId } = await register(tenant);
    await register(tenant, { types: ['remediation.completed'] });
    expect((await tenant.as('admin').delete(`/v1/webhooks/${webhookId}`)).status).toBe(204);
    expectProblem(await tenant.as('admin').get(`/v1/webhooks/${webhookId}`), 404, 'webhookNotFound');
    expectProblem(await tenant.as('admin').post(`/v1/webhooks/${webhookId}/resume`), 404, 'webhookNotFound');
    await runOn(tenant, 1);
    expect(said(await receiver.untilTaken(1))).toEqual(['completed']);
    expect((await allPages(tenant.as('admin'), '/v1/webhooks', {})).length).toBe(1);
  });

  it('replays from a position and from a time, under the ids that the messages had', async () => {
    const tenant = await tenantWith(2);
    const { webhookId } = await register(tenant);
    for (const message of [1, 2]) await runOn(tenant, message);
    const first = [...(await receiver.untilTaken(10))];
    const third = first[2];
    await step(tenant, webhookId, 'replay', { fromPosition: String(third?.body.data.position) });
    const replayed = (await receiver.untilTaken(18)).slice(10);
    expect(replayed.map(({ id, text }) => [id, text])).toEqual(
      first.slice(2).map(({ id, text }) => [id, text]),
    );

    const time = first[5]?.body.timestamp ?? '';
    const expected = first.filter(({ body }) => body.timestamp >= time);
    await step(tenant, webhookId, 'replay', { fromTime: time });
    const again = (await receiver.untilTaken(18 + expected.length)).slice(18);
    expect(again.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    // And goes on with what happens.
    await tenant.undo((await tenant.history())[0]?.approvalId ?? '');
    const more = await receiver.untilTaken(18 + expected.length + 1);
    expect(more[18 + expected.length]?.body.type).toBe('remediation.undone');
  });

  it('pings, once, and says what came of it', async () => {
    const tenant = server.tenant();
    const { webhookId, secret } = await register(tenant);
    expect(await step(tenant, webhookId, 'ping')).toMatchObject({
      delivered: true,
      status: 200,
      error: null,
    });
    const [ping] = receiver.requests;
    expect(ping?.body).toMatchObject({ type: 'webhook.ping', data: { webhookId } });
    expect(ping !== undefined && verified(secret, ping)).toBe(true);
    receiver.behaviour = () => 'hang';
    expect(await step(tenant, webhookId, 'ping')).toMatchObject({
      delivered: false,
      status: null,
      error: 'timeout',
    });
    expect(receiver.requests).toHaveLength(2);
    expect(await deliveries(tenant, webhookId)).toEqual([]);
  });
});

describe('the secret', () => {
  it('is shown once, is nowhere in the log, and is replaced by one beside which the old one still holds', async () => {
    const tenant = await tenantWith(1);
    const { webhookId, secret } = await register(tenant);
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(JSON.stringify(await look(tenant, webhookId))).not.toContain('whsec_');
    const rotated = (await step(tenant, webhookId, 'secret')) as WebhookWithSecretBody;
    expect(rotated.secretVersion).toBe(2);
    expect(rotated.secret).not.toBe(secret);
    await runOn(tenant, 1);
    for (const message of await receiver.untilTaken(5)) {
      expect([verified(secret, message), verified(rotated.secret, message)]).toEqual([true, true]);
      expect(message.signatures).toHaveLength(2);
    }
    await until(
      () => deliveries(tenant, webhookId),
      (all) => all.length === 5,
    );
    let seen = 0;
    for await (const event of server.events.readAll(START)) {
      if (event.metadata.correlationId !== webhookId) continue;
      seen += 1;
      const text = JSON.stringify({ data: event.data, metadata: event.metadata });
      for (const known of [secret, rotated.secret]) expect(text).not.toContain(known.slice(6));
    }
    expect(seen).toBeGreaterThanOrEqual(7);
  });
});

describe('where a webhook may go', () => {
  it.each([
    ['http://hooks.example/', 'must begin with https://'],
    ['ftp://hooks.example/', 'must begin with https://'],
    ['https://kim:secret@hooks.example/', 'must not hold credentials'],
    ['https://hooks.example/#part', 'must not have a fragment'],
    ['https://10.0.0.1/', 'must not be an address of a private network'],
    ['https://[fe80::1]/', 'must not be an address of a private network'],
    ['https://169.254.169.254/latest/meta-data', 'must not be an address of a private network'],
    ['https://2130706433.example:99999/', 'must be a web address'],
    ['hooks.example', 'must be a web address'],
  ])('not %s', async (url, problem) => {
    const admin = server.tenant().as('admin');
    expectProblem(await admin.post('/v1/webhooks', { url }), 400, 'invalidInput', `url: ${problem}`);
  });

  it('not to this machine unless that is configured, by address or by name', async () => {
    const strict = await TestServer.start({ webhooks: { ...SETTINGS.webhooks, networks: undefined } });
    try {
      const tenant = strict.tenant();
      expectProblem(
        await tenant.as('admin').post('/v1/webhooks', { url: receiver.url }),
        400,
        'invalidInput',
        'private network',
      );
      // What a name stands for is looked at whenever something is sent.
      const { webhookId } = await register(tenant, { url: `http://localhost:${receiver.port}/` });
      expect(await step(tenant, webhookId, 'ping')).toMatchObject({
        delivered: false,
        error: 'addressRefused',
      });
      expect(receiver.requests).toEqual([]);
    } finally {
      await strict.dispose();
    }
  });

  it('nowhere after too many have been registered, and nowhere that another tenant may see', async () => {
    const tenant = server.tenant();
    const [first] = [await register(tenant), await register(tenant), await register(tenant)];
    const admin = tenant.as('admin');
    expectProblem(
      await admin.post('/v1/webhooks', { url: receiver.url }),
      422,
      'webhooksOverLimit',
      'the limit is 3',
    );
    const foreign = server.tenant().as('admin');
    const path = `/v1/webhooks/${first.webhookId}`;
    expectProblem(await foreign.get(path), 404, 'webhookNotFound');
    expectProblem(await foreign.get(`${path}/deliveries`), 404, 'webhookNotFound');
    expectProblem(await foreign.delete(path), 404, 'webhookNotFound');
    for (const name of ['pause', 'resume', 'secret', 'ping']) {
      expectProblem(await foreign.post(`${path}/${name}`), 404, 'webhookNotFound');
    }
    expectProblem(await admin.post(`${path}/replay`, {}), 400, 'invalidInput', 'exactly one');
    expectProblem(
      await admin.post('/v1/webhooks', { url: receiver.url, types: ['remediation.imagined'] }),
      400,
      'invalidInput',
      'types',
    );
  });
});

describe('a restart of the server', () => {
  it('in the middle of everything loses nothing and keeps the order', async () => {
    const other = await TestServer.start(SETTINGS);
    try {
      const tenant = await tenantWith(4, other);
      const { webhookId, secret } = await register(tenant);
      await runOn(tenant, 1);
      await receiver.untilTaken(5);
      // One attempt hangs while the server goes down; it is not recorded, and made again.
      receiver.behaviour = () => 'hang';
      await runOn(tenant, 2);
      await receiver.untilAsked(6);
      await other.restart();
      receiver.behaviour = () => 500;
      await runOn(tenant, 3);
      await until(
        () => look(tenant, webhookId),
        ({ failing }) => failing !== null,
      );
      await other.restart();
      receiver.behaviour = () => 200;
      await runOn(tenant, 4);
      const taken = await receiver.untilTaken(20);
      expect(said(taken)).toEqual([...LIFE, ...LIFE, ...LIFE, ...LIFE]);
      expect(positions(taken)).toEqual([...new Set(positions(taken).map(String))].sort());
      expect(taken.every((message) => verified(secret, message))).toBe(true);
    } finally {
      await other.dispose();
    }
  });
});

it('what a receiver hears, the raw events confirm', async () => {
  const tenant = await tenantWith(1);
  await register(tenant);
  const { approvalId } = await runOn(tenant, 1);
  const taken = await receiver.untilTaken(5);
  const events: EventBody[] = await tenant.events(approvalId);
  const ofLife = events.filter(({ type }) => type.startsWith('Remediation'));
  expect(taken.map(({ body }) => [BigInt(String(body.data.position)), body.timestamp])).toEqual(
    ofLife.map(({ position, metadata }) => [BigInt(position), metadata.occurredAt]),
  );
});
