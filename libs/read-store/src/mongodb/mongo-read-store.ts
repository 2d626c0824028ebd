import type { AnyBulkWriteOperation, Collection, Document } from 'mongodb';
import { canonicalJson, inGroups, type Position } from '#libs/kernel';
import {
  ReadStore,
  type Builds,
  type Condition,
  type Page,
  type Query,
  type Rows,
  type Scalar,
  type Spread,
  type Stored,
  type Total,
  type ViewSpec,
  type Write,
} from '../read-store.js';
import {
  checkConditions,
  checkDiscard,
  checkQuery,
  checkSelected,
  checkSpread,
  checkSummed,
  checkView,
  FIRST_BUILD,
  NO_NUMBER,
  notPrepared,
  placeKey,
  viewChanged,
  viewKey,
  viewShape,
  type CheckedQuery,
} from '../view-rules.js';
import { ActiveBuilds } from './active-builds.js';
import { Checkpoints, insertIfMissing } from './checkpoints.js';
import { guarded, isDuplicateKey, unavailable, within } from './faults.js';
import { MongoConnection, type MongoConnectionOptions } from './mongo-connection.js';
import { turnOf, ViewCollection, type ViewDocument } from './view-collection.js';

export interface MongoReadStoreOptions extends Pick<MongoConnectionOptions, 'url' | 'database'> {
  /**
   * Names this process among those that write views: one of them writes a view at a time, and the others wait. The name of
   * a process that may be replaced by a new one of the same name at once, or else a name that nobody has had before.
   * Without a name nothing is fenced.
   */
  readonly owner?: string;
  /** For how long a writer that is not heard of keeps its views; default 15 s. Clocks must differ by much less. */
  readonly leaseMs?: number;
  /** How long a server that answers nothing is waited for, each time one is asked; default 20 s. */
  readonly timeoutMs?: number;
  readonly now?: () => Date;
}

interface ShapeDocument {
  readonly _id: string;
  readonly shape: string;
}

const IDS_PER_QUERY = 1000;
/** However many documents a commit has, each command is answered long before the time limit of an answer. */
const WRITES_PER_COMMAND = 1000;
const LEASE_MS = 15_000;
const TIMEOUT_MS = 20_000;

/**
 * The read models in MongoDB, a collection per build of a view; a replica set, a sharded cluster or one server.
 *
 * Documents and checkpoint are no transaction: the documents are written first, each guarded by its position, and the
 * checkpoint after them. A crash in between leaves documents that are ahead of the checkpoint; the same events are then
 * projected again and change nothing. A write counts when a majority has it in its journal.
 */
export class MongoReadStore extends ReadStore {
  private readonly connection: MongoConnection;
  private readonly checkpoints: Checkpoints;
  private readonly activeBuilds: ActiveBuilds;
  /** Versions of views. */
  private readonly prepared = new Set<string>();
  /** By place. */
  private readonly collections = new Map<string, ViewCollection>();
  /** What may take several calls gets a little longer than one call. */
  private readonly patienceMs: number;
  private turn: number;
  private closing: Promise<void> | undefined;

  /** Connects when first used. @throws {Error} the url is none. */
  constructor(options: MongoReadStoreOptions) {
    super();
    const { url, database, owner, leaseMs = LEASE_MS, timeoutMs = TIMEOUT_MS } = options;
    const { now = () => new Date() } = options;
    this.connection = new MongoConnection({ url, database, timeoutMs });
    this.patienceMs = 2 * timeoutMs;
    this.activeBuilds = new ActiveBuilds(this.connection);
    const writer = owner === undefined ? undefined : { owner, leaseMs, now: () => now().getTime() };
    this.checkpoints = new Checkpoints(this.connection, writer);
    this.turn = turnOf(now());
  }

  /** @throws {Error} this version of the view is there with other fields or indexes: raise the version. */
  async prepare(view: ViewSpec<never>): Promise<void> {
    checkView(view);
    const shape = canonicalJson(viewShape(view));
    const collection = await this.ask(async () => {
      const build = view.build ?? (await this.activeBuilds.now(viewKey(view)));
      const made = new ViewCollection(view, build, this.connection);
      await insertIfMissing(this.shapes, { _id: made.place, shape });
      const known = await this.shapes.findOne({ _id: made.place });
      if (known?.shape !== shape) throw viewChanged(view);
      // Every time, for the sake of whoever died before this. One by one: FerretDB fails on several that are there.
      const indexes = view.unindexed === true ? [] : made.indexes;
      for (const index of indexes) await made.documents.createIndexes([index]);
      await this.checkpoints.prepare(made.place);
      return made;
    });
    this.prepared.add(viewKey(view));
    this.collections.set(collection.place, collection);
  }

