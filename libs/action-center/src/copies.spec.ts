import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { START } from '#libs/kernel';
import { Folders } from '#libs/mailbox';
import type { Stored, ViewSpec } from '#libs/read-store';
import { SqliteReadStore } from '#libs/read-store/sqlite';
import {
  batchCodecs,
  copyKeyOf,
  isCopyEvent,
  outcomeOf,
  type CopyIdentity,
  type MovedCopy,
  type SelectedEmail,
  type Submission,
} from '#libs/remediation';
import { emailOf } from '../../../test/support/examples.js';
import { InMemoryTenant } from '../../../test/support/in-memory-tenant.js';
import { Fold, RemediationWorld, TENANT } from '../../../test/support/remediation-world.js';
import { actionLogView } from './action-log.view.js';
import { Copies, CopyStatesOfViews, placeAfter, type Touch } from './copies.js';
import { messageBatchesView } from './message-batches.view.js';

/** Counts the logs that were read. */
class CountingStore extends SqliteReadStore {
  logs = 0;

  override getMany<Doc>(view: ViewSpec<Doc>, ids: readonly string[]): Promise<Stored<Doc>[]> {
    if (view.name === actionLogView.name) this.logs += ids.length;
    return super.getMany(view, ids);
  }
}

const MESSAGES = ['m1', 'm2', 'm3'];
/** The last two sort by their code points in another order than by their code units. */
const RECIPIENTS = ['amy@fabrikam.example', 'ｂob@fabrikam.example', '😀@fabrikam.example'];
const EMAILS = MESSAGES.flatMap((networkMessageId) =>
  RECIPIENTS.map((recipientEmailAddress) => emailOf({ networkMessageId, recipientEmailAddress })),
);
const SENDER = emailOf().sender;
const COPIES: readonly CopyIdentity[] = MESSAGES.flatMap((networkMessageId) => [
  ...RECIPIENTS.map((mailbox) => ({ networkMessageId, kind: 'recipient' as const, mailbox })),
  { networkMessageId, kind: 'sender' as const, mailbox: SENDER },
]);

