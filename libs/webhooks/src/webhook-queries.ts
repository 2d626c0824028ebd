import type { Page, ReadStore, Scalar } from '#libs/read-store';
import { deliveriesView, type DeliveryDoc, type DeliveryState } from './deliveries.view.js';
import { webhooksView, type WebhookDoc } from './webhooks.view.js';

/** Queries about webhooks. Every one is bound to a tenant. */
export class WebhookQueries {
  constructor(private readonly store: ReadStore) {}

  /** The oldest first; those that were removed are left out. */
  webhooks(
    tenant: string,
    { limit, after }: { readonly limit: number; readonly after?: readonly Scalar[] },
  ): Promise<Page<WebhookDoc>> {
    return this.store.find(webhooksView, {
      where: existing(tenant),
      orderBy: ['createdAt'],
      limit,
      ...(after === undefined ? {} : { after }),
    });
  }

  count(tenant: string): Promise<number> {
    return this.store.count(webhooksView, existing(tenant));
  }

  /** Undefined when the tenant has none of this id. */
  async webhook(tenant: string, webhookId: string): Promise<WebhookDoc | undefined> {
    const [found] = await this.store.getMany(webhooksView, [webhookId]);
    return found?.doc.tenant === tenant && found.doc.status !== 'removed' ? found.doc : undefined;
  }

  /** The newest message first. */
  deliveries(
    { webhookId }: WebhookDoc,
    state: DeliveryState | undefined,
    { limit, after }: { readonly limit: number; readonly after?: readonly Scalar[] },
  ): Promise<Page<DeliveryDoc>> {
    return this.store.find(deliveriesView, {
      where: [
        { field: 'webhookId', op: 'eq', value: webhookId },
        ...(state === undefined ? [] : [{ field: 'state', op: 'eq' as const, value: state }]),
      ],
      orderBy: ['position'],
      descending: true,
      limit,
      ...(after === undefined ? {} : { after }),
    });
  }
}

const existing = (tenant: string) => [
  { field: 'tenant', op: 'eq' as const, value: tenant },
  { field: 'status', op: 'in' as const, value: ['active', 'paused'] },
];
