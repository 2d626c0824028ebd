import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Folders,
  TestServer,
  countsOf,
  emailRef,
  emailRow,
  expectProblem,
  messageId,
  request,
  until,
  type Answer,
  type CopyAddress,
  type EntryBody,
  type SubmittedBody,
  type TestTenant,
} from '../support/server.js';

const LEE = 'lee@fabrikam.example';
const MAX = 'max@fabrikam.example';
const KIM = 'kim@fabrikam.example';

const recipientCopy = (message: number, mailbox = LEE): CopyAddress => ({
  networkMessageId: messageId(message),
  mailbox,
  isSendersCopy: false,
});
const sendersCopy = (message: number, mailbox = KIM): CopyAddress => ({
  ...recipientCopy(message, mailbox),
  isSendersCopy: true,
});

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start({ executor: { copyDeadlineMs: 1000 }, limits: { byHand: 5 } });
});
afterAll(async () => {
  await server.dispose();
});

/** Message 1 to Lee's Inbox and Max's Junk Email, message 2 to Lee's Deleted Items; soft deleted with Kim's copies. */
let tenant: TestTenant;
let first: EntryBody;
let headBefore: bigint;
beforeEach(async () => {
  tenant = server.tenant();
  await tenant.import([
    emailRow({ message: 1, to: LEE }),
    emailRow({ message: 1, to: MAX, location: 'Junk' }),
    emailRow({ message: 2, to: LEE, location: 'Deleted items' }),
  ]);
  first = await tenant.run(request());
  headBefore = await server.head();
});

const undo = (body: object = {}, approvalId = first.approvalId): Promise<Answer> =>
  tenant.as('approver').post(`/v1/remediations/${approvalId}/undo`, body);

const places = (): Record<string, string | undefined> => ({
  lee1: tenant.folderOf(recipientCopy(1)),
  max1: tenant.folderOf(recipientCopy(1, MAX)),
  kim1: tenant.folderOf(sendersCopy(1)),
  lee2: tenant.folderOf(recipientCopy(2)),
  kim2: tenant.folderOf(sendersCopy(2)),
});
const gone = Folders.recoverableDeletions;
const DELETED = { lee1: gone, max1: gone, kim1: gone, lee2: gone, kim2: gone };
const AT_FIRST = {
  lee1: Folders.inbox,
  max1: Folders.junk,
  kim1: Folders.sentItems,
  lee2: Folders.deletedItems,
  kim2: Folders.sentItems,
};

/** It was refused like this, and recorded nothing and moved nothing. */
async function expectRefused(answer: Answer, status: number, code: string, says?: string): Promise<void> {
  expectProblem(answer, status, code, says);
  expect(await server.head()).toBe(headBefore);
  expect(places()).toEqual(DELETED);
  expect(await tenant.history()).toEqual([first]);
}

describe('a part, by emails', () => {
  it('brings the sender’s copy of the message along', async () => {
    const done = await tenant.runUndo(first.approvalId, { emails: [emailRef(1, LEE)] });
    expect(done).toMatchObject({
      status: 'completed',
      sendersCopy: true,
      plan: { emails: 1, copies: 2, recipientCopies: 1, sendersCopies: 1 },
      counts: countsOf({ succeeded: 1 }, { succeeded: 1 }),
    });
    expect(places()).toEqual({ ...DELETED, lee1: Folders.inbox, kim1: Folders.sentItems });
  });

  it('leaves the rest for later undos, the sender’s copy only once', async () => {
    await tenant.runUndo(first.approvalId, { emails: [emailRef(1, LEE)] });
    const second = await tenant.runUndo(first.approvalId, { emails: [emailRef(1, MAX)] });
    expect(second.counts).toEqual(countsOf({ succeeded: 1 }));
    const rest = await tenant.runUndo(first.approvalId);
    expect(rest.counts).toEqual(countsOf({ succeeded: 1 }, { succeeded: 1 }));
    expect(places()).toEqual(AT_FIRST);
    expectProblem(await undo(), 409, 'alreadyUndone');
    expect((await tenant.entry(first.approvalId)).undoneBy).toHaveLength(3);
    expect(tenant.moves()).toBe(10);
  });

  it('is refused for an email that was not moved, naming it', async () => {
    const answer = await undo({ emails: [emailRef(1), emailRef(9)] });
    await expectRefused(answer, 400, 'copyNotMoved', 'emails[1]');
    expect(answer.body).toMatchObject({ errors: [{ field: 'emails[1]' }] });
  });
});

