import { ClawbackError, invalidInput, isClawbackError, START, type Position } from '#libs/kernel';
import { SqliteFile, type SqlRow } from '#libs/sqlite';
import { checkAppend, checkAppendSize, checkCount, metadataToJson, toJson } from '../append-rules.js';
import { RecentEvents, type ReadEvent } from './recent-events.js';
import {
  EventStore,
  isWrongExpectedRevision,
  WrongExpectedRevision,
  type AppendResult,
  type Delivery,
  type ExpectedRevision,
  type Metadata,
  type NewEvent,
  type ReadStreamOptions,
  type RecordedEvent,
  type SubscribeOptions,
  type SubscriptionState,
} from '../event-store.js';

const SCHEMA_VERSION = 1;

const SCHEMA = `
  CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    stream   TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    id       TEXT    NOT NULL,
    type     TEXT    NOT NULL,
    data     TEXT    NOT NULL, -- JSON
    metadata TEXT    NOT NULL, -- JSON
    UNIQUE (stream, revision)
  ) STRICT;
  PRAGMA user_version = ${String(SCHEMA_VERSION)};
`;

const LAST_REVISION = 'SELECT revision FROM events WHERE stream = ? ORDER BY revision DESC LIMIT 1';
const HEAD = 'SELECT max(position) AS position FROM events';
const INTO_EVENTS = 'INSERT INTO events (stream, revision, id, type, data, metadata)';
const LAST_INSERTED = 'SELECT last_insert_rowid() AS position';
const IDS_FROM = `SELECT id, revision, position FROM events WHERE stream = ? AND revision >= ?
  ORDER BY revision LIMIT ?`;
const EVENTS = 'SELECT position, stream, revision, id, type, data, metadata FROM events';
const STREAM = {
  forwards: `${EVENTS} WHERE stream = ? AND revision BETWEEN ? AND ? ORDER BY revision`,
  backwards: `${EVENTS} WHERE stream = ? AND revision BETWEEN ? AND ? ORDER BY revision DESC`,
};
const ALL_BETWEEN = `${EVENTS} WHERE position > ? AND position <= ? ORDER BY position`;
const ALL_AFTER = `${EVENTS} WHERE position > ? ORDER BY position`;

const PAGE_ROWS = 500;
/** A page also ends here (in characters of JSON): 500 events of the largest size would fill the memory. */
const PAGE_LENGTH = 4 * 1024 * 1024;
/** How soon an append by another process is noticed. */
const POLL_MS = 250;
/** The revision before the first event of a stream. */
const BEFORE_FIRST = -1n;

/** The columns of a stored event. */
interface EventRow {
  readonly position: number;
  readonly stream: string;
  readonly revision: number;
  readonly id: string;
  readonly type: string;
  readonly data: string;
  readonly metadata: string;
}

/** Characters of JSON that are kept for those who follow the log close behind each other. */
const RECENT_LENGTH = 2 * PAGE_LENGTH;

/** An event with its JSON written out. */
interface EncodedEvent {
  readonly id: string;
  readonly type: string;
  readonly data: string;
  readonly metadata: string;
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
 * The event log in one SQLite file. An append is on the disk before it is answered; the appends of one turn of the
 * event loop share a commit. Several processes may open the same file: each sees the others' events within
 * {@link POLL_MS} milliseconds.
 */
export class SqliteEventStore extends EventStore {
  protected readonly file: SqliteFile;
  private readonly sleepers = new Set<() => void>();
  private readonly recent = new RecentEvents(RECENT_LENGTH);
  private readonly onState: (state: SubscriptionState) => void;
  private subscriptions = 0;

  /** @throws {ClawbackError} kind `unavailable`: the file cannot be opened, or a newer program has written it. */
  constructor(path: string, { onState = () => undefined }: SqliteEventStoreOptions = {}) {
    super();
    this.onState = onState;
    this.file = guarded(() => openFile(path));
  }

