import type { RecordedEvent } from '#libs/event-store';
import type { Change, Projection } from '#libs/read-store';
import { deliveryCodecs } from './codecs.js';
import type { DeliveryEvent } from './delivery.js';

export const DELIVERY_STATES = ['delivered', 'failing', 'givenUp'] as const;
export type DeliveryState = (typeof DELIVERY_STATES)[number];

export interface AttemptDoc {
  readonly at: string;
  readonly durationMs: number;
  readonly status?: number;
  readonly error?: string;
}

/** What became of one message to one webhook. */
export interface DeliveryDoc {
  readonly tenant: string;
  readonly webhookId: string;
  readonly messageId: string;
  readonly position: string;
  readonly type: string;
  readonly about: string;
  readonly state: DeliveryState;
  readonly nextAttemptAt?: string;
  /** In all, also before a replay. */
  readonly attempts: number;
  /** The newest {@link ATTEMPTS_KEPT}, in order. */
  readonly lastAttempts: readonly AttemptDoc[];
}

/** A message that is tried for days must not grow its document; the events keep everything. */
export const ATTEMPTS_KEPT = 20;

export const deliveriesView: Projection<DeliveryDoc> = {
  name: 'webhookDeliveries',
  version: 1,
  fields: {
    webhookId: { type: 'text', of: (doc) => doc.webhookId },
    state: { type: 'text', of: (doc) => doc.state },
    position: { type: 'text', of: (doc) => doc.position },
  },
  indexes: [
    ['webhookId', 'position', 'id'],
    ['webhookId', 'state', 'position', 'id'],
  ],
  types: new Set(deliveryCodecs.types),
  project,
};

function project(recorded: RecordedEvent): readonly Change<DeliveryDoc>[] {
  const event = deliveryCodecs.decode(recorded);
  if (event === undefined) return [];
  const { webhookId, position } = event.data;
  return [{ id: `${webhookId}/${position}`, apply: (doc) => withAttempt(doc, event, recorded) }];
}

function withAttempt(
  doc: DeliveryDoc | undefined,
  event: DeliveryEvent,
  { metadata }: RecordedEvent,
): DeliveryDoc {
  const { webhookId, messageId, position, kind, about, durationMs, status } = event.data;
  const failed = event.type === 'WebhookAttemptFailed' ? event.data : undefined;
  const attempt: AttemptDoc = {
    at: metadata.occurredAt ?? '',
    durationMs,
    ...(status === undefined ? {} : { status }),
    ...(failed === undefined ? {} : { error: failed.error }),
  };
  return {
    ...{ webhookId, messageId, position, about },
    tenant: metadata.tenant ?? '',
    type: kind,
    state: failed === undefined ? 'delivered' : failed.nextAttemptAt === undefined ? 'givenUp' : 'failing',
    ...(failed?.nextAttemptAt === undefined ? {} : { nextAttemptAt: failed.nextAttemptAt }),
    attempts: (doc?.attempts ?? 0) + 1,
    lastAttempts: [...(doc?.lastAttempts ?? []), attempt].slice(-ATTEMPTS_KEPT),
  };
}