describe('a part, by copies', () => {
  it('brings back these copies and no others', async () => {
    const copies = [recipientCopy(1, MAX), { ...sendersCopy(2), mailbox: KIM.toUpperCase() }];
    const done = await tenant.runUndo(first.approvalId, { copies });
    expect(done.counts).toEqual(countsOf({ succeeded: 1 }, { succeeded: 1 }));
    expect(places()).toEqual({ ...DELETED, max1: Folders.junk, kim2: Folders.sentItems });
  });

  it('is refused for a copy that was not moved, naming it', async () => {
    const answer = await undo({ copies: [recipientCopy(1), recipientCopy(1, 'eve@fabrikam.example')] });
    await expectRefused(answer, 400, 'copyNotMoved', 'copies[1]');
    expect(answer.body).toMatchObject({ errors: [{ field: 'copies[1]' }] });
  });

  it('does not take a recipient’s copy for the sender’s', async () => {
    await expectRefused(await undo({ copies: [sendersCopy(1, LEE)] }), 400, 'copyNotMoved', 'copies[0]');
  });

  it('is refused for a copy that was brought back before, naming it', async () => {
    const before = await tenant.runUndo(first.approvalId, { copies: [recipientCopy(1)] });
    const answer = await undo({ copies: [recipientCopy(2), recipientCopy(1)] });
    expectProblem(answer, 409, 'alreadyUndone', 'copies[1]');
    expect(answer.body).toMatchObject({ undoneBy: [before.approvalId] });
    expect(places()).toEqual({ ...DELETED, lee1: Folders.inbox });
    expect(await tenant.history()).toHaveLength(2);
  });

  it('can be undone itself, and then brought back again', async () => {
    const part = await tenant.runUndo(first.approvalId, { copies: [recipientCopy(1)] });
    await tenant.runUndo(part.approvalId);
    expect(places()).toEqual(DELETED);
    // What deleted it now is the undo of the undo; the first one no longer has a say over this copy.
    expectProblem(await undo({ copies: [recipientCopy(1)] }), 409, 'alreadyUndone');
    const rest = await tenant.runUndo(first.approvalId);
    expect(rest.counts.submitted).toBe(4);
    expect(places()).toEqual({ ...AT_FIRST, lee1: gone });
  });
});

describe('what cannot be', () => {
  it.each<[string, object, string]>([
    ['emails and copies together', { emails: [emailRef(1)], copies: [recipientCopy(1)] }, 'copies'],
    ['no email', { emails: [] }, 'emails'],
    ['no copy', { copies: [] }, 'copies'],
    [
      'the same email twice',
      { emails: [emailRef(1), emailRef(2), emailRef(1, LEE.toUpperCase())] },
      'emails[2]',
    ],
    ['the same copy twice', { copies: [recipientCopy(1), recipientCopy(1)] }, 'copies[1]'],
    ['an unknown field', { everything: true }, 'everything'],
    [
      'an unknown field of a copy',
      { copies: [{ ...recipientCopy(1), folder: 'Inbox' }] },
      'copies[0].folder',
    ],
    [
      'a copy of no kind',
      { copies: [{ networkMessageId: messageId(1), mailbox: LEE }] },
      'copies[0].isSendersCopy',
    ],
    [
      'a kind that is a text',
      { copies: [{ ...recipientCopy(1), isSendersCopy: 'true' }] },
      'copies[0].isSendersCopy',
    ],
    [
      'no message id',
      { copies: [{ ...recipientCopy(1), networkMessageId: 'x' }] },
      'copies[0].networkMessageId',
    ],
    ['a list that is none', { emails: 'all' }, 'emails'],
    ['a nameless name', { name: '' }, 'name'],
  ])('%s', async (_what, body, field) => {
    const answer = await undo(body);
    expect(answer.status).toBe(400);
    await expectRefused(answer, 400, (answer.body as { code: string }).code, field);
  });

  it('more copies by hand than the limit', async () => {
    const copies = Array.from({ length: 6 }, (_, message) => recipientCopy(message));
    const answer = await undo({ copies });
    await expectRefused(answer, 422, 'selectionOverLimit', 'copies: names 6');
    expect(answer.body).toMatchObject({ field: 'copies', actual: 6, limit: 5 });
  });

  it.each(['00000000-0000-7000-8000-000000000000', 'no-id-at-all', '%2e%2e%2f'])(
    'an unknown remediation (%s)',
    async (approvalId) => {
      await expectRefused(await undo({}, approvalId), 404, 'remediationNotFound');
    },
  );

  it('another tenant’s remediation', async () => {
    const api = server.tenant().as('approver');
    const answer = await api.post(`/v1/remediations/${first.approvalId}/undo`, {});
    await expectRefused(answer, 404, 'remediationNotFound');
  });

  it('one that is still in progress', async () => {
    await tenant.import([emailRow({ message: 3, to: MAX })]);
    await tenant.fault(MAX, { kind: 'hang' });
    const running = await tenant.submit(request({ selection: { emails: [emailRef(3, MAX)] } }));
    await until(
      () => tenant.entry(running.approvalId),
      ({ status }) => status === 'inProgress',
    );
    expectProblem(await undo({}, running.approvalId), 409, 'notFinished', 'inProgress');
    await tenant.untilFinished(running.approvalId);
    await tenant.clearFault(MAX);
    await tenant.runUndo(running.approvalId);
    expect(places()).toEqual(DELETED);
  });
});