  async append(
    stream: string,
    expected: ExpectedRevision,
    events: readonly NewEvent[],
  ): Promise<AppendResult> {
    const encoded = encodeAppend(stream, expected, events);
    try {
      const result = await this.file.grouped(() => this.write(stream, expected, encoded));
      this.wakeAll();
      return result;
    } catch (error) {
      throw storeError(error);
    }
  }

  async *readStream(stream: string, options: ReadStreamOptions = {}): AsyncGenerator<RecordedEvent> {
    const { direction = 'forwards', from, maxCount = Number.MAX_SAFE_INTEGER } = options;
    checkText('stream', stream);
    checkCount('maxCount', maxCount, 0);
    const last = guarded(() => this.lastRevision(stream));
    let lowest = direction === 'forwards' ? (from ?? 0n) : 0n;
    let highest = direction === 'backwards' && from !== undefined && from < last ? from : last;
    let left = maxCount;
    while (left > 0 && lowest <= highest) {
      const page = this.page(Math.min(left, PAGE_ROWS), STREAM[direction], stream, lowest, highest);
      yield* page.events;
      const reached = page.events.at(-1);
      if (page.ended || reached === undefined) return;
      left -= page.events.length;
      if (direction === 'forwards') lowest = reached.revision + 1n;
      else highest = reached.revision - 1n;
      await nextTurn();
    }
  }

  async *readAll(after: Position): AsyncGenerator<RecordedEvent> {
    const head = await this.head();
    let reached = after;
    while (reached < head) {
      const page = this.page(PAGE_ROWS, ALL_BETWEEN, reached, head);
      yield* page.events;
      if (page.ended) return;
      reached = page.events.at(-1)?.position ?? reached;
      await nextTurn();
    }
  }

