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
  type Role,
  type TestTenant,
} from '../support/server.js';
import type { EmailPanelBody, PanelActionBody } from '../../apps/server/src/emails/emails.dto.js';

const LEE = 'lee@fabrikam.example';
const KIM = 'kim@fabrikam.example';

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(async () => {
  await server.dispose();
});

const panelOf = async (
  tenant: TestTenant,
  roles: readonly [Role, ...Role[]],
  to = LEE,
): Promise<EmailPanelBody> =>
  bodyOf(await tenant.as(...roles).get(`/v1/emails/${messageId(1)}/${to}/panel`), 200) as EmailPanelBody;

/** `possible`, or the reason why not; then the same for the copy of the sender. */
const short = ({ actions }: EmailPanelBody): Readonly<Record<string, string>> =>
  Object.fromEntries(
    actions.map(({ action, sendersCopy, ...own }: PanelActionBody) => [
      action,
      [own, ...(sendersCopy === null ? [] : [sendersCopy])]
        .map(({ possible, reason, detail }) => {
          expect(detail).toEqual(possible ? null : expect.stringMatching(/./));
          return possible ? 'possible' : String(reason);
        })
        .join(' / '),
    ]),
  );

describe('the panel of an email', () => {
  it('tells its copies, what happened to them and who did it, and what can be done now', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    const all = ['approver', 'purger'] as const;

    const fresh = await panelOf(tenant, all);
    expect(fresh.email).toMatchObject({ networkMessageId: messageId(1), recipientEmailAddress: LEE });
    expect(fresh.copies).toEqual([
      { ...copy(LEE, false), folder: Folders.inbox },
      { ...copy(KIM, true), folder: Folders.sentItems },
    ]);
    expect(fresh.timeline).toMatchObject([{ event: 'delivered', source: 'system', location: 'inboxFolder' }]);
    expect(short(fresh)).toEqual({
      softDelete: 'possible / possible',
      hardDelete: 'possible / noSuchOption',
      moveToInbox: 'alreadyInDestination / alreadyInDestination',
      moveToJunk: 'possible / noSuchOption',
      moveToDeletedItems: 'possible / noSuchOption',
      moveToQuarantine: 'possible / noSuchOption',
      releaseFromQuarantine: 'notInQuarantine / noSuchOption',
      undo: 'nothingToUndo',
    });

    const proposal = await tenant.submit(request({ selection: { emails: [emailRef(1)] } }), 'proposer');
    const { approvalId, selectionHash } = proposal;
    await tenant.as('approver').post(`/v1/remediations/${approvalId}/approve`, { selectionHash });
    await tenant.untilFinished(approvalId);
    const deleted = await panelOf(tenant, all);
    expect(deleted.copies).toEqual([
      { ...copy(LEE, false), folder: Folders.recoverableDeletions, lastMovedBy: approvalId },
      { ...copy(KIM, true), folder: Folders.recoverableDeletions, lastMovedBy: approvalId },
    ]);
    const done = {
      event: 'remediated',
      source: 'admin',
      approvalId,
      name: 'Payroll phish',
      action: 'softDelete',
      submittedBy: 'proposer@ops.example',
      decidedBy: 'approver@ops.example',
      outcome: 'succeeded',
      toFolder: Folders.recoverableDeletions,
    };
    expect(deleted.timeline.slice(1)).toHaveLength(2);
    expect(deleted.timeline.slice(1)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ ...done, mailbox: LEE, fromFolder: Folders.inbox }),
        expect.objectContaining({
          ...done,
          mailbox: KIM,
          isSendersCopy: true,
          fromFolder: Folders.sentItems,
        }),
      ]),
    );
    expect(short(deleted)).toMatchObject({
      softDelete: 'alreadyInDestination / alreadyInDestination',
      moveToInbox: 'possible / possible',
      undo: 'possible',
    });
    expect(deleted.actions.find(({ action }) => action === 'undo')?.undoes).toEqual([approvalId]);

    await tenant.runUndo(approvalId);
    const back = await panelOf(tenant, all);
    expect(back.copies.map(({ folder }) => folder)).toEqual([Folders.inbox, Folders.sentItems]);
    expect(back.timeline.map(({ action }) => action)).toEqual([
      ...[null, 'softDelete', 'softDelete', 'undo', 'undo'],
    ]);
  });

  it.each<[readonly [Role, ...Role[]], Record<string, string>]>([
    [['viewer'], { softDelete: 'roleNeeded / roleNeeded', hardDelete: 'roleNeeded / noSuchOption' }],
    [['proposer'], { softDelete: 'possible / possible', hardDelete: 'purgerNeeded / noSuchOption' }],
    [['proposer', 'purger'], { hardDelete: 'possible / noSuchOption' }],
    [['admin'], { hardDelete: 'possible / noSuchOption' }],
  ])('says to %j what their roles allow', async (roles, expected) => {
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    expect(short(await panelOf(tenant, roles))).toMatchObject(expected);
  });

  it('leaves the sender of inbound mail alone, and tells of a copy that is out of reach why', async () => {
    const tenant = server.tenant();
    const FAR = 'pat@elsewhere.example';
    await tenant.import([
      emailRow({ direction: 'Inbound', from: 'eve@evil.example', location: 'Quarantine' }),
      emailRow({ to: FAR, direction: 'Outbound', location: 'On-premises/External' }),
    ]);
    const inbound = await panelOf(tenant, ['approver']);
    expect(inbound.copies).toEqual([{ ...copy(LEE, false), folder: Folders.quarantine }]);
    expect(short(inbound)).toMatchObject({
      softDelete: 'possible / senderElsewhere',
      releaseFromQuarantine: 'possible / noSuchOption',
      moveToQuarantine: 'alreadyInDestination / noSuchOption',
    });
    const outbound = await panelOf(tenant, ['approver'], FAR);
    expect(outbound.copies[0]).toEqual({
      ...copy(FAR, false),
      folder: null,
      state: 'outOfReach',
      reason: 'onPremisesExternal',
    });
    expect(outbound.copies[1]).toMatchObject({ mailbox: KIM, isSendersCopy: true });
    expect(short(outbound)).toMatchObject({ softDelete: 'onPremisesExternal / possible' });
  });

  it('tells of a copy that was looked for in vain', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    await tenant.fault(LEE, { kind: 'deletedByUser' });
    await tenant.run(request({ sendersCopy: false, selection: { emails: [emailRef(1)] } }));
    const panel = await panelOf(tenant, ['approver']);
    expect(panel.copies[0]).toMatchObject({ folder: null, state: 'notFound', reason: 'notFoundInMailbox' });
    expect(panel.timeline[1]).toMatchObject({ outcome: 'notFound', reason: 'notFoundInMailbox' });
    expect(short(panel)).toMatchObject({ moveToJunk: 'notFoundInMailbox / noSuchOption' });
  });

  it('is of the own tenant, and of emails that there are', async () => {
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    const path = `/v1/emails/${messageId(1)}/${LEE}/panel`;
    expectProblem(await server.tenant().as('viewer').get(path), 404, 'emailNotFound');
    expectProblem(await tenant.as('viewer').get(path.replace(LEE, KIM)), 404, 'emailNotFound');
    expect((await tenant.as('viewer').get(path.replace(LEE, LEE.toUpperCase()))).status).toBe(200);
  });
});

const copy = (mailbox: string, isSendersCopy: boolean) => ({
  mailbox,
  isSendersCopy,
  state: 'inMailbox',
  reason: null,
  lastMovedBy: null,
});
