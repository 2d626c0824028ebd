import {
  binaryEvent,
  jsonEvent,
  type AllStreamRecordedEvent,
  type EventData,
  type RecordedEvent as ServerEvent,
} from '@eventstore/db-client';
import { ClawbackError, invalidInput } from '#libs/kernel';
import { checkAppend, checkAppendSize, metadataAs, toJson } from '../append-rules.js';
import { type ExpectedRevision, type Metadata, type NewEvent, type RecordedEvent } from '../event-store.js';

/** An event as it comes from a read or a subscription. */
export interface Arrived {
  readonly event?: ServerEvent | AllStreamRecordedEvent;
  readonly commitPosition?: bigint;
}

/** A server without positions fills in something larger. */
const LAST_POSITION = 2n ** 63n - 1n;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** An append with an upper bound of the bytes that the server counts for it. */
interface Encoded {
  readonly event: EventData;
  readonly bytes: number;
}

/**
 * Checks an append and gives it the shape of the client.
 * @throws {ClawbackError} `emptyAppend`, `appendTooLarge`, `duplicateEventId`, `invalidEvent`, `invalidRevision`.
 */
export function encodeAppend(
  stream: string,
  expected: ExpectedRevision,
  events: readonly NewEvent[],
): EventData[] {
  checkName('stream', stream);
  checkAppend(expected, events);
  // Bytes the client takes as they are; of an object it makes text for every event, writes it in base64, and reads it again.
  const metadataBytes = metadataAs((json): Uint8Array => new TextEncoder().encode(json));
  const encoded = events.map((event, index) => encodeEvent(event, `events[${index}]`, metadataBytes));
  checkAppendSize(encoded.reduce((sum, { bytes }) => sum + bytes, 0));
  return encoded.map(({ event }) => event);
}

/**
 * A bare text goes as bytes: where JSON cannot be read the client hands out its text instead, which would look just the
 * same.
 */
function encodeEvent(
  { id, type, data, metadata }: NewEvent,
  field: string,
  metadataBytes: ReturnType<typeof metadataAs<Uint8Array>>,
): Encoded {
  if (!UUID.test(id)) throw invalid(`${field}.id`, 'must be a UUID in small letters');
  checkName(`${field}.type`, type);
  const json = toJson(`${field}.data`, data);
  const about = metadataBytes(`${field}.metadata`, metadata);
  const bytes = id.length + 2 * Buffer.byteLength(type) + Buffer.byteLength(json) + about.length;
  const event =
    typeof data === 'string'
      ? binaryEvent({ id, type, metadata: about, data: new Uint8Array(Buffer.from(json)) })
      : jsonEvent({ id, type, metadata: about, data: data as never });
  return { event, bytes };
}

/** `$` begins the names of the server's own streams and types: what is called so reaches no reader of ours. */
function checkName(field: string, text: string): void {
  if (text === '' || text.includes('\0') || /\p{Surrogate}/u.test(text)) {
    throw invalid(field, 'must be a text of whole characters without NUL');
  }
  if (text.startsWith('$')) throw invalid(field, 'must not begin with $');
}

const invalid = (field: string, problem: string): ClawbackError =>
  invalidInput([{ field, problem }], 'invalidEvent');

/** Not one of the server's own events, a tombstone included. */
export const isOurs = ({ event }: Arrived): boolean =>
  event !== undefined && !event.streamId.startsWith('$') && !event.type.startsWith('$');

/** The client's types say bigint; what it hands out has been a number at times. */
export const exact = (value: bigint | number): bigint => BigInt(value);

/** Where an event is in the log. Its commit and prepare position are the same number. */
export function positionOf({ event, commitPosition }: Arrived): bigint {
  const position = event?.position?.commit ?? commitPosition;
  if (position === undefined || position > LAST_POSITION) {
    throw new ClawbackError(
      'unavailable',
      'eventStoreTooOld',
      'the server tells no positions of the events of a stream: EventStoreDB 22.6 or newer is needed',
    );
  }
  return exact(position);
}

export const revisionOf = ({ event }: Arrived): bigint => exact(event?.revision ?? 0n);

/**
 * One of our events, read. Numbers become bigint whatever the client made of them.
 * @throws {ClawbackError} `eventUnreadable`
 */
export function toRecorded(arrived: Arrived): RecordedEvent {
  const { event } = arrived;
  if (event === undefined) throw new Error('a link that leads nowhere is no event of ours');
  return {
    id: event.id,
    type: event.type,
    data: dataOf(event),
    metadata: metadataOf(event),
    stream: event.streamId,
    revision: exact(event.revision),
    position: positionOf(arrived),
  };
}

function dataOf(event: ServerEvent): unknown {
  const data: unknown = event.data;
  if (event.isJson) {
    if (typeof data === 'string') throw unreadable(event, 'data');
    return data;
  }
  try {
    return JSON.parse(Buffer.from(data as Uint8Array).toString('utf8'));
  } catch (error) {
    throw unreadable(event, 'data', error);
  }
}

/** The client hands out the bytes where it cannot read them. */
function metadataOf(event: ServerEvent): Metadata {
  const metadata: unknown = event.metadata ?? {};
  if (typeof metadata !== 'object' || metadata === null || ArrayBuffer.isView(metadata)) {
    throw unreadable(event, 'metadata');
  }
  return metadata as Metadata;
}

function unreadable(event: ServerEvent, part: 'data' | 'metadata', cause?: unknown): ClawbackError {
  const { streamId: stream, revision } = event;
  return new ClawbackError(
    'unavailable',
    'eventUnreadable',
    `the ${part} of event ${revision} of stream ${stream} is not JSON of ours`,
    { stream, revision, column: part },
    { cause },
  );
}
