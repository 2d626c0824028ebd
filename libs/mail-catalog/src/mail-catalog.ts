import { type EventStore } from '#libs/event-store';
import {
  pagesOf,
  rowPagesOf,
  untilFresh,
  type Page,
  type Query,
  type ReadStore,
  type Scalar,
  type Stored,
} from '#libs/read-store';
import { SelectionSource, type EmailFilter, type Recipients, type SelectedEmail } from '#libs/remediation';
import type { EmailDoc } from './emails.view.js';
import {
  conditionsByKey,
  conditionsOf,
  emailDocId,
  emailsView,
  SELECTED_FIELDS,
  selectedEmailIn,
} from './emails.view.js';

/** Emails read from the view at once while a selection is planned. */
const STREAM_PAGE = 1000;

/** A selection up to this size is found by an index and sorted; a larger one by going along the keys. */
const FEW = 2000;

/** Queries of the mail catalogue, for people and for the planning of remediations. */
export class MailCatalog extends SelectionSource {
  constructor(
    private readonly events: EventStore,
    private readonly store: ReadStore,
  ) {
    super();
  }

  ready(): Promise<void> {
    return untilFresh(this.events, this.store, emailsView);
  }

  count(tenant: string, filter: EmailFilter): Promise<number> {
    return this.store.count(emailsView, conditionsOf(tenant, filter));
  }

  recipients(tenant: string, filter: EmailFilter): Promise<Recipients> {
    return this.store.spread(emailsView, 'recipient', conditionsOf(tenant, filter));
  }

  /** Newest first. */
  search(
    tenant: string,
    filter: EmailFilter,
    page: { readonly limit: number; readonly after?: readonly Scalar[] },
  ): Promise<Page<EmailDoc>> {
    return this.store.find(emailsView, {
      where: conditionsOf(tenant, filter),
      orderBy: ['receivedAt'],
      descending: true,
      ...page,
    });
  }

  async *stream(
    tenant: string,
    filter: EmailFilter,
    count?: number,
  ): AsyncGenerator<readonly SelectedEmail[]> {
    const query = await this.inOrder(tenant, filter, count);
    for await (const rows of rowPagesOf(this.store, emailsView, SELECTED_FIELDS, query))
      yield rows.map(selectedEmailIn);
  }

  /** All matches in the order of their keys, a page at a time. */
  async *pages(
    tenant: string,
    filter: EmailFilter,
    count?: number,
  ): AsyncGenerator<readonly Stored<EmailDoc>[]> {
    yield* pagesOf(this.store, emailsView, await this.inOrder(tenant, filter, count));
  }

  private async inOrder(tenant: string, filter: EmailFilter, count?: number): Promise<Omit<Query, 'after'>> {
    const few = (count ?? (await this.count(tenant, filter))) <= FEW;
    const where = few ? conditionsOf(tenant, filter) : conditionsByKey(tenant, filter);
    return { where, limit: few ? FEW : STREAM_PAGE };
  }

  async getMany(tenant: string, keys: readonly string[]): Promise<SelectedEmail[]> {
    const found = await this.store.selectMany(emailsView, SELECTED_FIELDS, idsOf(tenant, keys));
    return found.map(selectedEmailIn);
  }

  /** The documents that exist among these keys (`networkMessageId/recipient`). */
  async docs(tenant: string, keys: readonly string[]): Promise<EmailDoc[]> {
    const found = await this.store.getMany(emailsView, idsOf(tenant, keys));
    return found.map(({ doc }) => doc);
  }
}

const idsOf = (tenant: string, keys: readonly string[]): string[] =>
  keys.map((key) => emailDocId(tenant, key));
