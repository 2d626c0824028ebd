import type { EventStore } from '#libs/event-store';
import { formatPosition, idFrom, isClawbackError, pause, type Clock, type Position } from '#libs/kernel';
import { deliveryCodecs, deliveryStream } from './codecs.js';
import { placeOf, type DeliveryEvent, type Place } from './delivery.js';
import type { Message, Messages } from './notifications.js';
import { retryDelayMs, type RetryPolicy } from './retry.js';
import type { Attempt, WebhookSender } from './sender.js';
import { signedHeaders, type WebhookKeys } from './signature.js';
import { decideOnWebhook, loadWebhook } from './webhook.handler.js';
import type { KnownWebhook, PauseReason } from './webhook.js';

export interface CourierPorts {
  readonly events: EventStore;
  readonly messages: Messages;
  readonly sender: WebhookSender;
  readonly keys: WebhookKeys;
  readonly clock: Clock;
  readonly retries: RetryPolicy;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Told of what ends a round; the next begins where the last recorded event leaves off. */
  readonly onError: (error: unknown, what: string) => void;
}

/** When a courier ends: `stopping` between two attempts, `breaking` in the middle of one. */
export interface CourierSignals {
  readonly stopping: AbortSignal;
  readonly breaking: AbortSignal;
}

/** Who is said to have recorded what a courier records. */
const ACTOR = 'clawback:webhooks';
/** The server's key is not the one that the secret was derived from: nothing can be signed. */
const KEY_CHANGED = 'signingKeyChanged';
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 15_000;

/**
 * Brings the messages of one webhook to its receiver, in order, one at a time, each until it is taken. What came of an
 * attempt is recorded before the next begins, at the revision that the courier knows: of two couriers one is refused, and
 * begins again from what the other has recorded. A message is sent again when the process dies after the receiver took it
 * and before that is recorded.
 */
export class Courier {
  constructor(
    private readonly ports: CourierPorts,
    private readonly webhookId: string,
  ) {}

  /** Goes on until it is stopped, or until the webhook is paused or removed. Never rejects. */
  async run(signals: CourierSignals): Promise<void> {
    let wait = FIRST_PAUSE_MS;
    while (!signals.stopping.aborted) {
      const ended = await this.round(signals).catch((error: unknown): undefined => {
        if (!signals.stopping.aborted) this.ports.onError(error, 'a webhook was interrupted');
      });
      if (ended === 'inactive') return;
      wait = ended === undefined ? Math.min(LONGEST_PAUSE_MS, wait * 2) : FIRST_PAUSE_MS;
      await pause(wait, signals.stopping);
    }
  }

  /** From what is recorded, until the messages end for whatever reason. */
  private async round(signals: CourierSignals): Promise<'inactive' | 'over'> {
    const webhook = await loadWebhook(this.ports.events, this.webhookId);
    if (webhook.status !== 'active') return 'inactive';
    const round = await Round.begin(this.ports, webhook, signals);
    const { tenant } = webhook;
    const { stopping } = signals;
    for await (const { position, message } of this.ports.messages.subscribe({
      tenant,
      after: round.after,
      signal: stopping,
    })) {
      if (message === undefined || !wanted(webhook, message)) continue;
      const outcome = await round.deliver(position, message);
      if (outcome === 'stopped') return 'over';
      if (outcome === 'paused') return 'inactive';
    }
    return 'over';
  }
}

const wanted = ({ settings, begin }: KnownWebhook, { type, time }: Message): boolean =>
  settings.types.includes(type) && (begin.notBefore === undefined || time >= begin.notBefore);

/** One courier's knowledge of what it has recorded. */
class Round {
  static async begin(ports: CourierPorts, webhook: KnownWebhook, signals: CourierSignals): Promise<Round> {
    const stream = deliveryStream(webhook.webhookId);
    for await (const recorded of ports.events.readStream(stream, { direction: 'backwards', maxCount: 1 })) {
      const last = deliveryCodecs.decode(recorded);
      return new Round(ports, webhook, signals, placeOf(webhook, last), recorded.revision);
    }
    return new Round(ports, webhook, signals, placeOf(webhook, undefined), undefined);
  }

  private constructor(
    private readonly ports: CourierPorts,
    private readonly webhook: KnownWebhook,
    private readonly signals: CourierSignals,
    private place: Place,
    private revision: bigint | undefined,
  ) {}

  get after(): Position {
    return this.place.after;
  }