describe('copies', () => {
  let folder: string;
  let store: CountingStore;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'copies-'));
    store = new CountingStore(folder);
  });

  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });

  /** Writes what the views make of the log so far. */
  async function show(world: RemediationWorld): Promise<void> {
    await world.catchUp();
    const messageBatches = new Fold(world.store, messageBatchesView);
    await messageBatches.catchUp();
    const position = await world.store.head();
    const stored = <Doc>(docs: ReadonlyMap<string, Doc>) =>
      Array.from(docs, ([id, doc]) => ({ id, position, doc }));
    await store.prepare(actionLogView);
    await store.prepare(messageBatchesView);
    await store.commit(actionLogView, stored(world.actionLog.docs), position);
    await store.commit(messageBatchesView, stored(messageBatches.docs), position);
  }

  /** The touches of every copy, and which of them moved it, read from the log itself. */
  async function touchesInEvents(
    world: RemediationWorld,
  ): Promise<{ expected: Map<string, Touch[]>; moved: (MovedCopy & { readonly by: string })[] }> {
    const found = new Map<string, Touch[]>();
    const moved: (MovedCopy & { readonly by: string })[] = [];
    for await (const recorded of world.store.readAll(START)) {
      const event = batchCodecs.decode(recorded);
      if (event === undefined || !isCopyEvent(event)) continue;
      const { kind, ...what } = outcomeOf(event);
      const { approvalId, networkMessageId, mailbox } = event.data;
      const copy = { networkMessageId, kind, mailbox };
      const key = copyKeyOf(copy);
      if (what.outcome === 'succeeded')
        moved.push({ ...copy, to: what.to ?? '', position: recorded.position, by: approvalId });
      found.set(key, [
        ...(found.get(key) ?? []),
        { approvalId, ...what, at: recorded.metadata.occurredAt ?? '' },
      ]);
    }
    return { expected: found, moved };
  }

  const touchesOf = async (...asked: Parameters<Copies['touches']>) =>
    (await new Copies(store).touches(...asked)).byCopy();

  /** Some emails remediated, and where a user has moved something before that runs. */
  const selection = fc.record({
    emails: fc.subarray(EMAILS, { minLength: 1 }),
    sendersCopy: fc.boolean(),
    batchCopies: fc.integer({ min: 1, max: 5 }),
    userMoves: fc.option(fc.constantFrom(...COPIES), { nil: undefined }),
    runs: fc.nat(),
  });

  it('tells of every copy what its events say, in their order and not in that of the plans', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(selection, { minLength: 1, maxLength: 3 }), async (selections) => {
        const world = new RemediationWorld();
        const tenant = new InMemoryTenant();
        const placeOf = ({ networkMessageId, kind, mailbox }: CopyIdentity) => ({
          ...{ tenant: TENANT, mailbox, networkMessageId, copyKind: kind },
        });
        for (const copy of COPIES) {
          tenant.put(placeOf(copy), copy.kind === 'sender' ? Folders.sentItems : Folders.inbox);
        }
        const submitted: { submission: Submission; userMoves: CopyIdentity | undefined; runs: number }[] = [];
        for (const { emails, sendersCopy, batchCopies, ...when } of selections) {
          const rules = { action: 'softDelete' as const, sendersCopy };
          submitted.push({ ...when, submission: await world.submit(emails, rules, { batchCopies }) });
        }
        submitted.sort((a, b) => a.runs - b.runs);
        for (const { submission, userMoves } of submitted) {
          if (userMoves !== undefined) tenant.put(placeOf(userMoves), 'Inbox/Mine');
          await world.run(submission, tenant);
        }
        await store.close();
        await rm(folder, { recursive: true });
        store = new CountingStore(folder);
        await show(world);

        const { expected, moved } = await touchesInEvents(world);
        const found = await touchesOf(TENANT, COPIES);
        expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
        const states = new CopyStatesOfViews(world.store, store);
        await states.ready();
        for (const copy of COPIES) {
          const key = copyKeyOf(copy);
          const [alone] = await touchesOf(TENANT, [copy]);
          expect(alone?.[1] ?? []).toEqual(expected.get(key) ?? []);
        }
        for (const { submission } of submitted) {
          const { approvalId } = submission;
          const touched = await states.touchedBy(TENANT, approvalId, EMAILS);
          expect([...touched].sort()).toEqual(recipientsTouchedBy(approvalId, expected));
          const own = moved.filter(({ by }) => by === approvalId);
          expect(await states.stillMovedBy(TENANT, approvalId, own)).toEqual(
            own.filter((copy) => placeAfter(expected.get(copyKeyOf(copy)) ?? []).lastMovedBy === approvalId),
          );
        }
      }),
      { numRuns: 25 },
    );
  });

  it('reads one log for a copy of a message that fills many, and those of its tenant alone', async () => {
    const world = new RemediationWorld();
    const all = Array.from({ length: 90 }, (_, n) =>
      emailOf({ recipientEmailAddress: `u${String(n).padStart(3, '0')}@fabrikam.example` }),
    );
    const { approvalId } = await world.submit(all, { action: 'softDelete', sendersCopy: true });
    await show(world);
    const copy: CopyIdentity = {
      networkMessageId: 'm1',
      kind: 'recipient',
      mailbox: 'u050@fabrikam.example',
    };

    expect([...(await touchesOf(TENANT, [copy]))]).toEqual([]);
    expect(store.logs).toBe(1);
    await touchesOf(TENANT, [copy], (by) => by !== approvalId);
    await touchesOf(TENANT, [{ ...copy, networkMessageId: 'm' }]);
    await touchesOf('another', [copy]);
    await touchesOf(TENANT, []);
    expect(store.logs).toBe(1);
    await touchesOf(TENANT, [copy], (by) => by === approvalId);
    expect(store.logs).toBe(2);
  });

  it('finds the copies of many messages', async () => {
    const world = new RemediationWorld();
    const tenant = new InMemoryTenant();
    const emails = Array.from({ length: 300 }, (_, n) =>
      emailOf({ networkMessageId: `m${String(n).padStart(3, '0')}` }),
    );
    for (const email of emails) tenant.put(placeOfEmail(email), Folders.inbox);
    const submission = await world.submit(
      emails,
      { action: 'softDelete', sendersCopy: false },
      { batchCopies: 40 },
    );
    await world.run(submission, tenant);
    await show(world);
    const copies = emails.map(({ networkMessageId, recipientEmailAddress: mailbox }) => ({
      ...{ networkMessageId, kind: 'recipient' as const, mailbox },
    }));
    expect((await touchesOf(TENANT, copies)).size).toBe(300);
  });

  it.each<[string, readonly Partial<Touch>[], string | undefined, ReturnType<typeof placeAfter>]>([
    ['nothing was done', [], 'Inbox', { folder: 'Inbox' }],
    ['it was moved', [{ to: 'Bin' }], 'Inbox', { folder: 'Bin', lastMovedBy: 'r0' }],
    ['it was moved twice', [{ to: 'Bin' }, { to: 'Inbox' }], 'Inbox', { folder: 'Inbox', lastMovedBy: 'r1' }],
    [
      'it was where another remediation had moved it to',
      [{ to: 'Bin' }, { outcome: 'alreadyInDestination', to: 'Bin' }],
      'Inbox',
      { folder: 'Bin', lastMovedBy: 'r0' },
    ],
    [
      'its user had moved it to the same place',
      [{ to: 'Bin' }, { outcome: 'alreadyInDestination', to: 'Junk' }],
      'Inbox',
      { folder: 'Junk' },
    ],
    ['it was not found any more', [{ to: 'Bin' }, { outcome: 'notFound' }], 'Inbox', { folder: null }],
    [
      'somebody else had moved it',
      [{ to: 'Bin' }, { outcome: 'nonRemediable', reason: 'movedSince' }],
      'Inbox',
      { folder: 'Bin' },
    ],
    [
      'what came after did nothing to it',
      [{ to: 'Bin' }, { outcome: 'failed' }, { outcome: 'timedOut' }, { outcome: 'cancelled' }],
      'Inbox',
      { folder: 'Bin', lastMovedBy: 'r0' },
    ],
    ['nothing is known of where it was', [{ outcome: 'failed' }], undefined, { folder: undefined }],
  ])('are where they were left: %s', (_, touches, delivered, place) => {
    const all = touches.map((touch, n): Touch => ({
      ...{ approvalId: `r${String(n)}`, outcome: 'succeeded', at: '2026-11-02T06:00:00.000Z' },
      ...touch,
    }));
    expect(placeAfter(all, delivered)).toEqual(place);
  });
});

const placeOfEmail = ({ networkMessageId, recipientEmailAddress: mailbox }: SelectedEmail) => ({
  ...{ tenant: TENANT, mailbox, networkMessageId, copyKind: 'recipient' as const },
});

function recipientsTouchedBy(
  approvalId: string,
  touches: ReadonlyMap<string, readonly Touch[]>,
): readonly string[] {
  return EMAILS.filter(({ networkMessageId, recipientEmailAddress: mailbox }) =>
    (touches.get(copyKeyOf({ networkMessageId, kind: 'recipient', mailbox })) ?? []).some(
      (touch) => touch.approvalId === approvalId,
    ),
  )
    .map(({ networkMessageId, recipientEmailAddress }) => `${networkMessageId}/${recipientEmailAddress}`)
    .sort();
}
