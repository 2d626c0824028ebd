import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
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
  type EntryBody,
  type Outcome,
  type TestTenant,
} from '../support/server.js';

const COPY_DEADLINE_MS = 1000;
const LEE = 'lee@fabrikam.example';
const KIM = 'kim@fabrikam.example';
const MAX = 'max@fabrikam.example';

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start({ executor: { copyDeadlineMs: COPY_DEADLINE_MS, maxAttempts: 2 } });
});
afterAll(async () => {
  await server.dispose();
});

/** One inbound mail for Lee: a single copy, and no sender's. */
const oneCopy = emailRow({ direction: 'Inbound', from: 'crook@evil.example' });

interface Expected {
  readonly status: 'completed' | 'failed' | 'rejected';
  readonly outcome: Outcome;
  readonly reason: string | null;
  readonly detail?: string;
  readonly from?: string | null;
  readonly to?: string | null;
  /** Where the copy is afterwards. */
  readonly folder: string | undefined;
}

/** The one copy of a remediation had this outcome: in the status, the counts, the log, the export and on the email. */
async function expectOutcome(tenant: TestTenant, entry: EntryBody, expected: Expected): Promise<void> {
  const { status, outcome, reason, detail = null, from = null, to = null, folder } = expected;
  expect({ status: entry.status, counts: entry.counts }).toEqual({
    status,
    counts: countsOf({ [outcome]: 1 }),
  });
  const log = await tenant.log(entry.approvalId);
  expect(log).toMatchObject([
    { mailbox: LEE, isSendersCopy: false, outcome, reason, detail, fromFolder: from, toFolder: to },
  ]);
  expect(log[0]?.time).toMatch(/^\d{4}-\d\d-\d\dT/);
  for (const other of OUTCOMES) {
    expect(await tenant.log(entry.approvalId, { outcome: other })).toEqual(other === outcome ? log : []);
  }
  expect((await tenant.export(entry.approvalId)).rows).toMatchObject([
    {
      Mailbox: LEE,
      IsSendersCopy: 'false',
      Status: outcome,
      Reason: reason ?? '',
      Detail: detail ?? '',
      FromFolder: from ?? '',
      ToFolder: to ?? '',
      Time: log[0]?.time ?? '',
    },
  ]);
  expect(tenant.folderOf({ networkMessageId: messageId(1), mailbox: LEE, isSendersCopy: false })).toBe(
    folder,
  );
}