describe('two undos', () => {
  it.each<[string, object]>([
    ['of everything', {}],
    ['of the same copies', { copies: [recipientCopy(1), sendersCopy(1)] }],
  ])('%s at once: one is accepted, and nothing is doubled', async (_what, body) => {
    const answers = await Promise.all(Array.from({ length: 4 }, () => undo(body)));
    const accepted = answers.filter(({ status }) => status === 202);
    expect(accepted).toHaveLength(1);
    for (const answer of answers) if (answer.status !== 202) expect(answer.status).toBe(409);
    const { approvalId, plan } = accepted[0]?.body as SubmittedBody;
    const done = await tenant.untilFinished(approvalId);
    expect(done.counts.succeeded).toBe(plan.copies);
    expect(tenant.moves()).toBe(5 + plan.copies);
    expect(await tenant.history({ action: 'undo' })).toHaveLength(1);
    expect(await tenant.entry(first.approvalId)).toMatchObject({ undoneBy: [approvalId] });
  });

  it('one while the other is under way', async () => {
    await tenant.fault(MAX, { kind: 'hang' });
    const running = await tenant.undo(first.approvalId);
    const answer = await undo();
    expectProblem(answer, 409, 'undoInProgress');
    expect(answer.body).toMatchObject({ undoneBy: [running.approvalId] });
    await tenant.untilFinished(running.approvalId);
  });

  it('the second brings back what the first could not', async () => {
    await tenant.fault(MAX, { kind: 'hang' });
    const one = await tenant.runUndo(first.approvalId);
    expect(one).toMatchObject({
      status: 'completed',
      counts: countsOf({ succeeded: 2, timedOut: 1 }, { succeeded: 2 }),
    });
    expect(places()).toEqual({ ...AT_FIRST, max1: gone });
    await tenant.clearFault(MAX);
    const two = await tenant.runUndo(first.approvalId);
    expect(two).toMatchObject({ status: 'completed', counts: countsOf({ succeeded: 1 }) });
    expect(places()).toEqual(AT_FIRST);
    expectProblem(await undo(), 409, 'alreadyUndone');
    expect(tenant.moves()).toBe(10);
  });

  it('the same again under one Idempotency-Key is one', async () => {
    const again = () =>
      tenant
        .as('approver')
        .post(`/v1/remediations/${first.approvalId}/undo`, {}, { 'idempotency-key': 'undo-1' });
    const answers = await Promise.all(Array.from({ length: 8 }, again));
    const done = await tenant.untilFinished((answers[0]?.body as SubmittedBody).approvalId);
    answers.push(await again());
    for (const { status, body } of answers) {
      expect({ status, body }).toMatchObject({ status: 202, body: { approvalId: done.approvalId } });
    }
    expect(tenant.moves()).toBe(10);
    expect(await tenant.history({ action: 'undo' })).toHaveLength(1);
    const other = await tenant
      .as('approver')
      .post(
        `/v1/remediations/${first.approvalId}/undo`,
        { emails: [emailRef(1)] },
        { 'idempotency-key': 'undo-1' },
      );
    expectProblem(other, 409, 'idempotencyKeyReused', 'Idempotency-Key');
    expect(tenant.moves()).toBe(10);
  });
});

