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

/**
 * The events of one append as they are stored. They are read from their JSON when they are first asked for: all at once
 * from that of the file, each by itself where it was written here.
 */
export class StoredAppend {
  private readonly read: RecordedEvent[] = [];
  /** Of most events, as an object that they share. */
  private metadata: Metadata | undefined;

  /** @param encoded its events one by one, where they are known. */
  constructor(
    readonly row: AppendRow,
    private readonly encoded?: readonly EncodedEvent[],
  ) {}

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
    return new StoredAppend({ position, stream, revision, count, types, metadata, events: json }, events);
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
    if (this.encoded === undefined) return this.events.filter(({ type }) => types.has(type));
    return this.encoded.flatMap((event, index) => (types.has(event.type) ? [this.at(index, event)] : []));
  }

  /** In order. @throws {ClawbackError} `eventUnreadable` */
  get events(): readonly RecordedEvent[] {
    if (this.encoded !== undefined) return this.encoded.map((event, index) => this.at(index, event));
    if (this.read.length === 0) this.read.push(...eventsOf(this.row));
    return this.read;
  }

  private at(index: number, { id, type, data, metadata }: EncodedEvent): RecordedEvent {
    this.read[index] ??= recorded(this.row, index, {
      id,
      type,
      data: JSON.parse(data) as unknown,
      metadata: this.metadataOf(metadata),
    });
    return this.read[index];
  }

  private metadataOf(json: string): Metadata {
    if (json !== this.row.metadata) return JSON.parse(json) as Metadata;
    this.metadata ??= JSON.parse(json) as Metadata;
    return this.metadata;
  }
}

const jsonOf = ({ id, type, data, metadata }: EncodedEvent, common: string): string => {
  const own = metadata === common ? '' : `,"metadata":${metadata}`;
  return `{"id":${JSON.stringify(id)},"type":${JSON.stringify(type)},"data":${data}${own}}`;
};

function eventsOf(row: AppendRow): RecordedEvent[] {
  const events = fromJson(row, 'events') as readonly EventInAppend[];
  const common = fromJson(row, 'metadata') as Metadata;
  return events.map(({ id, type, data, metadata = common }, index) =>
    recorded(row, index, { id, type, data, metadata }),
  );
}

/** @param index of the event in its append. */
function recorded(
  { stream, position, revision, count }: AppendRow,
  index: number,
  { id, type, data, metadata }: Required<EventInAppend>,
): RecordedEvent {
  return {
    id,
    type,
    data,
    metadata,
    stream,
    revision: BigInt(revision - count + 1 + index),
    position: BigInt(position - count + 1 + index),
  };
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