describe('every outcome', () => {
  const softDeleted = async (prepare: (tenant: TestTenant) => Promise<void>, row = oneCopy) => {
    const tenant = server.tenant();
    await tenant.import([row]);
    await prepare(tenant);
    return { tenant, entry: await tenant.run(request()) };
  };
  const nothing = () => Promise.resolve();

  it('succeeded', async () => {
    const { tenant, entry } = await softDeleted(nothing);
    await expectOutcome(tenant, entry, {
      status: 'completed',
      outcome: 'succeeded',
      reason: null,
      from: Folders.inbox,
      to: Folders.recoverableDeletions,
      folder: Folders.recoverableDeletions,
    });
  });

  it('alreadyInDestination', async () => {
    const row = { ...oneCopy, LatestDeliveryLocation: 'Soft deleted' };
    const { tenant, entry } = await softDeleted(nothing, row);
    await expectOutcome(tenant, entry, {
      status: 'completed',
      outcome: 'alreadyInDestination',
      reason: 'alreadyInDestination',
      from: Folders.recoverableDeletions,
      to: Folders.recoverableDeletions,
      folder: Folders.recoverableDeletions,
    });
    expectProblem(
      await tenant.as('approver').post(`/v1/remediations/${entry.approvalId}/undo`, {}),
      409,
      'nothingToUndo',
    );
  });

  it('notFound: gone is what a soft delete wants', async () => {
    const { tenant, entry } = await softDeleted((t) => t.fault(LEE, { kind: 'deletedByUser' }));
    await expectOutcome(tenant, entry, {
      status: 'completed',
      outcome: 'notFound',
      reason: 'notFoundInMailbox',
      folder: undefined,
    });
    expect(await tenant.email(messageId(1), LEE)).toMatchObject({
      copies: [{ folder: null, remediations: [{ outcome: 'notFound', approvalId: entry.approvalId }] }],
    });
  });

  it('notFound: gone is not what a move to the Inbox wants', async () => {
    const tenant = server.tenant();
    await tenant.import([{ ...oneCopy, LatestDeliveryLocation: 'Junk' }]);
    await tenant.fault(LEE, { kind: 'deletedByUser' });
    await expectOutcome(tenant, await tenant.run(request({ action: 'moveToInbox', sendersCopy: false })), {
      status: 'failed',
      outcome: 'notFound',
      reason: 'notFoundInMailbox',
      folder: undefined,
    });
  });

  it.each([
    ['On-premises/External', 'onPremisesExternal'],
    ['Failed', 'deliveryFailed'],
    ['Dropped', 'deliveryDropped'],
    ['Unknown', 'locationUnknown'],
  ])('nonRemediable by plan: %s', async (location, reason) => {
    const { tenant, entry } = await softDeleted(nothing, {
      ...oneCopy,
      DeliveryLocation: location,
      LatestDeliveryLocation: location,
    });
    expect(entry.plan).toMatchObject({
      copies: 1,
      remediable: 0,
      nonRemediable: 1,
      reasons: { [reason]: 1 },
    });
    await expectOutcome(tenant, entry, {
      status: 'completed',
      outcome: 'nonRemediable',
      reason,
      folder: undefined,
    });
  });

  it('nonRemediable: no such mailbox', async () => {
    const { tenant, entry } = await softDeleted((t) => t.fault(LEE, { kind: 'missingMailbox' }));
    expect(entry.plan).toMatchObject({ remediable: 1, reasons: {} });
    await expectOutcome(tenant, entry, {
      status: 'completed',
      outcome: 'nonRemediable',
      reason: 'mailboxNotFound',
      folder: Folders.inbox,
    });
  });

  it('nonRemediable: moved by the user since, which an undo respects', async () => {
    const { tenant, entry } = await softDeleted(nothing);
    await tenant.fault(LEE, { kind: 'movedByUser', folder: 'Projects' });
    await expectOutcome(tenant, await tenant.runUndo(entry.approvalId), {
      status: 'completed',
      outcome: 'nonRemediable',
      reason: 'movedSince',
      folder: 'Projects',
    });
  });

  it('failed, with what the mailbox said', async () => {
    const { tenant, entry } = await softDeleted((t) =>
      t.fault(LEE, { kind: 'error', code: 'ErrorAccessDenied', retryable: false, times: 5 }),
    );
    await expectOutcome(tenant, entry, {
      status: 'failed',
      outcome: 'failed',
      reason: 'mailboxError',
      detail: 'ErrorAccessDenied',
      folder: Folders.inbox,
    });
    expect(await remainingTimes(tenant)).toBe(4);
  });

  it('failed, after as many attempts as are configured', async () => {
    const { tenant, entry } = await softDeleted((t) =>
      t.fault(LEE, { kind: 'error', code: 'MailboxStoreUnavailable', retryable: true, times: 5 }),
    );
    await expectOutcome(tenant, entry, {
      status: 'failed',
      outcome: 'failed',
      reason: 'mailboxError',
      detail: 'MailboxStoreUnavailable',
      folder: Folders.inbox,
    });
    expect(await remainingTimes(tenant)).toBe(3);
  });

  it.each([
    ['the mailbox asked to wait for longer than a copy may take', 2 * COPY_DEADLINE_MS],
    ['an error that passes', 20],
  ])('succeeded, after %s', async (_, retryAfterMs) => {
    const { tenant, entry } = await softDeleted((t) =>
      t.fault(LEE, { kind: 'error', code: 'TooManyRequests', retryable: true, times: 1, retryAfterMs }),
    );
    expect(await remainingTimes(tenant)).toBe(0);
    await expectOutcome(tenant, entry, {
      status: 'completed',
      outcome: 'succeeded',
      reason: null,
      from: Folders.inbox,
      to: Folders.recoverableDeletions,
      folder: Folders.recoverableDeletions,
    });
  });

  it('succeeded, from a slow mailbox', async () => {
    const { tenant, entry } = await softDeleted((t) => t.fault(LEE, { kind: 'slow', delayMs: 300 }));
    expect(entry).toMatchObject({ status: 'completed', counts: countsOf({ succeeded: 1 }) });
    expect(tenant.folders()).toEqual({ [Folders.recoverableDeletions]: 1 });
  });

  it('timedOut, from a mailbox that hangs; once it answers, the copy can be deleted', async () => {
    const { tenant, entry } = await softDeleted((t) => t.fault(LEE, { kind: 'hang' }));
    await expectOutcome(tenant, entry, {
      status: 'failed',
      outcome: 'timedOut',
      reason: 'deadlineExceeded',
      folder: Folders.inbox,
    });
    await tenant.clearFault(LEE);
    await expectOutcome(tenant, await tenant.run(request()), {
      status: 'completed',
      outcome: 'succeeded',
      reason: null,
      from: Folders.inbox,
      to: Folders.recoverableDeletions,
      folder: Folders.recoverableDeletions,
    });
  });

  it('cancelled, by a rejection', async () => {
    const tenant = server.tenant();
    await tenant.import([oneCopy]);
    const { approvalId } = await tenant.submit(request(), 'proposer');
    await tenant.as('approver').post(`/v1/remediations/${approvalId}/reject`, { reason: 'a false alarm' });
    await expectOutcome(tenant, await tenant.entry(approvalId), {
      status: 'rejected',
      outcome: 'cancelled',
      reason: null,
      folder: Folders.inbox,
    });
  });
});

