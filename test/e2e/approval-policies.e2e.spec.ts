import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Folders,
  TestServer,
  TestTenant,
  countsOf,
  emailRow,
  expectProblem,
  messageId,
  request,
  until,
  type Answer,
  type Api,
  type EntryBody,
  type SubmittedBody,
} from '../support/server.js';

const LEE = 'lee@fabrikam.example';
const MAX = 'max@fabrikam.example';
const KIM = 'kim@fabrikam.example';
const HOUR_MS = 3_600_000;

let directory: string;
let server: TestServer;
const policies = {
  strict: { fourEyesFrom: 1, expireHours: 2 },
  free: { fourEyesFrom: 0, fourEyesForHardDelete: false },
};
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'clawback-policies-'));
  const policiesFile = join(directory, 'policies.json');
  await writeFile(policiesFile, JSON.stringify(policies));
  server = await TestServer.start({
    approval: { fourEyesFrom: 3, policiesFile },
    executor: { copyDeadlineMs: 2500 },
  });
});
afterAll(async () => {
  await server.dispose();
  await rm(directory, { recursive: true });
});

const decide = (
  by: Api,
  { approvalId }: { approvalId: string },
  step: string,
  body: object,
): Promise<Answer> => by.post(`/v1/remediations/${approvalId}/${step}`, body);
const softDelete = request({ sendersCopy: false });
const hardDelete = request({ action: 'hardDelete', sendersCopy: false });
const inbound = (count: number) =>
  Array.from({ length: count }, (_, index) => emailRow({ message: index + 1, direction: 'Inbound' }));

async function submitAs(api: Api, body: object): Promise<SubmittedBody> {
  const answer = await api.post('/v1/remediations', body);
  if (answer.status !== 202) throw new Error(answer.text);
  return answer.body as SubmittedBody;
}

describe('four eyes', () => {
  it('are asked for from so many emails on, of whoever submits; below that an approver is enough', async () => {
    const tenant = server.tenant();
    await tenant.import(inbound(3));
    const few = await submitAs(
      tenant.as('approver'),
      request({ sendersCopy: false, selection: { query: {}, excluding: [refOf(1)] } }),
    );
    expect(few.status).toBe('started');
    expect(await tenant.untilFinished(few.approvalId)).toMatchObject({
      status: 'completed',
      fourEyes: false,
    });
    await tenant.runUndo(few.approvalId);

    for (const role of ['approver', 'admin'] as const) {
      const many = await submitAs(tenant.as(role), softDelete);
      expect(many.status).toBe('pending');
      expect(await tenant.entry(many.approvalId)).toMatchObject({ fourEyes: true, status: 'pending' });
      const { selectionHash } = many;
      expectProblem(
        await decide(tenant.as(role), many, 'approve', { selectionHash }),
        403,
        'ownProposal',
        'somebody else',
      );
      const other = tenant.as('approver', 'viewer');
      expect((await decide(other, many, 'approve', { selectionHash })).status).toBe(202);
      const done = await tenant.untilFinished(many.approvalId);
      expect(done).toMatchObject({
        status: 'completed',
        submittedBy: `${role}@ops.example`,
        decidedBy: 'approver-viewer@ops.example',
        counts: countsOf({ succeeded: 3 }),
      });
      await tenant.runUndo(many.approvalId);
    }
  });

  it('are always asked for a hard delete, and both need its role', async () => {
    const tenant = server.tenant();
    await tenant.import(inbound(1));
    const proposal = await submitAs(tenant.as('approver', 'purger'), hardDelete);
    expect(proposal).toMatchObject({ status: 'pending', undoable: false });
    const { selectionHash } = proposal;
    const approve = (by: Api) => decide(by, proposal, 'approve', { selectionHash });
    expectProblem(await approve(tenant.as('approver', 'purger')), 403, 'ownProposal');
    expectProblem(await approve(tenant.as('approver')), 403, 'roleMissing', 'purger');
    expect(tenant.moves()).toBe(0);
    expect((await approve(tenant.as('approver', 'purger', 'viewer'))).status).toBe(202);
    expect(await tenant.untilFinished(proposal.approvalId)).toMatchObject({ counts: { succeeded: 1 } });
  });

  it('are not asked for an undo: what is brought back can be taken away again', async () => {
    const tenant = server.tenant();
    await tenant.import(inbound(3));
    const proposal = await submitAs(tenant.as('proposer'), softDelete);
    await decide(tenant.as('approver'), proposal, 'approve', proposalOf(proposal));
    await tenant.untilFinished(proposal.approvalId);
    expect((await tenant.undo(proposal.approvalId)).status).toBe('started');
  });

  it('hold for a retry as they did for what is retried', async () => {
    const tenant = new TestTenant(server, 'strict');
    await tenant.import(inbound(1));
    await tenant.fault(LEE, { kind: 'error', code: 'accessDenied', retryable: false });
    const proposal = await submitAs(tenant.as('approver'), softDelete);
    await decide(tenant.as('admin'), proposal, 'approve', proposalOf(proposal));
    expect(await tenant.untilFinished(proposal.approvalId)).toMatchObject({ status: 'failed' });
    await tenant.clearFault(LEE);
    const retry = await decide(tenant.as('approver'), proposal, 'retry', {});
    expect(retry).toMatchObject({ status: 202, body: { status: 'pending' } });
    expectProblem(
      await decide(tenant.as('approver'), retry.body as SubmittedBody, 'approve', proposalOf(retry.body)),
      403,
      'ownProposal',
    );
  });
});

