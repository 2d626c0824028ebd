import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Folders,
  TestServer,
  countsOf,
  emailRow,
  expectProblem,
  request,
  until,
  type EntryBody,
  type SubmittedBody,
  type TestTenant,
} from '../support/server.js';

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start({ limits: { active: 1, activeEmails: 5 } });
});
afterAll(async () => {
  await server.dispose();
});

describe('a proposal', () => {
  let tenant: TestTenant;
  let proposal: SubmittedBody;
  let path: string;
  beforeEach(async () => {
    tenant = server.tenant();
    await tenant.import([emailRow()]);
    proposal = await tenant.submit(request(), 'proposer');
    path = `/v1/remediations/${proposal.approvalId}`;
  });

  const approve = (selectionHash = proposal.selectionHash, by: TestTenant = tenant) =>
    by.as('approver').post(`${path}/approve`, { selectionHash });
  const reject = () => tenant.as('approver').post(`${path}/reject`, { reason: 'a false alarm' });
  const nothingMoved = async (status: string) => {
    expect(tenant.moves()).toBe(0);
    expect(tenant.folders()).toEqual({ [Folders.inbox]: 1, [Folders.sentItems]: 1 });
    expect(await tenant.entry(proposal.approvalId)).toMatchObject({ status });
  };

  it('waits in Pending and moves nothing', async () => {
    expect(proposal).toMatchObject({ status: 'pending', plan: { copies: 2 } });
    expect(await tenant.entry(proposal.approvalId)).toMatchObject({
      status: 'pending',
      submittedBy: 'proposer@ops.example',
      decidedBy: null,
      decidedAt: null,
      startedAt: null,
      counts: countsOf({ pending: 1 }, { pending: 1 }),
    });
    expect(await tenant.history({ status: 'pending' })).toHaveLength(1);
    await nothingMoved('pending');
  });

  it('runs when it is approved with the hash of its selection', async () => {
    const answer = await approve();
    expect(answer).toMatchObject({
      status: 202,
      body: { approvalId: proposal.approvalId, decidedBy: 'approver@ops.example' },
    });
    expect(await tenant.untilFinished(proposal.approvalId)).toMatchObject({
      status: 'completed',
      submittedBy: 'proposer@ops.example',
      decidedBy: 'approver@ops.example',
      counts: countsOf({ succeeded: 1 }, { succeeded: 1 }),
    });
    expect(tenant.folders()).toEqual({ [Folders.recoverableDeletions]: 2 });
  });

  it('is not approved with another hash, which names the right one', async () => {
    const answer = await approve('0'.repeat(64));
    expectProblem(answer, 409, 'selectionChanged', 'selectionHash');
    expect(answer.body).toMatchObject({ selectionHash: proposal.selectionHash });
    await nothingMoved('pending');
  });

  it.each([
    [{}, 'selectionHash'],
    [{ selectionHash: '' }, 'selectionHash'],
    [{ selectionHash: 'x'.repeat(65) }, 'selectionHash'],
    [{ selectionHash: 1 }, 'selectionHash'],
    [{ selectionHash: 'x', force: true }, 'force'],
  ])('is not approved by %j', async (body, field) => {
    const answer = await tenant.as('approver').post(`${path}/approve`, body);
    expectProblem(answer, 400, 'invalidInput', field);
    await nothingMoved('pending');
  });

  it('is rejected with a reason: every copy is cancelled, and it never runs', async () => {
    const answer = await reject();
    expect(answer).toMatchObject({ status: 200, body: { status: 'rejected' } });
    const entry = await tenant.entry(proposal.approvalId);
    expect(entry).toMatchObject({
      status: 'rejected',
      decidedBy: 'approver@ops.example',
      rejectionReason: 'a false alarm',
      counts: countsOf({ cancelled: 1 }, { cancelled: 1 }),
    });
    const log = await tenant.log(proposal.approvalId);
    expect(log.map(({ outcome, time }) => [outcome, time])).toEqual([
      ['cancelled', entry.finishedAt],
      ['cancelled', entry.finishedAt],
    ]);
    expect(await tenant.log(proposal.approvalId, { outcome: 'cancelled' })).toEqual(log);
    expect(await tenant.log(proposal.approvalId, { outcome: 'pending' })).toEqual([]);
    const { rows } = await tenant.export(proposal.approvalId);
    expect(rows.map(({ Status }) => Status)).toEqual(['cancelled', 'cancelled']);

    expectProblem(await approve(), 409, 'notPending', 'rejected');
    expectProblem(await reject(), 409, 'notPending', 'rejected');
    expectProblem(await tenant.as('approver').post(`${path}/undo`, {}), 409, 'notFinished', 'rejected');
    await nothingMoved('rejected');
  });

  it.each([{}, { reason: '' }, { reason: 'x'.repeat(1025) }])('is not rejected by %j', async (body) => {
    const answer = await tenant.as('approver').post(`${path}/reject`, body);
    expectProblem(answer, 400, 'invalidInput', 'reason');
    await nothingMoved('pending');
  });

  it('is decided once', async () => {
    const answers = await Promise.all([approve(), reject(), approve(), reject()]);
    expect(answers.map(({ status }) => status).filter((status) => status < 300)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(3);
    const { status } = await tenant.untilFinished(proposal.approvalId);
    expect(['completed', 'rejected']).toContain(status);
    expect(tenant.moves()).toBe(status === 'completed' ? 2 : 0);
    expectProblem(await approve(), 409, 'notPending');
    expectProblem(await reject(), 409, 'notPending');
  });

  it('is nobody’s to decide but an approver’s, and of the same tenant', async () => {
    const { selectionHash } = proposal;
    for (const role of ['viewer', 'proposer', 'auditor', 'ingest'] as const) {
      const api = tenant.as(role);
      expectProblem(await api.post(`${path}/approve`, { selectionHash }), 403, 'roleMissing', 'approver');
      expectProblem(await api.post(`${path}/reject`, { reason: 'x' }), 403, 'roleMissing', 'approver');
      expectProblem(await api.post(`${path}/undo`, {}), 403, 'roleMissing', 'approver');
    }
    expectProblem(await approve(selectionHash, server.tenant()), 404, 'remediationNotFound');
    await nothingMoved('pending');
  });

  it('cannot be undone', async () => {
    expectProblem(await tenant.as('approver').post(`${path}/undo`, {}), 409, 'notFinished', 'pending');
    await nothingMoved('pending');
  });

  it('waits through a restart', async () => {
    const before = await tenant.entry(proposal.approvalId);
    await server.restart();
    expect(await tenant.entry(proposal.approvalId)).toEqual(before);
    await approve();
    expect(await tenant.untilFinished(proposal.approvalId)).toMatchObject({ status: 'completed' });
  });
});

describe('one who may propose and approve', () => {
  it('has it run at once', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    const answer = await tenant.as('proposer', 'approver').post('/v1/remediations', request());
    expect(answer).toMatchObject({ status: 202, body: { status: 'started' } });
    const { approvalId } = answer.body as SubmittedBody;
    expect(await tenant.untilFinished(approvalId)).toMatchObject({
      submittedBy: 'proposer-approver@ops.example',
      decidedBy: 'proposer-approver@ops.example',
    });
  });
});

