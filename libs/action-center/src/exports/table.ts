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
  rows(rows: readonly Row[]): string;
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

/** What only a quoted cell may hold, or how it may begin or end. */
const QUOTED = /[",\r\n\uFEFF]|^[ =+\-@\t\uFF1D\uFF0B\uFF0D\uFF20]| $/;

/** RFC 4180: a header line, then one line a row. Null is an empty cell. */
const csvWriter = <Row>(columns: readonly ExportColumn<Row>[]): TableWriter<Row> => ({
  head: `${columns.map(({ name }) => csvCell(name)).join(',')}\r\n`,
  rows: lineWriter(columns, (_name, index) => (index === 0 ? '' : ','), csvCell, '\r\n'),
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
  rows: lineWriter(
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
): (rows: readonly Row[]) => string {
  const known = columns.map(({ name, of }, index) => {
    const start = before(name, index);
    return { of, start, cell: null as Cell, text: start + textOf(null) };
  });
  return (rows) => {
    let lines = '';
    for (const row of rows) {
      for (const column of known) {
        const cell = column.of(row);
        if (cell !== column.cell) {
          column.cell = cell;
          column.text = column.start + textOf(cell);
        }
        lines += column.text;
      }
      lines += end;
    }
    return lines;
  };
}