  async *subscribe(options: SubscribeOptions): AsyncGenerator<Delivery> {
    const { after, signal, maxBatch = PAGE_ROWS } = options;
    checkCount('maxBatch', maxBatch, 1);
    const tell = this.reporter(options);
    let reached = after;
    let toldCaughtUp = false;
    let fault: unknown;
    tell('catchingUp', reached);
    try {
      while (!signal.aborted) {
        const { events, ended } = this.following(reached, maxBatch);
        if (events.length === 0 && toldCaughtUp) {
          await this.sleep(signal);
          continue;
        }
        reached = events.at(-1)?.position ?? reached;
        toldCaughtUp = ended;
        tell(ended ? 'live' : 'catchingUp', reached);
        yield { events, caughtUp: ended };
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
    return settled(() => guarded(() => toPosition(this.file.get(HEAD)?.position ?? null)));
  }

  /** Finishes the appends in flight. Whatever is called later, and a subscription still open, gets `unavailable`. */
  close(): Promise<void> {
    return settled(() => {
      guarded(() => {
        this.file.close();
      });
      this.wakeAll();
    });
  }

  /** Runs inside a transaction. */
  private write(stream: string, expected: ExpectedRevision, events: readonly EncodedEvent[]): AppendResult {
    const last = this.lastRevision(stream);
    const before = expected === 'noStream' ? BEFORE_FIRST : expected;
    if (last === before) return this.insert(stream, before + 1n, events);
    const repeated = last > before ? this.findRepeated(stream, before + 1n, events) : undefined;
    if (repeated !== undefined) return repeated;
    throw new WrongExpectedRevision(stream, expected, last === BEFORE_FIRST ? 'noStream' : last);
  }

  private insert(stream: string, first: bigint, events: readonly EncodedEvent[]): AppendResult {
    const rows = events.map(({ id, type, data, metadata }, index) => {
      const revision = first + BigInt(index);
      return [stream, revision, id, type, data, metadata];
    });
    this.file.insert(INTO_EVENTS, rows);
    const position = toPosition(this.file.get(LAST_INSERTED)?.position ?? null);
    return { revision: first + BigInt(events.length - 1), position };
  }

  /** What the first append answered, when the stream holds exactly these events from this revision on. */
  private findRepeated(
    stream: string,
    first: bigint,
    events: readonly EncodedEvent[],
  ): AppendResult | undefined {
    const stored = this.file.all(IDS_FROM, stream, first, events.length) as unknown as EventRow[];
    const last = stored.at(-1);
    if (last === undefined || !events.every((event, index) => event.id === stored[index]?.id))
      return undefined;
    return { revision: BigInt(last.revision), position: BigInt(last.position) };
  }

  private lastRevision(stream: string): bigint {
    const row = this.file.get(LAST_REVISION, stream) as unknown as EventRow | undefined;
    return row === undefined ? BEFORE_FIRST : BigInt(row.revision);
  }

  /** What comes after a position, from what others have just read or else from the file. */
  private following(after: Position, maxRows: number): Page {
    return guarded(() => {
      const known = this.recent.after(after, maxRows);
      if (known !== undefined) {
        const newest = toPosition(this.file.get(HEAD)?.position ?? null);
        return { events: known, ended: known.at(-1)?.position === newest };
      }
      const read = takeRows(this.file.iterate(ALL_AFTER, after), maxRows);
      this.recent.add(after, read.events);
      return pageOf(read);
    });
  }

  private page(maxRows: number, sql: string, ...values: readonly (string | bigint)[]): Page {
    return guarded(() => pageOf(takeRows(this.file.iterate(sql, ...values), maxRows)));
  }

  private wakeAll(): void {
    for (const wake of [...this.sleepers]) wake();
  }

  /** Resolves after an append through this object, after the poll interval, when the signal fires or at close. */
  private sleep(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        this.sleepers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, POLL_MS);
      signal.addEventListener('abort', wake, { once: true });
      this.sleepers.add(wake);
    });
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
  if (version() === 0) {
    file.transaction(() => {
      // Another process may have been faster.
      if (version() === 0) file.exec(SCHEMA);
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
  const metadataJson = metadataToJson();
  const encoded = events.map((event, index) => encodeEvent(event, `events[${index}]`, metadataJson));
  checkAppendSize(encoded.reduce((sum, event) => sum + sizeOf(event), 0));
  return encoded;
}

function encodeEvent(
  event: NewEvent,
  field: string,
  metadataJson: ReturnType<typeof metadataToJson>,
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

interface ReadPage {
  readonly events: readonly ReadEvent[];
  readonly ended: boolean;
}

const pageOf = ({ events, ended }: ReadPage): Page => ({ events: events.map(({ event }) => event), ended });

/** The first rows as events, and whether these were all. */
function takeRows(rows: Iterable<SqlRow>, maxRows: number): ReadPage {
  const events: ReadEvent[] = [];
  let total = 0;
  for (const row of rows as Iterable<unknown> as Iterable<EventRow>) {
    if (events.length === maxRows || total > PAGE_LENGTH) return { events, ended: false };
    const length = row.data.length + row.metadata.length;
    events.push({ event: toRecorded(row), length });
    total += length;
  }
  return { events, ended: true };
}

function toRecorded(row: EventRow): RecordedEvent {
  return {
    id: row.id,
    type: row.type,
    data: fromJson(row, 'data'),
    metadata: fromJson(row, 'metadata') as Metadata,
    stream: row.stream,
    revision: BigInt(row.revision),
    position: BigInt(row.position),
  };
}

function fromJson(row: EventRow, column: 'data' | 'metadata'): unknown {
  try {
    return JSON.parse(row[column]);
  } catch (error) {
    const { stream, revision } = row;
    throw new ClawbackError(
      'unavailable',
      'eventUnreadable',
      `the ${column} of event ${revision} of stream ${stream} is not JSON`,
      { stream, revision, column },
      { cause: error },
    );
  }
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
