import type { RecordedEvent } from '#libs/event-store';
import type { Change, Projection } from '#libs/read-store';
import { batchCodecs, type CopyIdentity } from '#libs/remediation';

/**
 * That copies of a message are in a batch: what was done to them is in its log. Written when the batch is planned and never
 * again, so a run writes nothing for a copy but its place in that log.
 */
export interface MessageBatchDoc extends CopyRange {
  readonly tenant: string;
  readonly networkMessageId: string;
  readonly approvalId: string;
  readonly planId: string;
  readonly batch: number;
}

/** Of copies of one message the first and the last one, by {@link copyInMessage}: a message may fill hundreds of batches. */
export interface CopyRange {
  readonly firstCopy: string;
  readonly lastCopy: string;
}

/** What the ids of all batches of a message begin with, and no others. */
export const messagePrefix = (tenant: string, networkMessageId: string): string =>
  `${tenant}/${networkMessageId}/`;

/** A copy among those of its message. In ASCII, which sorts alike here and in every store. */
export const copyInMessage = ({ kind, mailbox }: Omit<CopyIdentity, 'networkMessageId'>): string =>
  `${kind}/${encodeURI(mailbox.toWellFormed())}`;

export const messageBatchId = ({
  tenant,
  networkMessageId,
  planId,
  batch,
}: Pick<MessageBatchDoc, 'tenant' | 'networkMessageId' | 'planId' | 'batch'>): string =>
  `${messagePrefix(tenant, networkMessageId)}${planId}/${String(batch)}`;

export const messageBatchesView: Projection<MessageBatchDoc> = {
  name: 'messageBatches',
  version: 1,
  fields: {
    firstCopy: { type: 'text', of: (doc) => doc.firstCopy },
    lastCopy: { type: 'text', of: (doc) => doc.lastCopy },
  },
  indexes: [],
  project,
};

function project(recorded: RecordedEvent): readonly Change<MessageBatchDoc>[] {
  const event = batchCodecs.decode(recorded);
  if (event?.type !== 'BatchPlanned') return [];
  const { approvalId, planId, batch, messages, targets } = event.data;
  const tenant = recorded.metadata.tenant ?? '';
  const copies = targets.flatMap(({ message, kind, mailbox }) => {
    const networkMessageId = messages[message]?.networkMessageId;
    return networkMessageId === undefined ? [] : [{ networkMessageId, kind, mailbox }];
  });
  return Array.from(rangesByMessage(copies), ([networkMessageId, range]) => {
    const doc = { tenant, networkMessageId, approvalId, planId, batch, ...range };
    return { id: messageBatchId(doc), put: doc };
  });
}

/** Of each message the first and the last of these copies. */
export function rangesByMessage(copies: readonly CopyIdentity[]): ReadonlyMap<string, CopyRange> {
  const byMessage = new Map<string, string[]>();
  for (const copy of copies) {
    const known = byMessage.get(copy.networkMessageId);
    if (known === undefined) byMessage.set(copy.networkMessageId, [copyInMessage(copy)]);
    else known.push(copyInMessage(copy));
  }
  return new Map(Array.from(byMessage, ([id, names]) => [id, rangeOf(names)]));
}

/** Of some copies, named by {@link copyInMessage}. */
export function rangeOf(copies: readonly string[]): CopyRange {
  let [firstCopy = '', lastCopy = ''] = [copies[0], copies[0]];
  for (const copy of copies) {
    if (copy < firstCopy) firstCopy = copy;
    if (copy > lastCopy) lastCopy = copy;
  }
  return { firstCopy, lastCopy };
}
