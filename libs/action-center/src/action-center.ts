import { type Position } from '#libs/kernel';
import type { EmailDoc } from '#libs/mail-catalog';
import {
  type ReadStore,
  type Condition,
  type Page,
  type Scalar,
  type Stored,
  pagesOf,
} from '#libs/read-store';
import {
  ACTIVE_STATUSES,
  ActiveRemediations,
  type Outcome,
  type RemediationAction,
  type Status,
  type Surface,
} from '#libs/remediation';
import { actionLogView, tallyField, type ActionLogDoc, type LogItem } from './action-log.view.js';
import { Copies, type Copy } from './copies.js';
import { countsOf, type Counts } from './counts.js';
import type { RowGroup } from './exports/export.js';
import { historyView, type HistoryDoc } from './history.view.js';

/** Filters of the history; all hold together. */
export interface HistoryFilter {
  readonly status?: Status;
  readonly action?: RemediationAction;
  readonly surface?: Surface;
  /** A part of the name; case does not matter. */
  readonly name?: string;
  readonly approvalId?: string;
  /** Who approved or rejected it. */
  readonly approver?: string;
  /** Submitted at or after this instant. */
  readonly startTime?: string;
  /** Submitted before this instant. */
  readonly endTime?: string;
}

export const HISTORY_SORTS = ['submittedAt', 'name', 'status', 'action', 'severity', 'emails'] as const;
export type HistorySort = (typeof HISTORY_SORTS)[number];

export interface LogFilter {
  readonly outcome?: Outcome;
  readonly isSendersCopy?: boolean;
  readonly mailbox?: string;
}

/** One copy in the log of a remediation, as it is shown and exported. */
export interface LogRow {
  readonly approvalId: string;
  readonly networkMessageId: string;
  readonly internetMessageId: string;
  readonly subject: string;
  readonly sender: string;
  readonly direction: string;
  readonly receivedAt: string;
  readonly mailbox: string;
  readonly isSendersCopy: boolean;
  readonly action: RemediationAction;
  readonly outcome: Outcome;
  readonly reason: string | null;
  readonly detail: string | null;
  readonly fromFolder: string | null;
  readonly toFolder: string | null;
  readonly time: string | null;
}

export interface LogPage {
  readonly items: readonly LogRow[];
  readonly next?: readonly Scalar[];
}

/** Entries read at once while the whole history is gone through. */
const HISTORY_PAGE = 200;

/** Batches read at once: a page of the log is in one or two of them, the whole log in all. */
const BATCHES_OF_PAGE = 2;
const BATCHES_AT_ONCE = 8;

/** Queries of the Action Center. Every one is bound to a tenant. */
export class ActionCenter {
  private readonly copies: Copies;

  constructor(private readonly store: ReadStore) {
    this.copies = new Copies(store);
  }

  history(
    tenant: string,
    filter: HistoryFilter,
    page: {
      readonly limit: number;
      readonly sort: HistorySort;
      readonly descending: boolean;
      readonly after?: readonly Scalar[];
    },
  ): Promise<Page<HistoryDoc>> {
    const { limit, sort, descending, after } = page;
    return this.store.find(historyView, {
      where: historyConditions(tenant, filter),
      orderBy: [sort],
      descending,
      limit,
      ...(after === undefined ? {} : { after }),
    });
  }

  /** One entry; undefined when the tenant has none of this approval ID. */
  async entry(tenant: string, approvalId: string): Promise<HistoryDoc | undefined> {
    const [found] = await this.store.getMany(historyView, [approvalId]);
    return found?.doc.tenant === tenant ? found.doc : undefined;
  }

  /** How far the history shows the log. */
  shownUpTo(): Promise<Position> {
    return this.store.checkpoint(historyView);
  }

  /** What the history shows of these remediations, whoever they belong to. */
  async counts(approvalIds: readonly string[]): Promise<ReadonlyMap<string, Counts>> {
    const found = await this.store.getMany(historyView, [...new Set(approvalIds)]);
    return new Map(found.map(({ id, doc }) => [id, countsOf(doc.tally)]));
  }

