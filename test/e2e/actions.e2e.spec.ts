import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ACTIONS, allowsSendersCopy, type Action, type Location } from '#libs/remediation';
import {
  Folders,
  TestServer,
  countsOf,
  emailRef,
  emailRow,
  expectProblem,
  messageId,
  request,
  type Answer,
  type CopyAddress,
  type EntryBody,
  type PreviewBody,
  type SubmittedBody,
  type TestTenant,
} from '../support/server.js';

const LEE = 'lee@fabrikam.example';
const KIM = 'kim@fabrikam.example';

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start({ approval: { fourEyesForHardDelete: 'false' } });
});
afterAll(async () => {
  await server.dispose();
});

const copyOf = (message: number): CopyAddress => ({
  networkMessageId: messageId(message),
  mailbox: LEE,
  isSendersCopy: false,
});
const sendersCopyOf = (message: number): CopyAddress => ({
  ...copyOf(message),
  mailbox: KIM,
  isSendersCopy: true,
});

/** As somebody who may do everything that can be done to a copy. */
const submit = (tenant: TestTenant, body: object): Promise<Answer> =>
  tenant.as('approver', 'purger').post('/v1/remediations', body);

async function run(tenant: TestTenant, body: object): Promise<EntryBody> {
  const answer = await submit(tenant, body);
  if (answer.status !== 202) throw new Error(answer.text);
  return tenant.untilFinished((answer.body as SubmittedBody).approvalId);
}

/** Where a copy can be, as the catalogue and as the mailbox has it; the n-th is that of message n + 1. */
const PLACES: readonly { readonly location: string; readonly folder: string; readonly found: Location }[] = [
  { location: 'Inbox/folder', folder: Folders.inbox, found: 'inboxFolder' },
  { location: 'Junk', folder: Folders.junk, found: 'junkFolder' },
  { location: 'Deleted items', folder: Folders.deletedItems, found: 'deletedItems' },
  { location: 'Quarantine', folder: Folders.quarantine, found: 'quarantine' },
  { location: 'Soft deleted', folder: Folders.recoverableDeletions, found: 'softDeleted' },
];
const NOWHERE = [
  { location: 'On-premises/External', reason: 'onPremisesExternal' },
  { location: 'Failed', reason: 'deliveryFailed' },
  { location: 'Dropped', reason: 'deliveryDropped' },
  { location: 'Hard deleted', reason: 'hardDeleted' },
  { location: 'Unknown', reason: 'locationUnknown' },
];

const GOAL: Readonly<Record<Action, { readonly folder: string; readonly found: Location }>> = {
  softDelete: { folder: Folders.recoverableDeletions, found: 'softDeleted' },
  hardDelete: { folder: Folders.recoverablePurges, found: 'hardDeleted' },
  moveToInbox: { folder: Folders.inbox, found: 'inboxFolder' },
  moveToJunk: { folder: Folders.junk, found: 'junkFolder' },
  moveToDeletedItems: { folder: Folders.deletedItems, found: 'deletedItems' },
  moveToQuarantine: { folder: Folders.quarantine, found: 'quarantine' },
  releaseFromQuarantine: { folder: Folders.inbox, found: 'inboxFolder' },
};

describe.each(ACTIONS)('%s of a copy in every folder', (action) => {
  const goal = GOAL[action];
  /** What has to become of a copy that is in this folder. */
  const fateIn = (folder: string): 'succeeded' | 'alreadyInDestination' | 'nonRemediable' => {
    if (folder === goal.folder) return 'alreadyInDestination';
    return action === 'releaseFromQuarantine' && folder !== Folders.quarantine
      ? 'nonRemediable'
      : 'succeeded';
  };
  let tenant: TestTenant;
  let entry: EntryBody;
  beforeAll(async () => {
    tenant = server.tenant();
    const locations = [...PLACES, ...NOWHERE].map(({ location }) => location);
    await tenant.import(
      locations.map((location, index) => emailRow({ message: index + 1, location, direction: 'Inbound' })),
    );
    entry = await run(tenant, request({ action, sendersCopy: false }));
  });

  it('moves those that it is for, and says why not of the others', async () => {
    const fates = PLACES.map(({ folder }) => fateIn(folder));
    const of = (fate: string) => fates.filter((each) => each === fate).length;
    expect(entry).toMatchObject({
      status: 'completed',
      action,
      counts: countsOf({
        succeeded: of('succeeded'),
        alreadyInDestination: of('alreadyInDestination'),
        nonRemediable: of('nonRemediable') + NOWHERE.length,
      }),
    });
    const log = await tenant.log(entry.approvalId);
    expect(
      log.map(({ outcome, reason, fromFolder, toFolder }) => [outcome, reason, fromFolder, toFolder]),
    ).toEqual([
      ...PLACES.map(({ folder }) => {
        const fate = fateIn(folder);
        if (fate === 'succeeded') return [fate, null, folder, goal.folder];
        return fate === 'nonRemediable'
          ? [fate, 'notInQuarantine', null, null]
          : [fate, 'alreadyInDestination', folder, folder];
      }),
      ...NOWHERE.map(({ reason }) => ['nonRemediable', reason, null, null]),
    ]);
    PLACES.forEach(({ folder }, index) => {
      const isMoved = fateIn(folder) === 'succeeded';
      expect(tenant.folderOf(copyOf(index + 1))).toBe(isMoved ? goal.folder : folder);
    });
    expect(tenant.moves()).toBe(of('succeeded'));
  });

  it('shows in the catalogue where each is now', async () => {
    for (const [index, { folder, found }] of PLACES.entries()) {
      const [email] = await tenant.search({ networkMessageId: messageId(index + 1) });
      const isMoved = fateIn(folder) === 'succeeded';
      expect([folder, email?.location]).toEqual([folder, isMoved ? goal.found : found]);
    }
  });

  if (action === 'hardDelete') return;
  it('is undone to the folder that each came from', async () => {
    const undo = await tenant.runUndo(entry.approvalId);
    expect(undo).toMatchObject({ status: 'completed', action: 'undo' });
    expect(undo.counts.succeeded).toBe(entry.counts.succeeded);
    PLACES.forEach(({ folder }, index) => {
      expect(tenant.folderOf(copyOf(index + 1))).toBe(folder);
    });
  });
});

