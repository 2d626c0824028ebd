import { formatPosition } from '#libs/kernel';
import { type Condition, type ReadStore, type Stored, type ViewSpec, pagesOf } from '#libs/read-store';
import {
  COPY_KINDS,
  OUTCOMES,
  REMEDIATION_ACTIONS,
  SEVERITIES,
  STATUSES,
  SURFACES,
  emptyTally,
  type CopyKind,
  type Outcome,
  type Status,
} from '#libs/remediation';
import { countsOf, type Counts } from '../counts.js';
import { historyView, type HistoryDoc } from '../history.view.js';
import { dashboardView } from './dashboard.view.js';
import { HeavyHitters, type Top } from './heavy-hitters.js';

export const GROUPINGS = ['day', 'action', 'surface', 'severity'] as const;
export type Grouping = (typeof GROUPINGS)[number];

/** From an instant up to before another one (ISO 8601, UTC with milliseconds). */
export interface TimeRange {
  readonly startTime: string;
  readonly endTime: string;
}

/** How long something took. Exact, by nearest rank; null when nothing has finished. In milliseconds. */
export interface Durations {
  readonly count: number;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
}

/** What a set of remediations comes to. */
export interface Figures {
  readonly remediations: number;
  readonly statuses: Readonly<Record<Status, number>>;
  readonly emails: number;
  readonly copies: Counts;
  /** Of those that have completed. */
  readonly timeToRemediate: { readonly sinceSubmission: Durations; readonly sinceApproval: Durations };
}

export interface FiguresOfGroup extends Figures {
  readonly key: string;
}

const ENTRIES_PAGE = 500;
const BATCHES_PAGE = 20;

/** What the charts ask for. Every query is bound to a tenant. */
export class Dashboard {
  constructor(private readonly store: ReadStore) {}

  /**
   * The figures of what was submitted in a range: from the history itself, so that both always say the same. Groups are
   * those that have a remediation, days in order of time and all others in the order of their vocabulary.
   */
  async figures(
    tenant: string,
    range: TimeRange,
    by?: Grouping,
  ): Promise<{ readonly totals: Figures; readonly groups: readonly FiguresOfGroup[] }> {
    const totals = new FigureCounter();
    const groups = new Map<string, FigureCounter>();
    for await (const entries of this.pages(historyView, tenant, 'submittedAt', range, ENTRIES_PAGE)) {
      for (const { doc } of entries) {
        totals.add(doc);
        if (by === undefined) continue;
        const key = keyOf(doc, by);
        const group = groups.get(key) ?? new FigureCounter();
        groups.set(key, group);
        group.add(doc);
      }
    }
    return {
      totals: totals.figures,
      groups: inOrder([...groups.keys()], by).map((key) => ({
        key,
        ...(groups.get(key) as FigureCounter).figures,
      })),
    };
  }

  /** Whose copies were moved most, by batches that settled in a range. */
  async top(
    tenant: string,
    range: TimeRange,
    n: number,
  ): Promise<{ readonly senders: Top; readonly mailboxes: Top }> {
    const senders = new HeavyHitters();
    const mailboxes = new HeavyHitters();
    for await (const batches of this.pages(dashboardView, tenant, 'settledAt', range, BATCHES_PAGE)) {
      for (const { doc } of batches) {
        for (const [address, copies] of doc.senders) senders.add(address, copies);
        for (const [address, copies] of doc.mailboxes) mailboxes.add(address, copies);
      }
    }
    return { senders: senders.top(n), mailboxes: mailboxes.top(n) };
  }

  /** How far the views are, 20 digits each. */
  async positions(): Promise<{ readonly history: string; readonly dashboard: string }> {
    const [history, dashboard] = await Promise.all([
      this.store.checkpoint(historyView),
      this.store.checkpoint(dashboardView),
    ]);
    return { history: formatPosition(history), dashboard: formatPosition(dashboard) };
  }

  private pages<Doc>(
    view: ViewSpec<Doc>,
    tenant: string,
    time: string,
    { startTime, endTime }: TimeRange,
    limit: number,
  ): AsyncGenerator<readonly Stored<Doc>[]> {
    const where: Condition[] = [
      { field: 'tenant', op: 'eq', value: tenant },
      { field: time, op: 'gte', value: startTime },
      { field: time, op: 'lt', value: endTime },
    ];
    return pagesOf(this.store, view, { where, orderBy: [time], limit });
  }
}

const keyOf = (doc: HistoryDoc, by: Grouping): string =>
  by === 'day' ? doc.submittedAt.slice(0, 10) : doc[by];

const VOCABULARY: Readonly<Record<Grouping, readonly string[]>> = {
  day: [],
  action: REMEDIATION_ACTIONS,
  surface: SURFACES,
  severity: SEVERITIES,
};

const inOrder = (keys: readonly string[], by: Grouping | undefined): readonly string[] =>
  by === undefined || by === 'day' ? keys : VOCABULARY[by].filter((key) => keys.includes(key));

class FigureCounter {
  private remediations = 0;
  private emails = 0;
  /** Added to in place: an entry costs no new object. */
  private readonly tally: Record<CopyKind, Record<Outcome, number>> = emptyTally();
  private readonly statuses = Object.fromEntries(STATUSES.map((status) => [status, 0])) as Record<
    Status,
    number
  >;
  private readonly sinceSubmission: number[] = [];
  private readonly sinceApproval: number[] = [];

  add({ status, plan, tally, submittedAt, decidedAt, finishedAt }: HistoryDoc): void {
    this.remediations += 1;
    this.statuses[status] += 1;
    this.emails += plan.emails;
    for (const kind of COPY_KINDS) {
      for (const outcome of OUTCOMES) this.tally[kind][outcome] += tally[kind][outcome];
    }
    if (status !== 'completed' || finishedAt === undefined) return;
    const end = Date.parse(finishedAt);
    this.sinceSubmission.push(end - Date.parse(submittedAt));
    if (decidedAt !== undefined) this.sinceApproval.push(end - Date.parse(decidedAt));
  }

  get figures(): Figures {
    return {
      remediations: this.remediations,
      statuses: this.statuses,
      emails: this.emails,
      copies: countsOf(this.tally),
      timeToRemediate: {
        sinceSubmission: durationsOf(this.sinceSubmission),
        sinceApproval: durationsOf(this.sinceApproval),
      },
    };
  }
}

export function durationsOf(times: readonly number[]): Durations {
  const sorted = [...times].sort((a, b) => a - b);
  const rank = (share: number): number | null => sorted[Math.ceil(share * sorted.length) - 1] ?? null;
  return { count: sorted.length, p50Ms: rank(0.5), p95Ms: rank(0.95) };
}