  /** Those of these approval IDs that the tenant has, in no order. */
  async entries(tenant: string, approvalIds: readonly string[]): Promise<HistoryDoc[]> {
    const found = await this.store.getMany(historyView, approvalIds);
    return found.flatMap(({ doc }) => (doc.tenant === tenant ? [doc] : []));
  }

  /** A page of the log in the order of the plan. `after` is the `next` of the page before. */
  async log(
    entry: HistoryDoc,
    filter: LogFilter,
    { limit, after }: { readonly limit: number; readonly after?: readonly Scalar[] },
  ): Promise<LogPage> {
    const items: LogRow[] = [];
    let last: readonly Scalar[] | undefined;
    for await (const { id, doc, first } of this.batches(entry, filter, { limit: BATCHES_OF_PAGE, after })) {
      for (let index = first; index < doc.items.length; index += 1) {
        const row = rowOf(entry, doc, doc.items[index] as LogItem);
        if (!matches(row, filter)) continue;
        if (items.length === limit) return { items, ...(last === undefined ? {} : { next: last }) };
        items.push(row);
        last = [id, index];
      }
    }
    return { items };
  }

  /** Everything that the filter finds, newest first, a page at a time. */
  historyPages(tenant: string, filter: HistoryFilter): AsyncGenerator<readonly Stored<HistoryDoc>[]> {
    return pagesOf(this.store, historyView, {
      where: historyConditions(tenant, filter),
      orderBy: ['submittedAt'],
      descending: true,
      limit: HISTORY_PAGE,
    });
  }

  /** The whole log, a batch at a time. */
  async *rows(entry: HistoryDoc, filter: LogFilter): AsyncGenerator<RowGroup<LogRow>> {
    for await (const { doc, position } of this.batches(entry, filter)) {
      const rows = doc.items.map((item) => rowOf(entry, doc, item)).filter((row) => matches(row, filter));
      yield { rows, position };
    }
  }

  /** An email's copies: the recipient's, and the sender's of its message when that is one of ours. */
  copiesOfEmail(tenant: string, email: EmailDoc): Promise<Copy[]> {
    return this.copies.ofEmail(tenant, email);
  }

  /** The batches that hold a match, from the one that `after` points into. */
  async *batches(
    entry: HistoryDoc,
    filter: LogFilter,
    {
      limit = BATCHES_AT_ONCE,
      after,
    }: { readonly limit?: number; readonly after?: readonly Scalar[] | undefined } = {},
  ): AsyncGenerator<Stored<ActionLogDoc> & { readonly first: number }> {
    const where = logConditions(entry, filter);
    if (after !== undefined) where.push({ field: 'id', op: 'gte', value: String(after[0]) });
    for await (const items of pagesOf(this.store, actionLogView, { where, limit })) {
      for (const stored of items) {
        yield { ...stored, first: after?.[0] === stored.id ? Number(after[1]) + 1 : 0 };
      }
    }
  }
}

const rowOf = (entry: HistoryDoc, doc: ActionLogDoc, item: LogItem): LogRow => {
  const message = doc.messages[item.message];
  const outcome = isClosed(entry.status) && item.outcome === 'pending' ? 'cancelled' : item.outcome;
  return {
    approvalId: doc.approvalId,
    networkMessageId: message?.networkMessageId ?? '',
    internetMessageId: message?.internetMessageId ?? '',
    subject: message?.subject ?? '',
    sender: message?.sender ?? '',
    direction: message?.direction ?? '',
    receivedAt: message?.receivedAt ?? '',
    mailbox: item.mailbox,
    isSendersCopy: item.kind === 'sender',
    action: doc.action,
    outcome,
    reason: item.reason ?? null,
    detail: item.detail ?? null,
    fromFolder: item.from ?? null,
    toFolder: item.to ?? null,
    time: doc.appends[item.append ?? -1]?.at ?? (outcome === 'cancelled' ? (entry.finishedAt ?? null) : null),
  };
};

/** Nothing that was pending when it ended will ever run. */
const isClosed = (status: Status): boolean =>
  status === 'rejected' || status === 'expired' || status === 'cancelled';