describe('to and fro', () => {
  it('an undo of an undo deletes again, and so on without end', async () => {
    let last = first;
    for (let turn = 1; turn <= 4; turn += 1) {
      last = await tenant.runUndo(last.approvalId);
      expect(last).toMatchObject({ status: 'completed', counts: { succeeded: 5 } });
      expect(places()).toEqual(turn % 2 === 1 ? AT_FIRST : DELETED);
    }
    const { copies } = await tenant.email(messageId(1), LEE);
    expect(copies.map(({ remediations }) => remediations.length)).toEqual([5, 5]);
    expect(copies[0]).toMatchObject({ folder: gone, lastMovedBy: last.approvalId });
    expectProblem(await undo(), 409, 'alreadyUndone');
  });

  it('an undo keeps its name and description', async () => {
    const done = await tenant.runUndo(first.approvalId, {
      name: 'Not phish',
      description: 'Checked by Kim.',
    });
    expect(done).toMatchObject({ name: 'Not phish', description: 'Checked by Kim.', severity: 'high' });
  });
});

describe('what the user has moved since', () => {
  it('is not fought with, not even by a second undo', async () => {
    await tenant.fault(LEE, { kind: 'movedByUser', folder: 'Projects' });
    const done = await tenant.runUndo(first.approvalId);
    expect(done).toMatchObject({
      status: 'completed',
      counts: countsOf({ succeeded: 1, nonRemediable: 2 }, { succeeded: 2 }),
    });
    expect(await tenant.log(done.approvalId, { outcome: 'nonRemediable' })).toMatchObject([
      { mailbox: LEE, reason: 'movedSince' },
      { mailbox: LEE, reason: 'movedSince' },
    ]);
    expect(places()).toEqual({ ...AT_FIRST, lee1: 'Projects', lee2: 'Projects' });
    expectProblem(await undo(), 409, 'alreadyUndone');
    expect(places()).toEqual({ ...AT_FIRST, lee1: 'Projects', lee2: 'Projects' });
  });

  it('is in its place already when the user has put it there', async () => {
    await tenant.fault(LEE, { kind: 'movedByUser', folder: Folders.inbox });
    const done = await tenant.runUndo(first.approvalId, { copies: [recipientCopy(1), recipientCopy(2)] });
    expect(done.counts).toEqual(countsOf({ alreadyInDestination: 1, nonRemediable: 1 }));
    expect(places()).toEqual({ ...DELETED, lee1: Folders.inbox, lee2: Folders.inbox });
  });

  it('is not found when the user has purged it', async () => {
    await tenant.fault(LEE, { kind: 'deletedByUser' });
    const done = await tenant.runUndo(first.approvalId, { copies: [recipientCopy(1)] });
    expect(done).toMatchObject({ status: 'failed', counts: countsOf({ notFound: 1 }) });
    expect(places()).toMatchObject({ lee1: undefined, max1: gone });
  });
});

describe('a move to the Inbox', () => {
  it('brings deleted copies back, the senders’ to Sent Items; its undo puts each where it was', async () => {
    const moved = await tenant.run(
      request({ action: 'moveToInbox', selection: { query: { location: 'softDeleted' } } }),
    );
    expect(moved.counts).toEqual(countsOf({ succeeded: 3 }, { succeeded: 2 }));
    expect(places()).toEqual({
      lee1: Folders.inbox,
      max1: Folders.inbox,
      kim1: Folders.sentItems,
      lee2: Folders.inbox,
      kim2: Folders.sentItems,
    });
    // Every copy of the soft delete has been moved by something else since.
    expectProblem(await undo(), 409, 'nothingToUndo');
    await tenant.runUndo(moved.approvalId);
    expect(places()).toEqual(DELETED);
  });

  it('takes mail out of Junk Email, and its undo puts it back there', async () => {
    const fresh = server.tenant();
    await fresh.import([emailRow({ to: LEE, location: 'Junk' }), emailRow({ to: MAX })]);
    const moved = await fresh.run(request({ action: 'moveToInbox', sendersCopy: false }));
    expect(moved.counts).toEqual(countsOf({ succeeded: 1, alreadyInDestination: 1 }));
    expect(fresh.folderOf(recipientCopy(1))).toBe(Folders.inbox);
    expect((await fresh.events(moved.approvalId)).map(({ type }) => type)).toContain('RecipientCopyMoved');
    expect(await fresh.search({ location: 'inboxFolder' })).toHaveLength(2);

    const back = await fresh.runUndo(moved.approvalId);
    expect(back.counts).toEqual(countsOf({ succeeded: 1 }));
    expect(fresh.folderOf(recipientCopy(1))).toBe(Folders.junk);
    expect(fresh.folderOf(recipientCopy(1, MAX))).toBe(Folders.inbox);
    expect(await fresh.search({ location: 'junkFolder' })).toHaveLength(1);
  });
});
