import { Readable, type Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ClawbackError, invalidInput, isClawbackError } from '#libs/kernel';
import { HuntingReader, type HuntingSelection } from '#libs/mail-catalog';
import Papa from 'papaparse';

export interface HuntingOptions {
  readonly sendersCopy: boolean;
  /** Emails at most. */
  readonly limit: number;
  /** Bytes at most, of a body that is a stream. */
  readonly maxBytes: number;
}

/**
 * The emails of a result of advanced hunting: JSON as Graph's `runHuntingQuery` gives it (`{schema, results}`) or the
 * bare list of its rows, already read; or CSV with a line of column names, as a stream.
 * @throws {ClawbackError} as {@link HuntingReader} says; `bodyTooLarge`, `csvInvalid`
 */
export const readHunting = (body: unknown, options: HuntingOptions): Promise<HuntingSelection> =>
  body instanceof Readable ? fromCsv(body, options) : fromJson(body, options);

/** A hundred thousand rows take a second or more of work: other requests get their turns meanwhile. */
const ROWS_AT_ONCE = 500;

async function fromJson(body: unknown, options: HuntingOptions): Promise<HuntingSelection> {
  const { rows, columns } = resultIn(body);
  const reader = new HuntingReader({ ...options, ...(columns === undefined ? {} : { columns }) });
  for (const [index, row] of rows.entries()) {
    if (index % ROWS_AT_ONCE === ROWS_AT_ONCE - 1) await nextTurn();
    reader.add(row);
  }
  return reader.end();
}

function resultIn(body: unknown): {
  readonly rows: readonly unknown[];
  readonly columns?: readonly string[];
} {
  if (Array.isArray(body)) return { rows: body };
  const { schema, results } = (body ?? {}) as { readonly schema?: unknown; readonly results?: unknown };
  if (typeof body !== 'object' || !Array.isArray(results)) {
    throw invalidInput([
      { field: 'body', problem: 'must be {"schema": […], "results": […]}, a list of rows, or text/csv' },
    ]);
  }
  if (schema === undefined || schema === null) return { rows: results };
  if (!Array.isArray(schema)) throw invalidInput([{ field: 'schema', problem: 'must be a list' }]);
  return { rows: results, columns: schema.flatMap(nameOf) };
}

/** Graph writes `name`, the older interface `Name`. */
function nameOf(column: unknown): string[] {
  const { name, Name } = (column ?? {}) as { readonly name?: unknown; readonly Name?: unknown };
  const given = name ?? Name;
  return typeof given === 'string' ? [given] : [];
}

async function fromCsv(body: Readable, options: HuntingOptions): Promise<HuntingSelection> {
  let reader: HuntingReader | undefined;
  let header: readonly string[] = [];
  let lines = 0;
  const parser: Duplex = Papa.parse(Papa.NODE_STREAM_INPUT, {
    delimiter: ',',
    skipEmptyLines: 'greedy',
  });
  try {
    await pipeline(decoded(body, options.maxBytes), parser, async (table: AsyncIterable<string[]>) => {
      for await (const cells of table) {
        lines += 1;
        if (lines % ROWS_AT_ONCE === 0) await nextTurn();
        if (reader === undefined) {
          header = cells.map((name) => name.trim());
          reader = new HuntingReader({ ...options, columns: header });
        } else {
          // A line of another length is no row of this table: it is told by its number like every other wrong one.
          reader.add(cells.length === header.length ? rowOf(header, cells) : undefined);
        }
      }
    });
  } catch (error) {
    if (isClawbackError(error)) throw error;
    throw new ClawbackError(
      'invalid',
      'csvInvalid',
      'body: cannot be read as CSV in UTF-8',
      {},
      { cause: error },
    );
  }
  if (reader === undefined)
    throw invalidInput([{ field: 'body', problem: 'holds no row' }], 'selectionEmpty');
  return reader.end();
}

const rowOf = (header: readonly string[], cells: readonly string[]): Record<string, string> =>
  Object.fromEntries(header.map((name, index) => [name, cells[index] ?? '']));

/** Text, whole characters at a time; without a byte order mark. */
async function* decoded(body: Readable, maxBytes: number): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      const detail = `the body is over the limit of ${String(maxBytes)} bytes`;
      throw new ClawbackError('tooLarge', 'bodyTooLarge', detail, { limit: maxBytes });
    }
    yield decoder.decode(chunk, { stream: true });
  }
  yield decoder.decode();
}