const refOf = (message: number, to = LEE) => ({
  networkMessageId: messageId(message),
  recipientEmailAddress: to,
});
const proposalOf = (body: unknown) => ({ selectionHash: (body as SubmittedBody).selectionHash });

describe('the policy of a tenant', () => {
  const expiryOf = ({ submittedAt, expiresAt }: EntryBody): number =>
    Date.parse(expiresAt ?? '') - Date.parse(submittedAt);

  it('is what the file says where it says something, else the settings’', async () => {
    const strict = new TestTenant(server, 'strict');
    await strict.import([emailRow({ message: 7, direction: 'Inbound' })]);
    const selection = { emails: [refOf(7)] };
    const held = await submitAs(strict.as('approver'), request({ sendersCopy: false, selection }));
    expect(held.status).toBe('pending');
    expect(expiryOf(await strict.entry(held.approvalId))).toBe(2 * HOUR_MS);

    const free = new TestTenant(server, 'free');
    await free.import(inbound(5));
    const proposal = await submitAs(free.as('proposer'), softDelete);
    expect(expiryOf(await free.entry(proposal.approvalId))).toBe(7 * 24 * HOUR_MS);
    expect((await submitAs(free.as('approver'), softDelete)).status).toBe('started');
    expect((await submitAs(free.as('approver', 'purger'), hardDelete)).status).toBe('started');
    await server.quietHead();
  });

  it.each([
    ['that is no JSON', '{', 'cannot be read'],
    ['with a policy that there is not', '{"x": {"threeEyes": true}}', 'wrong at x'],
    ['with a number out of range', '{"x": {"expireHours": 0}}', 'wrong at x.expireHours'],
  ])('keeps a server with a file %s from starting, and says why', async (_what, content, says) => {
    const policiesFile = join(directory, 'wrong.json');
    await writeFile(policiesFile, content);
    await expect(TestServer.start({ approval: { policiesFile } })).rejects.toMatchObject({
      code: 'invalidConfiguration',
      message: expect.stringMatching(`CLAWBACK_POLICIES_FILE.*${says}`),
    });
  });
});

describe('who proposed it', () => {
  it('can neither approve nor reject it, whatever the roles; but cancel it', async () => {
    const tenant = server.tenant();
    await tenant.import(inbound(3));
    const own = tenant.as('proposer', 'approver');
    const proposal = await submitAs(own, softDelete);
    const before = await tenant.state();
    expectProblem(await decide(own, proposal, 'approve', proposalOf(proposal)), 403, 'ownProposal');
    expectProblem(
      await decide(own, proposal, 'approve', { ...proposalOf(proposal), firstEmails: 1 }),
      403,
      'ownProposal',
    );
    expectProblem(await decide(own, proposal, 'reject', { reason: 'x' }), 403, 'ownProposal', 'cancel');
    expect(await tenant.state()).toEqual(before);
    expect(await decide(own, proposal, 'cancel', { reason: 'a mistake' })).toMatchObject({
      status: 202,
      body: { status: 'cancelled', cancelReason: 'a mistake', counts: countsOf({ cancelled: 3 }) },
    });
  });
});

