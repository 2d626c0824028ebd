import { type Clock, type Position } from '#libs/kernel';
import { emailDocId, emailKey, emailsView, type EmailDoc, type MailCatalog } from '#libs/mail-catalog';
import { activeCheckpoint, type ReadStore, type Stored, type ViewSpec } from '#libs/read-store';
import { isFinished, type EmailFilter } from '#libs/remediation';
import type { ActionCenter, HistoryFilter, LogFilter, LogRow } from '../action-center.js';
import { actionLogView, type ActionLogDoc } from '../action-log.view.js';
import { historyView, type HistoryDoc } from '../history.view.js';
import { historyColumns, logColumns, selectionColumns, type SelectedRow } from './columns.js';
import { Export, type ExportSource, type RowGroup, type ViewLook } from './export.js';
import type { ExportFormat } from './table.js';

/** Makes exports of what the Action Center and the catalogue show. */
export class Exports {
  constructor(
    private readonly store: ReadStore,
    private readonly center: ActionCenter,
    private readonly catalog: MailCatalog,
    private readonly clock: Clock,
  ) {}

  /** A row a copy of a remediation, in the order of its plan. */
  log(entry: HistoryDoc, filter: LogFilter, format: ExportFormat): Export<LogRow> {
    const final = isFinished(entry.status);
    return this.of(
      {
        kind: 'log',
        approvalId: entry.approvalId,
        query: { ...filter },
        columns: logColumns,
        groups: () => this.center.rows(entry, filter),
        view: () => this.lookAt(actionLogView),
        mayLose: filter.outcome !== undefined,
        final,
      },
      format,
    );
  }

  /** A row a remediation, newest first. */
  history(tenant: string, filter: HistoryFilter, format: ExportFormat): Export<HistoryDoc> {
    return this.of(
      {
        kind: 'history',
        approvalId: filter.approvalId ?? null,
        query: { ...filter },
        columns: historyColumns,
        groups: () => groupsOf(this.center.historyPages(tenant, filter)),
        view: () => this.lookAt(historyView),
        mayLose: filter.status !== undefined || filter.approver !== undefined,
        final: false,
      },
      format,
    );
  }

  /** A row an email that a query finds. */
  emails(tenant: string, filter: EmailFilter, format: ExportFormat): Export<SelectedRow> {
    const { networkMessageId: _message, recipient: _recipient, ...others } = filter;
    return this.of(
      {
        kind: 'selection',
        approvalId: null,
        query: { ...filter },
        columns: selectionColumns,
        groups: () => mapped(groupsOf(this.catalog.pages(tenant, filter)), rowOfEmail),
        view: () => this.lookAt(emailsView),
        // What the catalogue says of an email may change, all but its key.
        mayLose: Object.keys(others).length > 0,
        final: false,
      },
      format,
    );
  }

  /** A row an email that a remediation has selected, with what the catalogue says of it by now. */
  selection(entry: HistoryDoc, format: ExportFormat): Export<SelectedRow> {
    return this.of(
      {
        kind: 'selection',
        approvalId: entry.approvalId,
        query: {},
        columns: selectionColumns,
        groups: () => this.selected(entry),
        view: () => this.lookAt(emailsView),
        mayLose: false,
        final: false,
      },
      format,
    );
  }

  private async lookAt(view: ViewSpec<never>): Promise<ViewLook> {
    const builds = await this.store.builds(view);
    return { build: builds.active, position: activeCheckpoint(builds) };
  }

  private async *selected(entry: HistoryDoc): AsyncGenerator<RowGroup<SelectedRow>> {
    for await (const { doc } of this.center.batches(entry, {})) {
      const keys = recipientsOf(doc).map(({ networkMessageId, mailbox }) =>
        emailDocId(entry.tenant, emailKey(networkMessageId, mailbox)),
      );
      const found = await this.store.getMany(emailsView, keys);
      const byId = new Map(found.map((stored) => [stored.id, stored]));
      yield {
        rows: recipientsOf(doc).map(({ message, mailbox }, index) => ({
          approvalId: entry.approvalId,
          message,
          recipient: mailbox,
          email: byId.get(keys[index] as string)?.doc,
        })),
        position: newestOf(found),
      };
    }
  }

  private of<Row>(source: ExportSource<Row>, format: ExportFormat): Export<Row> {
    return new Export(source, format, this.clock);
  }
}

const recipientsOf = ({ items, messages }: ActionLogDoc) =>
  items.flatMap(({ kind, mailbox, message: index }) => {
    const message = messages[index];
    return kind === 'recipient' && message !== undefined
      ? [{ message, mailbox, networkMessageId: message.networkMessageId }]
      : [];
  });

const rowOfEmail = (email: EmailDoc): SelectedRow => {
  const { record } = email;
  return {
    approvalId: null,
    recipient: record.recipientEmailAddress,
    message: {
      networkMessageId: record.networkMessageId,
      internetMessageId: record.internetMessageId,
      sender: record.senderFromAddress,
      subject: record.subject,
      direction: record.direction,
      receivedAt: record.receivedAt,
    },
    email,
  };
};

const newestOf = (items: readonly Stored<unknown>[]): Position =>
  items.reduce((newest, { position }) => (position > newest ? position : newest), -1n);

async function* groupsOf<Doc>(pages: AsyncIterable<readonly Stored<Doc>[]>): AsyncGenerator<RowGroup<Doc>> {
  for await (const items of pages) yield { rows: items.map(({ doc }) => doc), position: newestOf(items) };
}

async function* mapped<A, B>(
  groups: AsyncIterable<RowGroup<A>>,
  map: (row: A) => B,
): AsyncGenerator<RowGroup<B>> {
  for await (const { rows, position } of groups) yield { rows: rows.map(map), position };
}
