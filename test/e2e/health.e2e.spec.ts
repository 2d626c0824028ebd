import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { appendEvents, isWrongExpectedRevision, type RecordedEvent } from '#libs/event-store';
import { SqliteEventStore } from '#libs/event-store/sqlite';
import { collect, newId } from '#libs/kernel';
import { batchCodecs, batchStream, emptyTally, remediationStream } from '#libs/remediation';
import { VIEWS as ALL_VIEWS } from '../../apps/server/src/views/views.js';
import { PROJECT_ROOT } from '../support/mail-input.js';
import {
  TestServer,
  bodyOf,
  emailRow,
  expectProblem,
  request,
  until,
  type Answer,
  type EventBody,
  type SubmittedBody,
} from '../support/server.js';

interface Check {
  readonly name: string;
  readonly state: string;
  readonly detail: string;
}

interface HealthBody {
  readonly status: string | number;
  readonly head: string;
  readonly checks: readonly Check[];
  readonly views: readonly {
    readonly view: string;
    readonly state: string;
    readonly position: string;
    readonly lagPositions: string;
    readonly lagSeconds: number | null;
  }[];
}

type Line = Readonly<Record<string, unknown>>;

const ERROR = 50;
const VIEWS = Object.keys(ALL_VIEWS);

/** One line of `/metrics` for each series. */
const series = async (server: TestServer): Promise<ReadonlyMap<string, number>> => {
  const { text } = await server.api().get('/metrics');
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const end = line.lastIndexOf(' ');
      return [line.slice(0, end), Number(line.slice(end + 1))] as const;
    }),
  );
};

const ready = (server: TestServer): Promise<Answer> => server.api().get('/health/ready');

const checksOf = (answer: Answer): ReadonlyMap<string, Check> =>
  new Map((answer.body as HealthBody).checks.map((check) => [check.name, check]));

/** Writes past the server, as no program of ours does. */
async function tamper<T>(server: TestServer, work: (store: SqliteEventStore) => Promise<T>): Promise<T> {
  const store = new SqliteEventStore(join(server.dataDirectory, 'events.db'));
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

describe('a server that is well', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await TestServer.start();
    await server.tenant().import([emailRow()]);
  });
  afterAll(() => server.dispose());

  it('is ready, and lists every check by name', async () => {
    const answer = await until(
      () => ready(server),
      ({ body }) => (body as HealthBody).views.every(({ state }) => state === 'live'),
    );
    const body = bodyOf(answer, 200) as HealthBody;
    expect(body.status).toBe('ready');
    expect(body.checks.map(({ name, state }) => `${name} ${state}`).sort()).toEqual(
      [
        ...['eventStore', 'readStore', 'executor'],
        ...VIEWS.map((view) => `view:${view}`),
        ...['executor', 'projector', 'sandbox', 'webhooks', 'lateArrivals'].map(
          (name) => `subscription:${name}`,
        ),
      ]
        .map((name) => `${name} ok`)
        .sort(),
    );
    expect(body.views).toEqual(
      VIEWS.map((view) => ({ view, state: 'live', position: body.head, lagPositions: '0', lagSeconds: 0 })),
    );
  });

  it('measures all of it', async () => {
    const found = await series(server);
    expect(Object.fromEntries(found)).toMatchObject({
      'clawback_store_up{store="eventStore"}': 1,
      'clawback_store_up{store="readStore"}': 1,
      'clawback_view_state{view="history",state="live"}': 1,
      'clawback_view_state{view="history",state="failed"}': 0,
      'clawback_view_lag_seconds{view="history"}': 0,
      'clawback_view_lag_positions{view="history"}': 0,
      'clawback_subscription_state{subscription="projector",state="live"}': 1,
      'clawback_subscription_state{subscription="projector",state="reconnecting"}': 0,
      'clawback_executor_coordination_state{state="following"}': 1,
      'clawback_executor_coordination_state{state="heldUp"}': 0,
      'clawback_executor_batches{state="running"}': 0,
      clawback_executor_batches_claimed_total: 0,
    });
    expect(found.get('clawback_view_position{view="history"}')).toBe(
      found.get('clawback_event_log_head_position'),
    );
  });

  it('counts what its executor has done', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    await tenant.run(request());
    // The executor forgets a remediation only after everybody can see that it has finished.
    const found = await until(
      () => series(server),
      (all) => all.get('clawback_executor_remediations') === 0,
    );
    expect(found.get('clawback_executor_batches_claimed_total')).toBe(1);
  });

  it('has every measurement of its own in the table of the documentation', async () => {
    const { text } = await server.api().get('/metrics');
    const documented = await readFile(join(PROJECT_ROOT, 'docs/servers.md'), 'utf8');
    const names = [...text.matchAll(/^# TYPE (clawback_(?!process_|nodejs_)\w+)/gm)].map(([, name]) => name);
    expect(names.length).toBeGreaterThan(15);
    expect(names.filter((name) => !documented.includes(`\`${String(name)}\``))).toEqual([]);
  });
});

