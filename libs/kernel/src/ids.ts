import { createHash } from 'node:crypto';
import { parse, v5 } from 'uuid';
import { uuidv7 } from 'uuidv7';

const NAMESPACE = parse('7b0c5ad6-3f0e-5a3e-9d0e-5f2d1c7a9b11');

/** A new id that sorts by time (UUID version 7). */
export const newId = (): string => uuidv7();

/**
 * The same parts give the same id, for ever (UUID version 5). Parts are length-prefixed, so `a,bc` is not `ab,c`. As bytes,
 * since the library takes longer to make them of a text than to hash them.
 */
export const idFrom = (...parts: readonly string[]): string =>
  v5(Buffer.from(parts.map((part) => `${String(part.length)}:${part}`).join('')), NAMESPACE);

/**
 * Ids of a series, as {@link idFrom} gives them but for one hash in all: an index (up to 2 ** 32) is in the last eight
 * digits, the hash in those before.
 */
export function idsFrom(...parts: readonly string[]): (index: number) => string {
  const hashed = idFrom(...parts).slice(0, -8);
  return (index) => hashed + index.toString(16).padStart(8, '0');
}

/** Hex SHA-256 of a text. */
export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
