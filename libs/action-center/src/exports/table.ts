import { ByteWriter } from './byte-writer.js';

/** What a cell may hold; NDJSON keeps its type, CSV writes it as text. */
export type Cell = string | number | boolean | null;

/** One column of an export: its name in both formats, and its value in a row. */
export interface ExportColumn<Row> {
  readonly name: string;
  readonly of: (row: Row) => Cell;
}

export const EXPORT_FORMATS = ['csv', 'ndjson'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** Writes rows in one format, some at a time. */
export interface TableWriter<Row> {
  /** What comes before the first row. */
  readonly head: Buffer;
  /** A line each, with its end, in UTF-8. */
  lines(rows: readonly Row[]): Buffer;
}

export const tableWriter = <Row>(
  format: ExportFormat,
  columns: readonly ExportColumn<Row>[],
): TableWriter<Row> => (format === 'csv' ? csvWriter(columns) : ndjsonWriter(columns));

/**
 * How a cell begins that a spreadsheet may take for a formula, full-width forms included: it is given a leading
 * apostrophe.
 */
const FORMULA = /^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/;

/** What only a quoted cell may hold, and how it may begin: apart, since each is found faster than both. */
const QUOTED = /[",\r\n\uFEFF]/;
const QUOTED_START = /^[ =+\-@\t\uFF1D\uFF0B\uFF0D\uFF20]/;

/** Bytes that are made room for at first. */
const USUAL_LINE = 512;

/** RFC 4180: a header line, then one line a row. Null is an empty cell. */
const csvWriter = <Row>(columns: readonly ExportColumn<Row>[]): TableWriter<Row> => ({
  head: Buffer.from(`${columns.map(({ name }) => csvCell(name)).join(',')}\r\n`),
  lines: lineWriter(columns, (_name, index) => (index === 0 ? '' : ','), csvCell, '\r\n'),
});

function csvCell(cell: Cell): string {
  if (cell === null) return '';
  const text = String(cell);
  if (!QUOTED.test(text) && !QUOTED_START.test(text) && !text.endsWith(' ')) return text;
  return `"${FORMULA.test(text) ? "'" : ''}${text.replaceAll('"', '""')}"`;
}

/** One JSON object a line, with the columns as its members. */
const ndjsonWriter = <Row>(columns: readonly ExportColumn<Row>[]): TableWriter<Row> => ({
  head: Buffer.alloc(0),
  lines: lineWriter(
    columns,
    (name, index) => `${index === 0 ? '{' : ','}${JSON.stringify(name)}:`,
    (cell) => JSON.stringify(cell),
    '}\n',
  ),
});

/**
 * A cell is made anew only when it differs from the one above: most of a row is of its message, and of its remediation. The
 * others are copied from the line above, neighbours at once.
 */
function lineWriter<Row>(
  columns: readonly ExportColumn<Row>[],
  before: (name: string, index: number) => string,
  textOf: (cell: Cell) => string,
  end: string,
): (rows: readonly Row[]) => Buffer {
  const parts = columns.map(({ name, of }, index) => {
    const start = before(name, index);
    return new Part(of, (cell) => start + textOf(cell));
  });
  parts.push(
    new Part(
      () => null,
      () => end,
    ),
  );
  return (rows) => {
    const out = new ByteWriter(rows.length * USUAL_LINE);
    for (const part of parts) part.cell = undefined;
    for (const row of rows) writeLine(row, parts, out);
    return out.bytes;
  };
}

/** A part of a line, and what the line above has of it. */
class Part<Row> {
  cell: Cell | undefined;
  /** Where its bytes are. */
  at = 0;
  length = 0;

  constructor(
    readonly of: (row: Row) => Cell,
    readonly textOf: (cell: Cell) => string,
  ) {}
}

function writeLine<Row>(row: Row, parts: readonly Part<Row>[], out: ByteWriter): void {
  // What is to be copied of the line above.
  let from = 0;
  let to = 0;
  for (const part of parts) {
    const cell = part.of(row);
    if (cell === part.cell) {
      if (from === to) from = to = part.at;
      part.at = out.length + to - from;
      to += part.length;
    } else {
      out.copy(from, to);
      from = to = 0;
      part.cell = cell;
      part.at = out.length;
      out.write(part.textOf(cell));
      part.length = out.length - part.at;
    }
  }
  out.copy(from, to);
}