describe('a request and the work that it causes', () => {
  const SUBJECT = 'Your parcel 4711';
  const lines: Line[] = [];
  let server: TestServer;
  let approvalId: string;
  let planId: string;
  let events: EventBody[];

  beforeAll(async () => {
    server = await TestServer.start(
      { log: { level: 'debug' }, executor: { copyDeadlineMs: 600_000 } },
      (line) => lines.push(JSON.parse(line) as Line),
    );
    const tenant = server.tenant();
    await tenant.import([emailRow({ subject: SUBJECT })]);
    await tenant.fault('lee@fabrikam.example', { kind: 'hang' });
    const answer = await tenant
      .as('approver')
      .post('/v1/remediations', request(), { 'x-request-id': 'journey-7' });
    ({ approvalId } = bodyOf(answer, 202) as SubmittedBody);
    events = await until(
      () => tenant.events(approvalId),
      (all) => all.some(({ type }) => type === 'BatchAttemptStarted'),
    );
    planId = (events[0]?.data as { readonly planId: string }).planId;
    await tenant.as('viewer').get(`/v1/remediations/${approvalId}/log`);
  });
  afterAll(() => server.dispose());

  it('carry one correlation id: in the line of the request, and in every event', () => {
    expect(lines.filter(({ requestId }) => requestId === 'journey-7')).toEqual([
      expect.objectContaining({
        correlationId: approvalId,
        method: 'POST',
        route: '/v1/remediations',
        status: 202,
        durationMs: expect.any(Number),
      }),
    ]);
    expect(events.map(({ metadata }) => metadata.correlationId)).toEqual(events.map(() => approvalId));
    const caused = events.filter(({ metadata }) => metadata.causationId === 'journey-7');
    expect(caused.map(({ type }) => type)).toEqual([
      ...['RemediationSubmitted', 'RemediationApproved', 'BatchPlanned'],
    ]);
  });

  it('are found by it when others ask about them', () => {
    expect(lines).toContainEqual(
      expect.objectContaining({ correlationId: approvalId, route: '/v1/remediations/:approvalId/log' }),
    );
  });

  it('show by it whose totals hold the executor up, in its log, in readiness and in the metrics', async () => {
    const before = await ready(server);
    expect(before.status).toBe(200);
    expect(checksOf(before).get('executor')?.detail).toMatch(/^following, .* batches: 1 running/);

    const stream = batchStream(planId, 0);
    await tamper(server, async (store) => {
      const data = { approvalId, planId, batch: 0, tally: emptyTally() };
      const append = async (): Promise<void> => {
        const last = (await collect(store.readStream(stream))).at(-1) as RecordedEvent;
        await appendEvents(store, batchCodecs, stream, last.revision, [{ type: 'BatchSettled', data }], {
          tenant: last.metadata.tenant ?? '',
          actor: 'somebody',
          correlationId: approvalId,
          causationId: 'nobody-knows',
          commandId: newId(),
          now: new Date(),
        });
      };
      // The worker of the batch keeps its claim by appending to the same stream.
      for (let tries = 1; ; tries += 1) {
        try {
          await append();
          return;
        } catch (error) {
          if (!isWrongExpectedRevision(error) || tries >= 10) throw error;
        }
      }
    });
    const answer = await until(
      () => ready(server),
      ({ status }) => status === 503,
    );

    expectProblem(answer, 503, 'notReady');
    const { detail, checks } = answer.body as HealthBody & { readonly detail: string };
    expect(detail).toMatch(/^not ready: executor: heldUp, .*BatchSettled .* do not add up/);
    expect(checks.filter(({ state }) => state === 'failed').map(({ name }) => name)).toEqual(['executor']);
    expect(checks.length).toBe(checksOf(before).size);

    const found = await series(server);
    expect(found.get('clawback_executor_coordination_state{state="heldUp"}')).toBe(1);
    expect(found.get('clawback_executor_errors_total{error="Error"}')).toBeGreaterThanOrEqual(1);

    const failures = lines.filter(({ msg }) => msg === 'following the event log');
    expect(failures[0]).toMatchObject({
      level: ERROR,
      correlationId: approvalId,
      causationId: 'nobody-knows',
      eventType: 'BatchSettled',
      stream,
      err: { message: expect.stringContaining('do not add up') },
    });
  });

  it('leave no subject, no address and no token in the log', () => {
    const text = JSON.stringify(lines);
    expect(lines.length).toBeGreaterThan(5);
    expect(text).not.toContain(SUBJECT);
    expect(text).not.toContain('fabrikam.example');
    expect(text).not.toMatch(/eyJ[\w-]*\./);
  });

  it('are logged once a request; the questions of supervisors at level debug', () => {
    const requests = lines.filter(({ msg }) => msg === 'a request');
    expect(new Set(requests.map(({ requestId }) => requestId)).size).toBe(requests.length);
    const probes = requests.filter(({ route, status }) => route === '/health/ready' && status === 200);
    expect(probes.length).toBeGreaterThan(0);
    expect(new Set(probes.map(({ level }) => level))).toEqual(new Set([20]));
  });
});

