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

/** @throws {ClawbackError} `cursorInvalid` */
export function decodeCursor(filters: unknown, cursor: string | undefined): readonly Scalar[] | undefined {
  if (cursor === undefined) return undefined;
  const [digest, ...after] = parse(cursor);
  if (digest !== digestOf(filters)) {
    throw invalidCursor('belongs to a listing with other filters; start again without it');
  }
  if (!after.every((value): value is Scalar => typeof value === 'string' || typeof value === 'number')) {
    throw invalidCursor('is not a cursor that this listing gave');
  }
  return after;
}

const digestOf = (filters: unknown): string => sha256(canonicalJson(filters)).slice(0, 16);

function parse(cursor: string): unknown[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    if (Array.isArray(value)) return value;
  } catch {
    // Told below, in our own words.
  }
  throw invalidCursor('is not a cursor that this listing gave');
}

const invalidCursor = (problem: string): Error =>
  invalidInput([{ field: 'cursor', problem }], 'cursorInvalid');
