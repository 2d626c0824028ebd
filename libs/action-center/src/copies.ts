import type { EventStore } from '#libs/event-store';
import { formatPosition } from '#libs/kernel';
import { copiesOf, type EmailDoc } from '#libs/mail-catalog';
import { untilFresh, type ReadStore } from '#libs/read-store';
import {
  CopyStates,
  copyKeyOf,
  emailKeyOf,
  type CopyKind,
  type CopyIdentity,
  type EmailRef,
  type MovedCopy,
  type Outcome,
  type Reason,
} from '#libs/remediation';
import { actionLogId, actionLogView, type ActionLogDoc, type LogItem } from './action-log.view.js';
import { messageBatchesView, messageDocId, rangesByMessage } from './message-batches.view.js';

/** What one remediation did to a copy. */
export interface Touch {
  readonly approvalId: string;
  readonly outcome: Outcome;
  readonly reason?: Reason;
  readonly from?: string;
  readonly to?: string;
  readonly at: string;
}

/** One copy: where it is as far as Clawback knows, and what was done to it. */
export interface Copy {
  readonly networkMessageId: string;
  readonly kind: CopyKind;
  readonly mailbox: string;
  /** Null: in none of the folders of the mailbox when last looked for. */
  readonly folder: string | null;
  /** The remediation that moved it last, as long as the copy is still where that left it. */
  readonly lastMovedBy?: string;
  /** In order of time, the newest {@link TOUCHES_SHOWN}. */
  readonly touches: readonly Touch[];
}

/** A copy that is moved to and fro without end must not make an answer without end; the events keep everything. */
const TOUCHES_SHOWN = 50;

/** Logs of batches read at once, some 100 kB each. */
const LOGS_AT_ONCE = 8;

/** Where a copy is; undefined in `folder`: nothing was said of it. */
type Place = Pick<Copy, 'lastMovedBy'> & { readonly folder: string | null | undefined };

/** What was done to a copy, one after the other, from where it was delivered. */
export const placeAfter = (touches: readonly Touch[], delivered?: string): Place =>
  touches.reduce<Place>(touched, { folder: delivered });

/** Whether a copy that a remediation has moved is still there after what was done to it since. */
const isStillThere = (approvalId: string, to: string, since: readonly Touch[]): boolean =>
  since.reduce<Place>(touched, { folder: to, lastMovedBy: approvalId }).lastMovedBy === approvalId;

function touched(place: Place, { approvalId, outcome, to }: Touch): Place {
  const { folder } = place;
  switch (outcome) {
    case 'succeeded':
      return { folder: to ?? null, lastMovedBy: approvalId };
    case 'alreadyInDestination':
      // Found elsewhere than the last remediation left it: its user was faster than this one.
      return to === folder ? place : { folder: to ?? folder };
    case 'notFound':
      return { folder: null };
    case 'nonRemediable':
      // Moved by somebody else since, or its mailbox is gone: it is not where the last remediation left it.
      return { folder };
    case 'failed':
    case 'timedOut':
    case 'cancelled':
    case 'pending':
      return place;
  }
}

/** What was done to a copy, and where in the log of events that is. */
interface PlacedTouch {
  readonly position: string;
  readonly touch: Touch;
}

/** What the logs of batches say of some copies, a log at a time. */
export class FoundTouches {
  private readonly found = new Map<string, PlacedTouch[]>();
  private readonly copyKeys: ReadonlySet<string>;

  /** @param copies that are looked for. */
  constructor(copies: readonly CopyIdentity[]) {
    this.copyKeys = new Set(copies.map(copyKeyOf));
  }

  add(log: ActionLogDoc): void {
    for (const item of log.items) {
      const append = log.appends[item.append ?? -1];
      // What a plan or a withdrawal said of it touched nothing.
      if (append?.position === undefined) continue;
      const networkMessageId = log.messages[item.message]?.networkMessageId ?? '';
      const key = copyKeyOf({ networkMessageId, kind: item.kind, mailbox: item.mailbox });
      if (!this.copyKeys.has(key)) continue;
      const touches = this.found.get(key) ?? [];
      this.found.set(key, touches);
      touches.push({ position: append.position, touch: touchOf(log, item, append.at) });
    }
  }

  /** By the key of the copy, in the order in which they were recorded. */
  byCopy(): Map<string, readonly Touch[]> {
    return new Map(Array.from(this.found, ([key, touches]) => [key, inOrder(touches)]));
  }

  /** As {@link CopyStates.stillMovedBy}, by these logs; those of the remediation itself need not be among them. */
  stillMovedBy<Copy extends MovedCopy>(approvalId: string, moved: readonly Copy[]): readonly Copy[] {
    if (this.found.size === 0) return moved;
    return moved.filter((copy) => {
      const moment = formatPosition(copy.position);
      const touches = this.found.get(copyKeyOf(copy)) ?? [];
      const since = touches.filter(({ position }) => position > moment);
      return isStillThere(approvalId, copy.to, inOrder(since));
    });
  }
}

