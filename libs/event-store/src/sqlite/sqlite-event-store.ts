import { ClawbackError, invalidInput, isClawbackError, START, type Position } from '#libs/kernel';
import { FileChanges, SqliteFile, type SqlRow } from '#libs/sqlite';
import { checkAppend, checkAppendSize, checkCount, metadataAs, toJson } from '../append-rules.js';
import { RecentAppends } from './recent-appends.js';
import { StoredAppend, type AppendRow, type EncodedEvent } from './stored-append.js';
import {
  EventStore,
  isWrongExpectedRevision,
  WrongExpectedRevision,
  type AppendResult,
  type Delivery,
  type ExpectedRevision,
  type NewEvent,
  type ReadStreamOptions,
  type RecordedEvent,
  type SubscribeOptions,
  type SubscriptionState,
} from '../event-store.js';

const SCHEMA_VERSION = 3;

const SCHEMA = `
  -- One row for each append: its events are written together, and read together nearly every time.
  CREATE TABLE appends (
    position INTEGER PRIMARY KEY, -- of its last event; the others are before it without a gap
    stream   TEXT    NOT NULL,
    revision INTEGER NOT NULL,    -- of its last event
    count    INTEGER NOT NULL,
    types    TEXT    NOT NULL,    -- JSON: the types of its events, each once
    metadata TEXT    NOT NULL,    -- JSON: what the events have in common
    -- JSON: a list of {id, type, data}, with metadata where those are not the common ones. Last, because a long text lies
    -- on pages of its own, through which SQLite has to go to whatever follows it.
    events   TEXT    NOT NULL,
    UNIQUE (stream, revision)
  ) STRICT;
  -- The same event by event, for people.
  CREATE VIEW events (position, stream, revision, id, type, data, metadata) AS
    SELECT position - count + 1 + each.key, stream, revision - count + 1 + each.key, each.value ->> 'id',
      each.value ->> 'type', each.value -> 'data', coalesce(each.value -> 'metadata', metadata)
    FROM appends, json_each(appends.events) AS each;
`;

/** Version 1 had a row for each event. */
const FROM_VERSION_1 = `
  ALTER TABLE events RENAME TO events_v1;
  ${SCHEMA}
  INSERT INTO appends (position, stream, revision, count, types, metadata, events)
    SELECT position, stream, revision, 1, json_array(type), metadata,
      '[{"id":' || json_quote(id) || ',"type":' || json_quote(type) || ',"data":' || data || '}]'
    FROM events_v1 ORDER BY position;
  DROP TABLE events_v1;
`;

/** Version 2 did not say the types of an append. */
const FROM_VERSION_2 = `
  DROP VIEW events;
  ALTER TABLE appends RENAME TO appends_v2;
  ${SCHEMA}
  INSERT INTO appends (position, stream, revision, count, types, metadata, events)
    SELECT position, stream, revision, count,
      (SELECT json_group_array(DISTINCT value ->> 'type') FROM json_each(events)), metadata, events
    FROM appends_v2 ORDER BY position;
  DROP TABLE appends_v2;
`;

const ENDS = `SELECT (SELECT max(position) FROM appends) AS position,
  (SELECT revision FROM appends WHERE stream = ? ORDER BY revision DESC LIMIT 1) AS revision`;
const HEAD = 'SELECT max(position) AS position FROM appends';
const INTO_APPENDS =
  'INSERT INTO appends (position, stream, revision, count, types, metadata, events) VALUES (?, ?, ?, ?, ?, ?, ?)';
const APPENDS = 'SELECT position, stream, revision, count, types, events, metadata FROM appends';
/** Those that hold the lowest revision, the highest, and all between. */
const OF_STREAM = `${APPENDS} WHERE stream = ?1 AND revision BETWEEN ?2 AND
  (SELECT min(revision) FROM appends WHERE stream = ?1 AND revision >= ?3) ORDER BY revision`;
const STREAM = { forwards: OF_STREAM, backwards: `${OF_STREAM} DESC` };
const STREAM_FROM = `${APPENDS} WHERE stream = ? AND revision >= ? ORDER BY revision`;
const ALL_BETWEEN = `${APPENDS} WHERE position > ? AND position <= ? ORDER BY position`;
const ALL_AFTER = `${APPENDS} WHERE position > ? ORDER BY position`;
/** Without the texts of appends that hold no event of some types (a JSON list). */
const ALL_AFTER_OF_TYPES = `
  SELECT position, stream, revision, count, types, metadata, iif(
    EXISTS (SELECT 1 FROM json_each(types) WHERE value IN (SELECT value FROM json_each(?2))), events, NULL) AS events
  FROM appends WHERE position > ?1 ORDER BY position`;

