import { ClawbackError, invalidInput } from '#libs/kernel';
import { MAX_APPEND_BYTES, type ExpectedRevision, type Metadata, type NewEvent } from './event-store.js';

// What every adapter refuses before it asks its store.

/** @throws {ClawbackError} `invalidRevision`, `emptyAppend`, `duplicateEventId`. */
export function checkAppend(expected: ExpectedRevision, events: readonly NewEvent[]): void {
  if (expected !== 'noStream' && expected < 0n) {
    throw invalidInput([{ field: 'expected', problem: 'a revision is never negative' }], 'invalidRevision');
  }
  // A server takes an empty append for done.
  if (events.length === 0) throw new ClawbackError('invalid', 'emptyAppend', 'an append needs an event');
  if (new Set(events.map((event) => event.id)).size < events.length) {
    throw new ClawbackError('invalid', 'duplicateEventId', 'two events of one append have the same id');
  }
}

/** @throws {ClawbackError} `appendTooLarge`, naming size and limit. */
export function checkAppendSize(size: number): void {
  if (size <= MAX_APPEND_BYTES) return;
  throw new ClawbackError(
    'tooLarge',
    'appendTooLarge',
    `an append of ${size} bytes is over the limit of ${MAX_APPEND_BYTES} bytes`,
    { size, limit: MAX_APPEND_BYTES },
  );
}

/** @throws {ClawbackError} `invalidEvent` for what JSON cannot say. */
export function toJson(field: string, value: unknown): string {
  let json: unknown;
  try {
    json = JSON.stringify(value);
  } catch (error) {
    const problem = 'cannot be written as JSON';
    throw new ClawbackError('invalid', 'invalidEvent', `${field}: ${problem}`, {}, { cause: error });
  }
  if (typeof json !== 'string') throw invalidInput([{ field, problem: 'is no JSON value' }], 'invalidEvent');
  return json;
}

/**
 * What a store writes of metadata, made of their text as {@link toJson} gives it; the events of an append mostly share one
 * object, of which it is made once.
 */
export function metadataAs<Written>(
  write: (json: string) => Written,
): (field: string, metadata: Metadata) => Written {
  const known = new Map<Metadata, Written>();
  return (field, metadata) => {
    const written = known.get(metadata) ?? write(toJson(field, metadata));
    known.set(metadata, written);
    return written;
  };
}

/** @throws {ClawbackError} `invalidInput` unless it is a whole number of at least so many. */
export function checkCount(field: string, count: number, least: number): void {
  if (!Number.isSafeInteger(count) || count < least) {
    throw invalidInput([{ field, problem: `must be a whole number from ${least} on` }]);
  }
}