describe('the sender’s copy option', () => {
  const allowed = ACTIONS.filter(allowsSendersCopy);
  it.each(allowed)('goes with %s', async (action) => {
    const tenant = server.tenant();
    await tenant.import([emailRow({ location: 'Junk' })]);
    const { plan } = await tenant.preview(request({ action }));
    expect(plan).toMatchObject({ recipientCopies: 1, sendersCopies: 1 });
    const entry = await run(tenant, request({ action }));
    // The sender's copy lies in Sent Items, which is where moveToInbox takes it.
    expect(entry.counts).toEqual(
      countsOf({ succeeded: 1 }, { [action === 'moveToInbox' ? 'alreadyInDestination' : 'succeeded']: 1 }),
    );
    expect(tenant.folderOf(sendersCopyOf(1))).toBe(
      action === 'moveToInbox' ? Folders.sentItems : Folders.recoverableDeletions,
    );
  });

  it.each(ACTIONS.filter((action) => !allowsSendersCopy(action)))(
    'is refused with %s, and the answer says with which actions it goes',
    async (action) => {
      const tenant = server.tenant();
      await tenant.import([emailRow()]);
      const before = await tenant.state();
      const refused = [
        await submit(tenant, request({ action })),
        await tenant.as('proposer').post('/v1/remediations/preview', request({ action })),
      ];
      for (const answer of refused) {
        expectProblem(
          answer,
          400,
          'invalidInput',
          new RegExp(`sendersCopy.*${action}.*softDelete.*moveToInbox`),
        );
        expect(answer.body).toMatchObject({ errors: [{ field: 'sendersCopy' }] });
      }
      expect(await tenant.state()).toEqual(before);

      const entry = await run(tenant, request({ action, sendersCopy: false }));
      expect(entry.plan.sendersCopies).toBe(0);
      expect(tenant.folderOf(sendersCopyOf(1))).toBe(Folders.sentItems);
    },
  );
});

