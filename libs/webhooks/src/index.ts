export { deliveryCodecs, webhookCodecs, webhookStream } from './codecs.js';
export * from './deliveries.view.js';
export { WebhookDispatcher, dispatchTurn, type DispatcherOptions } from './dispatcher.js';
export * from './notifications.js';
export { type RetryPolicy } from './retry.js';
export * from './sender.js';
export { WebhookKeys, signature, signedHeaders } from './signature.js';
export { Targets } from './target.js';
export { OnWebhook, OnWebhookHandler, loadWebhook, type WebhookContext } from './webhook.handler.js';
export { secretsAt } from './courier.js';
export {
  webhookNotFound,
  type KnownWebhook,
  type Webhook,
  type WebhookCommand,
  type WebhookSettings,
} from './webhook.js';
export * from './webhook-queries.js';
export * from './webhooks.view.js';