const matches = (row: LogRow, { outcome, isSendersCopy, mailbox }: LogFilter): boolean =>
  (outcome === undefined || row.outcome === outcome) &&
  (isSendersCopy === undefined || row.isSendersCopy === isSendersCopy) &&
  (mailbox === undefined || row.mailbox === mailbox);

/** Conditions on the documents that may hold a match; {@link matches} decides about each copy. */
function logConditions(entry: HistoryDoc, { outcome, isSendersCopy, mailbox }: LogFilter): Condition[] {
  const kind = isSendersCopy === undefined ? undefined : isSendersCopy ? 'sender' : 'recipient';
  // What was pending when a proposal ended still is in the log of its batches.
  const stored = isClosed(entry.status) && outcome === 'cancelled' ? undefined : outcome;
  return [
    { field: 'planId', op: 'eq', value: entry.planId },
    ...(stored === undefined
      ? kind === undefined
        ? []
        : [{ field: `${kind}Copies`, op: 'gt' as const, value: 0 }]
      : [{ field: tallyField(stored, kind), op: 'gt' as const, value: 0 }]),
    ...(mailbox === undefined ? [] : [{ field: 'mailboxes', op: 'has' as const, value: mailbox }]),
  ];
}

function historyConditions(tenant: string, filter: HistoryFilter): Condition[] {
  const equal = (field: string, value: string | undefined): Condition[] =>
    value === undefined ? [] : [{ field, op: 'eq', value }];
  return [
    { field: 'tenant', op: 'eq', value: tenant },
    ...equal('id', filter.approvalId),
    ...equal('status', filter.status),
    ...equal('action', filter.action),
    ...equal('surface', filter.surface),
    ...equal('approver', filter.approver?.toLowerCase()),
    ...(filter.name === undefined
      ? []
      : [{ field: 'name', op: 'contains' as const, value: filter.name.toLowerCase() }]),
    ...(filter.startTime === undefined
      ? []
      : [{ field: 'submittedAt', op: 'gte' as const, value: filter.startTime }]),
    ...(filter.endTime === undefined
      ? []
      : [{ field: 'submittedAt', op: 'lt' as const, value: filter.endTime }]),
  ];
}

/** Proposals whose time is over, answered by the view `history`. */
export async function expiredProposals(
  store: ReadStore,
  now: Date,
): Promise<readonly { readonly tenant: string; readonly approvalId: string }[]> {
  const { items } = await store.find(historyView, {
    where: [
      { field: 'status', op: 'eq', value: 'pending' },
      { field: 'expiresAt', op: 'gt', value: '' },
      { field: 'expiresAt', op: 'lte', value: now.toISOString() },
    ],
    orderBy: ['expiresAt'],
    limit: 100,
  });
  return items.map(({ doc: { tenant, approvalId } }) => ({ tenant, approvalId }));
}

interface Activity {
  readonly remediations: number;
  readonly emails: number;
}

/**
 * What is under way, answered by the view `history`. Counted anew only when the view has gone on: there may be thousands,
 * and many submissions between two commits of the view.
 */
export class ActiveRemediationsOfView extends ActiveRemediations {
  /** By tenant, as the view shows it at one checkpoint. */
  private readonly counts = new Map<string, Promise<Activity>>();
  private countedAt: Position | undefined;

  constructor(private readonly store: ReadStore) {
    super();
  }

  async active(tenant: string): Promise<Activity> {
    const checkpoint = await this.store.checkpoint(historyView);
    if (checkpoint !== this.countedAt) this.counts.clear();
    this.countedAt = checkpoint;
    const known = this.counts.get(tenant);
    if (known !== undefined) return known;
    const counting = this.count(tenant);
    this.counts.set(tenant, counting);
    // A store that could not answer is asked again.
    counting.catch(() => this.counts.delete(tenant));
    return counting;
  }

  private async count(tenant: string): Promise<Activity> {
    const { count, sum } = await this.store.total(historyView, 'emails', [
      { field: 'tenant', op: 'eq', value: tenant },
      { field: 'status', op: 'in', value: [...ACTIVE_STATUSES] },
    ]);
    return { remediations: count, emails: sum };
  }
}
