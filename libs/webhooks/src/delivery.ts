import { parsePosition, type Position } from '#libs/kernel';
import type { KnownWebhook } from './webhook.js';

/** What every event about one attempt says. */
interface OfAttempt {
  readonly webhookId: string;
  /** The header `webhook-id`: the same for every attempt at one message, in a replay as well. */
  readonly messageId: string;
  /** Of what the message tells of. */
  readonly position: string;
  /** Of the notification. */
  readonly kind: string;
  /** What the message is about, for instance an approval ID. */
  readonly about: string;
  readonly series: number;
  /** Counts within the series. */
  readonly attempt: number;
  /** When the first attempt of the series began. */
  readonly since: string;
  readonly durationMs: number;
  /** Everything up to here is done with. */
  readonly after: string;
}

export type DeliveryEvent =
  | { readonly type: 'WebhookDelivered'; readonly data: OfAttempt & { readonly status: number } }
  | {
      readonly type: 'WebhookAttemptFailed';
      readonly data: OfAttempt & {
        /** None when there was no answer. */
        readonly status?: number | undefined;
        readonly error: string;
        /** None: it was given up. */
        readonly nextAttemptAt?: string | undefined;
      };
    };

/** Where one webhook's sending stands. */
export interface Place {
  /** Everything up to here is done with. */
  readonly after: Position;
  /** What is being tried at the moment, and has failed so far in this series. */
  readonly failing?: {
    readonly position: Position;
    readonly attempts: number;
    readonly since: string;
    readonly nextAttemptAt: string;
  };
}

/** Where sending goes on: from the last event of its deliveries, unless the webhook was told to begin elsewhere since. */
export function placeOf(webhook: KnownWebhook, last: DeliveryEvent | undefined): Place {
  if (last === undefined || last.data.series < webhook.beginSeries) {
    return { after: parsePosition(webhook.begin.after) };
  }
  const after = parsePosition(last.data.after);
  if (last.type === 'WebhookDelivered' || last.data.series < webhook.series) return { after };
  const { position, attempt, since, nextAttemptAt } = last.data;
  // Given up, and the process died before it could say so: it is due now, and given up again if it fails.
  return {
    after,
    failing: {
      position: parsePosition(position),
      attempts: attempt,
      since,
      nextAttemptAt: nextAttemptAt ?? since,
    },
  };
}
