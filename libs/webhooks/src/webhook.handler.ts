import { EventStore, decideAndAppend, load, type Decided } from '#libs/event-store';
import { idFrom } from '#libs/kernel';
import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { webhookCodecs, webhookStream } from './codecs.js';
import { webhookDecider, type Webhook, type WebhookCommand, type WebhookEvent } from './webhook.js';

/** Who asks, from where, and when. */
export interface WebhookContext {
  readonly tenant: string;
  readonly actor: string;
  readonly causationId: string;
  readonly now: Date;
}

export type DecidedWebhook = Decided<Webhook, WebhookEvent>;

/** Anything that is done to a webhook. The caller has made sure that it is of the tenant. */
export class OnWebhook extends Command<DecidedWebhook> {
  constructor(
    readonly webhookId: string,
    readonly command: WebhookCommand,
    readonly context: WebhookContext,
  ) {
    super();
  }
}

@CommandHandler(OnWebhook)
export class OnWebhookHandler implements ICommandHandler<OnWebhook> {
  constructor(private readonly store: EventStore) {}

  execute({ webhookId, command, context }: OnWebhook): Promise<DecidedWebhook> {
    return decideOnWebhook(this.store, webhookId, command, context);
  }
}

/** As the log has it. */
export const loadWebhook = async (store: EventStore, webhookId: string): Promise<Webhook> =>
  (await load(store, webhookCodecs, webhookDecider, webhookStream(webhookId))).state;

/** @throws what the decision says, and the store's errors. */
export const decideOnWebhook = (
  store: EventStore,
  webhookId: string,
  command: WebhookCommand,
  context: WebhookContext,
): Promise<DecidedWebhook> =>
  decideAndAppend(store, webhookCodecs, webhookDecider, webhookStream(webhookId), command, {
    ...context,
    correlationId: webhookId,
    commandId: idFrom(command.type, webhookId, context.causationId),
  });