const PAGE_EVENTS = 500;
/** A page also ends here (in characters of JSON): 500 events of the largest size would fill the memory. */
const PAGE_LENGTH = 4 * 1024 * 1024;
/** And here, so that one who wants few of them does not go through the whole log at once. */
const PAGE_APPENDS = 2000;
/** The revision before the first event of a stream. */
const BEFORE_FIRST = -1n;

/** An append is read as a whole: which of its events a reader asked for. */
type Wanted = (append: StoredAppend) => readonly RecordedEvent[];

const between =
  (lowest: bigint, highest?: bigint): Wanted =>
  ({ events }) =>
    events.filter(({ revision }) => revision >= lowest && (highest === undefined || revision <= highest));

const behind =
  (after: Position, types?: ReadonlySet<string>): Wanted =>
  (append) =>
    append.eventsOf(types).filter(({ position }) => position > after);

/** Characters of JSON that are kept for those who follow the log close behind each other. */
const RECENT_LENGTH = 2 * PAGE_LENGTH;

/** What an append comes to; `append` when it was not there before. */
interface Written {
  readonly result: AppendResult;
  readonly append?: StoredAppend;
}

interface Page {
  readonly events: readonly RecordedEvent[];
  /** Nothing came after these events when they were read. */
  readonly ended: boolean;
}

export interface SqliteEventStoreOptions {
  /** Told of every change of a subscription. Must not throw. */
  readonly onState?: (state: SubscriptionState) => void;
}

/**
 * The event log in one SQLite file, a row for each append (ADR 0014). An append is on the disk before it is answered; the
 * appends of one turn of the event loop share a commit. Several processes may open the same file: each sees the others'
 * events soon (see {@link FileChanges}).
 */
export class SqliteEventStore extends EventStore {
  protected readonly file: SqliteFile;
  private readonly changes: FileChanges;
  private readonly recent = new RecentAppends(RECENT_LENGTH);
  private readonly onState: (state: SubscriptionState) => void;
  private subscriptions = 0;

  /** @throws {ClawbackError} kind `unavailable`: the file cannot be opened, or a newer program has written it. */
  constructor(path: string, { onState = () => undefined }: SqliteEventStoreOptions = {}) {
    super();
    this.onState = onState;
    this.file = guarded(() => openFile(path));
    this.changes = new FileChanges(this.file);
  }

  async append(
    stream: string,
    expected: ExpectedRevision,
    events: readonly NewEvent[],
  ): Promise<AppendResult> {
    const encoded = encodeAppend(stream, expected, events);
    try {
      const { result, append } = await this.file.grouped(() => this.write(stream, expected, encoded));
      if (append !== undefined) this.recent.add(append.before, [append]);
      this.changes.wakeAll();
      return result;
    } catch (error) {
      throw storeError(error);
    }
  }

  async *readStream(stream: string, options: ReadStreamOptions = {}): AsyncGenerator<RecordedEvent> {
    const { direction = 'forwards', from, maxCount = Number.MAX_SAFE_INTEGER } = options;
    checkText('stream', stream);
    checkCount('maxCount', maxCount, 0);
    const { revision: last } = guarded(() => this.ends(stream));
    let lowest = direction === 'forwards' && from !== undefined && from > 0n ? from : 0n;
    let highest = direction === 'backwards' && from !== undefined && from < last ? from : last;
    // An append is read as a whole, and may be long: what is not asked for is not even looked at.
    const reach = BigInt(maxCount) - 1n;
    if (direction === 'forwards' && lowest + reach < highest) highest = lowest + reach;
    if (direction === 'backwards' && highest - reach > lowest) lowest = highest - reach;
    while (lowest <= highest) {
      const reading = { wanted: between(lowest, highest), backwards: direction === 'backwards' };
      const page = this.page(PAGE_EVENTS, reading, STREAM[direction], stream, lowest, highest);
      yield* page.events;
      const reached = page.events.at(-1);
      if (page.ended || reached === undefined) return;
      if (direction === 'forwards') lowest = reached.revision + 1n;
      else highest = reached.revision - 1n;
      await nextTurn();
    }
  }

  async *readAll(after: Position): AsyncGenerator<RecordedEvent> {
    const head = await this.head();
    let reached = after;
    while (reached < head) {
      const page = this.page(PAGE_EVENTS, { wanted: behind(reached) }, ALL_BETWEEN, reached, head);
      yield* page.events;
      if (page.ended) return;
      reached = page.events.at(-1)?.position ?? reached;
      await nextTurn();
    }
  }

