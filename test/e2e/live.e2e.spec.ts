import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { idFrom } from '#libs/kernel';
import { ExpireRemediation, ExpireRemediationHandler } from '#libs/remediation';
import { EventStream, type ServerSentEvent } from '../support/event-stream.js';
import {
  TestServer,
  bodyOf,
  countsOf,
  emailRef,
  emailRow,
  expectProblem,
  request,
  until,
  type Role,
  type TestTenant,
} from '../support/server.js';
import { TestClock } from '../support/test-clock.js';

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start({ limits: { liveStreams: 3 } });
});
afterAll(() => server.dispose());

/** Streams that a test has opened. */
let opened: EventStream[] = [];
afterEach(async () => {
  await Promise.all(opened.map((stream) => stream.close()));
  opened = [];
});

async function listen(
  tenant: TestTenant,
  { approvalId, after, role = 'viewer' }: { approvalId?: string; after?: string; role?: Role } = {},
): Promise<EventStream> {
  const path = approvalId === undefined ? '/v1/remediations/live' : `/v1/remediations/${approvalId}/live`;
  const response = await tenant
    .as(role)
    .open(path, after === undefined ? {} : { headers: { 'last-event-id': after } });
  if (response.status !== 200) throw new Error(await response.text());
  const stream = new EventStream(response);
  opened.push(stream);
  return stream.opened();
}

const mail = (count: number): object[] =>
  Array.from({ length: count }, (_, index) => emailRow({ message: index + 1 }));

const LIFE = ['submitted', 'approved', 'queued', 'started', 'completed'];

const isLast = ({ event }: ServerSentEvent): boolean =>
  ['completed', 'failed', 'cancelled', 'rejected', 'expired'].includes(event.replace('remediation.', ''));

const names = (events: readonly ServerSentEvent[]): string[] =>
  events.map(({ event }) => event.replace('remediation.', ''));

const withoutProgress = (events: readonly ServerSentEvent[]): ServerSentEvent[] =>
  events.filter(({ event }) => event !== 'remediation.progress');

/** Lets a proposal's time be over: decides as the server does, by a clock that has gone on a year. */
async function expire({ name: tenant }: TestTenant, approvalId: string): Promise<void> {
  const clock = new TestClock(new Date(Date.now() + 365 * 24 * 3_600_000).toISOString());
  const context = { tenant, actor: 'clawback', causationId: idFrom('expire', approvalId), now: clock.now() };
  const handler = new ExpireRemediationHandler(server.events, clock);
  await handler.execute(new ExpireRemediation(approvalId, context));
}

/** Ids grow from event to event: nothing comes twice, and nothing out of order. */
function expectInOrder(events: readonly ServerSentEvent[]): void {
  const ids = events.map(({ id }) => id);
  expect(ids).toEqual([...new Set(ids)].sort());
  expect(events.map(({ data }) => data.position)).toEqual(ids);
}