describe('a hard delete', () => {
  const hardDelete = request({ action: 'hardDelete', sendersCopy: false });
  const newTenant = async (): Promise<TestTenant> => {
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    return tenant;
  };

  it('needs a role of its own, to propose it, to run it, to approve it and to try it again', async () => {
    const tenant = await newTenant();
    const before = await tenant.state();
    for (const role of ['proposer', 'approver'] as const) {
      const answer = await tenant.as(role).post('/v1/remediations', hardDelete);
      expectProblem(answer, 403, 'roleMissing', 'purger');
    }
    // On its own it opens nothing.
    expectProblem(await tenant.as('purger').post('/v1/remediations', hardDelete), 403, 'roleMissing');
    expect(await tenant.state()).toEqual(before);

    const answer = await tenant.as('proposer', 'purger').post('/v1/remediations', hardDelete);
    expect(answer).toMatchObject({ status: 202, body: { status: 'pending', undoable: false } });
    const { approvalId, selectionHash } = answer.body as SubmittedBody;
    const path = `/v1/remediations/${approvalId}`;
    expectProblem(
      await tenant.as('approver').post(`${path}/approve`, { selectionHash }),
      403,
      'roleMissing',
      'purger',
    );
    expect(await tenant.entry(approvalId)).toMatchObject({ status: 'pending' });
    expect(tenant.moves()).toBe(0);
    const approved = await tenant.as('approver', 'purger').post(`${path}/approve`, { selectionHash });
    expect(approved.status).toBe(202);
    expect(await tenant.untilFinished(approvalId)).toMatchObject({ status: 'completed' });
    expectProblem(await tenant.as('approver').post(`${path}/retry`, {}), 403, 'roleMissing', 'purger');
  });

  it('says in the preview that it is for good, and anybody may reject it', async () => {
    const tenant = await newTenant();
    expect(await tenant.preview(hardDelete)).toMatchObject({
      undoable: false,
    } satisfies Partial<PreviewBody>);
    expect(await tenant.preview(request())).toMatchObject({ undoable: true });
    const answer = await tenant.as('proposer', 'purger').post('/v1/remediations', hardDelete);
    const { approvalId } = answer.body as SubmittedBody;
    const reason = { reason: 'soft will do' };
    const rejected = await tenant.as('approver').post(`/v1/remediations/${approvalId}/reject`, reason);
    expect(rejected).toMatchObject({ status: 200, body: { status: 'rejected' } });
    expect(tenant.folderOf(copyOf(1))).toBe(Folders.inbox);
  });

  it('cannot be undone, and does not offer it', async () => {
    const tenant = await newTenant();
    const entry = await run(tenant, hardDelete);
    expect(entry).toMatchObject({ status: 'completed', counts: countsOf({ succeeded: 1 }) });
    expect(entry.links).not.toHaveProperty('undo');
    expect((await tenant.events(entry.approvalId)).map(({ type }) => type)).toContain(
      'RecipientCopyHardDeleted',
    );
    const before = await tenant.state();
    const path = `/v1/remediations/${entry.approvalId}/undo`;
    for (const body of [{}, { emails: [emailRef(1)] }, { copies: [copyOf(1)] }]) {
      const answer = await tenant.as('admin').post(path, body);
      expectProblem(answer, 409, 'notUndoable', 'hard delete');
    }
    expect(await tenant.state()).toEqual(before);
  });

  it('leaves nothing to act on: the copy is nobody’s any more', async () => {
    const tenant = await newTenant();
    // Planned while the copy was still there, and approved when it is not.
    const planned = await tenant.submit(request({ sendersCopy: false }), 'proposer');
    await run(tenant, hardDelete);
    expect(tenant.folderOf(copyOf(1))).toBe(Folders.recoverablePurges);
    expect(await tenant.search({ location: 'hardDeleted' })).toHaveLength(1);
    expect(await tenant.search({ location: 'inboxFolder' })).toHaveLength(0);

    await tenant
      .as('approver')
      .post(`/v1/remediations/${planned.approvalId}/approve`, { selectionHash: planned.selectionHash });
    expect(await tenant.untilFinished(planned.approvalId)).toMatchObject({
      status: 'completed',
      counts: countsOf({ notFound: 1 }),
    });
    for (const action of ACTIONS) {
      const { counts, approvalId } = await run(tenant, request({ action, sendersCopy: false }));
      expect(counts).toEqual(countsOf({ nonRemediable: 1 }));
      expect(await tenant.log(approvalId)).toMatchObject([{ reason: 'hardDeleted' }]);
    }
    expect(tenant.moves()).toBe(1);
  });

  it('ends what a soft delete of the same copies could bring back', async () => {
    const tenant = await newTenant();
    const soft = await run(tenant, request({ sendersCopy: false }));
    await run(tenant, hardDelete);
    const answer = await tenant.as('approver').post(`/v1/remediations/${soft.approvalId}/undo`, {});
    expectProblem(answer, 409, 'nothingToUndo');
    expect(tenant.folderOf(copyOf(1))).toBe(Folders.recoverablePurges);
  });
});

describe('quarantine and release', () => {
  it('take a copy out of its folder, into the Inbox, and back step by step', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow({ location: 'Junk' })]);
    const place = () => tenant.folderOf(copyOf(1));

    const held = await run(tenant, request({ action: 'moveToQuarantine', sendersCopy: false }));
    expect([held.counts.succeeded, place()]).toEqual([1, Folders.quarantine]);
    const release = request({ action: 'releaseFromQuarantine', sendersCopy: false });
    const released = await run(tenant, release);
    expect([released.counts.succeeded, place()]).toEqual([1, Folders.inbox]);
    expect((await run(tenant, release)).counts).toEqual(countsOf({ alreadyInDestination: 1 }));

    await tenant.runUndo(released.approvalId);
    expect(place()).toBe(Folders.quarantine);
    // It was released since, and brought back by something else than its own undo.
    const answer = await tenant.as('approver').post(`/v1/remediations/${held.approvalId}/undo`, {});
    expectProblem(answer, 409, 'nothingToUndo');
    expect(place()).toBe(Folders.quarantine);
  });

  it('leave alone what its user has moved out of quarantine', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow({ location: 'Quarantine', direction: 'Inbound' })]);
    await tenant.fault(LEE, { kind: 'movedByUser', folder: Folders.deletedItems });
    const { status, counts, approvalId } = await run(
      tenant,
      request({ action: 'releaseFromQuarantine', sendersCopy: false }),
    );
    expect({ status, counts }).toEqual({ status: 'completed', counts: countsOf({ nonRemediable: 1 }) });
    expect(await tenant.log(approvalId)).toMatchObject([{ reason: 'notInQuarantine' }]);
    expect(tenant.folderOf(copyOf(1))).toBe(Folders.deletedItems);
  });
});
