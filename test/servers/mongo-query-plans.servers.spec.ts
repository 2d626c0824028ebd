import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { START, type Position } from '#libs/kernel';
import { type Document } from 'mongodb';
import {
  ActionCenter,
  ActiveRemediationsOfView,
  actionLogId,
  actionLogView,
  Dashboard,
  dashboardView,
  historyView,
  HISTORY_SORTS,
  messageBatchesView,
  type ActionLogDoc,
  type BatchReachDoc,
  type HistoryDoc,
  messageDocId,
  type MessageBatchesDoc,
} from '#libs/action-center';
import { emailDocId, emailsView, MailCatalog, type EmailDoc } from '#libs/mail-catalog';
import { type EmailFilter } from '#libs/remediation';
import {
  ReadStore,
  type Condition,
  type Page,
  type Query,
  type Rows,
  type Scalar,
  type ViewSpec,
} from '#libs/read-store';
import { MongoReadStore } from '../../libs/read-store/src/mongodb/index.js';
import { ViewCollection } from '../../libs/read-store/src/mongodb/view-collection.js';
import { checkConditions, checkQuery } from '../../libs/read-store/src/view-rules.js';
import { messageOf, submissionOf, tallyOf } from '../support/examples.js';
import { InMemoryEventStore } from '../support/in-memory-event-store.js';
import { mongoName, realMongoUrl, startMongo, type MongoUnderTest } from '../support/mongodb.js';

/** Something that the API asks of the read models. */
type Asking = (api: Api) => Promise<unknown>;

interface Api {
  readonly catalog: MailCatalog;
  /** A catalogue that finds a great many emails for every filter. */
  readonly large: MailCatalog;
  readonly center: ActionCenter;
  readonly active: ActiveRemediationsOfView;
  readonly dashboard: Dashboard;
}

interface Asked {
  readonly view: ViewSpec<never>;
  readonly query: Query;
}

interface Counted {
  readonly view: ViewSpec<never>;
  readonly where: readonly Condition[];
}

const tenant = 't1';
const day = (n: number): string => new Date(Date.UTC(2026, 0, 1 + n)).toISOString();
const networkMessageId = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const page = { limit: 50 };
const history = { limit: 50, sort: 'submittedAt', descending: true } as const;
const time = { startTime: day(3), endTime: day(20) };
const entry = { planId: 'plan-1', status: 'completed' } as HistoryDoc;

/** By each filter of the catalogue. */
const selections = (name: string, catalogOf: (api: Api) => MailCatalog): readonly [string, Asking][] =>
  Object.entries({
    everything: {},
    'a sender': { sender: 's1@x.example' },
    'a recipient': { recipient: 'r1@x.example' },
    'a direction': { direction: 'inbound' },
    'a location': { location: 'inboxFolder' },
    'a subject': { subject: 'Invoice' },
    'a message': { networkMessageId: networkMessageId(7) },
    'an internet message id': { internetMessageId: '<7@x.example>' },
    'a cluster': { clusterId: 'c1' },
    'some days': time,
  } satisfies Record<string, EmailFilter>).map(([what, filter]) => [
    `${name} of ${what}`,
    (api) => drain(catalogOf(api).stream(tenant, filter)),
  ]);