describe('the history, live', () => {
  it('tells the life of a remediation in order, each event with the counts that belong to it', async () => {
    const tenant = server.tenant();
    await tenant.import(mail(3));
    const stream = await listen(tenant);
    const { response } = stream;
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-store');

    const { approvalId } = await tenant.submit(request());
    const events = await stream.until(isLast);
    expect(names(withoutProgress(events))).toEqual(LIFE);
    expectInOrder(events);
    for (const { event, data } of events) expect(data).toMatchObject({ type: event, approvalId });
    expect(events[0]?.data).toMatchObject({
      name: 'Payroll phish',
      action: 'softDelete',
      by: 'approver@ops.example',
      counts: countsOf({ pending: 3 }, { pending: 3 }),
    });
    expect(events.at(-1)?.data.counts).toEqual(countsOf({ succeeded: 3 }, { succeeded: 3 }));
  });

  it('tells of a proposal, its rejection and the reason, and of an undo', async () => {
    const tenant = server.tenant();
    await tenant.import(mail(1));
    const stream = await listen(tenant);
    const proposed = await tenant.submit(request(), 'proposer');
    bodyOf(
      await tenant
        .as('approver')
        .post(`/v1/remediations/${proposed.approvalId}/reject`, { reason: 'no harm' }),
      200,
    );
    expect((await stream.until(isLast)).map(({ event, data }) => [event, data.by, data.reason])).toEqual([
      ['remediation.submitted', 'proposer@ops.example', undefined],
      ['remediation.rejected', 'approver@ops.example', 'no harm'],
    ]);

    const done = await tenant.run(request());
    await stream.until(isLast);
    const undo = await tenant.undo(done.approvalId);
    const undone = await stream.until(isLast);
    expect(undone[0]).toMatchObject({
      event: 'remediation.undone',
      data: { approvalId: done.approvalId, undoneBy: undo.approvalId },
    });
    expect(undone[1]).toMatchObject({
      event: 'remediation.submitted',
      data: { approvalId: undo.approvalId, undoOf: done.approvalId },
    });
  });

  it('tells only what the history shows already', async () => {
    const tenant = server.tenant();
    await tenant.import(mail(1));
    const stream = await listen(tenant);
    const submitted = tenant.submit(request());
    const last = (await stream.until(isLast)).at(-1);
    const entry = await tenant.entry((await submitted).approvalId);
    expect(entry.status).toBe('completed');
    expect(entry.counts).toEqual(last?.data.counts);
  });

  it('resumes after any event without a gap and without telling anything twice', async () => {
    const tenant = server.tenant();
    await tenant.import(mail(2));
    const stream = await listen(tenant);
    const from = stream.lastEventId;
    for (const message of [1, 2]) await tenant.run(request({ selection: { emails: [emailRef(message)] } }));
    const first = await stream.until(isLast);
    const all = withoutProgress([...first, ...(await stream.until(isLast))]);
    expect(all).toHaveLength(10);
    await stream.close();

    for (const [index, { id }] of all.slice(0, -1).entries()) {
      const resumed = await listen(tenant, { after: id });
      const rest = await resumed.until((event) => event.id === all.at(-1)?.id);
      expect(withoutProgress(rest)).toEqual(all.slice(index + 1));
      expectInOrder(rest);
      await resumed.close();
    }
    const byQuery = new EventStream(
      await tenant.as('viewer').open(`/v1/remediations/live?after=${from === '' ? '0' : from}`, {}),
    );
    opened.push(byQuery);
    expect((await byQuery.next())?.id).toBe(all[0]?.id);
  });

  it('resumes across a restart of the server, which ends the streams in order', async () => {
    const other = await TestServer.start();
    try {
      const tenant = other.tenant();
      await tenant.import(mail(2));
      const stream = await listen(tenant);
      await tenant.run(request({ selection: { emails: [emailRef(1)] } }));
      const before = await stream.until(isLast);
      const rest = stream.all();
      await other.restart();
      // The end of the stream, and not of the connection.
      expect(await rest).toEqual([]);
      const done = await tenant.run(request({ selection: { emails: [emailRef(2)] } }));
      const resumed = await listen(tenant, { after: before.at(-1)?.id ?? '' });
      const after = await resumed.until(isLast);
      expect(names(withoutProgress(after))).toEqual(LIFE);
      expect(new Set(after.map(({ data }) => data.approvalId))).toEqual(new Set([done.approvalId]));
      await resumed.close();
    } finally {
      await other.dispose();
    }
  });

  it('tells a tenant nothing of another', async () => {
    const [one, two] = [server.tenant(), server.tenant()];
    const stream = await listen(one);
    for (const tenant of [two, one]) {
      await tenant.import(mail(1));
      await tenant.run(request());
    }
    const mine = await one.history();
    const events = await stream.until(isLast);
    expect(new Set(events.map(({ data }) => data.approvalId))).toEqual(
      new Set(mine.map(({ approvalId }) => approvalId)),
    );
    const past = await listen(one, { after: '0' });
    expect(names(withoutProgress(await past.until(isLast)))).toEqual(LIFE);
  });

  it('refuses a place that is none', async () => {
    const tenant = server.tenant();
    const at = (id: string) =>
      tenant
        .as('viewer')
        .send({ method: 'GET', path: '/v1/remediations/live', headers: { 'last-event-id': id } });
    expectProblem(await at('yesterday'), 400, 'invalidInput', 'Last-Event-ID: must be the id of an event');
    expectProblem(await at('99999999999999999999'), 400, 'positionUnknown', 'Last-Event-ID: lies after');
    expectProblem(
      await tenant.as('viewer').get('/v1/remediations/live', { after: '-1' }),
      400,
      'invalidInput',
      'after',
    );
  });

  it('refuses one stream too many, says so, and gives the place free again', async () => {
    const tenant = server.tenant();
    const streams = [await listen(tenant), await listen(tenant), await listen(tenant)];
    const answer = await tenant.as('viewer').get('/v1/remediations/live');
    expectProblem(answer, 429, 'tooManyStreams', '3 event streams are open, the limit is 3');
    expect(answer.headers.get('retry-after')).toBe('5');
    // Another tenant's are counted apart.
    await listen(server.tenant());
    await streams[0]?.close();
    await until(
      () => tenant.as('viewer').open('/v1/remediations/live', {}),
      (response) => {
        opened.push(new EventStream(response));
        return response.status === 200;
      },
    );
  });
});

