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
  readonly head: string;
  /** A line each, with its end. */
  lines(rows: readonly Row[]): string[];
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

/** What a UTF-16 code unit becomes at most in UTF-8. */
const MAX_BYTES_PER_UNIT = 3;

/** What only a quoted cell may hold, or how it may begin or end. */
const QUOTED = /[",\r\n\uFEFF]|^[ =+\-@\t\uFF1D\uFF0B\uFF0D\uFF20]| $/;

/** RFC 4180: a header line, then one line a row. Null is an empty cell. */
const csvWriter = <Row>(columns: readonly ExportColumn<Row>[]): TableWriter<Row> => ({
  head: `${columns.map(({ name }) => csvCell(name)).join(',')}\r\n`,
  lines: lineWriter(columns, (_name, index) => (index === 0 ? '' : ','), csvCell, '\r\n'),
});

function csvCell(cell: Cell): string {
  if (cell === null) return '';
  const text = String(cell);
  if (!QUOTED.test(text)) return text;
  return `"${FORMULA.test(text) ? "'" : ''}${text.replaceAll('"', '""')}"`;
}

/** One JSON object a line, with the columns as its members. */
const ndjsonWriter = <Row>(columns: readonly ExportColumn<Row>[]): TableWriter<Row> => ({
  head: '',
  lines: lineWriter(
    columns,
    (name, index) => `${index === 0 ? '{' : ','}${JSON.stringify(name)}:`,
    (cell) => JSON.stringify(cell),
    '}\n',
  ),
});

/** A cell is made anew only when it differs from the one above: most of a row is of its message, and of its remediation. */
function lineWriter<Row>(
  columns: readonly ExportColumn<Row>[],
  before: (name: string, index: number) => string,
  textOf: (cell: Cell) => string,
  end: string,
): (rows: readonly Row[]) => string[] {
  const known = columns.map(({ name, of }, index) => {
    const start = before(name, index);
    return { of, start, cell: null as Cell, text: start + textOf(null) };
  });
  const lineOf = (row: Row): string => {
    let line = '';
    for (const column of known) {
      const cell = column.of(row);
      if (cell !== column.cell) {
        column.cell = cell;
        column.text = column.start + textOf(cell);
      }
      line += column.text;
    }
    return line + end;
  };
  return (rows) => rows.map(lineOf);
}

/** In UTF-8. Line by line into one buffer takes half as long as to make one long text and its bytes. */
export function bytesOf(lines: readonly string[]): Buffer {
  const units = lines.reduce((sum, line) => sum + line.length, 0);
  const bytes = Buffer.allocUnsafe(units * MAX_BYTES_PER_UNIT);
  let length = 0;
  for (const line of lines) length += bytes.write(line, length);
  return bytes.subarray(0, length);
}