describe('several outcomes at once', () => {
  it('complete a remediation when at least one copy reached its goal', async () => {
    const tenant = server.tenant();
    await tenant.import([
      emailRow({ to: LEE }),
      emailRow({ to: MAX }),
      emailRow({ to: 'partner@adatum.example', location: 'On-premises/External' }),
    ]);
    await tenant.fault(LEE, { kind: 'error', code: 'Broken', retryable: false });
    const entry = await tenant.run(request({ sendersCopy: false }));
    expect(entry).toMatchObject({
      status: 'completed',
      counts: countsOf({ failed: 1, succeeded: 1, nonRemediable: 1 }),
    });
  });

  it('fail a remediation when none did', async () => {
    const tenant = server.tenant();
    await tenant.import([
      emailRow({ to: LEE }),
      emailRow({ to: 'partner@adatum.example', location: 'On-premises/External' }),
    ]);
    await tenant.fault(LEE, { kind: 'error', code: 'Broken', retryable: false });
    await tenant.fault(KIM, { kind: 'missingMailbox' });
    expect(await tenant.run(request())).toMatchObject({
      status: 'failed',
      counts: countsOf({ failed: 1, nonRemediable: 1 }, { nonRemediable: 1 }),
    });
  });

  it.each<[string, Parameters<TestTenant['fault']>[1], Outcome]>([
    ['fails', { kind: 'error', code: 'Broken', retryable: false }, 'failed'],
    ['hangs', { kind: 'hang' }, 'timedOut'],
    ['is missing', { kind: 'missingMailbox' }, 'nonRemediable'],
    ['has lost its copy', { kind: 'deletedByUser' }, 'notFound'],
  ])('leave the recipients alone when the sender’s mailbox %s', async (_what, fault, outcome) => {
    const tenant = server.tenant();
    await tenant.import([emailRow({ to: LEE }), emailRow({ to: MAX })]);
    await tenant.fault(KIM, fault);
    const entry = await tenant.run(request());
    expect(entry).toMatchObject({
      status: 'completed',
      counts: countsOf({ succeeded: 2 }, { [outcome]: 1 }),
    });
    expect(await tenant.log(entry.approvalId, { isSendersCopy: true })).toMatchObject([
      { mailbox: KIM, outcome },
    ]);
    for (const mailbox of [LEE, MAX]) {
      expect(tenant.folderOf({ networkMessageId: messageId(1), mailbox, isSendersCopy: false })).toBe(
        Folders.recoverableDeletions,
      );
    }
  });
});

