import { once } from 'node:events';
import type { Writable } from 'node:stream';

/** A stream that may be a terminal. */
export type Terminal = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/**
 * Where a command says what. Without `--json`, results are text on stdout; with it, stdout holds one JSON document (or
 * a document a line) and nothing else. Notes, prompts and progress go to stderr in both.
 */
export class Output {
  private documentWritten = false;

  constructor(
    private readonly stdout: Terminal,
    private readonly stderr: Terminal,
    readonly json: boolean,
  ) {}

  /** Whether anything for a program was written. */
  get hasDocument(): boolean {
    return this.documentWritten;
  }

  /** A result for people; for programs there is a document instead. */
  print(text: string): void {
    (this.json ? this.stderr : this.stdout).write(`${text}\n`);
  }

  /** For people, and no result. */
  note(text: string): void {
    this.stderr.write(`${text}\n`);
  }

  /** The one document of the command; only with `--json`. */
  document(value: unknown): void {
    if (!this.json) return;
    this.documentWritten = true;
    this.stdout.write(`${JSON.stringify(value)}\n`);
  }

  /** The result, for whoever asked. */
  result(value: unknown, text: string): void {
    if (this.json) this.document(value);
    else this.print(text);
  }

  /** One of many documents, a line each; waits while the reader is slower. */
  async line(value: unknown): Promise<void> {
    this.documentWritten = true;
    await this.raw(`${JSON.stringify(value)}\n`);
  }

  /** Bytes as they are to stdout; waits while the reader is slower. */
  async raw(bytes: string | Uint8Array): Promise<void> {
    this.documentWritten = true;
    if (!this.stdout.write(bytes)) await once(this.stdout, 'drain');
  }
}

const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** Joins emoji and scripts; changes neither order nor colour. */
const JOINERS = new Set(['\u200c', '\u200d']);

/**
 * Text from outside, safe to show: control characters, those that turn the direction of text around and lone surrogates
 * become escapes such as `\x1b` and `\u202e`.
 */
export const printable = (text: string): string =>
  text.replace(UNPRINTABLE, (character) => (JOINERS.has(character) ? character : escaped(character)));

function escaped(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code <= 0xff) return `\\x${code.toString(16).padStart(2, '0')}`;
  return code <= 0xffff ? `\\u${code.toString(16).padStart(4, '0')}` : `\\u{${code.toString(16)}}`;
}

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
const NO_WIDTH = /[\p{Mn}\p{Me}\p{Cf}]/u;
const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff01-\uff60]/u;

/** How many columns of a terminal a text takes, as far as one can know. */
export function widthOf(text: string): number {
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += widthOfGrapheme(segment);
  return width;
}

function widthOfGrapheme(segment: string): number {
  if (/\p{Emoji_Presentation}/u.test(segment)) return 2;
  let width = 0;
  for (const character of segment) width += NO_WIDTH.test(character) ? 0 : WIDE.test(character) ? 2 : 1;
  return width;
}

function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let kept = '';
  let used = 0;
  for (const { segment } of graphemes.segment(text)) {
    const next = used + widthOfGrapheme(segment);
    if (next > width - 1) break;
    used = next;
    kept += segment;
  }
  return `${kept}…`;
}

export interface Column<T> {
  readonly title: string;
  readonly of: (row: T) => string | number | boolean | null | undefined;
  readonly right?: boolean;
}

const MAX_CELL_WIDTH = 48;

/** Rows in aligned columns. Can be given page after page: the columns only ever get wider. */
export class Table<T> {
  private readonly widths: number[];
  private headed = false;

  constructor(private readonly columns: readonly Column<T>[]) {
    this.widths = columns.map(({ title }) => widthOf(title));
  }

  /** Whether no rows were given so far. */
  get isEmpty(): boolean {
    return !this.headed;
  }

  /** The text of these rows; of the first ones, with the titles above. */
  add(rows: readonly T[]): string {
    const cells = rows.map((row) => this.columns.map(({ of }) => cellOf(of(row))));
    for (const line of cells) {
      line.forEach((cell, index) => {
        this.widths[index] = Math.max(this.widths[index] ?? 0, widthOf(cell));
      });
    }
    const titles = this.headed ? [] : [this.columns.map(({ title }) => title)];
    this.headed = true;
    return [...titles, ...cells].map((line) => this.aligned(line)).join('\n');
  }

  private aligned(cells: readonly string[]): string {
    return cells
      .map((cell, index) => {
        const space = ' '.repeat(Math.max(0, (this.widths[index] ?? 0) - widthOf(cell)));
        return this.columns[index]?.right === true ? space + cell : cell + space;
      })
      .join('  ')
      .trimEnd();
  }
}

const cellOf = (value: string | number | boolean | null | undefined): string => {
  if (typeof value === 'number') return formatCount(value);
  return cut(printable(String(value ?? '')), MAX_CELL_WIDTH);
};

/** `1234567` gives `1,234,567`. */
export const formatCount = (count: number): string => count.toLocaleString('en-US');

/** `1 copy`, `2 copies`. */
export const counted = (count: number, one: string, many: string): string =>
  `${formatCount(count)} ${count === 1 ? one : many}`;

/** Facts one a line, their names aligned. Texts are made safe to show; what is undefined or null is left out. */
export function facts(
  entries: readonly (readonly [string, string | number | boolean | null | undefined])[],
): string {
  const known = entries.filter(([, value]) => value !== undefined && value !== null && value !== '');
  const width = Math.max(0, ...known.map(([name]) => name.length)) + 2;
  return known
    .map(([name, value]) => {
      const shown = typeof value === 'number' ? formatCount(value) : printable(String(value));
      return `${name.padEnd(width)}${shown}`;
    })
    .join('\n');
}