describe('an event that nobody can decode', () => {
  const lines: Line[] = [];
  const correlationId = newId();
  let server: TestServer;
  let answer: Answer;

  beforeAll(async () => {
    server = await TestServer.start({ log: { level: 'error' } }, (line) =>
      lines.push(JSON.parse(line) as Line),
    );
    const occurredAt = new Date(Date.now() - 3_600_000).toISOString();
    await tamper(server, (store) =>
      store.append(remediationStream(correlationId), 'noStream', [
        {
          id: newId(),
          type: 'RemediationApproved',
          data: { approvalId: ['kim@fabrikam.example'] },
          metadata: { schemaVersion: '1', correlationId, causationId: 'request-1', occurredAt },
        },
      ]),
    );
    answer = await until(
      () => ready(server),
      ({ status, body }) =>
        status === 503 && (body as HealthBody).checks.filter(({ state }) => state === 'failed').length >= 2,
    );
  });
  afterAll(() => server.dispose());

  it('turns readiness red: every view that has stopped and the executor, by name and with the reason', () => {
    expectProblem(answer, 503, 'notReady');
    const checks = checksOf(answer);
    expect(checks.get('view:history')).toMatchObject({
      state: 'failed',
      detail: expect.stringContaining('cannot project RemediationApproved'),
    });
    expect(checks.get('executor')).toMatchObject({
      state: 'failed',
      detail: expect.stringMatching(/^heldUp, .* since \d{4}-.* by RemediationApproved of remediation-/),
    });
    expect(checks.get('eventStore')?.state).toBe('ok');
    expect(answer.text).not.toContain('kim');
  });

  it('shows how far the view is behind since when, and leaves the process alive', async () => {
    const history = (answer.body as HealthBody).views.find(({ view }) => view === 'history');
    expect(Number(history?.lagPositions)).toBeGreaterThan(0);
    expect(history?.lagSeconds).toBeGreaterThanOrEqual(3600);
    const found = await series(server);
    expect(found.get('clawback_view_state{view="history",state="failed"}')).toBe(1);
    expect(found.get('clawback_view_lag_seconds{view="history"}')).toBeGreaterThanOrEqual(3600);
    expect((await server.api().get('/health/live')).status).toBe(200);
  });

  it('is in the log with the correlation id of what it belongs to', async () => {
    const stopped = await until(
      () => Promise.resolve(lines.filter(({ msg }) => msg === 'a view has stopped')),
      (found) => found.some(({ view }) => view === 'history'),
    );
    expect(stopped.find(({ view }) => view === 'history')).toMatchObject({
      correlationId,
      causationId: 'request-1',
      err: { type: 'MalformedEvent' },
    });
    expect(lines.find(({ msg }) => msg === 'following the event log')).toMatchObject({ correlationId });
    expect(JSON.stringify(lines)).not.toContain('kim');
  });
});
