import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  TestServer,
  emailRef,
  emailRow,
  expectProblem,
  request,
  until,
  type Answer,
  type SubmittedBody,
  type TestTenant,
} from '../support/server.js';

const LEE = 'lee@fabrikam.example';
const LIMITS = {
  byHand: 2,
  byQuery: 8,
  exclusions: 1,
  byQueryWithExclusions: 6,
  recipientPercent: 40,
  ofOneRecipient: 4,
  active: 2,
  activeEmails: 7,
};

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start({ limits: LIMITS, executor: { copyDeadlineMs: 2000 } });
});
afterAll(async () => {
  await server.dispose();
});

const person = (n: number): string => `person${String(n)}@fabrikam.example`;

/** A tenant with one inbound mail for each of these. */
async function tenantWith(recipients: readonly string[]): Promise<TestTenant> {
  const tenant = server.tenant();
  await tenant.import(
    recipients.map((to, index) => emailRow({ message: index + 1, to, direction: 'Inbound' })),
  );
  return tenant;
}
const people = (count: number): string[] => Array.from({ length: count }, (_, index) => person(index + 1));
const hand = (count: number) => people(count).map((to, index) => emailRef(index + 1, to));

/** Refused with the number, the limit and a way out, for the preview as for the submission; and nothing is recorded. */
async function expectOverLimit(
  tenant: TestTenant,
  selection: object,
  code: string,
  expected: { readonly field: string; readonly actual: number; readonly limit: number },
  wayOut: RegExp,
): Promise<void> {
  const before = await tenant.state();
  const paths = ['/v1/remediations', '/v1/remediations/preview'];
  for (const path of paths) {
    const answer = await tenant.as('approver').post(path, request({ sendersCopy: false, selection }));
    const { field, actual, limit } = expected;
    expectProblem(answer, 422, code, new RegExp(`${String(actual)} .*limit is ${String(limit)}\\b`));
    expectProblem(answer, 422, code, wayOut);
    expect(answer.body).toMatchObject({ field, actual, limit });
  }
  expect(await tenant.state()).toEqual(before);
}

describe('a selection over its limit', () => {
  const splitIt = /split it/;

  it('by hand', async () => {
    const tenant = await tenantWith(people(3));
    const expected = { field: 'selection.emails', actual: 3, limit: 2 };
    await expectOverLimit(tenant, { emails: hand(3) }, 'selectionOverLimit', expected, splitIt);
    const fits = request({ selection: { emails: hand(2) } });
    expect(await tenant.run(fits)).toMatchObject({ plan: { emails: 2 } });
  });

  it('by query', async () => {
    const tenant = await tenantWith(people(9));
    const expected = { field: 'selection.query', actual: 9, limit: 8 };
    await expectOverLimit(tenant, { query: {} }, 'selectionOverLimit', expected, splitIt);
    expect(await tenant.preview(request({ selection: { query: { recipient: person(9) } } }))).toMatchObject({
      plan: { emails: 1 },
    });
  });

  it('by query with some excluded', async () => {
    const tenant = await tenantWith(people(7));
    const expected = { field: 'selection.query', actual: 7, limit: 6 };
    const selection = { query: {}, excluding: hand(1) };
    await expectOverLimit(tenant, selection, 'selectionOverLimit', expected, splitIt);
    // Without the exclusions it is not over.
    expect(await tenant.preview(request())).toMatchObject({ plan: { emails: 7 } });
  });

  it('of exclusions', async () => {
    const tenant = await tenantWith(people(4));
    const expected = { field: 'selection.excluding', actual: 2, limit: 1 };
    const selection = { query: {}, excluding: hand(2) };
    await expectOverLimit(tenant, selection, 'selectionOverLimit', expected, splitIt);
    expect(await tenant.preview(request({ selection: { query: {}, excluding: hand(1) } }))).toMatchObject({
      plan: { emails: 3 },
    });
  });
});

describe('too many emails for one recipient', () => {
  it('are refused when the recipients are few', async () => {
    // Three recipients of eight emails are less than 40 %, and one of them has six.
    const tenant = await tenantWith([...Array<string>(6).fill(LEE), person(1), person(2)]);
    const before = await tenant.state();
    await expectOverLimit(
      tenant,
      { query: {} },
      'recipientOverLimit',
      { field: 'selection', actual: 6, limit: 4 },
      /40 % of the emails \(3 of 4 here\); split it by time/,
    );
    expect(await tenant.state()).toEqual(before);
  });

  it.each<[string, string[]]>([
    // Three of seven are more than 40 %.
    ['there are enough recipients', [...Array<string>(5).fill(LEE), person(1), person(2)]],
    ['no recipient has too many', Array<string>(4).fill(LEE)],
    ['the few have an equal share', [...Array<string>(4).fill(LEE), ...Array<string>(4).fill(person(1))]],
  ])('are none when %s', async (_when, recipients) => {
    const tenant = await tenantWith(recipients);
    expect(await tenant.preview(request())).toMatchObject({ plan: { emails: recipients.length } });
  });

  it('are counted without what is excluded', async () => {
    const tenant = await tenantWith(Array<string>(5).fill(LEE));
    const { plan } = await tenant.preview(
      request({ selection: { query: {}, excluding: [emailRef(1, LEE)] } }),
    );
    expect(plan.emails).toBe(4);
    const mixed = await tenantWith([...Array<string>(5).fill(LEE), person(1)]);
    await expectOverLimit(
      mixed,
      { query: {}, excluding: [emailRef(6, person(1))] },
      'recipientOverLimit',
      { field: 'selection', actual: 5, limit: 4 },
      /of the 5 emails/,
    );
  });
});