  async builds(view: ViewSpec<never>): Promise<Builds> {
    const key = viewKey(view);
    return await this.ask(async () => {
      const ofThisView = { $or: [{ _id: key }, { _id: { $gte: `${key}_b`, $lt: `${key}_c` } }] };
      const places = await this.shapes.find(ofThisView).toArray();
      const numbers = places.map(({ _id }) =>
        _id === key ? FIRST_BUILD : Number(_id.slice(key.length + 2)),
      );
      const builds = await Promise.all(
        numbers
          .sort((a, b) => a - b)
          .map(async (build) => ({ build, checkpoint: await this.checkpoints.read(placeKey(view, build)) })),
      );
      return { active: await this.activeBuilds.now(key), builds };
    });
  }

  async activate(view: ViewSpec<never>, build: number, asOf: Position): Promise<void> {
    await this.collection({ ...view, build });
    await this.ask(() => this.activeBuilds.set(viewKey(view), build, asOf));
  }

  async discard(view: ViewSpec<never>, build: number): Promise<void> {
    const place = placeKey(view, build);
    await this.ask(async () => {
      // Afresh: another process may have switched to this very build.
      checkDiscard(view, build, await this.activeBuilds.now(viewKey(view)));
      this.collections.delete(place);
      await this.connection.collection(place).drop();
      await this.checkpoints.drop(place);
      // Last: as long as it is there, the build is known and can be discarded again.
      await this.shapes.deleteOne({ _id: place });
    });
  }

  async getMany<Doc>(view: ViewSpec<Doc>, ids: readonly string[]): Promise<Stored<Doc>[]> {
    const collection = await this.collection(view);
    const found = await this.amongIds(collection, ids, collection.whole);
    return found.map((row) => collection.stored(view, row));
  }

  async selectMany(
    view: ViewSpec<never>,
    fields: readonly string[],
    ids: readonly string[],
  ): Promise<(readonly string[])[]> {
    checkSelected(view, fields);
    const collection = await this.collection(view);
    const found = await this.amongIds(collection, ids, collection.only(fields));
    return found.map((row) => collection.valuesAt(fields, row) as string[]);
  }

  private async amongIds(
    { documents }: ViewCollection,
    ids: readonly string[],
    projection: Readonly<Record<string, 1>>,
  ): Promise<ViewDocument[]> {
    const found: ViewDocument[] = [];
    for await (const group of inGroups(new Set(ids), IDS_PER_QUERY)) {
      // All in the first answer, as far as they fit: a server that begins anew in between does not know of the rest.
      const options = { projection, batchSize: IDS_PER_QUERY };
      found.push(...(await this.ask(() => documents.find({ _id: { $in: group } }, options).toArray())));
    }
    return found;
  }

  /**
   * @throws {ClawbackError} for a store with an owner: `writerWaiting`, kind `unavailable`, while another process writes
   * the view; `writerFenced`, kind `conflict`, when another has taken over. The documents may be written even so, which
   * does no harm.
   */
  async commit<Doc>(view: ViewSpec<Doc>, writes: readonly Write<Doc>[], checkpoint: Position): Promise<void> {
    const collection = await this.collection(view);
    const { place } = collection;
    this.turn -= 1;
    const commands = collection.writes(view, writes, this.turn);
    await this.ask(async () => {
      const lease = await this.checkpoints.hold(place, view.isRight === true);
      await writeAll(collection.documents, commands);
      await this.checkpoints.move(place, checkpoint, lease);
    });
  }

  async checkpoint(view: ViewSpec<never>): Promise<Position> {
    const { place } = await this.collection(view);
    return await this.ask(() => this.checkpoints.read(place));
  }

  async find<Doc>(view: ViewSpec<Doc>, query: Query): Promise<Page<Doc>> {
    const checked = checkQuery(view, query);
    const collection = await this.collection(view);
    const { shown, ...next } = await this.page(collection, checked, collection.whole);
    return { items: shown.map((row) => collection.stored(view, row)), ...next };
  }

  async select(view: ViewSpec<never>, fields: readonly string[], query: Query): Promise<Rows> {
    checkSelected(view, fields);
    const checked = checkQuery(view, query);
    const collection = await this.collection(view);
    const { shown, ...next } = await this.page(collection, checked, collection.only(fields));
    return { rows: shown.map((row) => collection.valuesAt(fields, row) as string[]), ...next };
  }