describe('a mailbox that hangs', () => {
  const mails = [
    ...Array.from({ length: 6 }, (_, index) => emailRow({ message: index, to: LEE })),
    ...Array.from({ length: 20 }, (_, index) =>
      emailRow({ message: 100 + index, to: `r${String(index)}@fabrikam.example` }),
    ),
  ];

  it('holds up no other copy and no other remediation', async () => {
    const patient = await TestServer.start({ executor: { copyDeadlineMs: 600_000 } });
    try {
      const tenant = patient.tenant();
      await tenant.import(mails);
      await tenant.fault(LEE, { kind: 'hang' });
      const { approvalId } = await tenant.submit(request());
      const meanwhile = await until(
        () => tenant.entry(approvalId),
        ({ counts, status }) => counts.succeeded > 45 && status !== 'queued',
      );
      expect(meanwhile).toMatchObject({
        status: 'inProgress',
        finishedAt: null,
        counts: countsOf({ succeeded: 20, pending: 6 }, { succeeded: 26 }),
      });
      expect(await tenant.log(approvalId, { outcome: 'pending' })).toHaveLength(6);
      expect(await tenant.log(approvalId, { outcome: 'succeeded' })).toHaveLength(46);

      await tenant.import([emailRow({ message: 200, to: MAX })]);
      const other = await tenant.run(request({ selection: { query: { recipient: MAX } } }));
      expect(other.counts).toEqual(countsOf({ succeeded: 1 }, { succeeded: 1 }));
      expect(await tenant.entry(approvalId)).toMatchObject({ status: 'inProgress', counts: { pending: 6 } });
    } finally {
      await patient.dispose();
    }
  });

  it('costs its own copies their deadline, and the counts add up at every look', async () => {
    const tenant = server.tenant();
    await tenant.import(mails);
    await tenant.fault(LEE, { kind: 'hang' });
    const { approvalId } = await tenant.submit(request());
    const looks: EntryBody[] = [];
    const finished = await until(
      async () => {
        const entry = await tenant.entry(approvalId);
        looks.push(entry);
        return entry;
      },
      ({ status }) => status === 'completed',
    );
    expect(finished.counts).toEqual(countsOf({ succeeded: 20, timedOut: 6 }, { succeeded: 26 }));
    expect(new Set(looks.map(({ counts }) => counts.pending)).size).toBeGreaterThan(1);
    for (const { counts } of looks) {
      expect(counts.submitted).toBe(52);
      for (const part of [counts, counts.recipientCopies, counts.sendersCopies]) {
        expect(OUTCOMES.reduce((sum, outcome) => sum + part[outcome], 0)).toBe(part.submitted);
      }
    }
  });
});

describe('a restart in the middle', () => {
  it('loses nothing, moves nothing twice, and the rest is done afterwards', async () => {
    const own = await TestServer.start();
    try {
      const tenant = own.tenant();
      await tenant.import(
        Array.from({ length: 12 }, (_, index) =>
          emailRow({ message: index, to: index < 4 ? LEE : `r${String(index)}@fabrikam.example` }),
        ),
      );
      await tenant.fault(LEE, { kind: 'hang' });
      const { approvalId } = await tenant.submit(request());
      const waiting = await tenant.submit(request({ name: 'waiting' }), 'proposer');
      await until(
        () => tenant.entry(approvalId),
        ({ counts, status }) => counts.pending === 4 && status !== 'queued',
      );
      const before = await tenant.log(approvalId);

      await own.restart();
      expect(await tenant.log(approvalId)).toEqual(before);
      expect(await tenant.entry(approvalId)).toMatchObject({ status: 'inProgress', counts: { pending: 4 } });
      expect(await tenant.entry(waiting.approvalId)).toMatchObject({ status: 'pending' });
      await tenant.clearFault(LEE);
      await own.restart();
      expect(await tenant.untilFinished(approvalId)).toMatchObject({
        status: 'completed',
        counts: countsOf({ succeeded: 12 }, { succeeded: 12 }),
      });
      expect(tenant.moves()).toBe(24);
      expect(tenant.folders()).toEqual({ [Folders.recoverableDeletions]: 24 });
    } finally {
      await own.dispose();
    }
  });
});

describe('the faults of the sandbox', () => {
  it('are listed, and refused when they are wrong', async () => {
    const tenant = server.tenant();
    await tenant.import([oneCopy]);
    await tenant.fault('LEE@fabrikam.example', { kind: 'slow', delayMs: 5 });
    const list = () => tenant.as('admin').get('/v1/sandbox/faults');
    const listed = { items: [{ mailbox: LEE, fault: { kind: 'slow', delayMs: 5 } }] };
    expect((await list()).body).toEqual(listed);
    for (const [fault, field] of [
      [{ kind: 'earthquake' }, 'kind'],
      [{ kind: 'slow' }, 'delayMs'],
      [{ kind: 'hang', often: true }, 'often'],
      [{ kind: 'error', code: '', retryable: true }, 'code'],
    ] as const) {
      const answer = await tenant.as('admin').put(`/v1/sandbox/faults/${LEE}`, fault);
      expectProblem(answer, 400, 'invalidFault', field);
    }
    expect((await list()).body).toEqual(listed);
    expect((await server.tenant().as('admin').get('/v1/sandbox/faults')).body).toEqual({ items: [] });
  });
});

/** How often the one fault of the tenant would still hit. */
async function remainingTimes(tenant: TestTenant): Promise<number | undefined> {
  const { body } = await tenant.as('admin').get('/v1/sandbox/faults');
  return (body as { items: { fault: { times?: number } }[] }).items[0]?.fault.times;
}
