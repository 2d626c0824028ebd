import { EventCodecs } from '#libs/event-store';
import { z } from 'zod';
import type { DeliveryEvent } from './delivery.js';
import { PAUSE_REASONS, type WebhookEvent } from './webhook.js';

// How the events are written. A change of shape is a new version with an upcaster, and a golden file under test/compat.

const webhookId = z.string().min(1);
const count = z.number().int().nonnegative();
const settings = { url: z.string(), types: z.array(z.string()), description: z.string() };
const secret = z.strictObject({ version: count, keyId: z.string() });
const begin = z.strictObject({ after: z.string(), notBefore: z.string().optional() });

export const webhookCodecs = new EventCodecs<WebhookEvent>({
  WebhookRegistered: {
    schema: z.strictObject({ webhookId, tenant: z.string(), ...settings, secret, begin }),
  },
  WebhookChanged: { schema: z.strictObject({ webhookId, ...settings }) },
  WebhookSecretRotated: { schema: z.strictObject({ webhookId, secret, previousUntil: z.string() }) },
  WebhookPaused: {
    schema: z.strictObject({ webhookId, because: z.enum(PAUSE_REASONS), detail: z.string() }),
  },
  WebhookResumed: { schema: z.strictObject({ webhookId }) },
  WebhookReplayRequested: { schema: z.strictObject({ webhookId, begin }) },
  WebhookRemoved: { schema: z.strictObject({ webhookId }) },
});

const attempt = {
  webhookId,
  messageId: z.string(),
  position: z.string(),
  kind: z.string(),
  about: z.string(),
  series: count,
  attempt: count,
  since: z.string(),
  durationMs: count,
  after: z.string(),
};

export const deliveryCodecs = new EventCodecs<DeliveryEvent>({
  WebhookDelivered: { schema: z.strictObject({ ...attempt, status: count }) },
  WebhookAttemptFailed: {
    schema: z.strictObject({
      ...attempt,
      status: count.optional(),
      error: z.string(),
      nextAttemptAt: z.string().optional(),
    }),
  },
});

/** The stream of what a webhook is. */
export const webhookStream = (id: string): string => `webhook-${id}`;

/** The stream of what was sent to it. */
export const deliveryStream = (id: string): string => `webhookDeliveries-${id}`;
