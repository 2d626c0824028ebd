import type { RecordedEvent } from '#libs/event-store';
import { catalogCodecs, copiesOf } from '#libs/mail-catalog';
import type { Change, Projection } from '#libs/read-store';
import {
  batchCodecs,
  copyKeyOf,
  isCopyEvent,
  outcomeOf,
  type CopyEvent,
  type CopyKind,
  type Outcome,
  type Reason,
} from '#libs/remediation';

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
export interface CopyDoc {
  readonly tenant: string;
  readonly networkMessageId: string;
  readonly kind: CopyKind;
  readonly mailbox: string;
  /** Null: in none of the folders of the mailbox when last looked for. */
  readonly folder: string | null;
  /** The remediation that moved it last, as long as the copy is still where that left it. */
  readonly lastMovedBy?: string;
  /** In order of time, the newest {@link TOUCHES_KEPT}. */
  readonly touches: readonly Touch[];
}

/** A copy that is moved to and fro without end must not grow its document without end; the events keep everything. */
export const TOUCHES_KEPT = 50;

export const copyDocId = (tenant: string, copyKey: string): string => `${tenant}/${copyKey}`;

export const copiesView: Projection<CopyDoc> = {
  name: 'copies',
  version: 1,
  fields: {},
  indexes: [],
  project,
};

function project(recorded: RecordedEvent): readonly Change<CopyDoc>[] {
  const tenant = recorded.metadata.tenant ?? '';
  const imported = catalogCodecs.decode(recorded);
  if (imported !== undefined) {
    return imported.data.emails.flatMap((email) =>
      copiesOf(email).map(({ kind, mailbox, folder }) => {
        const { networkMessageId } = email;
        const copy = { tenant, networkMessageId, kind, mailbox, folder, touches: [] };
        return { id: copyDocId(tenant, copyKeyOf(copy)), apply: (doc: CopyDoc | undefined) => doc ?? copy };
      }),
    );
  }
  const event = batchCodecs.decode(recorded);
  if (event === undefined || !isCopyEvent(event)) return [];
  const { networkMessageId, mailbox } = event.data;
  const { kind } = outcomeOf(event);
  const id = copyDocId(tenant, copyKeyOf({ networkMessageId, kind, mailbox }));
  return [
    {
      id,
      apply: (doc) =>
        touched(
          doc ?? { tenant, networkMessageId, kind, mailbox, folder: null, touches: [] },
          event,
          recorded,
        ),
    },
  ];
}

function touched(doc: CopyDoc, event: CopyEvent, { metadata }: RecordedEvent): CopyDoc {
  const { outcome, reason, from, to } = outcomeOf(event);
  const touch: Touch = {
    approvalId: event.data.approvalId,
    outcome,
    at: metadata.occurredAt ?? '',
    ...(reason === undefined ? {} : { reason }),
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
  };
  const touches = [...doc.touches, touch].slice(-TOUCHES_KEPT);
  const { lastMovedBy, ...rest } = doc;
  switch (outcome) {
    case 'succeeded':
      return { ...rest, folder: to ?? null, lastMovedBy: event.data.approvalId, touches };
    case 'alreadyInDestination':
      // Found elsewhere than the last remediation left it: its user was faster than this one.
      return to === doc.folder ? { ...doc, touches } : { ...rest, folder: to ?? doc.folder, touches };
    case 'notFound':
      return { ...rest, folder: null, touches };
    case 'nonRemediable':
      // Moved by somebody else since, or its mailbox is gone: it is not where the last remediation left it.
      return { ...rest, touches };
    case 'failed':
    case 'timedOut':
    case 'cancelled':
      return { ...rest, ...(lastMovedBy === undefined ? {} : { lastMovedBy }), touches };
  }
}
