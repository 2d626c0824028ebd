import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { copyOf, emailOf, messageOf, tallyOf } from '../../../../test/support/examples.js';
import {
  LOCATIONS,
  MAX_BATCH_BYTES,
  MAX_BATCH_COPIES,
  PlanCounter,
  allowsSendersCopy,
  batcher,
  copyKeyOf,
  isUndoable,
  notRemediableAt,
  planner,
  sendersCopyInScope,
  startingTallyOf,
  type Action,
  type Batch,
  type Direction,
  type PlanRules,
  type PlannedCopy,
  type SelectedEmail,
} from './index.js';

const DELETIONS = 'Recoverable Items/Deletions';
const softDelete: PlanRules = { action: 'softDelete', sendersCopy: true };

const plan = (rules: PlanRules, ...emails: SelectedEmail[]): PlannedCopy[] => {
  const open = planner(rules);
  return [...emails.flatMap((email) => open.add(email)), ...open.end()];
};

/** The copies in short: message, kind, mailbox. */
const keysOf = (copies: readonly PlannedCopy[]): string[] =>
  copies.map(({ message: { networkMessageId }, kind, mailbox }) =>
    copyKeyOf({ networkMessageId, kind, mailbox }),
  );

const to = (recipient: string, over: Partial<SelectedEmail> = {}): SelectedEmail =>
  emailOf({ recipientEmailAddress: `${recipient}@fabrikam.example`, ...over });

describe('the plan of a selection', () => {
  it('is empty for no email', () => {
    expect(plan(softDelete)).toEqual([]);
  });

  it('has the recipient’s copy and the sender’s copy, each with its destination', () => {
    expect(plan(softDelete, to('lee'))).toEqual([
      { message: messageOf(), kind: 'recipient', mailbox: 'lee@fabrikam.example', to: DELETIONS },
      { message: messageOf(), kind: 'sender', mailbox: 'kim@fabrikam.example', to: DELETIONS },
    ]);
  });

  it('has one sender’s copy a message, however many recipients were selected', () => {
    expect(keysOf(plan(softDelete, to('lee'), to('max'), to('noa')))).toEqual([
      'm1/recipient/lee@fabrikam.example',
      'm1/recipient/max@fabrikam.example',
      'm1/recipient/noa@fabrikam.example',
      'm1/sender/kim@fabrikam.example',
    ]);
  });

  it('puts the sender’s copy of each message behind its recipients’', () => {
    const second = { networkMessageId: 'm2', sender: 'ann@fabrikam.example' };
    expect(keysOf(plan(softDelete, to('lee'), to('max'), to('lee', second)))).toEqual([
      'm1/recipient/lee@fabrikam.example',
      'm1/recipient/max@fabrikam.example',
      'm1/sender/kim@fabrikam.example',
      'm2/recipient/lee@fabrikam.example',
      'm2/sender/ann@fabrikam.example',
    ]);
  });

  it('has both copies of who wrote to themselves', () => {
    expect(keysOf(plan(softDelete, to('kim'), to('lee')))).toEqual([
      'm1/recipient/kim@fabrikam.example',
      'm1/recipient/lee@fabrikam.example',
      'm1/sender/kim@fabrikam.example',
    ]);
  });

  const scopes: [Direction, boolean][] = [
    ['intraOrg', true],
    ['outbound', true],
    ['inbound', false],
    ['unknown', false],
  ];
  it.each(scopes)('of %s mail has a sender’s copy: %s; out of scope is no error', (direction, inScope) => {
    expect(sendersCopyInScope(direction)).toBe(inScope);
    const copies = plan(softDelete, to('lee', { direction }), to('max', { direction }));
    expect(copies.filter((copy) => copy.kind === 'sender')).toHaveLength(inScope ? 1 : 0);
    expect(copies.filter((copy) => copy.kind === 'recipient')).toHaveLength(2);
    expect(copies.filter((copy) => copy.notRemediable !== undefined)).toEqual([]);
  });

  it('has no sender’s copy when that is not asked for', () => {
    const copies = plan({ action: 'softDelete', sendersCopy: false }, to('lee'));
    expect(keysOf(copies)).toEqual(['m1/recipient/lee@fabrikam.example']);
  });

  it('moves recipients’ copies to Inbox and the sender’s to Sent Items', () => {
    const copies = plan({ action: 'moveToInbox', sendersCopy: true }, to('lee'));
    expect(copies.map((copy) => [copy.kind, copy.to])).toEqual([
      ['recipient', 'Inbox'],
      ['sender', 'Sent Items'],
    ]);
  });

  it.each<[Action, string]>([
    ['softDelete', DELETIONS],
    ['hardDelete', 'Recoverable Items/Purges'],
    ['moveToInbox', 'Inbox'],
    ['moveToJunk', 'Junk Email'],
    ['moveToDeletedItems', 'Deleted Items'],
    ['moveToQuarantine', 'Quarantine'],
    ['releaseFromQuarantine', 'Inbox'],
  ])(
    'of %s takes recipients’ copies to %s; a sender’s copy only where the option goes with it',
    (action, folder) => {
      const [copy, ...senders] = plan({ action, sendersCopy: true }, to('lee'));
      expect(copy).toEqual({
        message: messageOf(),
        kind: 'recipient',
        mailbox: 'lee@fabrikam.example',
        to: folder,
        // A release is for what is in quarantine, and for nothing else.
        ...(action === 'releaseFromQuarantine' ? { onlyFrom: 'Quarantine' } : {}),
      });
      expect(senders).toHaveLength(allowsSendersCopy(action) ? 1 : 0);
      expect(isUndoable(action)).toBe(action !== 'hardDelete');
    },
  );

  it.each(LOCATIONS)('says of a copy at %s whether it can be remediated', (location) => {
    const [copy, senders] = plan(softDelete, to('lee', { location }));
    expect(copy?.notRemediable).toBe(notRemediableAt(location));
    // Where a recipient's copy is says nothing about the sender's own.
    expect(senders).toMatchObject({ kind: 'sender' });
    expect(senders?.notRemediable).toBeUndefined();
  });
});