  async *subscribe(options: SubscribeOptions): AsyncGenerator<Delivery> {
    const { after, signal, maxBatch = PAGE_EVENTS, types } = options;
    checkCount('maxBatch', maxBatch, 1);
    const tell = this.reporter(options);
    let reached = after;
    let toldCaughtUp = false;
    let fault: unknown;
    tell('catchingUp', reached);
    try {
      while (!signal.aborted) {
        const { events, position, ended } = this.following(reached, maxBatch, types);
        if (position === reached && toldCaughtUp) {
          await this.changes.next({ signal });
          continue;
        }
        reached = position;
        toldCaughtUp = ended;
        tell(ended ? 'live' : 'catchingUp', reached);
        yield { events, position, caughtUp: ended };
        if (!ended) await nextTurn();
      }
    } catch (error) {
      fault = error;
      throw error;
    } finally {
      tell('ended', reached, fault);
    }
  }

  /** Reports the changes of one subscription, each once. */
  private reporter({ name }: SubscribeOptions) {
    const subscription = ++this.subscriptions;
    let last: SubscriptionState['state'] | undefined;
    return (state: SubscriptionState['state'], position: Position, lastError?: unknown): void => {
      if (state === last) return;
      last = state;
      this.onState({
        subscription,
        ...(name === undefined ? {} : { name }),
        state,
        position,
        ...(lastError === undefined ? {} : { lastError }),
      });
    };
  }

  head(): Promise<Position> {
    return settled(() => guarded(() => this.newest()));
  }

  /** Finishes the appends in flight. Whatever is called later, and a subscription still open, gets `unavailable`. */
  close(): Promise<void> {
    return settled(() => {
      guarded(() => {
        this.file.close();
      });
      this.changes.wakeAll();
    });
  }

  /** Runs inside a transaction. */
  private write(stream: string, expected: ExpectedRevision, events: readonly EncodedEvent[]): Written {
    const { position: head, revision: last } = this.ends(stream);
    const before = expected === 'noStream' ? BEFORE_FIRST : expected;
    if (last === before) return this.insert(stream, before, events, head);
    const repeated = last > before ? this.findRepeated(stream, before + 1n, events) : undefined;
    if (repeated !== undefined) return { result: repeated };
    throw new WrongExpectedRevision(stream, expected, last === BEFORE_FIRST ? 'noStream' : last);
  }

  /** @param head the last position that is taken. */
  private insert(stream: string, before: bigint, events: readonly EncodedEvent[], head: number): Written {
    const append = StoredAppend.of(stream, head + events.length, Number(before) + events.length, events);
    const { position, revision, count, types, metadata, events: json } = append.row;
    this.file.run(INTO_APPENDS, position, stream, revision, count, types, metadata, json);
    return { result: { revision: BigInt(revision), position: append.position }, append };
  }

  /** The last position of the log, 0 when there is none, and the last revision of a stream. */
  private ends(stream: string): { position: number; revision: bigint } {
    const { position, revision } = this.file.get(ENDS, stream) ?? {};
    return {
      position: Number(position ?? 0),
      revision: BigInt((revision ?? BEFORE_FIRST) as number | bigint),
    };
  }

  /** What the first append answered, when the stream holds exactly these events from this revision on. */
  private findRepeated(
    stream: string,
    first: bigint,
    events: readonly EncodedEvent[],
  ): AppendResult | undefined {
    const stored = this.page(events.length, { wanted: between(first) }, STREAM_FROM, stream, first).events;
    const last = stored.at(-1);
    if (last === undefined || !events.every((event, index) => event.id === stored[index]?.id))
      return undefined;
    return { revision: last.revision, position: last.position };
  }

  /** What comes after a position, from what others have just read or else from the file. */
  private following(
    after: Position,
    maxEvents: number,
    types: ReadonlySet<string> | undefined,
  ): Page & { readonly position: Position } {
    return guarded(() => {
      const newest = this.newest();
      if (newest <= after) return { events: [], position: after, ended: true };
      const wanted = behind(after, types);
      const known = this.recent.after(after);
      const read = takeAppends(known ?? this.appendsAfter(after, types), wanted, maxEvents);
      // Of some types only, it is not all that others may ask for.
      if (known === undefined && types === undefined) this.recent.add(after, read.appends);
      const events = read.events.slice(0, maxEvents);
      const last = events.length === read.events.length ? read.appends.at(-1) : events.at(-1);
      const position = last?.position ?? after;
      return { events, position, ended: position >= newest };
    });
  }

  private appendsAfter(after: Position, types: ReadonlySet<string> | undefined): Iterable<StoredAppend> {
    return types === undefined
      ? appendsOf(this.file.iterate(ALL_AFTER, after))
      : appendsOf(this.file.iterate(ALL_AFTER_OF_TYPES, after, JSON.stringify([...types])));
  }

  private newest(): Position {
    return toPosition(this.file.get(HEAD)?.position ?? null);
  }

