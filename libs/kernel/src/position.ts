/**
 * A place in the one order of all events: grows with every event, has gaps. `bigint` in code, 20 digits at rest so that
 * text order is number order (2^64 has 20 digits).
 */
export type Position = bigint;

/** Before the first event. */
export const START: Position = -1n;

/** `42n` → `"00000000000000000042"`. {@link START} is written as an empty string, which sorts first. */
export const formatPosition = (position: Position): string =>
  position < 0n ? '' : position.toString().padStart(20, '0');

/** The inverse of {@link formatPosition}. Throws on anything that is not digits or empty. */
export function parsePosition(text: string): Position {
  if (text === '') return START;
  if (!/^\d{1,20}$/.test(text)) throw new Error('not a position: expected up to 20 digits');
  return BigInt(text);
}