  private async page(
    collection: ViewCollection,
    query: CheckedQuery,
    projection: Readonly<Record<string, 1>>,
  ): Promise<{ readonly shown: readonly ViewDocument[]; readonly next?: readonly Scalar[] }> {
    const { sortBy, limit } = query;
    const rows: ViewDocument[] = [];
    for (const { filter, options } of collection.pages(query, projection)) {
      // One more than is shown, to see whether there is a next page.
      const missing = limit + 1 - rows.length;
      if (missing === 0) break;
      const limits = { limit: missing, batchSize: missing };
      rows.push(
        ...(await this.ask(() => collection.documents.find(filter, { ...options, ...limits }).toArray())),
      );
    }
    const shown = rows.slice(0, limit);
    const last = shown.at(-1);
    if (rows.length === shown.length || last === undefined) return { shown };
    return { shown, next: collection.valuesAt(sortBy, last) };
  }

  async count<Doc>(view: ViewSpec<Doc>, where: readonly Condition[]): Promise<number> {
    const checked = checkConditions(view, where);
    const collection = await this.collection(view);
    return await this.ask(() => collection.documents.countDocuments(collection.filterOf(checked)));
  }

  async total<Doc>(view: ViewSpec<Doc>, field: string, where: readonly Condition[]): Promise<Total> {
    checkSummed(view, field);
    const checked = checkConditions(view, where);
    const collection = await this.collection(view);
    const { documents } = collection;
    const filter = collection.filterOf(checked);
    const path = `$${collection.pathOf(field)}`;
    return await this.ask(async () => {
      const count = await documents.countDocuments(filter);
      // What stands for "no number" would swallow every other one.
      const numbers = { $and: [filter, { [path.slice(1)]: { $gt: NO_NUMBER } }] };
      const [group] = await documents
        .aggregate<{ sum: number }>([{ $match: numbers }, { $group: { _id: null, sum: { $sum: path } } }])
        .toArray();
      return { count, sum: group?.sum ?? 0 };
    });
  }

  async spread<Doc>(view: ViewSpec<Doc>, field: string, where: readonly Condition[]): Promise<Spread> {
    checkSpread(view, field);
    const checked = checkConditions(view, where);
    const collection = await this.collection(view);
    const { documents } = collection;
    const key = `$${collection.pathOf(field)}`;
    const groups = [
      { $match: collection.filterOf(checked) },
      { $group: { _id: key, documents: { $sum: 1 } } },
    ];
    const ask = <Row extends Document>(...then: Document[]): Promise<Row[]> =>
      documents.aggregate<Row>([...groups, ...then], { allowDiskUse: true }).toArray();
    return await this.ask(async () => {
      const [all] = await ask<{ distinct: number }>({ $count: 'distinct' });
      const [first] = await ask<{ documents: number }>({ $sort: { documents: -1 } }, { $limit: 1 });
      return { distinct: all?.distinct ?? 0, most: first?.documents ?? 0 };
    });
  }

  /** Gives back the leases. Whatever is called later gets `unavailable`; a second close does nothing. */
  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    // A lease that is not given back lapses, and the process is about to end.
    await within(this.patienceMs, this.checkpoints.release()).catch(() => undefined);
    await this.connection.close();
  }

  /** Which version of each view has which shape. */
  private get shapes(): Collection<ShapeDocument> {
    return this.connection.collection('views');
  }

  /** The client would connect again after its end. */
  private async ask<T>(work: () => Promise<T>): Promise<T> {
    if (this.closing !== undefined) throw unavailable('it is closed');
    try {
      return await guarded(() => within(this.patienceMs, work()));
    } catch (error) {
      this.connection.renewIfLost();
      throw error;
    }
  }

  /** Another process may have switched to a build that this one has not seen yet. */
  private async collection(view: ViewSpec<never>): Promise<ViewCollection> {
    if (!this.prepared.has(viewKey(view))) throw notPrepared(view);
    const build = view.build ?? (await this.ask(() => this.activeBuilds.of(viewKey(view))));
    const known = this.collections.get(placeKey(view, build));
    if (known !== undefined) return known;
    if (view.build !== undefined) throw notPrepared(view);
    const collection = new ViewCollection(view, build, this.connection);
    this.collections.set(collection.place, collection);
    return collection;
  }
}

async function writeAll(
  documents: Collection<ViewDocument>,
  writes: AnyBulkWriteOperation<ViewDocument>[],
): Promise<void> {
  for await (const group of inGroups(writes, WRITES_PER_COMMAND)) {
    try {
      await documents.bulkWrite(group, { ordered: false });
    } catch (error) {
      // Another writer made a document at the same moment. Now that it is there, nothing has to be made.
      if (!isDuplicateKey(error)) throw error;
      await documents.bulkWrite(group, { ordered: false });
    }
  }
}