/** In the order of an index from the first document of the page to the last. */
const inOrder: readonly [string, Asking][] = [
  ['the history, newest first', ({ center }) => center.history(tenant, {}, history)],
  [
    'the history, oldest first',
    ({ center }) => center.history(tenant, {}, { ...history, descending: false }),
  ],
  ['the history of a status', ({ center }) => center.history(tenant, { status: 'completed' }, history)],
  ['the history of an action', ({ center }) => center.history(tenant, { action: 'softDelete' }, history)],
  ['the history of a surface', ({ center }) => center.history(tenant, { surface: 'graphApi' }, history)],
  ['the history of a name', ({ center }) => center.history(tenant, { name: 'Phish' }, history)],
  [
    'the history of an approver',
    ({ center }) => center.history(tenant, { approver: 'kim@x.example' }, history),
  ],
  ['the history of some days', ({ center }) => center.history(tenant, time, history)],
  [
    'the history of a status and some days',
    ({ center }) => center.history(tenant, { status: 'failed', ...time }, history),
  ],
  ['all emails, newest first', ({ catalog }) => catalog.search(tenant, {}, page)],
  ['emails of a sender', ({ catalog }) => catalog.search(tenant, { sender: 's1@x.example' }, page)],
  [
    'emails of a sender and some days',
    ({ catalog }) => catalog.search(tenant, { sender: 's1@x.example', ...time }, page),
  ],
  ['emails of a recipient', ({ catalog }) => catalog.search(tenant, { recipient: 'r1@x.example' }, page)],
  ['emails of a direction', ({ catalog }) => catalog.search(tenant, { direction: 'inbound' }, page)],
  ['emails in a location', ({ catalog }) => catalog.search(tenant, { location: 'inboxFolder' }, page)],
  [
    'emails of an internet message id',
    ({ catalog }) => catalog.search(tenant, { internetMessageId: '<7@x.example>' }, page),
  ],
  ['emails of a cluster', ({ catalog }) => catalog.search(tenant, { clusterId: 'c1' }, page)],
  ['emails of a subject', ({ catalog }) => catalog.search(tenant, { subject: 'Invoice' }, page)],
  ['emails of some days', ({ catalog }) => catalog.search(tenant, time, page)],
  ...selections('a large selection', ({ large }) => large),
  ['the log', ({ center }) => center.log(entry, {}, page)],
  [
    'the log from a place on',
    ({ center }) => center.log(entry, {}, { ...page, after: [actionLogId('plan-1', 3), 7] }),
  ],
  ['the log of an outcome', ({ center }) => center.log(entry, { outcome: 'succeeded' }, page)],
  ["the log of the senders' copies", ({ center }) => center.log(entry, { isSendersCopy: true }, page)],
  [
    "the log of an outcome of the recipients' copies",
    ({ center }) => center.log(entry, { outcome: 'failed', isSendersCopy: false }, page),
  ],
  ['the log of a mailbox', ({ center }) => center.log(entry, { mailbox: 'r1@x.example' }, page)],
  ['the export', ({ center }) => drain(center.rows(entry, {}))],
  ['the export of the history', ({ center }) => drain(center.historyPages(tenant, {}))],
  ['the figures of the dashboard', ({ dashboard }) => dashboard.figures(tenant, time, 'day')],
  ['the top of the dashboard', ({ dashboard }) => dashboard.top(tenant, time, 10)],
];

/** An index leads to the documents, which may be sorted then: few, or no more than a tenant's remediations. */
const narrowed: readonly [string, Asking][] = [
  ['one remediation in the history', ({ center }) => center.history(tenant, { approvalId: 'a-7' }, history)],
  ...HISTORY_SORTS.filter((sort) => sort !== 'submittedAt').map((sort): [string, Asking] => [
    `the history by ${sort}`,
    ({ center }) => center.history(tenant, {}, { ...history, sort }),
  ]),
  ['what is under way', ({ active }) => active.active(tenant)],
  [
    'emails of a message',
    ({ catalog }) => catalog.search(tenant, { networkMessageId: networkMessageId(7) }, page),
  ],
  ...selections('a small selection', ({ catalog }) => catalog),
];

describe('every query of the API has its index', () => {
  it.each(inOrder)('%s: one index filters and sorts', async (_, asking) => {
    for (const { view, query } of (await askedBy(asking)).found) {
      expect(indexesOf(view).some((index) => givesOrder(index, query))).toBe(true);
    }
  });

  it.each(narrowed)('%s: one index filters', async (_, asking) => {
    const { found, totalled } = await askedBy(asking);
    const queries = found.map(({ view, query }) => ({ view, where: query.where }));
    for (const { view, where } of [...queries, ...totalled]) {
      expect(indexesOf(view).some((index) => seeks(index, { where }))).toBe(true);
    }
  });
});

