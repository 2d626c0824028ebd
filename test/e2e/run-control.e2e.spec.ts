import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Folders,
  OUTCOMES,
  TestServer,
  countsOf,
  emailRow,
  expectProblem,
  messageId,
  request,
  until,
  type Answer,
  type EntryBody,
  type Role,
  type SubmittedBody,
  type TestTenant,
} from '../support/server.js';
import { everyPageIsDear } from '../support/stores.js';

const LEE = 'lee@fabrikam.example';
const MAX = 'max@fabrikam.example';
const NOA = 'noa@fabrikam.example';
const softDelete = request({ sendersCopy: false });

const post = (
  tenant: TestTenant,
  { approvalId }: { approvalId: string },
  step: string,
  body: object = {},
  role: Role = 'approver',
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> => tenant.as(role).post(`/v1/remediations/${approvalId}/${step}`, body, headers);
const cancel = (tenant: TestTenant, of: { approvalId: string }, role?: Role): Promise<Answer> =>
  post(tenant, of, 'cancel', { reason: 'the wrong query' }, role);

const folderOf = (tenant: TestTenant, message: number, mailbox: string): string | undefined =>
  tenant.folderOf({ networkMessageId: messageId(message), mailbox, isSendersCopy: false });

/** submitted = the sum of all outcomes, and each is what the log and the export show. */
async function expectReconciled(tenant: TestTenant, { approvalId }: EntryBody): Promise<void> {
  const { counts } = await tenant.entry(approvalId);
  const log = await tenant.log(approvalId);
  const { rows } = await tenant.export(approvalId);
  expect(log).toHaveLength(counts.submitted);
  for (const outcome of OUTCOMES) {
    const all = {
      log: log.filter((row) => row.outcome === outcome).length,
      filtered: (await tenant.log(approvalId, { outcome })).length,
      export: rows.filter(({ Status }) => Status === outcome).length,
    };
    const count = counts[outcome];
    expect({ outcome, ...all }).toEqual({ outcome, log: count, filtered: count, export: count });
  }
}

describe('a remediation whose mailbox asks to wait for an hour', () => {
  it('is in progress with that copy pending, and is cancelled at once', async () => {
    const server = await TestServer.start();
    try {
      const tenant = server.tenant();
      await tenant.import([LEE, MAX].map((to, index) => emailRow({ message: index + 1, to })));
      await tenant.fault(LEE, {
        kind: 'error',
        code: 'TooManyRequests',
        retryable: true,
        retryAfterMs: 3_600_000,
      });
      const submitted = await tenant.submit(softDelete);
      const deferred = await until(
        () => tenant.entry(submitted.approvalId),
        // The outcome may be recorded before it is noticed that work has begun.
        ({ counts, status }) => counts.succeeded === 1 && status !== 'queued',
      );
      expect(deferred).toMatchObject({
        status: 'inProgress',
        counts: countsOf({ succeeded: 1, pending: 1 }),
      });

      await cancel(tenant, submitted);
      const entry = await tenant.untilFinished(submitted.approvalId);
      expect(entry).toMatchObject({ status: 'cancelled', counts: countsOf({ succeeded: 1, cancelled: 1 }) });
      expect([folderOf(tenant, 1, LEE), folderOf(tenant, 2, MAX)]).toEqual([
        Folders.inbox,
        Folders.recoverableDeletions,
      ]);
      await expectReconciled(tenant, entry);
    } finally {
      await server.dispose();
    }
  });
});

describe('a remediation that is cancelled in the middle', () => {
  const EMAILS = 1100;
  const person = (message: number): string => `person${String(message)}@fabrikam.example`;
  let server: TestServer;
  let tenant: TestTenant;
  let submitted: SubmittedBody;
  /** Long enough to see in the log what is recorded meanwhile, and to cancel then. */
  const SLOW_MS = everyPageIsDear ? 20_000 : 5000;
  /** Three batches, given out one after the other; the second one has a mailbox that takes its time. */
  beforeAll(async () => {
    server = await TestServer.start({ executor: { batchesAhead: 1, copyDeadlineMs: 30_000 } });
    tenant = server.tenant();
    await tenant.import(
      Array.from({ length: EMAILS }, (_, index) =>
        emailRow({ message: index + 1, to: person(index + 1), direction: 'Inbound' }),
      ),
    );
    await tenant.fault(person(700), { kind: 'slow', delayMs: SLOW_MS });
    submitted = await tenant.submit(softDelete);
    await until(
      () => tenant.log(submitted.approvalId, { mailbox: person(600) }),
      ([row]) => row?.outcome === 'succeeded',
    );
  });
  afterAll(async () => {
    await server.dispose();
  });

  it('lets end what is under way, begins nothing more, and says so copy by copy', async () => {
    const answer = await cancel(tenant, submitted);
    expect(answer).toMatchObject({
      status: 202,
      body: {
        status: 'inProgress',
        cancelRequestedBy: 'approver@ops.example',
        cancelReason: 'the wrong query',
      },
    });
    // Asked for again it is the same cancellation.
    expect((await cancel(tenant, submitted)).status).toBe(202);

    const entry = await tenant.untilFinished(submitted.approvalId);
    expect(entry).toMatchObject({
      status: 'cancelled',
      counts: countsOf({ succeeded: 1000, cancelled: EMAILS - 1000 }),
    });
    expect(tenant.folders()).toEqual({
      [Folders.recoverableDeletions]: 1000,
      [Folders.inbox]: EMAILS - 1000,
    });
    expect(tenant.moves()).toBe(1000);
    expect(folderOf(tenant, 700, person(700))).toBe(Folders.recoverableDeletions);
    await expectReconciled(tenant, entry);
    const [row] = await tenant.log(submitted.approvalId, { mailbox: person(1001) });
    expect(row).toMatchObject({ outcome: 'cancelled', reason: null, fromFolder: null, toFolder: null });
    expect(row?.time).toMatch(/^\d{4}-/);
    expectProblem(await cancel(tenant, submitted), 409, 'alreadyFinished', 'cancelled');
  });

  it('is tried again for what was cancelled, and for nothing else', async () => {
    expectProblem(await post(tenant, submitted, 'retry'), 409, 'nothingToRetry', 'failed or timedOut');
    const answer = await post(tenant, submitted, 'retry', { outcomes: ['cancelled'] });
    expect(answer).toMatchObject({
      status: 202,
      body: { status: 'started', retryOf: submitted.approvalId, plan: { copies: 100, emails: 100 } },
    });
    const retry = await tenant.untilFinished((answer.body as SubmittedBody).approvalId);
    expect(retry).toMatchObject({ status: 'completed', counts: countsOf({ succeeded: 100 }) });
    expect(tenant.folders()).toEqual({ [Folders.recoverableDeletions]: EMAILS });
    await tenant.runUndo(retry.approvalId);
    expect(tenant.folders()).toEqual({ [Folders.recoverableDeletions]: 1000, [Folders.inbox]: 100 });
  });

  it('is undone for what was moved', async () => {
    const undo = await tenant.runUndo(submitted.approvalId);
    expect(undo).toMatchObject({ status: 'completed', counts: countsOf({ succeeded: 1000 }) });
    expect(tenant.folders()).toEqual({ [Folders.inbox]: EMAILS });
  });
});

describe('cancelling', () => {
  let server: TestServer;
  let tenant: TestTenant;
  beforeAll(async () => {
    server = await TestServer.start();
  });
  afterAll(async () => {
    await server.dispose();
  });
  beforeEach(async () => {
    tenant = server.tenant();
    await tenant.import([emailRow()]);
  });

  it('ends a proposal at once; nothing of it ever runs', async () => {
    const proposal = await tenant.submit(request(), 'proposer');
    expect(await cancel(tenant, proposal, 'proposer')).toMatchObject({
      status: 202,
      body: {
        status: 'cancelled',
        cancelRequestedBy: 'proposer@ops.example',
        decidedBy: null,
        counts: countsOf({ cancelled: 1 }, { cancelled: 1 }),
      },
    });
    const entry = await tenant.entry(proposal.approvalId);
    await expectReconciled(tenant, entry);
    const { selectionHash } = proposal;
    expectProblem(await post(tenant, proposal, 'approve', { selectionHash }), 409, 'notPending', 'cancelled');
    expectProblem(await post(tenant, proposal, 'undo'), 409, 'nothingToUndo');
    expect(tenant.moves()).toBe(0);

    const retry = await post(tenant, proposal, 'retry', { outcomes: ['cancelled'] });
    expect(retry).toMatchObject({ status: 202, body: { status: 'started', plan: { copies: 2 } } });
    await tenant.untilFinished((retry.body as SubmittedBody).approvalId);
    expect(tenant.moves()).toBe(2);
  });

  it('is a proposer’s right for what is their own, and an approver’s for all', async () => {
    const own = await tenant.as('proposer', 'viewer').post('/v1/remediations', request());
    const proposal = own.body as SubmittedBody;
    expectProblem(await cancel(tenant, proposal, 'proposer'), 403, 'roleMissing', 'approver');
    expect(await tenant.entry(proposal.approvalId)).toMatchObject({ status: 'pending' });
    expect((await cancel(tenant, proposal, 'approver')).status).toBe(202);
    const other = server.tenant();
    expectProblem(await cancel(other, proposal), 404, 'remediationNotFound');
  });

  it.each([{}, { reason: '' }, { reason: 'x'.repeat(1025) }, { reason: 'x', force: true }])(
    'needs a reason and no more: %j',
    async (body) => {
      const proposal = await tenant.submit(request(), 'proposer');
      const before = await tenant.state();
      expectProblem(await post(tenant, proposal, 'cancel', body), 400, 'invalidInput');
      expect(await tenant.state()).toEqual(before);
    },
  );

  it('comes too late for what has finished', async () => {
    const done = await tenant.run(request());
    const before = await tenant.state();
    expectProblem(await cancel(tenant, done), 409, 'alreadyFinished', 'completed');
    expect(await tenant.state()).toEqual(before);
  });
});

describe('trying again', () => {
  let server: TestServer;
  let tenant: TestTenant;
  let first: EntryBody;
  beforeAll(async () => {
    server = await TestServer.start({ executor: { copyDeadlineMs: 700 } });
  });
  afterAll(async () => {
    await server.dispose();
  });
  beforeEach(async () => {
    tenant = server.tenant();
    await tenant.import([
      emailRow({ to: LEE, direction: 'Inbound' }),
      emailRow({ to: MAX, direction: 'Inbound' }),
      emailRow({ to: NOA, direction: 'Inbound' }),
    ]);
    await tenant.fault(MAX, { kind: 'error', code: 'accessDenied', retryable: false });
    await tenant.fault(NOA, { kind: 'hang' });
    first = await tenant.run(softDelete);
    await tenant.clearFault(MAX);
    await tenant.clearFault(NOA);
    expect(first.counts).toEqual(countsOf({ succeeded: 1, failed: 1, timedOut: 1 }));
  });
  const places = () => [LEE, MAX, NOA].map((mailbox) => folderOf(tenant, 1, mailbox));
  const gone = Folders.recoverableDeletions;

  it('has exactly the copies that failed or timed out, is linked both ways, and each undo is its own', async () => {
    const moves = tenant.moves();
    const answer = await post(tenant, first, 'retry');
    expect(answer.status).toBe(202);
    const body = answer.body as SubmittedBody;
    expect(answer.headers.get('location')).toBe(`/v1/remediations/${body.approvalId}`);
    expect(body).toMatchObject({
      status: 'started',
      retryOf: first.approvalId,
      undoOf: null,
      undoable: true,
    });
    const retry = await tenant.untilFinished(body.approvalId);
    expect(retry).toMatchObject({
      status: 'completed',
      name: `Retry: ${first.name}`,
      action: 'softDelete',
      severity: first.severity,
      retryOf: first.approvalId,
      selection: { by: 'retry', of: first.approvalId },
      counts: countsOf({ succeeded: 2 }),
    });
    expect(await tenant.entry(first.approvalId)).toMatchObject({ retriedBy: [retry.approvalId] });
    expect((await tenant.log(retry.approvalId)).map(({ mailbox }) => mailbox)).toEqual([MAX, NOA]);
    expect(places()).toEqual([gone, gone, gone]);
    expect(tenant.moves()).toBe(moves + 2);

    await tenant.runUndo(first.approvalId);
    expect(places()).toEqual([Folders.inbox, gone, gone]);
    await tenant.runUndo(retry.approvalId);
    expect(places()).toEqual([Folders.inbox, Folders.inbox, Folders.inbox]);
  });

  it('takes only the outcomes that are asked for, a name and a description', async () => {
    const over = { outcomes: ['failed'], name: 'Again', description: 'Max is back.' };
    const answer = await post(tenant, first, 'retry', over);
    const retry = await tenant.untilFinished((answer.body as SubmittedBody).approvalId);
    expect(retry).toMatchObject({
      name: 'Again',
      description: 'Max is back.',
      counts: countsOf({ succeeded: 1 }),
    });
    expect(places()).toEqual([gone, gone, Folders.inbox]);
    // What timed out the first time is still to be had; what has succeeded is found where it is.
    const second = await post(tenant, first, 'retry');
    expect(await tenant.untilFinished((second.body as SubmittedBody).approvalId)).toMatchObject({
      counts: countsOf({ succeeded: 1, alreadyInDestination: 1 }),
    });
    expect((await tenant.entry(first.approvalId)).retriedBy).toHaveLength(2);
  });

  it('can itself be tried again', async () => {
    await tenant.fault(NOA, { kind: 'error', code: 'accessDenied', retryable: false });
    const answer = await post(tenant, first, 'retry');
    const retry = await tenant.untilFinished((answer.body as SubmittedBody).approvalId);
    expect(retry.counts).toEqual(countsOf({ succeeded: 1, failed: 1 }));
    await tenant.clearFault(NOA);
    const again = await post(tenant, retry, 'retry');
    expect(again).toMatchObject({ body: { retryOf: retry.approvalId, plan: { copies: 1 } } });
    await tenant.untilFinished((again.body as SubmittedBody).approvalId);
    expect(places()).toEqual([gone, gone, gone]);
  });

  it('waits for an approval when a proposer asks for it', async () => {
    const answer = await post(tenant, first, 'retry', {}, 'proposer');
    expect(answer).toMatchObject({ status: 202, body: { status: 'pending' } });
    const proposal = answer.body as SubmittedBody;
    expect(places()).toEqual([gone, Folders.inbox, Folders.inbox]);
    const { selectionHash } = proposal;
    expect((await post(tenant, proposal, 'approve', { selectionHash })).status).toBe(202);
    expect(await tenant.untilFinished(proposal.approvalId)).toMatchObject({ counts: { succeeded: 2 } });
  });

  it('is one retry under one Idempotency-Key', async () => {
    const again = () => post(tenant, first, 'retry', {}, 'approver', { 'idempotency-key': 'retry-1' });
    const answers = await Promise.all(Array.from({ length: 4 }, again));
    const ids = new Set(answers.map(({ body }) => (body as SubmittedBody).approvalId));
    expect(ids.size).toBe(1);
    await tenant.untilFinished([...ids][0] ?? '');
    expect((await tenant.entry(first.approvalId)).retriedBy).toEqual([...ids]);
    const other = await post(tenant, first, 'retry', { outcomes: ['failed'] }, 'approver', {
      'idempotency-key': 'retry-1',
    });
    expectProblem(other, 409, 'idempotencyKeyReused', 'Idempotency-Key');
  });

  it('is refused where there is nothing to try, and for what has not run', async () => {
    const before = await tenant.state();
    expectProblem(
      await post(tenant, first, 'retry', { outcomes: ['cancelled'] }),
      409,
      'nothingToRetry',
      'cancelled',
    );
    for (const outcomes of [[], ['succeeded'], ['failed', 'failed'], 'failed']) {
      expectProblem(await post(tenant, first, 'retry', { outcomes }), 400, 'invalidInput', 'outcomes');
    }
    expect(await tenant.state()).toEqual(before);
    const proposal = await tenant.submit(softDelete, 'proposer');
    expectProblem(await post(tenant, proposal, 'retry'), 409, 'notFinished', 'pending');
  });
});

describe('a start in the future', () => {
  let server: TestServer;
  let tenant: TestTenant;
  beforeAll(async () => {
    server = await TestServer.start();
  });
  afterAll(async () => {
    await server.dispose();
  });
  beforeEach(async () => {
    tenant = server.tenant();
    await tenant.import([emailRow()]);
  });
  afterEach(async () => {
    await server.quietHead();
  });
  const inMs = (ms: number): string => new Date(Date.now() + ms).toISOString();
  const typesOf = async ({ approvalId }: SubmittedBody) =>
    (await tenant.events(approvalId)).map(({ type }) => type);

  it('is waited for', async () => {
    const startAt = inMs(3_600_000);
    const submitted = await tenant.submit(request({ startAt }));
    await server.restart();
    const other = server.tenant();
    await other.import([emailRow()]);
    await other.run(request());
    expect(await tenant.entry(submitted.approvalId)).toMatchObject({
      status: 'started',
      startAt,
      queuedAt: null,
      startedAt: null,
    });
    expect(await typesOf(submitted)).toEqual(['RemediationSubmitted', 'RemediationApproved', 'BatchPlanned']);
    await cancel(tenant, submitted);
  });

  it.each([
    ['and then it runs', false],
    ['through a restart too, and then it runs', true],
  ])('is waited for, %s', async (_what, restarts) => {
    const startAt = inMs(2000);
    const submitted = await tenant.submit(request({ startAt }));
    if (restarts) await server.restart();
    const entry = await tenant.untilFinished(submitted.approvalId);
    expect(entry).toMatchObject({ status: 'completed', startAt, counts: { succeeded: 2 } });
    expect((entry.queuedAt ?? '') >= startAt).toBe(true);
    expect((entry.startedAt ?? '') >= startAt).toBe(true);
  });

  it('can be cancelled before, and then nothing is moved', async () => {
    const submitted = await tenant.submit(request({ startAt: inMs(3_600_000) }));
    expect((await cancel(tenant, submitted)).status).toBe(202);
    const entry = await tenant.untilFinished(submitted.approvalId);
    expect(entry).toMatchObject({
      status: 'cancelled',
      counts: countsOf({ cancelled: 1 }, { cancelled: 1 }),
    });
    await expectReconciled(tenant, entry);
    expect(tenant.moves()).toBe(0);
    expect(await typesOf(submitted)).not.toContain('BatchReleased');
  });

  it('in the past is now, and one too far away is refused', async () => {
    expect(await tenant.run(request({ startAt: inMs(-60_000) }))).toMatchObject({ status: 'completed' });
    const before = await tenant.state();
    for (const startAt of [inMs(7 * 24 * 3_600_000 + 60_000), 'soon', 5]) {
      const answer = await tenant.as('approver').post('/v1/remediations', request({ startAt }));
      expectProblem(answer, 400, 'invalidInput', 'startAt');
    }
    expect(await tenant.state()).toEqual(before);
  });

  it('has a deadline that counts from then on', async () => {
    const entry = await tenant.run(request({ finishWithinMinutes: 5 }));
    expect(entry).toMatchObject({ status: 'completed', overdue: false });
    expect(Date.parse(entry.deadline ?? '') - Date.parse(entry.queuedAt ?? '')).toBe(5 * 60_000);
    for (const finishWithinMinutes of [0, 1.5, 7 * 24 * 60 + 1]) {
      const answer = await tenant.as('approver').post('/v1/remediations', request({ finishWithinMinutes }));
      expectProblem(answer, 400, 'invalidInput', 'finishWithinMinutes');
    }
  });

  it('is for the emails that were selected, and no others', async () => {
    const submitted = await tenant.submit(request({ startAt: inMs(2000) }));
    await tenant.import([emailRow({ message: 2 })]);
    const { counts } = await tenant.untilFinished(submitted.approvalId);
    expect(counts.submitted).toBe(2);
    expect(folderOf(tenant, 2, LEE)).toBe(Folders.inbox);
  });
});