describe('too much at once', () => {
  /** So many remediations that do not get on, of so many emails each. */
  async function busy(count: number, emails: number, of = 8): Promise<TestTenant> {
    const tenant = await tenantWith(people(of));
    for (const address of people(of)) await tenant.fault(address, { kind: 'hang' });
    for (let n = 0; n < count; n += 1) await tenant.submit(request({ selection: { emails: hand(emails) } }));
    return tenant;
  }
  const submit = (tenant: TestTenant, selection: object): Promise<Answer> =>
    tenant.as('approver').post('/v1/remediations', request({ selection }));

  it('of remediations is refused, and goes when there is room again', async () => {
    const tenant = await busy(2, 1);
    const answer = await submit(tenant, { emails: hand(2) });
    expectProblem(
      answer,
      422,
      'activeRemediationsOverLimit',
      /2 .*limit is 2; wait until some have finished/,
    );
    expect(answer.body).toMatchObject({ actual: 2, limit: 2 });
    expect(await tenant.history()).toHaveLength(2);
    await until(
      () => submit(tenant, { emails: hand(2) }),
      ({ status }) => status === 202,
    );
  });

  it('of emails is refused together with what is under way', async () => {
    const tenant = await busy(1, 2, 6);
    const answer = await submit(tenant, { query: {} });
    expectProblem(answer, 422, 'activeEmailsOverLimit', /8 .*limit is 7; wait until some have finished/);
    expect(answer.body).toMatchObject({ actual: 8, limit: 7 });
    expect((await tenant.history()).map(({ plan }) => plan.emails)).toEqual([2]);
  });

  it('of emails is refused before anything is recorded', async () => {
    const tenant = await tenantWith(people(8));
    const before = await tenant.state();
    expectProblem(await submit(tenant, { query: {} }), 422, 'activeEmailsOverLimit', /8 .*limit is 7/);
    expect(await tenant.state()).toEqual(before);
  });

  it('is refused to an approval as well, and the proposal goes on waiting', async () => {
    const tenant = await tenantWith(people(4));
    const proposal = await tenant.submit(request(), 'proposer');
    await tenant.fault(person(1), { kind: 'hang' });
    for (const _ of [1, 2]) await tenant.submit(request({ selection: { emails: hand(1) } }));
    const { selectionHash, approvalId } = proposal;
    const approve = (): Promise<Answer> =>
      tenant.as('approver').post(`/v1/remediations/${approvalId}/approve`, { selectionHash });
    expectProblem(await approve(), 422, 'activeRemediationsOverLimit', /2 .*limit is 2/);
    expect(await tenant.entry(approvalId)).toMatchObject({ status: 'pending' });
    await until(approve, ({ status }) => status === 202);
    expect(await tenant.untilFinished(approvalId)).toMatchObject({ counts: { submitted: 4 } });
  });

  it('is refused to an undo and a retry before anything is recorded, and they count what they would touch', async () => {
    const tenant = await tenantWith(people(5));
    await tenant.fault(person(1), { kind: 'error', code: 'ErrorAccessDenied', retryable: false });
    const { approvalId } = await tenant.run(request());
    await tenant.clearFault(person(1));
    const step = (name: string): Promise<Answer> =>
      tenant.as('approver').post(`/v1/remediations/${approvalId}/${name}`, {});
    const refused = async (name: string, code: string, says: RegExp): Promise<void> => {
      const before = await server.head();
      expectProblem(await step(name), 422, code, says);
      expect(await server.head()).toBe(before);
    };
    // Active, and as quiet as nothing else that is.
    const scheduled = { startAt: new Date(Date.now() + 3_600_000).toISOString() };
    await tenant.submit(request(scheduled));

    await refused('undo', 'activeEmailsOverLimit', /9 .*limit is 7/);
    // One of the five has failed: with that one there is room.
    const retry = await step('retry');
    expect(retry).toMatchObject({ status: 202, body: { plan: { emails: 1 } } });
    await tenant.untilFinished((retry.body as SubmittedBody).approvalId);

    await tenant.submit(request({ ...scheduled, selection: { emails: hand(1) } }));
    await refused('retry', 'activeRemediationsOverLimit', /2 .*limit is 2/);
    await refused('undo', 'activeRemediationsOverLimit', /2 .*limit is 2/);
  });

  it('is not what waits for its approval', async () => {
    const tenant = await tenantWith(people(4));
    const proposals: SubmittedBody[] = [];
    for (let n = 0; n < 4; n += 1) proposals.push(await tenant.submit(request(), 'proposer'));
    expect(proposals.map(({ status }) => status)).toEqual(Array(4).fill('pending'));
  });
});