const onRealMongo = realMongoUrl === undefined ? describe.skip : describe;
if (realMongoUrl === undefined) {
  process.stdout.write(
    'left out: the plans of the queries (FerretDB explains in its own way); set MONGODB_URL to run them\n',
  );
}

onRealMongo(`plans: ${mongoName}`, () => {
  let mongo: MongoUnderTest;
  let store: MongoReadStore;

  beforeAll(async () => {
    mongo = await startMongo();
    store = new MongoReadStore({ url: mongo.url, database: mongo.database });
    await fill(store);
  });

  afterAll(async () => {
    await store.close();
    await mongo.dispose();
  });

  const database = () => mongo.client.db(mongo.database);

  /** The stages of the winning plans of a first page and of a later one, of each range that they read. */
  async function plansOfPages(found: readonly Asked[]): Promise<string[][]> {
    const plans: string[][] = [];
    for (const { view, query } of found) {
      const collection = new ViewCollection(view, 1, database());
      for (const page of [query, continued(view, query)]) {
        for (const { filter, options } of collection.pages(checkQuery(view, page), collection.whole)) {
          const cursor = collection.documents.find(filter, { ...options, limit: query.limit + 1 });
          plans.push(stagesOf(await cursor.explain('queryPlanner')));
        }
      }
    }
    return plans;
  }

  it.each([...inOrder, ...narrowed])('%s: no scan of the collection', async (_, asking) => {
    const { found, counted, totalled } = await askedBy(asking);
    for (const { view, where } of [...counted, ...totalled]) {
      const collection = new ViewCollection(view, 1, database());
      const { documents } = collection;
      const filter = collection.filterOf(checkConditions(view, where));
      const stages = stagesOf(await documents.find(filter).explain('queryPlanner'));
      expect(stages).not.toContain('COLLSCAN');
    }
    for (const stages of await plansOfPages(found)) {
      expect(stages).toContain('IXSCAN');
      expect(stages).not.toContain('COLLSCAN');
    }
  });

  it.each(inOrder)('%s: nothing is sorted, on the first page and on a later one', async (_, asking) => {
    const { found } = await askedBy(asking);
    for (const stages of await plansOfPages(found)) expect(stages).not.toContain('SORT');
  });

  it.each([emailsView, historyView, actionLogView, messageBatchesView, dashboardView])(
    'documents of $name by their ids',
    async (view) => {
      const { documents } = new ViewCollection(view, 1, database());
      const stages = stagesOf(await documents.find({ _id: { $in: ['a', 'b'] } }).explain('queryPlanner'));
      expect(stages).toContain('IXSCAN');
      expect(stages).not.toContain('COLLSCAN');
    },
  );
});

/** What the API asks of the store, with no document to find. */
async function askedBy(asking: Asking): Promise<AskedStore> {
  const store = new AskedStore(0);
  const large = new AskedStore(1_000_000);
  const events = new InMemoryEventStore();
  await asking({
    catalog: new MailCatalog(events, store),
    large: new MailCatalog(events, large),
    center: new ActionCenter(store),
    active: new ActiveRemediationsOfView(store),
    dashboard: new Dashboard(store),
  });
  const queries = ({ found, totalled }: AskedStore): number => found.length + totalled.length;
  const asked = queries(store) > 0 ? store : large;
  expect(queries(asked)).toBeGreaterThan(0);
  return asked;
}

