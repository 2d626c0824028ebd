import { ClawbackError, type Position } from '#libs/kernel';
import type { Metadata, RecordedEvent } from '../event-store.js';

/** An event with its JSON written out. */
export interface EncodedEvent {
  readonly id: string;
  readonly type: string;
  readonly data: string;
  readonly metadata: string;
}

/** The columns of a stored append; position and revision are those of its last event. */
export interface AppendRow {
  readonly position: number;
  readonly stream: string;
  readonly revision: number;
  readonly count: number;
  /** JSON: the types of its events, each once. */
  readonly types: string;
  readonly metadata: string;
  /** Null: not read from the file, since it holds nothing that was asked for. */
  readonly events: string | null;
}

/** An event in the JSON of its append. */
interface EventInAppend {
  readonly id: string;
  readonly type: string;
  readonly data: unknown;
  readonly metadata?: Metadata;
}

/** The events of one append as they are stored. They are read from their JSON when they are first asked for. */
export class StoredAppend {
  private read: readonly RecordedEvent[] | undefined;

  constructor(readonly row: AppendRow) {}

  /** @param position of the last event. @param revision of the last event. */
  static of(
    stream: string,
    position: number,
    revision: number,
    events: readonly EncodedEvent[],
  ): StoredAppend {
    const metadata = events[0]?.metadata ?? '{}';
    const json = `[${events.map((event) => jsonOf(event, metadata)).join(',')}]`;
    const types = JSON.stringify([...new Set(events.map(({ type }) => type))]);
    const count = events.length;
    return new StoredAppend({ position, stream, revision, count, types, metadata, events: json });
  }

  /** Of the last event. */
  get position(): Position {
    return BigInt(this.row.position);
  }

  /** Before the first event. */
  get before(): Position {
    return BigInt(this.row.position - this.row.count);
  }

  /** Characters of JSON. */
  get length(): number {
    return (this.row.events?.length ?? 0) + this.row.metadata.length;
  }

  /** In order, only those of some types. @throws {ClawbackError} `eventUnreadable` */
  eventsOf(types: ReadonlySet<string> | undefined): readonly RecordedEvent[] {
    if (types === undefined) return this.events;
    const own = JSON.parse(this.row.types) as readonly string[];
    if (this.row.events === null || !own.some((type) => types.has(type))) return [];
    return this.events.filter(({ type }) => types.has(type));
  }

  /** In order. @throws {ClawbackError} `eventUnreadable` */
  get events(): readonly RecordedEvent[] {
    this.read ??= eventsOf(this.row);
    return this.read;
  }
}

const jsonOf = ({ id, type, data, metadata }: EncodedEvent, common: string): string => {
  const own = metadata === common ? '' : `,"metadata":${metadata}`;
  return `{"id":${JSON.stringify(id)},"type":${JSON.stringify(type)},"data":${data}${own}}`;
};

function eventsOf(row: AppendRow): RecordedEvent[] {
  const { stream, count } = row;
  const events = fromJson(row, 'events') as readonly EventInAppend[];
  const common = fromJson(row, 'metadata') as Metadata;
  const first = { position: row.position - count + 1, revision: row.revision - count + 1 };
  return events.map(({ id, type, data, metadata = common }, index) => ({
    id,
    type,
    data,
    metadata,
    stream,
    revision: BigInt(first.revision + index),
    position: BigInt(first.position + index),
  }));
}

function fromJson(row: AppendRow, column: 'events' | 'metadata'): unknown {
  try {
    return JSON.parse(row[column] ?? '');
  } catch (error) {
    const { stream, revision, count } = row;
    const first = revision - count + 1;
    throw new ClawbackError(
      'unavailable',
      'eventUnreadable',
      `the ${column} of the append of revisions ${first} to ${revision} of stream ${stream} are not JSON`,
      { stream, revision: first, column },
      { cause: error },
    );
  }
}