const inOrder = (touches: readonly PlacedTouch[]): readonly Touch[] =>
  touches.toSorted((a, b) => (a.position < b.position ? -1 : 1)).map(({ touch }) => touch);

const touchOf = ({ approvalId }: ActionLogDoc, item: LogItem, at: string): Touch => ({
  approvalId,
  outcome: item.outcome,
  at,
  ...(item.reason === undefined ? {} : { reason: item.reason }),
  ...(item.from === undefined ? {} : { from: item.from }),
  ...(item.to === undefined ? {} : { to: item.to }),
});

/** What was done to copies, found by their messages in the logs of the batches that they were planned in. */
export class Copies {
  constructor(private readonly store: ReadStore) {}

  /** An email's copies: the recipient's, and the sender's of its message when that is one of ours. */
  async ofEmail(tenant: string, { record }: EmailDoc): Promise<Copy[]> {
    const { networkMessageId } = record;
    const placed = copiesOf(record).map(({ kind, mailbox, folder }) => ({
      copy: { networkMessageId, kind, mailbox },
      folder,
    }));
    const copies = placed.map(({ copy }) => copy);
    const found = (await this.touches(tenant, copies)).byCopy();
    return placed.map(({ copy, folder: delivered }) => {
      const touches = found.get(copyKeyOf(copy)) ?? [];
      const { folder = null, lastMovedBy } = placeAfter(touches, delivered);
      return {
        ...copy,
        folder,
        ...(lastMovedBy === undefined ? {} : { lastMovedBy }),
        touches: touches.slice(-TOUCHES_SHOWN),
      };
    });
  }

  /** What remediations did to these copies. @param by which ones. */
  async touches(
    tenant: string,
    copies: readonly CopyIdentity[],
    by: (approvalId: string) => boolean = () => true,
  ): Promise<FoundTouches> {
    const found = new FoundTouches(copies);
    const ids = await this.logIds(tenant, copies, by);
    for (let from = 0; from < ids.length; from += LOGS_AT_ONCE) {
      const logs = await this.store.getMany(actionLogView, ids.slice(from, from + LOGS_AT_ONCE));
      for (const { doc } of logs) found.add(doc);
    }
    return found;
  }

  /** The logs that may speak of these copies. */
  private async logIds(
    tenant: string,
    copies: readonly CopyIdentity[],
    by: (approvalId: string) => boolean,
  ): Promise<string[]> {
    const ids = new Set<string>();
    const wanted = rangesByMessage(copies);
    const found = await this.store.getMany(
      messageBatchesView,
      Array.from(wanted.keys(), (networkMessageId) => messageDocId(tenant, networkMessageId)),
    );
    for (const { doc } of found) {
      const range = wanted.get(doc.networkMessageId);
      for (const { planId, batch, ...of } of doc.batches) {
        if (range === undefined || range.lastCopy < of.firstCopy || range.firstCopy > of.lastCopy) continue;
        if (by(of.approvalId)) ids.add(actionLogId(planId, batch));
      }
    }
    return [...ids];
  }
}

/** What the write side asks about copies, answered by the views. */
export class CopyStatesOfViews extends CopyStates {
  private readonly copies: Copies;

  constructor(
    private readonly events: EventStore,
    private readonly store: ReadStore,
  ) {
    super();
    this.copies = new Copies(store);
  }

  async ready(): Promise<void> {
    for (const view of [messageBatchesView, actionLogView]) await untilFresh(this.events, this.store, view);
  }

  /** What the remediation itself did is known to who asks: its own logs are not read. */
  async stillMovedBy<Copy extends MovedCopy>(
    tenant: string,
    approvalId: string,
    moved: readonly Copy[],
  ): Promise<readonly Copy[]> {
    const byOthers = await this.copies.touches(tenant, moved, (of) => of !== approvalId);
    return byOthers.stillMovedBy(approvalId, moved);
  }

  async touchedBy(
    tenant: string,
    approvalId: string,
    emails: readonly EmailRef[],
  ): Promise<ReadonlySet<string>> {
    const keys = new Map(emails.map((email) => [copyKeyOf(recipientCopyOf(email)), emailKeyOf(email)]));
    const touches = await this.copies.touches(tenant, emails.map(recipientCopyOf), (of) => of === approvalId);
    return new Set([...touches.byCopy().keys()].flatMap((key) => keys.get(key) ?? []));
  }
}

const recipientCopyOf = ({ networkMessageId, recipientEmailAddress: mailbox }: EmailRef): CopyIdentity => ({
  networkMessageId,
  kind: 'recipient',
  mailbox,
});