  private page(
    maxEvents: number,
    { wanted, backwards = false }: { readonly wanted: Wanted; readonly backwards?: boolean },
    sql: string,
    ...values: readonly (string | bigint)[]
  ): Page {
    return guarded(() =>
      pageOf(
        takeAppends(appendsOf(this.file.iterate(sql, ...values)), wanted, maxEvents, backwards),
        maxEvents,
      ),
    );
  }
}

function openFile(path: string): SqliteFile {
  const file = new SqliteFile(path, { durability: 'full' });
  try {
    prepareSchema(file);
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

function prepareSchema(file: SqliteFile): void {
  const version = () => Number(file.get('PRAGMA user_version')?.user_version);
  const known = version();
  const schema = [SCHEMA, FROM_VERSION_1, FROM_VERSION_2][known];
  if (schema !== undefined) {
    file.transaction(() => {
      // Another process may have been faster.
      if (version() === known) file.exec(`${schema} PRAGMA user_version = ${String(SCHEMA_VERSION)}`);
    });
  }
  if (version() > SCHEMA_VERSION) {
    throw new ClawbackError(
      'unavailable',
      'eventStoreTooNew',
      `the event file has schema version ${version()}; this program knows versions up to ${SCHEMA_VERSION}`,
      { found: version(), supported: SCHEMA_VERSION },
    );
  }
}

/** Checks one append and writes its JSON out, before any transaction. */
function encodeAppend(
  stream: string,
  expected: ExpectedRevision,
  events: readonly NewEvent[],
): readonly EncodedEvent[] {
  checkText('stream', stream);
  checkAppend(expected, events);
  const metadataJson = metadataAs((json) => json);
  const encoded = events.map((event, index) => encodeEvent(event, `events[${index}]`, metadataJson));
  checkAppendSize(encoded.reduce((sum, event) => sum + sizeOf(event), 0));
  return encoded;
}

function encodeEvent(
  event: NewEvent,
  field: string,
  metadataJson: ReturnType<typeof metadataAs<string>>,
): EncodedEvent {
  checkText(`${field}.id`, event.id);
  checkText(`${field}.type`, event.type);
  return {
    id: event.id,
    type: event.type,
    data: toJson(`${field}.data`, event.data),
    metadata: metadataJson(`${field}.metadata`, event.metadata),
  };
}

const sizeOf = ({ id, type, data, metadata }: EncodedEvent): number =>
  Buffer.byteLength(id) + Buffer.byteLength(type) + Buffer.byteLength(data) + Buffer.byteLength(metadata);

/** SQLite would cut a text at NUL and replace half a surrogate pair: two names could become one. */
function checkText(field: string, text: string): void {
  if (text === '' || text.includes('\0') || /\p{Surrogate}/u.test(text)) {
    throw invalidInput(
      [{ field, problem: 'must be a text of whole characters without NUL' }],
      'invalidEvent',
    );
  }
}

interface ReadAppends {
  readonly appends: readonly StoredAppend[];
  /** Those of their events that are wanted. */
  readonly events: readonly RecordedEvent[];
  /** Nothing came after them. */
  readonly ended: boolean;
}

const pageOf = ({ events, ended }: ReadAppends, maxEvents: number): Page => ({
  events: events.slice(0, maxEvents),
  ended: ended && events.length <= maxEvents,
});

function* appendsOf(rows: Iterable<SqlRow>): Generator<StoredAppend> {
  for (const row of rows as Iterable<unknown> as Iterable<AppendRow>) yield new StoredAppend(row);
}

/** The first appends, until they hold enough events that are wanted. */
function takeAppends(
  all: Iterable<StoredAppend>,
  wanted: Wanted,
  enough: number,
  backwards = false,
): ReadAppends {
  const appends: StoredAppend[] = [];
  const events: RecordedEvent[] = [];
  let length = 0;
  for (const append of all) {
    if (events.length >= enough || length > PAGE_LENGTH || appends.length >= PAGE_APPENDS)
      return { appends, events, ended: false };
    appends.push(append);
    const found = wanted(append);
    for (const event of backwards ? found.toReversed() : found) events.push(event);
    length += append.length;
  }
  return { appends, events, ended: true };
}

const toPosition = (value: SqlRow[string]): Position => (value === null ? START : BigInt(Number(value)));

/** Our own errors as they are; whatever the file says becomes `unavailable`. */
function storeError(error: unknown): Error {
  if (isClawbackError(error) || isWrongExpectedRevision(error)) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new ClawbackError(
    'unavailable',
    'eventStoreUnavailable',
    `the event store cannot answer: ${reason}`,
    {},
    { cause: error },
  );
}

function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw storeError(error);
  }
}

/** The outcome of synchronous work as a promise. */
const settled = <T>(work: () => T): Promise<T> =>
  new Promise((resolve) => {
    resolve(work());
  });

/** Lets timers, sockets and waiting appends have their turn between two pages. */
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
