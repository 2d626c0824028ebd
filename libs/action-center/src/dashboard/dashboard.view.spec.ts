import { describe, expect, it } from '@jest/globals';
import { changed } from '#libs/read-store';
import fc from 'fast-check';
import {
  batchCodecs,
  decideBatch,
  evolveBatch,
  initialBatch,
  type BatchCommand,
  type BatchState,
  type CopyResult,
  type RemediationAction,
} from '#libs/remediation';
import { messageOf } from '../../../../test/support/examples.js';
import { dashboardView, type AddressCount, type BatchReachDoc } from './dashboard.view.js';

const AT = '2026-11-02T06:00:00.000Z';
const ref = { approvalId: 'r1', planId: 'p1', batch: 0 };
const senders = ['kim@x.example', 'eve@x.example'];

/** One batch whose commands are decided as they are in the product, and what the view makes of its events. */
class Scene {
  doc: BatchReachDoc | undefined;
  private state: BatchState = initialBatch;
  private position = 0n;

  does(command: BatchCommand): this {
    for (const event of decideBatch(this.state, command)) {
      this.state = evolveBatch(this.state, event);
      this.position += 1n;
      const { id, type, data, metadata } = batchCodecs.encode(event, String(this.position), {
        tenant: 't1',
        occurredAt: AT,
      });
      const stored = {
        id,
        type,
        data,
        metadata,
        stream: 's',
        revision: this.position,
        position: this.position,
      };
      for (const change of dashboardView.project(stored)) this.doc = changed(change, this.doc);
    }
    return this;
  }

  plan(mailboxes: readonly string[], action: RemediationAction = 'softDelete'): this {
    const messages = senders.map((sender, n) => messageOf({ networkMessageId: `m${String(n)}`, sender }));
    const targets = mailboxes.map((mailbox, n) => ({
      ...{ message: n % 2, kind: 'recipient' as const, mailbox, to: 'Recoverable Items/Deletions' },
      ...(mailbox === 'none@x.example' ? { notRemediable: 'deliveryFailed' as const } : {}),
    }));
    return this.does({ type: 'Plan', ref, action, batch: { number: 0, messages, targets } });
  }

  claim(): this {
    const now = new Date(AT);
    return this.does({ type: 'Release' }).does({ type: 'StartAttempt', worker: 'w', now, deadline: now });
  }

  records(results: readonly { readonly target: number; readonly result: CopyResult }[]): this {
    return this.does({ type: 'RecordResults', attempt: 1, results });
  }
}

const moved: CopyResult = { kind: 'moved', from: 'Inbox', to: 'Recoverable Items/Deletions' };
const result: fc.Arbitrary<CopyResult> = fc.constantFrom<CopyResult>(
  moved,
  { kind: 'alreadyInDestination', folder: 'Recoverable Items/Deletions' },
  { kind: 'notFound' },
  { kind: 'notRemediable', reason: 'mailboxNotFound' },
  { kind: 'failed', reason: 'mailboxError', detail: 'x' },
  { kind: 'timedOut' },
  { kind: 'cancelled' },
);

const countsOf = (addresses: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const address of addresses) counts[address] = (counts[address] ?? 0) + 1;
  return counts;
};
const told = (counts: readonly AddressCount[] = []): Record<string, number> => Object.fromEntries(counts);

describe('what a batch has moved', () => {
  it('is counted by sender and by mailbox, whatever becomes of its copies', () => {
    const mailbox = fc.constantFrom('a@x.example', 'b@x.example', 'none@x.example');
    fc.assert(
      fc.property(fc.array(fc.tuple(mailbox, result), { minLength: 1, maxLength: 12 }), (copies) => {
        const scene = new Scene().plan(copies.map(([address]) => address)).claim();
        expect(copies.every(([address]) => address === 'none@x.example')).toBe(
          scene.doc?.settledAt !== undefined,
        );
        scene.records(copies.map(([, outcome], target) => ({ target, result: outcome })));
        const reached = copies
          .map(([address, outcome], target) => ({ address, outcome, sender: senders[target % 2] ?? '' }))
          .filter(({ address, outcome }) => address !== 'none@x.example' && outcome.kind === 'moved');
        expect(told(scene.doc?.mailboxes)).toEqual(countsOf(reached.map(({ address }) => address)));
        expect(told(scene.doc?.senders)).toEqual(countsOf(reached.map(({ sender }) => sender)));
        expect(scene.doc).toMatchObject({ tenant: 't1', settledAt: AT, targets: [] });
      }),
    );
  });

  it('is nothing when it is withdrawn, and when it is an undo', () => {
    const withdrawn = new Scene().plan(['a@x.example']).does({ type: 'Withdraw', outcome: 'cancelled' });
    expect(withdrawn.doc).toMatchObject({ senders: [], mailboxes: [] });
    expect(withdrawn.doc?.settledAt).toBeUndefined();
    const undo = new Scene()
      .plan(['a@x.example'], 'undo')
      .claim()
      .records([{ target: 0, result: moved }]);
    expect(undo.doc).toBeUndefined();
  });

  it('costs no write for a copy that is moved', () => {
    const scene = new Scene().plan(['a@x.example', 'b@x.example']).claim();
    const before = scene.doc;
    scene.records([{ target: 0, result: moved }]);
    expect(scene.doc).toBe(before);
  });
});
