import type { RecordedEvent } from '#libs/event-store';
import { formatPosition } from '#libs/kernel';
import { amending, type Change, type FieldSpec, type Projection } from '#libs/read-store';
import {
  OUTCOMES,
  batchCodecs,
  draftOf,
  isCopyEvent,
  ofOutcome,
  outcomeOf,
  settleIn,
  startingTallyOf,
  type BatchEvent,
  type CopyEvent,
  type CopyKind,
  type Outcome,
  type PlannedMessage,
  type Reason,
  type RemediationAction,
  type Tally,
  type TallyDraft,
} from '#libs/remediation';

/** One copy in the log. */
export interface LogItem {
  /** Its message, by place in the document's list. */
  readonly message: number;
  readonly kind: CopyKind;
  readonly mailbox: string;
  readonly outcome: Outcome;
  readonly reason?: Reason;
  /** What the mailbox said, by its own code. */
  readonly detail?: string;
  readonly from?: string;
  readonly to?: string;
  /** When its outcome was recorded, by place in the document's list; of a copy that is pending none. */
  readonly append?: number;
}

/** Outcomes that were recorded together. */
export interface LogAppend {
  readonly at: string;
  /**
   * Of the first of them in the log of events, of such a width that they sort as texts. What a plan or a withdrawal said
   * touched no copy, and has none.
   */
  readonly position?: string;
  readonly commandId?: string;
}

/**
 * The log of one batch: a document a batch and not a copy, since a run writes every copy's outcome once, together with
 * its neighbours. The tally and the set of mailboxes let a filtered reader skip a document without reading it.
 */
export interface ActionLogDoc {
  readonly tenant: string;
  readonly approvalId: string;
  readonly planId: string;
  readonly batch: number;
  readonly action: RemediationAction;
  readonly messages: readonly PlannedMessage[];
  readonly items: readonly LogItem[];
  readonly appends: readonly LogAppend[];
  readonly tally: Tally;
}

/** Ids of one plan are in the order of its batches. */
export const actionLogId = (planId: string, batch: number): string =>
  `${planId}/${String(batch).padStart(8, '0')}`;

/** The field that counts the copies of an outcome, of one kind or of both. */
export const tallyField = (outcome: Outcome, kind?: CopyKind): string =>
  kind === undefined ? outcome : `${kind}${outcome.charAt(0).toUpperCase()}${outcome.slice(1)}`;

const tallyFields: Record<string, FieldSpec<ActionLogDoc>> = Object.fromEntries(
  OUTCOMES.flatMap((outcome): [string, FieldSpec<ActionLogDoc>][] => [
    [tallyField(outcome), { type: 'number', of: (doc) => ofOutcome(doc.tally, outcome) }],
    [tallyField(outcome, 'recipient'), { type: 'number', of: (doc) => doc.tally.recipient[outcome] }],
    [tallyField(outcome, 'sender'), { type: 'number', of: (doc) => doc.tally.sender[outcome] }],
  ]),
);

export const actionLogView: Projection<ActionLogDoc> = {
  name: 'actionLog',
  version: 2,
  fields: {
    planId: { type: 'text', of: (doc) => doc.planId },
    senderCopies: { type: 'number', of: (doc) => doc.items.filter((item) => item.kind === 'sender').length },
    recipientCopies: {
      type: 'number',
      of: (doc) => doc.items.filter((item) => item.kind === 'recipient').length,
    },
    ...tallyFields,
    mailboxes: { type: 'tags', of: (doc) => [...new Set(doc.items.map((item) => item.mailbox))] },
  },
  indexes: [['planId', 'id']],
  types: new Set(batchCodecs.types),
  project,
};

function project(recorded: RecordedEvent): readonly Change<ActionLogDoc>[] {
  const event = batchCodecs.decode(recorded);
  if (event === undefined) return [];
  const id = actionLogId(event.data.planId, event.data.batch);
  if (event.type === 'BatchPlanned') return [{ id, put: planned(event, recorded) }];
  if (event.type === 'BatchWithdrawn') {
    return [{ id, apply: (doc) => (doc === undefined ? doc : withdrawn(doc, event, recorded)) }];
  }
  if (!isCopyEvent(event)) return [];
  return [amending(id, draft, (doc) => settle(doc, event, recorded))];
}

function planned(
  { data }: Extract<BatchEvent, { type: 'BatchPlanned' }>,
  { metadata }: RecordedEvent,
): ActionLogDoc {
  return {
    tenant: metadata.tenant ?? '',
    approvalId: data.approvalId,
    planId: data.planId,
    batch: data.batch,
    action: data.action,
    messages: data.messages,
    items: data.targets.map(({ message, kind, mailbox, notRemediable }) =>
      notRemediable === undefined
        ? { message, kind, mailbox, outcome: 'pending' }
        : { message, kind, mailbox, outcome: 'nonRemediable', reason: notRemediable, append: 0 },
    ),
    appends: [{ at: metadata.occurredAt ?? '' }],
    tally: startingTallyOf(data.targets),
  };
}

/** Everything that was pending gets the same outcome at once. */
function withdrawn(
  doc: ActionLogDoc,
  { data }: Extract<BatchEvent, { type: 'BatchWithdrawn' }>,
  { metadata }: RecordedEvent,
): ActionLogDoc {
  const { outcome, tally } = data;
  const reason = outcome === 'timedOut' ? { reason: 'remediationDeadline' as const } : {};
  return {
    ...doc,
    items: doc.items.map((item) =>
      item.outcome === 'pending' ? { ...item, outcome, ...reason, append: doc.appends.length } : item,
    ),
    appends: [...doc.appends, { at: metadata.occurredAt ?? '' }],
    tally,
  };
}

interface Draft extends ActionLogDoc {
  readonly items: LogItem[];
  readonly appends: LogAppend[];
  readonly tally: TallyDraft;
}

type Settling = { -readonly [Member in keyof LogItem]: LogItem[Member] };

const draft = (doc: ActionLogDoc): Draft => ({
  ...doc,
  items: [...doc.items],
  appends: [...doc.appends],
  tally: draftOf(doc.tally),
});

/** @returns false when its outcome is known already. */
function settle({ items, appends, tally }: Draft, event: CopyEvent, recorded: RecordedEvent): boolean {
  const { target } = event.data;
  const item = items[target];
  if (item?.outcome !== 'pending') return false;
  const { outcome, reason, from, to } = outcomeOf(event);
  const { message, kind, mailbox } = item;
  const append = appendOf(appends, recorded);
  const settled: Settling = { message, kind, mailbox, outcome, append };
  // One by one and not spread: with every copy of every run, that took longer than all the rest of it.
  if (reason !== undefined) settled.reason = reason;
  if (event.type === 'CopyRemediationFailed') settled.detail = event.data.detail;
  if (from !== undefined) settled.from = from;
  if (to !== undefined) settled.to = to;
  items[target] = settled;
  settleIn(tally, item.kind, outcome);
  return true;
}

/** The place of what was recorded together with this event; all of it has one command. */
function appendOf(appends: LogAppend[], { metadata, position }: RecordedEvent): number {
  const { occurredAt = '', commandId = '' } = metadata;
  if (appends.at(-1)?.commandId !== commandId) {
    appends.push({ at: occurredAt, position: formatPosition(position), commandId });
  }
  return appends.length - 1;
}
