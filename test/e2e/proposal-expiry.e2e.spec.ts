import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Clock } from '#libs/kernel';
import {
  TestServer,
  countsOf,
  emailRef,
  emailRow,
  expectProblem,
  request,
  until,
  type SubmittedBody,
  type TestTenant,
} from '../support/server.js';

const HOUR_MS = 3_600_000;

/** The system's time, and as much more as a test has let pass. */
class ClockAhead extends Clock {
  private aheadMs = 0;

  now(): Date {
    return new Date(Date.now() + this.aheadMs);
  }

  pass(ms: number): void {
    this.aheadMs += ms;
  }
}

const clock = new ClockAhead();
let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start({ approval: { expireHours: 2, sweepMs: 5 } }, undefined, clock);
});
afterAll(async () => {
  await server.dispose();
});

describe('a proposal that nobody decides', () => {
  let tenant: TestTenant;
  let proposal: SubmittedBody;
  beforeEach(async () => {
    tenant = server.tenant();
    await tenant.import([1, 2, 3].map((message) => emailRow({ message })));
    proposal = await tenant.submit(request(), 'proposer');
  });

  const lifeOf = async (): Promise<string[]> =>
    (await tenant.events(proposal.approvalId))
      .map(({ type }) => type)
      .filter((type) => type.startsWith('Remediation'));

  it('waits until its time is over, and is then expired by itself, in the history and in its log', async () => {
    const { expiresAt } = await tenant.entry(proposal.approvalId);
    expect(Date.parse(String(expiresAt)) - clock.now().getTime()).toBeLessThanOrEqual(2 * HOUR_MS);
    clock.pass(HOUR_MS);
    // Whoever has proposed since is looked at by the same sweeps, and still waits after this one has gone.
    const later = await tenant.submit(request({ selection: { emails: [emailRef(1)] } }), 'proposer');
    clock.pass(HOUR_MS);

    const expired = await tenant.untilFinished(proposal.approvalId);
    expect(expired).toMatchObject({
      status: 'expired',
      decidedBy: null,
      finishedAt: expect.stringMatching(/^\d{4}-/),
      counts: countsOf({ cancelled: 3 }, { cancelled: 3 }),
    });
    expect(Date.parse(String(expired.finishedAt))).toBeGreaterThanOrEqual(Date.parse(String(expiresAt)));
    expect(await lifeOf()).toEqual(['RemediationSubmitted', 'RemediationExpired']);
    const log = await tenant.log(proposal.approvalId);
    expect(log.map(({ outcome, time }) => [outcome, time])).toEqual(
      Array.from({ length: 6 }, () => ['cancelled', expired.finishedAt]),
    );
    expect(await tenant.history({ status: 'expired' })).toMatchObject([{ approvalId: proposal.approvalId }]);
    expect(await tenant.entry(later.approvalId)).toMatchObject({ status: 'pending' });
    expect(tenant.moves()).toBe(0);
  });

  it('cannot be decided any more', async () => {
    clock.pass(2 * HOUR_MS);
    await tenant.untilFinished(proposal.approvalId);
    const head = await server.head();
    const { selectionHash } = proposal;
    const path = `/v1/remediations/${proposal.approvalId}`;
    const approver = tenant.as('approver');
    expectProblem(await approver.post(`${path}/approve`, { selectionHash }), 409, 'notPending', 'expired');
    expectProblem(await approver.post(`${path}/reject`, { reason: 'x' }), 409, 'notPending', 'expired');
    expectProblem(await approver.post(`${path}/cancel`, { reason: 'x' }), 409, 'alreadyFinished', 'expired');
    expect(await server.head()).toBe(head);
  });

  it('of which a part has run keeps what was done, and the rest is cancelled', async () => {
    const answer = await tenant.as('approver').post(`/v1/remediations/${proposal.approvalId}/approve`, {
      selectionHash: proposal.selectionHash,
      firstEmails: 1,
    });
    expect(answer.status).toBe(202);
    await until(
      () => tenant.entry(proposal.approvalId),
      ({ status, queuedAt }) => status === 'pending' && queuedAt !== null,
    );
    clock.pass(2 * HOUR_MS);
    expect(await tenant.untilFinished(proposal.approvalId)).toMatchObject({
      status: 'expired',
      counts: countsOf({ succeeded: 1, cancelled: 2 }, { succeeded: 1, cancelled: 2 }),
    });
    expect(tenant.moves()).toBe(2);
    expect((await tenant.runUndo(proposal.approvalId)).counts).toMatchObject({ submitted: 2, succeeded: 2 });
  });
});

it('is looked for at a start: one whose time was over before is expired by then', async () => {
  // Looks every minute, and so not again while this test runs.
  const slow = await TestServer.start({ approval: { expireHours: 2 } }, undefined, clock);
  try {
    const tenant = slow.tenant();
    await tenant.import([emailRow()]);
    const { approvalId } = await tenant.submit(request(), 'proposer');
    clock.pass(2 * HOUR_MS);
    await slow.restart();
    expect(await tenant.untilFinished(approvalId)).toMatchObject({ status: 'expired' });
  } finally {
    await slow.dispose();
  }
});
