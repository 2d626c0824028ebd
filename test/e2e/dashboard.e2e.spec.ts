import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DashboardBody } from '../../apps/server/src/dashboard/dashboard.dto.js';
import {
  OUTCOMES,
  TestServer,
  bodyOf,
  countsOf,
  emailRef,
  emailRow,
  expectProblem,
  request,
  type EntryBody,
  type Query,
  type TestTenant,
} from '../support/server.js';

let server: TestServer;
let tenant: TestTenant;
let first: EntryBody;
let second: EntryBody;
beforeAll(async () => {
  server = await TestServer.start({ executor: { copyDeadlineMs: 500 } });
  tenant = server.tenant();
  await tenant.import([
    emailRow({ message: 1, to: 'lee@fabrikam.example' }),
    emailRow({ message: 1, to: 'sam@fabrikam.example' }),
    emailRow({ message: 2, to: 'lee@fabrikam.example', from: 'eve@evil.example', direction: 'Inbound' }),
    emailRow({ message: 3, to: 'gone@fabrikam.example', from: 'eve@evil.example', direction: 'Inbound' }),
    emailRow({ message: 4, from: 'eve@evil.example', direction: 'Inbound', location: 'Failed' }),
  ]);
  await tenant.fault('gone@fabrikam.example', { kind: 'missingMailbox' });
  first = await tenant.run(request());
  await tenant.runUndo(first.approvalId, { emails: [emailRef(2)] });
  second = await tenant.run(
    request({
      action: 'moveToJunk',
      sendersCopy: false,
      severity: 'low',
      surface: 'graphApi',
      selection: { emails: [emailRef(2)] },
    }),
  );
  await tenant.submit(request({ severity: 'medium', selection: { emails: [emailRef(1)] } }), 'proposer');
});
afterAll(async () => {
  await server.dispose();
});

const dashboard = async (query: Query = {}, of = tenant): Promise<DashboardBody> =>
  bodyOf(await of.as('viewer').get('/v1/dashboard', query), 200) as DashboardBody;

describe('the figures', () => {
  it('add up what was submitted', async () => {
    const { totals, groups, groupBy } = await dashboard();
    expect([groupBy, groups]).toEqual([null, []]);
    const entries = await tenant.history();
    const sum = (of: (entry: EntryBody) => number): number =>
      entries.reduce((total, entry) => total + of(entry), 0);
    expect(totals).toMatchObject({
      remediations: 4,
      statuses: { completed: 3, pending: 1, failed: 0 },
      emails: sum((entry) => entry.plan.emails),
    });
    for (const outcome of ['submitted', ...OUTCOMES] as const) {
      expect([outcome, totals.copies[outcome]]).toEqual([outcome, sum((entry) => entry.counts[outcome])]);
    }
  });

  it('tell how long it took, since it was submitted and since it was approved', async () => {
    const { totals } = await dashboard();
    const times = (await tenant.history())
      .filter(({ status }) => status === 'completed')
      .map(({ submittedAt, finishedAt }) => Date.parse(finishedAt ?? '') - Date.parse(submittedAt))
      .sort((a, b) => a - b);
    expect(totals.timeToRemediate.sinceSubmission).toEqual({ count: 3, p50Ms: times[1], p95Ms: times[2] });
    expect(totals.timeToRemediate.sinceApproval.count).toBe(3);
  });

  it.each([
    ['action', { softDelete: 2, moveToJunk: 1, undo: 1 }],
    ['surface', { threatExplorer: 3, graphApi: 1 }],
    ['severity', { low: 1, medium: 1, high: 2 }],
  ])('by %s, in the order of the words', async (groupBy, counts) => {
    const { groups } = await dashboard({ groupBy });
    expect(groups.map(({ key, remediations }) => [key, remediations])).toEqual(Object.entries(counts));
  });

  it('by day, and the groups add up to the whole', async () => {
    const { totals, groups } = await dashboard({ groupBy: 'day' });
    const days = [...new Set((await tenant.history()).map(({ submittedAt }) => submittedAt.slice(0, 10)))];
    expect(groups.map(({ key }) => key)).toEqual(days.sort());
    for (const fact of ['remediations', 'emails'] as const) {
      expect(groups.reduce((sum, group) => sum + group[fact], 0)).toBe(totals[fact]);
    }
  });

  it('of a group are those of its remediations', async () => {
    const { groups } = await dashboard({ groupBy: 'action' });
    const junk = groups.find(({ key }) => key === 'moveToJunk');
    expect(junk?.copies).toEqual(second.counts);
    expect(junk?.copies).toEqual(countsOf({ succeeded: 1 }));
  });

  it('belong to their time: submitted at or after the start, and before the end', async () => {
    const { submittedAt } = second;
    const later = new Date(Date.parse(submittedAt) + 1).toISOString();
    const ofRange = async (query: Query) =>
      (await dashboard({ ...query, groupBy: 'action' })).groups.map(({ key }) => key);
    await expect(ofRange({ startTime: submittedAt })).resolves.toContain('moveToJunk');
    await expect(ofRange({ startTime: later })).resolves.not.toContain('moveToJunk');
    await expect(ofRange({ endTime: submittedAt })).resolves.not.toContain('moveToJunk');
    await expect(ofRange({ endTime: later })).resolves.toContain('moveToJunk');
  });
});

describe('the top', () => {
  it('senders and mailboxes are those whose copies were moved, undos left out', async () => {
    const { topSenders, topMailboxes } = await dashboard();
    // The first one moved two copies of kim's message and kim's own, and one of eve's; the second one that one again.
    expect(topSenders).toEqual({
      items: [
        { address: 'kim@fabrikam.example', copies: 3 },
        { address: 'eve@evil.example', copies: 2 },
      ],
      error: 0,
    });
    expect(topMailboxes).toEqual({
      items: [
        { address: 'lee@fabrikam.example', copies: 3 },
        { address: 'kim@fabrikam.example', copies: 1 },
        { address: 'sam@fabrikam.example', copies: 1 },
      ],
      error: 0,
    });
  });

  it('are as many as asked for, of the time asked for', async () => {
    expect((await dashboard({ top: 1 })).topMailboxes.items).toHaveLength(1);
    const none = await dashboard({ startTime: '2020-01-01', endTime: '2020-02-01' });
    expect([none.topSenders.items, none.topMailboxes.items, none.totals.remediations]).toEqual([[], [], 0]);
  });
});

describe('the dashboard', () => {
  it('shows nothing of another tenant', async () => {
    const other = await dashboard({}, server.tenant());
    expect(other).toMatchObject({
      totals: { remediations: 0, emails: 0, copies: countsOf({}) },
      topSenders: { items: [] },
      topMailboxes: { items: [] },
    });
    expect(other.totals.timeToRemediate.sinceSubmission).toEqual({ count: 0, p50Ms: null, p95Ms: null });
  });

  it.each([
    [{ startTime: '2026-02-01', endTime: '2026-02-01' }, 'endTime: must be after startTime'],
    [{ startTime: '2024-01-01', endTime: '2026-01-01' }, '366 days'],
    [{ groupBy: 'week' }, 'groupBy'],
    [{ top: 101 }, 'top'],
    [{ top: 'many' }, 'top'],
  ])('refuses %j', async (query, says) => {
    expectProblem(await tenant.as('viewer').get('/v1/dashboard', query), 400, 'invalidInput', says);
  });
});
