import type { RecordedEvent } from '#libs/event-store';
import type { Change, Projection } from '#libs/read-store';
import { deliveryCodecs, webhookCodecs } from './codecs.js';
import type { DeliveryEvent } from './delivery.js';
import type { PauseReason, WebhookEvent, WebhookSettings } from './webhook.js';

/** One webhook as it is listed. */
export interface WebhookDoc extends WebhookSettings {
  readonly tenant: string;
  readonly webhookId: string;
  readonly status: 'active' | 'paused' | 'removed';
  readonly pausedBecause?: PauseReason;
  readonly pauseDetail?: string;
  readonly secretVersion: number;
  readonly createdBy: string;
  readonly createdAt: string;
  /** Position of the newest message that was taken. */
  readonly deliveredUpTo?: string;
  readonly deliveredAt?: string;
  /** What is being tried again, or was when the webhook was paused. */
  readonly failing?: {
    readonly position: string;
    readonly attempts: number;
    readonly since: string;
    readonly error: string;
    readonly nextAttemptAt?: string;
  };
}

export const webhooksView: Projection<WebhookDoc> = {
  name: 'webhooks',
  version: 1,
  fields: {
    tenant: { type: 'text', of: (doc) => doc.tenant },
    status: { type: 'text', of: (doc) => doc.status },
    createdAt: { type: 'text', of: (doc) => doc.createdAt },
  },
  indexes: [
    ['tenant', 'createdAt', 'id'],
    ['status', 'id'],
  ],
  types: new Set([...webhookCodecs.types, ...deliveryCodecs.types]),
  project,
};

function project(recorded: RecordedEvent): readonly Change<WebhookDoc>[] {
  const event = webhookCodecs.decode(recorded);
  if (event !== undefined) {
    return [{ id: event.data.webhookId, apply: (doc) => withEvent(doc, event, recorded) }];
  }
  const delivery = deliveryCodecs.decode(recorded);
  if (delivery === undefined) return [];
  return [{ id: delivery.data.webhookId, apply: (doc) => doc && withDelivery(doc, delivery, recorded) }];
}

function withEvent(
  doc: WebhookDoc | undefined,
  event: WebhookEvent,
  { metadata }: RecordedEvent,
): WebhookDoc | undefined {
  if (event.type === 'WebhookRegistered') {
    const { webhookId, tenant, url, types, description, secret } = event.data;
    return {
      ...{ tenant, webhookId, url, types, description, status: 'active', secretVersion: secret.version },
      createdBy: metadata.actor ?? '',
      createdAt: metadata.occurredAt ?? '',
    };
  }
  if (doc === undefined) return doc;
  switch (event.type) {
    case 'WebhookChanged': {
      const { url, types, description } = event.data;
      return { ...doc, url, types, description };
    }
    case 'WebhookSecretRotated':
      return { ...doc, secretVersion: event.data.secret.version };
    case 'WebhookPaused':
      return {
        ...doc,
        status: 'paused',
        pausedBecause: event.data.because,
        ...(event.data.detail === '' ? {} : { pauseDetail: event.data.detail }),
      };
    case 'WebhookResumed': {
      const { pausedBecause: _because, pauseDetail: _detail, ...rest } = doc;
      return { ...rest, status: 'active' };
    }
    case 'WebhookReplayRequested': {
      const { failing: _failing, ...rest } = doc;
      return rest;
    }
    case 'WebhookRemoved':
      return { ...doc, status: 'removed' };
  }
}

function withDelivery(doc: WebhookDoc, event: DeliveryEvent, { metadata }: RecordedEvent): WebhookDoc {
  const { failing: _failing, ...rest } = doc;
  if (event.type === 'WebhookDelivered') {
    return { ...rest, deliveredUpTo: event.data.position, deliveredAt: metadata.occurredAt ?? '' };
  }
  const { position, attempt: attempts, since, error, nextAttemptAt } = event.data;
  return {
    ...rest,
    failing: { position, attempts, since, error, ...(nextAttemptAt === undefined ? {} : { nextAttemptAt }) },
  };
}