  /** Tries until the receiver has taken it, or it is given up and the webhook paused, or the courier is stopped. */
  async deliver(position: Position, message: Message): Promise<'taken' | 'paused' | 'stopped'> {
    const { clock, retries, random } = this.ports;
    const { stopping, breaking } = this.signals;
    const { webhookId, series } = this.webhook;
    const messageId = `msg_${idFrom(webhookId, formatPosition(position))}`;
    const body = JSON.stringify({ type: message.type, timestamp: message.time, data: message.data });
    // The first message of a round is the one that has failed before: progress, for instance, may have moved on meanwhile.
    const before = this.place.failing;
    const since = before?.since ?? clock.now().toISOString();
    let delay = before === undefined ? 0 : Date.parse(before.nextAttemptAt) - clock.now().getTime();
    for (let number = (before?.attempts ?? 0) + 1; ; number += 1) {
      if (delay > 0) await pause(delay, stopping);
      if (stopping.aborted) return 'stopped';
      const attempt = await this.attempt(messageId, body);
      // Nobody knows whether it was taken: it is sent again by whoever goes on.
      if (breaking.aborted && attempt.status === undefined) return 'stopped';
      const now = clock.now();
      const common = {
        webhookId,
        messageId,
        position: formatPosition(position),
        kind: message.type,
        about: message.about,
        series,
        attempt: number,
        since,
        durationMs: attempt.durationMs,
      };
      const { status, error } = attempt;
      if (error === undefined && status !== undefined) {
        await this.record({ type: 'WebhookDelivered', data: { ...common, status, after: common.position } });
        this.place = { after: position };
        return 'taken';
      }
      delay = retryDelayMs(retries, number, attempt.retryAfterMs, random());
      const because = givenUp(attempt, now.getTime() - Date.parse(since), retries);
      await this.record({
        type: 'WebhookAttemptFailed',
        data: {
          ...common,
          ...(status === undefined ? {} : { status }),
          error: error ?? 'noStatus',
          ...(because === undefined ? { nextAttemptAt: new Date(now.getTime() + delay).toISOString() } : {}),
          after: formatPosition(this.place.after),
        },
      });
      if (because !== undefined) {
        await this.pauseWebhook(
          because,
          `${message.type} at ${common.position}: ${error ?? 'noStatus'}`,
          messageId,
        );
        return 'paused';
      }
    }
  }

  private async attempt(messageId: string, body: string): Promise<Attempt> {
    const { clock, sender } = this.ports;
    const now = clock.now();
    const secrets = secretsAt(this.webhook, this.ports.keys, now);
    if (secrets.length === 0) return { error: KEY_CHANGED, durationMs: 0 };
    const headers = signedHeaders(secrets, messageId, now, body);
    return sender.post(this.webhook.settings.url, headers, body, this.signals.breaking);
  }

  /** Tried again, as one and the same append, for as long as the store cannot answer. */
  private async record(event: DeliveryEvent): Promise<void> {
    const { clock, events } = this.ports;
    const { webhookId, tenant } = this.webhook;
    const { messageId, series, attempt } = event.data;
    const now = clock.now().toISOString();
    const encoded = deliveryCodecs.encode(event, idFrom(messageId, String(series), String(attempt), now), {
      tenant,
      actor: ACTOR,
      correlationId: webhookId,
      causationId: messageId,
      commandId: messageId,
      occurredAt: now,
    });
    for (let wait = FIRST_PAUSE_MS; ; wait = Math.min(LONGEST_PAUSE_MS, wait * 2)) {
      try {
        const { revision } = await events.append(deliveryStream(webhookId), this.revision ?? 'noStream', [
          encoded,
        ]);
        this.revision = revision;
        return;
      } catch (error) {
        if (!isClawbackError(error) || error.kind !== 'unavailable' || this.signals.breaking.aborted)
          throw error;
      }
      await pause(wait, this.signals.breaking);
    }
  }

  private async pauseWebhook(because: PauseReason, detail: string, causationId: string): Promise<void> {
    const { clock, events } = this.ports;
    const { webhookId, tenant, series } = this.webhook;
    await decideOnWebhook(
      events,
      webhookId,
      { type: 'Pause', because, detail },
      { tenant, actor: ACTOR, causationId: `${causationId}/${series}`, now: clock.now() },
    );
  }
}

/**
 * The secrets that sign at this time: the newest, and for a while after a rotation the one before. None when the newest was
 * derived from another key.
 */
export function secretsAt(
  { webhookId, secret, previous }: KnownWebhook,
  keys: WebhookKeys,
  now: Date,
): string[] {
  const newest = keys.secret(webhookId, secret);
  if (newest === undefined) return [];
  const before =
    previous !== undefined && now.toISOString() < previous.until
      ? keys.secret(webhookId, previous.secret)
      : undefined;
  return before === undefined ? [newest] : [newest, before];
}

const givenUp = (
  { status }: Attempt,
  failingForMs: number,
  { giveUpMs }: RetryPolicy,
): PauseReason | undefined => (status === 410 ? 'gone' : failingForMs >= giveUpMs ? 'gaveUp' : undefined);
