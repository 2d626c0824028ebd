import type { RecordedEvent } from '#libs/event-store';
import type { Change, Projection } from '#libs/read-store';
import { batchCodecs, type CopyIdentity } from '#libs/remediation';

/**
 * In which batches the copies of a message are: what was done to them is in the logs of those. Written when a batch is
 * planned, so that a run writes nothing for a copy but its place in that log.
 */
export interface MessageBatchesDoc {
  readonly tenant: string;
  readonly networkMessageId: string;
  /** In the order in which they were planned, the newest {@link BATCHES_KEPT}. */
  readonly batches: readonly MessageBatch[];
}

/** A batch with copies of the message. */
export interface MessageBatch extends CopyRange {
  readonly approvalId: string;
  readonly planId: string;
  readonly batch: number;
}

/** Of copies of one message the first and the last one, by {@link copyInMessage}: a message may fill hundreds of batches. */
export interface CopyRange {
  readonly firstCopy: string;
  readonly lastCopy: string;
}

/**
 * A message that is remediated without end must not grow its document without end: some 2 MB. Copies that are in older
 * batches alone count as not touched; the events keep everything.
 */
export const BATCHES_KEPT = 10_000;

export const messageDocId = (tenant: string, networkMessageId: string): string =>
  `${tenant}/${networkMessageId}`;

/** A copy among those of its message. */
export const copyInMessage = ({ kind, mailbox }: Omit<CopyIdentity, 'networkMessageId'>): string =>
  `${kind}/${mailbox}`;

export const messageBatchesView: Projection<MessageBatchesDoc> = {
  name: 'messageBatches',
  version: 1,
  fields: {},
  indexes: [],
  types: new Set(['BatchPlanned']),
  project,
};

function project(recorded: RecordedEvent): readonly Change<MessageBatchesDoc>[] {
  const event = batchCodecs.decode(recorded);
  if (event?.type !== 'BatchPlanned') return [];
  const { approvalId, planId, batch, messages, targets } = event.data;
  const tenant = recorded.metadata.tenant ?? '';
  const copies = targets.flatMap(({ message, kind, mailbox }) => {
    const networkMessageId = messages[message]?.networkMessageId;
    return networkMessageId === undefined ? [] : [{ networkMessageId, kind, mailbox }];
  });
  return Array.from(rangesByMessage(copies), ([networkMessageId, range]) => ({
    id: messageDocId(tenant, networkMessageId),
    apply: (doc) => ({
      tenant,
      networkMessageId,
      batches: [...(doc?.batches ?? []), { approvalId, planId, batch, ...range }].slice(-BATCHES_KEPT),
    }),
  }));
}

/** Of each message the first and the last of these copies. */
export function rangesByMessage(copies: readonly CopyIdentity[]): ReadonlyMap<string, CopyRange> {
  const ranges = new Map<string, CopyRange>();
  for (const copy of copies) {
    const name = copyInMessage(copy);
    const { firstCopy, lastCopy } = ranges.get(copy.networkMessageId) ?? { firstCopy: name, lastCopy: name };
    ranges.set(copy.networkMessageId, {
      firstCopy: name < firstCopy ? name : firstCopy,
      lastCopy: name > lastCopy ? name : lastCopy,
    });
  }
  return ranges;
}
