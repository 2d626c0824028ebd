import { canonicalJson, invalidInput, sha256 } from '#libs/kernel';
import type { Scalar } from '#libs/read-store';

/** A page of a collection as the API gives it. `nextCursor` is null on the last page. */
export interface PageBody<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}

/**
 * An opaque place in a listing, bound to the listing's filters: a cursor used with other filters would go on at a wrong
 * place without anybody noticing.
 */
export function encodeCursor(filters: unknown, after: readonly Scalar[] | undefined): string | null {
  if (after === undefined) return null;
  return Buffer.from(JSON.stringify([digestOf(filters), ...after])).toString('base64url');
}

/** What a listing puts into its cursors, part by part. `digits` is a number of 64 bits, as text. */
export type CursorPart = 'text' | 'integer' | 'digits';

/**
 * @param field what the caller calls the cursor
 * @throws {ClawbackError} `cursorInvalid`
 */
export function decodeCursor(
  filters: unknown,
  cursor: string | undefined,
  parts: readonly CursorPart[],
  field = 'cursor',
): readonly Scalar[] | undefined {
  if (cursor === undefined) return undefined;
  const [digest, ...after] = parse(cursor, field);
  if (digest !== digestOf(filters)) {
    throw invalidCursor(field, 'belongs to a listing with other filters; start again without it');
  }
  if (after.length !== parts.length || !parts.every((part, index) => isPart[part](after[index]))) {
    throw invalidCursor(field, 'is not a cursor that this listing gave');
  }
  return after as Scalar[];
}

const isPart: Readonly<Record<CursorPart, (value: unknown) => boolean>> = {
  text: (value) => typeof value === 'string' && !value.includes('\0'),
  integer: (value) => Number.isSafeInteger(value),
  digits: (value) => typeof value === 'string' && /^\d{1,18}$/.test(value),
};

const digestOf = (filters: unknown): string => sha256(canonicalJson(filters)).slice(0, 16);

function parse(cursor: string, field: string): unknown[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    if (Array.isArray(value)) return value;
  } catch {
    // Told below, in our own words.
  }
  throw invalidCursor(field, 'is not a cursor that this listing gave');
}

const invalidCursor = (field: string, problem: string): Error =>
  invalidInput([{ field, problem }], 'cursorInvalid');