/** The same query for a later page. */
function continued(view: ViewSpec<never>, query: Query): Query {
  const sortBy = [...(query.orderBy ?? []), 'id'];
  const place = (field: string): Scalar => {
    if (field === 'id') {
      return view.name === 'actionLog' ? actionLogId('plan-1', 5) : `${tenant}/${networkMessageId(7)}/a`;
    }
    if (field === 'submittedAt' || field === 'receivedAt' || field === 'settledAt') return day(7);
    return view.fields[field]?.type === 'number' ? 5 : 'm';
  };
  return { ...query, after: sortBy.map(place) };
}

const equalFields = ({ where }: Query): ReadonlySet<string> =>
  new Set(where.filter(({ op }) => op === 'eq').map(({ field }) => field));

/** The index seeks, and, fields that are equal in all documents aside, begins with the order. */
function givesOrder(index: readonly string[], query: Query): boolean {
  const equal = equalFields(query);
  const varying = index.filter((field) => !equal.has(field));
  return seeks(index, query) && [...(query.orderBy ?? []), 'id'].every((field, at) => varying[at] === field);
}

const seeks = ([first]: readonly string[], { where }: Pick<Query, 'where'>): boolean =>
  where.some(({ field, op }) => field === first && op !== 'contains' && op !== 'has');

/** The one that every collection has, too. */
const indexesOf = (view: ViewSpec<never>): readonly (readonly string[])[] => [
  ['id'],
  ...view.indexes.map((index) => [...index, 'id']),
];

/** Every `stage` in the winning plan, of all shards. */
function stagesOf(explained: Document): string[] {
  const stages: string[] = [];
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const [key, value] of Object.entries(node)) {
      if (key === 'stage' && typeof value === 'string') stages.push(value);
      else if (key !== 'rejectedPlans') visit(value);
    }
  };
  visit((explained.queryPlanner as Document).winningPlan);
  return stages;
}

async function drain(items: AsyncIterable<unknown>): Promise<void> {
  const ends = items[Symbol.asyncIterator]();
  while ((await ends.next()).done !== true);
}

/** Notes what it is asked, and has nothing. */
class AskedStore extends ReadStore {
  readonly found: Asked[] = [];
  readonly counted: Counted[] = [];
  readonly totalled: Counted[] = [];

  /** @param size what it answers to every count */
  constructor(private readonly size: number) {
    super();
  }

  override find<Doc>(view: ViewSpec<Doc>, query: Query): Promise<Page<Doc>> {
    this.found.push({ view, query });
    return Promise.resolve({ items: [] });
  }

  override select(view: ViewSpec<never>, _fields: readonly string[], query: Query): Promise<Rows> {
    this.found.push({ view, query });
    return Promise.resolve({ rows: [] });
  }

  override count(view: ViewSpec<never>, where: readonly Condition[]): Promise<number> {
    this.counted.push({ view, where });
    return Promise.resolve(this.size);
  }

  override total<Doc>(view: ViewSpec<Doc>, _field: string, where: readonly Condition[]) {
    this.totalled.push({ view, where });
    return Promise.resolve({ count: this.size, sum: 0 });
  }

  override spread<Doc>(view: ViewSpec<Doc>, _field: string, where: readonly Condition[]) {
    this.counted.push({ view, where });
    return Promise.resolve({ distinct: this.size, most: 1 });
  }

  override checkpoint(): Promise<Position> {
    return Promise.resolve(START);
  }

  override getMany = nobodyAsks;
  override selectMany = nobodyAsks;
  override builds = nobodyAsks;
  override activate = nobodyAsks;
  override discard = nobodyAsks;
  override prepare = nobodyAsks;
  override commit = nobodyAsks;
  override close = nobodyAsks;
}

function nobodyAsks(): Promise<never> {
  return Promise.reject(new Error('nobody asks this here'));
}