describe('the limits on active remediations', () => {
  const hanging = async (): Promise<{ tenant: TestTenant; active: EntryBody }> => {
    const tenant = server.tenant();
    await tenant.import([1, 2, 3, 4].map((message) => emailRow({ message, direction: 'Inbound' })));
    await tenant.fault('lee@fabrikam.example', { kind: 'hang' });
    const { approvalId } = await tenant.submit(request());
    await until(
      () => tenant.events(approvalId),
      (events) => events.some(({ type }) => type === 'BatchAttemptStarted'),
    );
    return { tenant, active: await tenant.entry(approvalId) };
  };

  it('refuse one more, with the number and the limit', async () => {
    const { tenant, active } = await hanging();
    const head = await server.head();
    const answer = await tenant.as('approver').post('/v1/remediations', request());
    expectProblem(answer, 422, 'activeRemediationsOverLimit', /1 .*limit is 1/);
    expect(answer.body).toMatchObject({ actual: 1, limit: 1 });
    expect(await server.head()).toBe(head);
    expect(await tenant.history()).toMatchObject([{ approvalId: active.approvalId }]);
  });

  it('count emails too', async () => {
    const tenant = server.tenant();
    await tenant.import(Array.from({ length: 6 }, (_, message) => emailRow({ message })));
    const answer = await tenant.as('approver').post('/v1/remediations', request());
    expectProblem(answer, 422, 'activeEmailsOverLimit', /6 .*limit is 5/);
    expect(answer.body).toMatchObject({ actual: 6, limit: 5 });
    expect(await tenant.history()).toEqual([]);
    expect(tenant.moves()).toBe(0);
  });

  it('do not touch other tenants', async () => {
    await hanging();
    const other = server.tenant();
    await other.import([emailRow()]);
    expect(await other.run(request())).toMatchObject({ status: 'completed' });
  });
});
