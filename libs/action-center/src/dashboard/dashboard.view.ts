import type { RecordedEvent } from '#libs/event-store';
import type { Change, Projection } from '#libs/read-store';
import { batchCodecs, isCopyEvent, outcomeOf, type BatchEvent, type CopyEvent } from '#libs/remediation';
import { actionLogId } from '../action-log.view.js';

/** An address and how many copies that were moved belong to it. */
export type AddressCount = readonly [address: string, copies: number];

/**
 * What one batch has moved, by sender and by mailbox. A document a batch: written when the batch is planned, when it
 * settles, and for a copy only when that is *not* moved, which is the exception. At most 500 addresses of either kind,
 * however many there are in the organisation.
 */
export interface BatchReachDoc {
  readonly tenant: string;
  readonly approvalId: string;
  readonly senders: readonly AddressCount[];
  readonly mailboxes: readonly AddressCount[];
  /** By target: the places of its sender and its mailbox in the lists, until the batch settles. */
  readonly targets: readonly (readonly [sender: number, mailbox: number])[];
  /** A batch counts from then on. */
  readonly settledAt?: string;
}

export const dashboardView: Projection<BatchReachDoc> = {
  name: 'dashboard',
  version: 1,
  fields: {
    tenant: { type: 'text', of: (doc) => doc.tenant },
    settledAt: { type: 'text', of: (doc) => doc.settledAt ?? null },
  },
  indexes: [['tenant', 'settledAt', 'id']],
  types: new Set(batchCodecs.types),
  project,
};

function project(recorded: RecordedEvent): readonly Change<BatchReachDoc>[] {
  const event = batchCodecs.decode(recorded);
  if (event === undefined) return [];
  const id = actionLogId(event.data.planId, event.data.batch);
  const change = (apply: (doc: BatchReachDoc) => BatchReachDoc): readonly Change<BatchReachDoc>[] => [
    { id, apply: (doc) => (doc === undefined ? doc : apply(doc)) },
  ];
  if (event.type === 'BatchPlanned') {
    // An undo takes back what was remediated.
    return event.data.action === 'undo' ? [] : [{ id, apply: () => planned(event, recorded) }];
  }
  if (event.type === 'BatchSettled') return change((doc) => settled(doc, recorded));
  if (event.type === 'BatchWithdrawn') return change((doc) => ({ ...doc, ...NOTHING }));
  if (!isCopyEvent(event) || outcomeOf(event).outcome === 'succeeded') return [];
  return change((doc) => notMoved(doc, event));
}

const NOTHING = { senders: [], mailboxes: [], targets: [] };

/** Everything that can be remediated counts as moved, until it is known not to be. */
function planned(
  { data }: Extract<BatchEvent, { type: 'BatchPlanned' }>,
  { metadata }: RecordedEvent,
): BatchReachDoc {
  const senders = new Numbered();
  const mailboxes = new Numbered();
  const targets = data.targets.map(({ message, mailbox, notRemediable }): readonly [number, number] => {
    const count = notRemediable === undefined ? 1 : 0;
    return [senders.add(data.messages[message]?.sender ?? '', count), mailboxes.add(mailbox, count)];
  });
  return {
    tenant: metadata.tenant ?? '',
    approvalId: data.approvalId,
    senders: senders.counts,
    mailboxes: mailboxes.counts,
    targets,
  };
}

function notMoved(doc: BatchReachDoc, { data }: CopyEvent): BatchReachDoc {
  const target = doc.targets[data.target];
  if (target === undefined) return doc;
  const [sender, mailbox] = target;
  return { ...doc, senders: less(doc.senders, sender), mailboxes: less(doc.mailboxes, mailbox) };
}

function less(counts: readonly AddressCount[], index: number): readonly AddressCount[] {
  const [address, copies] = counts[index] as AddressCount;
  return counts.with(index, [address, copies - 1]);
}

const settled = (doc: BatchReachDoc, { metadata }: RecordedEvent): BatchReachDoc => ({
  ...doc,
  senders: doc.senders.filter(([, copies]) => copies > 0),
  mailboxes: doc.mailboxes.filter(([, copies]) => copies > 0),
  targets: [],
  settledAt: metadata.occurredAt ?? '',
});

/** Addresses in the order in which they came up, with their counts. */
class Numbered {
  private readonly places = new Map<string, number>();
  private readonly list: [string, number][] = [];

  get counts(): readonly AddressCount[] {
    return this.list;
  }

  add(address: string, count: number): number {
    const place = this.places.get(address);
    if (place === undefined) {
      this.places.set(address, this.list.length);
      return this.list.push([address, count]) - 1;
    }
    (this.list[place] as [string, number])[1] += count;
    return place;
  }
}
