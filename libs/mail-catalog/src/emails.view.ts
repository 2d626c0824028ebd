import type { RecordedEvent } from '#libs/event-store';
import { canonicalJson } from '#libs/kernel';
import type { Change, Condition, Projection } from '#libs/read-store';
import {
  batchCodecs,
  copyEventTypes,
  isCopyEvent,
  outcomeOf,
  type Direction,
  type EmailFilter,
  type Location,
  type SelectedEmail,
} from '#libs/remediation';
import { emailKey, type EmailRecord } from './email-record.js';
import { catalogCodecs } from './events.js';
import { locationOf } from './placement.js';

/** One email: what the source said, and where its recipient's copy is by now as far as Clawback knows. */
export interface EmailDoc {
  readonly tenant: string;
  readonly record: EmailRecord;
  readonly location: Location;
}

export const emailDocId = (tenant: string, key: string): string => `${tenant}/${key}`;

/** The mail catalogue: what selections query. */
export const emailsView: Projection<EmailDoc> = {
  name: 'emails',
  version: 4,
  fields: {
    tenant: { type: 'text', of: (doc) => doc.tenant },
    sender: { type: 'text', of: (doc) => doc.record.senderFromAddress },
    recipient: { type: 'text', of: (doc) => doc.record.recipientEmailAddress },
    subject: { type: 'text', of: (doc) => doc.record.subject.toLowerCase() },
    writtenSubject: { type: 'text', of: (doc) => doc.record.subject },
    direction: { type: 'text', of: (doc) => doc.record.direction },
    location: { type: 'text', of: (doc) => doc.location },
    receivedAt: { type: 'text', of: (doc) => doc.record.receivedAt },
    networkMessageId: { type: 'text', of: (doc) => doc.record.networkMessageId },
    internetMessageId: { type: 'text', of: (doc) => doc.record.internetMessageId },
    clusterId: { type: 'text', of: (doc) => doc.record.emailClusterId },
  },
  indexes: [
    ['tenant', 'receivedAt', 'id'],
    ['tenant', 'sender', 'receivedAt', 'id'],
    ['tenant', 'recipient', 'receivedAt', 'id'],
    ['tenant', 'internetMessageId', 'receivedAt', 'id'],
    ['tenant', 'clusterId', 'receivedAt', 'id'],
  ],
  // A run changes nothing else, for every email of it.
  patchable: ['location'],
  types: new Set([...catalogCodecs.types, ...copyEventTypes]),
  project,
};

/** The fields that a selected email is made of, in the order of {@link selectedEmailIn}. */
export const SELECTED_FIELDS = [
  'networkMessageId',
  'recipient',
  'internetMessageId',
  'sender',
  'writtenSubject',
  'direction',
  'receivedAt',
  'location',
] as const;

/** An email as a selection needs it, from the values of {@link SELECTED_FIELDS}. A record holds nothing that a field changes. */
export function selectedEmailIn(values: readonly string[]): SelectedEmail {
  const [networkMessageId, recipient, internetMessageId, sender, subject, direction, receivedAt, location] =
    values as [string, string, string, string, string, Direction, string, Location];
  return {
    networkMessageId,
    recipientEmailAddress: recipient,
    internetMessageId,
    sender,
    subject,
    direction,
    receivedAt,
    location,
  };
}

function project(recorded: RecordedEvent): readonly Change<EmailDoc>[] {
  const tenant = recorded.metadata.tenant ?? '';
  const imported = catalogCodecs.decode(recorded);
  if (imported !== undefined) {
    return imported.data.emails.map((record) => ({
      id: emailDocId(tenant, emailKey(record.networkMessageId, record.recipientEmailAddress)),
      apply: (doc) => withRecord(tenant, record, doc),
    }));
  }
  const event = batchCodecs.decode(recorded);
  if (event === undefined || !isCopyEvent(event)) return [];
  const { kind, to } = outcomeOf(event);
  if (kind !== 'recipient' || to === undefined) return [];
  return [
    {
      id: emailDocId(tenant, emailKey(event.data.networkMessageId, event.data.mailbox)),
      set: { location: locationOf(to) },
    },
  ];
}

/** A record that says the same location as before does not undo what Clawback did since. */
function withRecord(tenant: string, record: EmailRecord, doc: EmailDoc | undefined): EmailDoc {
  if (doc !== undefined && sameRecord(doc.record, record)) return doc;
  const moved = doc === undefined || doc.record.latestDeliveryLocation !== record.latestDeliveryLocation;
  return { tenant, record, location: moved ? record.latestDeliveryLocation : doc.location };
}

export const sameRecord = (a: EmailRecord, b: EmailRecord): boolean => canonicalJson(a) === canonicalJson(b);

/**
 * The same conditions, put so that a store goes along the keys of the tenant and reads nothing twice: the way through a
 * large part of the catalogue in the order of its keys.
 */
export const conditionsByKey = (tenant: string, filter: EmailFilter): Condition[] => [
  { field: 'id', op: 'startsWith', value: `${tenant}/` },
  ...conditionsOf(tenant, filter).filter(({ field }) => field !== 'tenant'),
];

/** Whether a record, as it was imported, is what a filter means: the same as {@link conditionsOf} on the view. */
export function matchesFilter(filter: EmailFilter, record: EmailRecord): boolean {
  const same = (wanted: string | undefined, value: string): boolean =>
    wanted === undefined || wanted === value;
  return (
    same(filter.networkMessageId, record.networkMessageId) &&
    same(filter.sender, record.senderFromAddress) &&
    same(filter.recipient, record.recipientEmailAddress) &&
    same(filter.direction, record.direction) &&
    same(filter.location, record.latestDeliveryLocation) &&
    same(filter.internetMessageId, record.internetMessageId) &&
    same(filter.clusterId, record.emailClusterId) &&
    (filter.startTime === undefined || record.receivedAt >= filter.startTime) &&
    (filter.endTime === undefined || record.receivedAt < filter.endTime) &&
    (filter.subject === undefined || record.subject.toLowerCase().includes(filter.subject.toLowerCase()))
  );
}

/** A filter of the catalogue as conditions on the view. Ids and addresses are in lower case by now. */
export function conditionsOf(tenant: string, filter: EmailFilter): Condition[] {
  const equal = (field: string, value: string | undefined): Condition[] =>
    value === undefined ? [] : [{ field, op: 'eq', value }];
  return [
    { field: 'tenant', op: 'eq', value: tenant },
    // The key begins with tenant and message: a range of it needs no index of its own.
    ...(filter.networkMessageId === undefined
      ? []
      : [{ field: 'id', op: 'startsWith' as const, value: `${tenant}/${filter.networkMessageId}/` }]),
    ...equal('sender', filter.sender),
    ...equal('recipient', filter.recipient),
    ...equal('direction', filter.direction),
    ...equal('location', filter.location),
    ...equal('internetMessageId', filter.internetMessageId),
    ...equal('clusterId', filter.clusterId),
    ...(filter.startTime === undefined
      ? []
      : [{ field: 'receivedAt', op: 'gte' as const, value: filter.startTime }]),
    ...(filter.endTime === undefined
      ? []
      : [{ field: 'receivedAt', op: 'lt' as const, value: filter.endTime }]),
    ...(filter.subject === undefined
      ? []
      : [{ field: 'subject', op: 'contains' as const, value: filter.subject.toLowerCase() }]),
  ];
}