describe('one remediation, live', () => {
  it('begins with a snapshot, tells of its copies, and ends when it has finished', async () => {
    const tenant = server.tenant();
    await tenant.import(mail(2));
    await tenant.fault('lee@fabrikam.example', { kind: 'slow', delayMs: 300 });
    const { approvalId } = await tenant.submit(request(), 'proposer');
    const { selectionHash } = await tenant.entry(approvalId);
    const stream = await listen(tenant, { approvalId });
    bodyOf(
      await tenant.as('approver').post(`/v1/remediations/${approvalId}/approve`, { selectionHash }),
      202,
    );
    const events = await stream.all();
    expect(events[0]).toMatchObject({
      event: 'remediation.snapshot',
      data: { status: 'pending', counts: countsOf({ pending: 2 }, { pending: 2 }) },
    });
    expect(names(withoutProgress(events))).toEqual(['snapshot', ...LIFE.slice(1)]);
    expectInOrder(events.slice(1));
    for (const { data } of events) {
      const { submitted, ...counts } = (data.counts ?? countsOf({})) as Record<string, number>;
      const outcomes = Object.entries(counts).filter(([name]) => !name.endsWith('Copies'));
      expect(outcomes.reduce((sum, [, count]) => sum + count, 0)).toBe(submitted);
    }
  });

  it('of one that has finished, tells the end; and tells nothing to who knows it', async () => {
    const tenant = server.tenant();
    await tenant.import(mail(1));
    const { approvalId } = await tenant.run(request());
    const stream = await listen(tenant, { approvalId });
    expect(await stream.all()).toMatchObject([
      { event: 'remediation.snapshot', data: { status: 'completed' } },
    ]);
    const again = await tenant.as('viewer').send({
      method: 'GET',
      path: `/v1/remediations/${approvalId}/live`,
      headers: { 'last-event-id': stream.lastEventId },
    });
    expect([again.status, again.text]).toEqual([204, '']);
    // Who fell off on the way hears the rest.
    const submitted = (await tenant.events(approvalId))[0];
    const rest = await listen(tenant, { approvalId, after: submitted?.position ?? '' });
    expect(names(withoutProgress(await rest.all()))).toEqual(LIFE.slice(1));
  });

  it('tells nothing of its neighbours', async () => {
    const tenant = server.tenant();
    await tenant.import(mail(2));
    const mine = await tenant.submit(request({ selection: { emails: [emailRef(1)] } }), 'proposer');
    const stream = await listen(tenant, { approvalId: mine.approvalId });
    await tenant.run(request({ selection: { emails: [emailRef(2)] } }));
    bodyOf(
      await tenant
        .as('approver')
        .post(`/v1/remediations/${mine.approvalId}/reject`, { reason: 'the other was enough' }),
      200,
    );
    expect(names(await stream.all())).toEqual(['snapshot', 'rejected']);
  });

  it.each<
    [
      end: string,
      told: [name: string, facts: object][],
      bring: (tenant: TestTenant, id: string) => Promise<void>,
    ]
  >([
    [
      'cancelled',
      [
        ['cancelRequested', { by: 'approver@ops.example', reason: 'the wrong query' }],
        ['cancelled', { counts: countsOf({ cancelled: 2 }, { cancelled: 2 }) }],
      ],
      async (tenant, id) => {
        const reason = { reason: 'the wrong query' };
        bodyOf(await tenant.as('approver').post(`/v1/remediations/${id}/cancel`, reason), 202);
      },
    ],
    [
      'rejected',
      [['rejected', { by: 'approver@ops.example', reason: 'no harm' }]],
      async (tenant, id) => {
        bodyOf(await tenant.as('approver').post(`/v1/remediations/${id}/reject`, { reason: 'no harm' }), 200);
      },
    ],
    ['expired', [['expired', {}]], expire],
  ])(
    'ends when it is %s before it began, for whoever listens and for whoever comes later',
    async (end, told, bring) => {
      const tenant = server.tenant();
      await tenant.import(mail(2));
      const { approvalId } = await tenant.submit(request(), 'proposer');
      const stream = await listen(tenant, { approvalId });
      await bring(tenant, approvalId);
      const events = await stream.all();
      expect(names(events)).toEqual(['snapshot', ...told.map(([name]) => name)]);
      expect(events.map(({ data }) => data)).toMatchObject(
        [{ status: 'pending' }, ...told.map(([, facts]) => facts)].map((facts) => ({ approvalId, ...facts })),
      );
      expectInOrder(events.slice(1));

      const later = await listen(tenant, { approvalId });
      expect(await later.all()).toMatchObject([{ event: 'remediation.snapshot', data: { status: end } }]);
      const resumed = await listen(tenant, { approvalId, after: events[0]?.id ?? '' });
      expect(await resumed.all()).toEqual(events.slice(1));
      const again = await tenant.as('viewer').send({
        method: 'GET',
        path: `/v1/remediations/${approvalId}/live`,
        headers: { 'last-event-id': stream.lastEventId },
      });
      expect([again.status, again.text]).toEqual([204, '']);
    },
  );

  it('is not there for another tenant', async () => {
    const tenant = server.tenant();
    await tenant.import(mail(1));
    const { approvalId } = await tenant.submit(request(), 'proposer');
    const path = `/v1/remediations/${approvalId}/live`;
    expectProblem(await server.tenant().as('viewer').get(path), 404, 'remediationNotFound');
  });
});
