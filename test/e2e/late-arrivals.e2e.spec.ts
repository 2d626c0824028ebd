import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  Folders,
  TestServer,
  bodyOf,
  emailRef,
  emailRow,
  expectProblem,
  messageId,
  request,
  until,
  type EntryBody,
  type TestTenant,
} from '../support/server.js';

const LEE = 'lee@fabrikam.example';

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(() => server.dispose());

/** A tenant in which everything from one sender was soft deleted, and is for an hour to come. */
async function watched(): Promise<{ tenant: TestTenant; entry: EntryBody }> {
  const tenant = server.tenant();
  const first = emailRow({ message: 1 });
  await tenant.import([first]);
  const { senderFromAddress: sender } = (await tenant.search())[0] ?? { senderFromAddress: '' };
  const entry = await tenant.run(request({ selection: { query: { sender } }, lateArrivalsHours: 1 }));
  return { tenant, entry };
}

const children = async (tenant: TestTenant, approvalId: string, count: number): Promise<EntryBody[]> => {
  const { lateArrivals } = await until(
    () => tenant.entry(approvalId),
    (entry) => entry.lateArrivals.length >= count,
  );
  return Promise.all(lateArrivals.map((child) => tenant.untilFinished(child)));
};

const folderOf = (tenant: TestTenant, message: number) =>
  tenant.folderOf({ networkMessageId: messageId(message), mailbox: LEE, isSendersCopy: false });

describe('mail that arrives after a remediation', () => {
  it('is remediated too, each time as a remediation of its own, linked both ways', async () => {
    const { tenant, entry } = await watched();
    expect(entry.lateArrivalsUntil).not.toBeNull();
    await tenant.import([emailRow({ message: 2 })]);
    const [child] = await children(tenant, entry.approvalId, 1);
    expect(child).toMatchObject({
      status: 'completed',
      lateArrivalOf: entry.approvalId,
      action: 'softDelete',
      plan: { emails: 1 },
      selection: { by: 'lateArrivals', of: entry.approvalId },
      submittedBy: entry.submittedBy,
    });
    expect(folderOf(tenant, 2)).toBe(Folders.recoverableDeletions);
    await server.quietHead();
    expect((await tenant.entry(entry.approvalId)).lateArrivals).toHaveLength(1);
  });

  it('is found after a restart, and submitted once', async () => {
    const { tenant, entry } = await watched();
    await tenant.import([emailRow({ message: 2 })]);
    await children(tenant, entry.approvalId, 1);
    await server.restart();
    await tenant.import([emailRow({ message: 3 })]);
    await children(tenant, entry.approvalId, 2);
    await server.quietHead();
    const { lateArrivals } = await tenant.entry(entry.approvalId);
    expect(lateArrivals).toHaveLength(2);
    expect(folderOf(tenant, 3)).toBe(Folders.recoverableDeletions);
  });

  it('is left alone when the query does not mean it, or another tenant has it', async () => {
    const { tenant, entry } = await watched();
    await tenant.import([emailRow({ message: 4, from: 'other@fabrikam.example' })]);
    await server.tenant().import([emailRow({ message: 5 })]);
    await tenant.import([emailRow({ message: 6 })]);
    const [child] = await children(tenant, entry.approvalId, 1);
    await server.quietHead();
    expect((await tenant.entry(entry.approvalId)).lateArrivals).toEqual([child?.approvalId]);
    expect(folderOf(tenant, 4)).toBe(Folders.inbox);
  });

  it.each<[string, (tenant: TestTenant, approvalId: string) => Promise<unknown>]>([
    ['it is stopped', (tenant, approvalId) => stop(tenant, approvalId)],
    ['the remediation is undone', (tenant, approvalId) => tenant.runUndo(approvalId)],
  ])('is left alone once %s', async (_, end) => {
    const { tenant, entry } = await watched();
    await end(tenant, entry.approvalId);
    expect(await tenant.entry(entry.approvalId)).toMatchObject({ lateArrivalsUntil: null });
    await tenant.import([emailRow({ message: 7 })]);
    // What comes after it in the log has been looked at when another watch has found its mail.
    const other = await watched();
    await other.tenant.import([emailRow({ message: 2 })]);
    await children(other.tenant, other.entry.approvalId, 1);
    expect((await tenant.entry(entry.approvalId)).lateArrivals).toEqual([]);
    expect(folderOf(tenant, 7)).toBe(Folders.inbox);
  });

  it('needs a query, and something to stop', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow({ message: 1 })]);
    const byHand = request({ selection: { emails: [emailRef(1)] }, lateArrivalsHours: 1 });
    const refused = await tenant.as('approver').post('/v1/remediations', byHand);
    expectProblem(refused, 400, 'invalidInput');
    expect(refused.body).toMatchObject({ errors: [{ field: 'lateArrivalsHours' }] });
    const { approvalId } = await tenant.run(request());
    const answer = await tenant.as('approver').post(`/v1/remediations/${approvalId}/late-arrivals/stop`, {});
    expectProblem(answer, 409, 'noLateArrivals');
  });
});

const stop = async (tenant: TestTenant, approvalId: string): Promise<unknown> =>
  bodyOf(await tenant.as('approver').post(`/v1/remediations/${approvalId}/late-arrivals/stop`, {}), 200);