describe('the totals of a plan', () => {
  it('count emails, copies of each kind, and by reason what cannot be remediated', () => {
    const counter = new PlanCounter();
    const emails = [
      to('lee'),
      to('max', { location: 'failed' }),
      to('noa', { location: 'failed' }),
      to('lee', { networkMessageId: 'm2', direction: 'inbound', location: 'onPremisesExternal' }),
    ];
    for (const copy of plan(softDelete, ...emails)) counter.add(copy);

    expect(counter.totals(4)).toEqual({
      emails: 4,
      copies: 5,
      recipientCopies: 4,
      sendersCopies: 1,
      remediable: 2,
      nonRemediable: 3,
      reasons: { deliveryFailed: 2, onPremisesExternal: 1 },
    });
    expect(counter.startingTally()).toEqual(
      tallyOf({ recipient: { pending: 1, nonRemediable: 3 }, sender: { pending: 1 } }),
    );
  });

  it('of nothing are nought', () => {
    expect(new PlanCounter().totals(0)).toEqual({
      emails: 0,
      copies: 0,
      recipientCopies: 0,
      sendersCopies: 0,
      remediable: 0,
      nonRemediable: 0,
      reasons: {},
    });
  });
});

describe('cutting a plan into batches', () => {
  const cut = (copies: readonly PlannedCopy[], limits?: { copies: number; bytes: number }): Batch[] => {
    const open = batcher(limits);
    return [...copies.map((copy) => open.add(copy)), open.end()].filter((batch) => batch !== undefined);
  };
  const sizeOf = ({ messages, targets }: Batch): number =>
    Buffer.byteLength(JSON.stringify({ messages, targets }));
  /** The copies that a batch stands for. */
  const copiesOf = ({ messages, targets }: Batch): unknown[] =>
    targets.map(({ message, ...target }) => ({ message: messages[message], ...target }));

  const emailOfSome = fc
    .record({
      networkMessageId: fc.constantFrom('m1', 'm2', 'm3', 'm4'),
      recipientEmailAddress: fc.constantFrom('a', 'b', 'c', 'd').map((name) => `${name}@fabrikam.example`),
      location: fc.constantFrom(...LOCATIONS),
      subject: fc.constantFrom('', 'é'.repeat(300), 'x'.repeat(1500)),
    })
    .map(emailOf);
  const selection = fc
    .uniqueArray(emailOfSome, { selector: (e) => `${e.networkMessageId}/${e.recipientEmailAddress}` })
    .map((emails) => [...emails].sort((a, b) => (a.networkMessageId < b.networkMessageId ? -1 : 1)));
  const limits = fc.record({
    copies: fc.integer({ min: 1, max: 6 }),
    bytes: fc.integer({ min: 500, max: 4000 }),
  });

  it('gives nothing for an empty plan', () => {
    expect(cut([])).toEqual([]);
  });

  it('begins a new batch when one has its number of copies', () => {
    const copies = Array.from({ length: 2 * MAX_BATCH_COPIES + 1 }, (_, index) =>
      copyOf({ mailbox: `user${index}@fabrikam.example` }),
    );
    expect(cut(copies).map((batch) => batch.targets.length)).toEqual([MAX_BATCH_COPIES, MAX_BATCH_COPIES, 1]);
  });

  it('begins no empty batch behind one that is just full', () => {
    const copies = Array.from({ length: 6 }, () => copyOf());
    const batches = cut(copies, { copies: 3, bytes: MAX_BATCH_BYTES });
    expect(batches.map((batch) => batch.targets.length)).toEqual([3, 3]);
  });

  it('begins a new batch before one gets too large', () => {
    const copies = ['m1', 'm2', 'm3', 'm4', 'm5'].map((networkMessageId) =>
      copyOf({ message: messageOf({ networkMessageId, subject: 'é'.repeat(100 * 1024) }) }),
    );
    expect(cut(copies).map((batch) => batch.targets.length)).toEqual([2, 2, 1]);
  });

  it('keeps the facts of a message once a batch, and again in the next one', () => {
    const copies = plan(softDelete, to('lee'), to('max'), to('noa'));
    const batches = cut(copies, { copies: 2, bytes: MAX_BATCH_BYTES });
    expect(batches.map(({ messages }) => messages)).toEqual([[messageOf()], [messageOf()]]);
    expect(batches.map(({ targets }) => targets.map(({ message }) => message))).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });

  it('counts the facts of a message in every batch that repeats them', () => {
    const long = messageOf({ subject: 'x'.repeat(1000) });
    const other = messageOf({ networkMessageId: 'm2', subject: 'y'.repeat(1000) });
    const copies = [
      ...[1, 2, 3].map((user) => copyOf({ message: long, mailbox: `u${user}@fabrikam.example` })),
      copyOf({ message: other }),
    ];
    const batches = cut(copies, { copies: 2, bytes: 2000 });
    expect(batches.map((batch) => batch.targets.length)).toEqual([2, 1, 1]);
  });

  it('takes a copy that is too large by itself in a batch of its own', () => {
    const large = copyOf({ message: messageOf({ networkMessageId: 'm2', subject: 'x'.repeat(5000) }) });
    const batches = cut([copyOf(), large, copyOf()], { copies: 10, bytes: 1000 });
    expect(batches.map((batch) => batch.targets.length)).toEqual([1, 1, 1]);
  });

  it('loses nothing, doubles nothing, keeps the order and numbers the batches, within both limits', () => {
    fc.assert(
      fc.property(selection, fc.boolean(), limits, (emails, sendersCopy, within) => {
        const copies = plan({ action: 'softDelete', sendersCopy }, ...emails);
        const batches = cut(copies, within);

        expect(batches.flatMap(copiesOf)).toEqual(copies);
        expect(batches.map((batch) => batch.number)).toEqual(batches.map((_, index) => index));
        for (const batch of batches) {
          expect(batch.targets.length).toBeGreaterThan(0);
          expect(batch.targets.length).toBeLessThanOrEqual(within.copies);
          // A target names its message by number instead of holding it; that and the brackets are not counted.
          const uncounted = 30 + 20 * batch.targets.length;
          if (batch.targets.length > 1) expect(sizeOf(batch)).toBeLessThanOrEqual(within.bytes + uncounted);
        }
      }),
    );
  });

  it('leaves the tally of the whole the sum of the batches', () => {
    fc.assert(
      fc.property(selection, limits, (emails, within) => {
        const copies = plan(softDelete, ...emails);
        const counter = new PlanCounter();
        for (const copy of copies) counter.add(copy);
        const targets = cut(copies, within).flatMap((batch) => batch.targets);
        expect(startingTallyOf(targets)).toEqual(counter.startingTally());
      }),
    );
  });
});