describe('an approval of the first emails', () => {
  let tenant: TestTenant;
  let proposal: SubmittedBody;
  let approver: Api;
  /** Four messages of Kim's, the second one to two people: five emails and four copies of the sender's. */
  beforeEach(async () => {
    tenant = server.tenant();
    approver = tenant.as('approver');
    await tenant.import([
      emailRow({ message: 1 }),
      emailRow({ message: 2 }),
      emailRow({ message: 2, to: MAX }),
      emailRow({ message: 3 }),
      emailRow({ message: 4 }),
    ]);
    proposal = await tenant.submit(request(), 'proposer');
  });

  const approve = (firstEmails?: number, by = approver): Promise<Answer> =>
    decide(by, proposal, 'approve', {
      ...proposalOf(proposal),
      ...(firstEmails === undefined ? {} : { firstEmails }),
    });
  const untilPartHasRun = (): Promise<EntryBody> =>
    until(
      () => tenant.entry(proposal.approvalId),
      ({ status, queuedAt }) => status === 'pending' && queuedAt !== null,
    );
  const deleted = (): string[] =>
    [
      ...[1, 2, 3, 4].map((message) => [message, LEE, false] as const),
      [2, MAX, false] as const,
      ...[1, 2, 3, 4].map((message) => [message, KIM, true] as const),
    ]
      .filter(([message, mailbox, isSendersCopy]) => {
        const copy = { networkMessageId: messageId(message), mailbox, isSendersCopy };
        return tenant.folderOf(copy) === Folders.recoverableDeletions;
      })
      .map(([message, mailbox]) => `${String(message)} ${mailbox}`);
  const expectReconciled = async (): Promise<void> => {
    const { counts } = await tenant.entry(proposal.approvalId);
    const log = await tenant.log(proposal.approvalId);
    expect(log).toHaveLength(counts.submitted);
    for (const outcome of ['succeeded', 'pending', 'cancelled'] as const) {
      expect([outcome, log.filter((row) => row.outcome === outcome).length]).toEqual([
        outcome,
        counts[outcome],
      ]);
    }
  };

  it('runs these and no others, with the copies of their senders; the rest waits and is approved', async () => {
    expect(await approve(2)).toMatchObject({ status: 202, body: { firstEmails: 2 } });
    const part = await untilPartHasRun();
    expect(part.counts).toEqual(countsOf({ succeeded: 2, pending: 3 }, { succeeded: 1, pending: 3 }));
    // The second message has one more email, which waits; its sender's copy waits with it.
    expect(deleted()).toEqual([`1 ${LEE}`, `2 ${LEE}`, `1 ${KIM}`]);
    await expectReconciled();

    expectProblem(await approve(1), 409, 'alreadyPartlyApproved');
    expect((await approve()).status).toBe(202);
    const done = await tenant.untilFinished(proposal.approvalId);
    expect(done).toMatchObject({ status: 'completed', counts: countsOf({ succeeded: 5 }, { succeeded: 4 }) });
    expect(deleted()).toHaveLength(9);
    expect(tenant.moves()).toBe(9);
    await expectReconciled();

    const events = await tenant.events(proposal.approvalId);
    expect(events.map(({ type }) => type).filter((type) => type.startsWith('Remediation'))).toEqual([
      ...['RemediationSubmitted', 'RemediationPartlyApproved', 'RemediationQueued', 'RemediationStarted'],
      ...['RemediationPartFinished', 'RemediationApproved', 'RemediationQueued', 'RemediationStarted'],
      'RemediationCompleted',
    ]);
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
    const undo = await tenant.runUndo(proposal.approvalId);
    expect(undo.counts).toEqual(countsOf({ succeeded: 5 }, { succeeded: 4 }));
    expect(deleted()).toEqual([]);
  });

  it.each([
    [1, [`1 ${LEE}`, `1 ${KIM}`]],
    [3, [`1 ${LEE}`, `2 ${LEE}`, `2 ${MAX}`, `1 ${KIM}`, `2 ${KIM}`]],
  ])(
    'takes a sender’s copy along when all emails of its message are among the first %d',
    async (first, copies) => {
      await approve(first);
      await untilPartHasRun();
      expect(deleted()).toEqual(copies);
    },
  );

  it.each([
    ['rejected', 'reject'],
    ['cancelled', 'cancel'],
  ])(
    'has its rest %s: what was done stays done, counts add up, and it can be undone',
    async (status, step) => {
      await approve(1);
      await untilPartHasRun();
      const answer = await decide(approver, proposal, step, { reason: 'the canary has died' });
      expect(answer.status).toBeLessThan(300);
      expect(await tenant.entry(proposal.approvalId)).toMatchObject({
        status,
        counts: countsOf({ succeeded: 1, cancelled: 4 }, { succeeded: 1, cancelled: 3 }),
      });
      await expectReconciled();
      expect(deleted()).toEqual([`1 ${LEE}`, `1 ${KIM}`]);
      expectProblem(await approve(), 409, 'notPending', status);

      const undo = await tenant.runUndo(proposal.approvalId);
      expect(undo.counts).toEqual(countsOf({ succeeded: 1 }, { succeeded: 1 }));
      expect(deleted()).toEqual([]);
    },
  );

  it('keeps the rest from being decided about until it has finished, and says what is left of it', async () => {
    // The sender's copy of the first message hangs until its time is over.
    await tenant.fault(KIM, { kind: 'hang' });
    expect((await approve(1)).status).toBe(202);
    const early = [
      await approve(),
      await approve(1),
      await decide(approver, proposal, 'reject', { reason: 'too slow' }),
    ];
    for (const answer of early) {
      expectProblem(
        answer,
        409,
        'partRunning',
        /[12] of its copies are pending.*and then decide about the rest/,
      );
      const { pending, currentStatus } = answer.body as { pending: number; currentStatus: string };
      expect([1, 2]).toContain(pending);
      expect(['started', 'queued', 'inProgress']).toContain(currentStatus);
    }
    expect((await untilPartHasRun()).counts).toEqual(
      countsOf({ succeeded: 1, pending: 4 }, { timedOut: 1, pending: 3 }),
    );
    expect(deleted()).toEqual([`1 ${LEE}`]);
    await tenant.clearFault(KIM);
    expect((await approve()).status).toBe(202);
    expect(await tenant.untilFinished(proposal.approvalId)).toMatchObject({
      counts: countsOf({ succeeded: 5 }, { succeeded: 3, timedOut: 1 }),
    });
    await expectReconciled();
  });

  it('can be cancelled while it runs: what is under way ends, and the rest is not waited for', async () => {
    await tenant.fault(KIM, { kind: 'hang' });
    await approve(1);
    expectProblem(await approve(), 409, 'partRunning');
    expect((await decide(approver, proposal, 'cancel', { reason: 'stop' })).status).toBe(202);
    expect(await tenant.untilFinished(proposal.approvalId)).toMatchObject({ status: 'cancelled' });
    expect(deleted().filter((copy) => !copy.startsWith('1 '))).toEqual([]);
    await expectReconciled();
    expectProblem(await approve(), 409, 'notPending', 'cancelled');
  });

  it('waits through a restart, and goes on after it', async () => {
    await approve(1);
    await untilPartHasRun();
    await server.restart();
    await approve();
    expect(await tenant.untilFinished(proposal.approvalId)).toMatchObject({
      status: 'completed',
      counts: countsOf({ succeeded: 5 }, { succeeded: 4 }),
    });
    expect(tenant.moves()).toBe(9);
  });

  it.each([0, 5, 6, 1.5, '1', null])('is refused for %j emails of five', async (firstEmails) => {
    const before = await tenant.state();
    const answer = await decide(approver, proposal, 'approve', { ...proposalOf(proposal), firstEmails });
    expectProblem(answer, 400, 'invalidInput', 'firstEmails');
    expect(await tenant.state()).toEqual(before);
  });

  it('is refused for another selection, and changes nothing', async () => {
    const before = await tenant.state();
    const answer = await decide(approver, proposal, 'approve', {
      selectionHash: '0'.repeat(64),
      firstEmails: 1,
    });
    expectProblem(answer, 409, 'selectionChanged');
    expect(answer.body).toMatchObject({ selectionHash: proposal.selectionHash });
    expect(await tenant.state()).toEqual(before);
  });

  it('is given once, whoever asks at the same time', async () => {
    const answers = await Promise.all([approve(1), approve(2), approve(3)]);
    const first = answers.findIndex(({ status }) => status === 202);
    // The others were either during the part or after it.
    for (const answer of answers.toSpliced(first, 1)) {
      const { code } = answer.body as { code: string };
      expect(['partRunning', 'alreadyPartlyApproved']).toContain(code);
      expectProblem(answer, 409, code);
    }
    await untilPartHasRun();
    expect(tenant.moves()).toBe([2, 3, 5][first]);
    await expectReconciled();
  });
});
