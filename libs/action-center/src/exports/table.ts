import Papa from 'papaparse';

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
 * apostrophe. Our own expression, since the library's default overlooks a formula with a line break in it.
 */
const FORMULA = /^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/;

const csv = (lines: readonly (readonly (string | null)[])[]): string =>
  lines.length === 0
    ? ''
    : `${Papa.unparse(lines as (string | null)[][], { newline: '\r\n', escapeFormulae: FORMULA })}\r\n`;

/** RFC 4180: a header line, then one line a row. Null is an empty cell. */
const csvWriter = <Row>(columns: readonly ExportColumn<Row>[]): TableWriter<Row> => ({
  head: csv([columns.map(({ name }) => name)]),
  rows: (rows) => csv(rows.map((row) => columns.map(({ of }) => asText(of(row))))),
});

const asText = (cell: Cell): string | null => (cell === null ? null : String(cell));

/** One JSON object a line, with the columns as its members. */
const ndjsonWriter = <Row>(columns: readonly ExportColumn<Row>[]): TableWriter<Row> => ({
  head: '',
  rows: (rows) => rows.map((row) => `${JSON.stringify(objectOf(columns, row))}\n`).join(''),
});

const objectOf = <Row>(columns: readonly ExportColumn<Row>[], row: Row): Record<string, Cell> =>
  Object.fromEntries(columns.map(({ name, of }) => [name, of(row)]));