/** Enough of everything for the planner to have a choice. */
async function fill(store: MongoReadStore): Promise<void> {
  await put(store, emailsView, (n) => [emailDocId(tenantOf(n), `${networkMessageId(n)}/r`), emailOf(n)]);
  await put(store, historyView, (n) => [`a-${String(n)}`, remediationOf(n)]);
  await put(store, messageBatchesView, (n) => [messageDocId(tenantOf(n), networkMessageId(n)), batchesOf(n)]);
  await put(store, dashboardView, (n) => [actionLogId(`plan-${String(n % 10)}`, n), reachOf(n)]);
  await put(store, actionLogView, (n) => [actionLogId(`plan-${String(n % 10)}`, n), batchOf(n)]);
}

async function put<Doc>(
  store: MongoReadStore,
  view: ViewSpec<Doc>,
  make: (n: number) => readonly [string, Doc],
): Promise<void> {
  const documents = Array.from({ length: 2000 }, (_, n) => {
    const [id, doc] = make(n);
    return { id, position: 1n, doc };
  });
  await store.prepare(view);
  await store.commit(view, documents, 1n);
}

const tenantOf = (n: number): string => `t${String(n % 3)}`;
const address = (name: string, n: number): string => `${name}${String(n)}@x.example`;
const oneOf = <T>(values: readonly [T, ...T[]], n: number): T => values[n % values.length] ?? values[0];

const emailOf = (n: number): EmailDoc => ({
  tenant: tenantOf(n),
  location: oneOf(['inboxFolder', 'junkFolder'], n),
  record: {
    networkMessageId: networkMessageId(n),
    internetMessageId: `<${String(n)}@x.example>`,
    recipientEmailAddress: address('r', n % 40),
    senderFromAddress: address('s', n % 20),
    senderDisplayName: '',
    senderMailFromAddress: '',
    senderIp: '',
    subject: oneOf(['Invoice overdue', 'Lunch'], n),
    direction: oneOf(['inbound', 'intraOrg'], n),
    deliveryAction: '',
    deliveryLocation: 'inboxFolder',
    latestDeliveryAction: '',
    latestDeliveryLocation: 'inboxFolder',
    receivedAt: day(n % 28),
    threatTypes: '',
    detectionMethods: '',
    confidenceLevel: '',
    authenticationDetails: '',
    emailClusterId: `c${String(n % 15)}`,
    reportId: '',
    tenantIdOfSource: '',
  },
});

const remediationOf = (n: number): HistoryDoc => ({
  ...submissionOf({
    approvalId: `a-${String(n)}`,
    planId: `plan-${String(n)}`,
    name: oneOf(['Payroll phish', 'Fraud'], n),
    action: oneOf(['softDelete', 'moveToInbox'], n),
    surface: oneOf(['graphApi', 'threatExplorer'], n),
  }),
  tenant: tenantOf(n),
  status: n % 50 === 0 ? 'inProgress' : oneOf(['completed', 'failed'], n),
  submittedBy: 'lee@x.example',
  submittedAt: day(n % 28),
  decidedBy: oneOf(['kim@x.example', 'lee@x.example'], n),
  undoneBy: [],
  retriedBy: [],
  lateArrivals: [],
});

const batchesOf = (n: number): MessageBatchesDoc => ({
  tenant: tenantOf(n),
  networkMessageId: networkMessageId(n),
  batches: [],
});

const reachOf = (n: number): BatchReachDoc => ({
  tenant: tenantOf(n),
  approvalId: 'a-1',
  senders: [[address('s', n % 20), 2]],
  mailboxes: [[address('r', n % 40), 2]],
  targets: [],
  settledAt: day(n % 28),
});

const batchOf = (n: number): ActionLogDoc => ({
  tenant: tenantOf(n),
  approvalId: 'a-1',
  planId: `plan-${String(n % 10)}`,
  batch: n,
  action: 'softDelete',
  messages: [messageOf()],
  appends: [{ at: day(n % 28) }],
  items: [
    {
      message: 0,
      kind: oneOf(['recipient', 'sender'], n),
      mailbox: address('r', n % 3),
      outcome: 'succeeded',
    },
  ],
  tally: tallyOf({ recipient: { succeeded: n % 2, failed: n % 5 } }),
});
