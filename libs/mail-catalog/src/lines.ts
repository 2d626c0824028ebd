import { isUtf8 } from 'node:buffer';
import { MAX_LINE_BYTES } from './email-record.js';

/** A line by its number, counted from 1: its text, or why it cannot be read. */
export type NumberedLine =
  { readonly number: number; readonly text: string } | { readonly number: number; readonly reason: string };

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

/** With this much the line is too long whatever else comes: a byte order mark and a carriage return do not count. */
const HOPELESS_BYTES = MAX_LINE_BYTES + BOM.length + 2;

/**
 * Cuts a byte stream into lines that end in `\n` or `\r\n`; the last one may have no end. Blank lines are counted but
 * not given. A byte order mark at the start is dropped. Holds at most one line of {@link MAX_LINE_BYTES} in memory.
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<NumberedLine> {
  const line = new LineBuffer();
  let number = 1;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      line.add(chunk.subarray(start, end));
      yield* readLine(line.take(), number);
      number += 1;
      start = end + 1;
    }
    line.add(chunk.subarray(start));
  }
  yield* readLine(line.take(), number);
}

/** The bytes of the line so far; lets go of them once the line is too long. */
class LineBuffer {
  private pieces: Uint8Array[] = [];
  private length = 0;

  add(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.length += piece.length;
    if (this.length > HOPELESS_BYTES) this.pieces = [];
    else this.pieces.push(piece);
  }

  /** Undefined when the line was too long. */
  take(): Buffer | undefined {
    const bytes = this.length > HOPELESS_BYTES ? undefined : Buffer.concat(this.pieces);
    this.pieces = [];
    this.length = 0;
    return bytes;
  }
}

function* readLine(bytes: Buffer | undefined, number: number): Generator<NumberedLine> {
  const content = bytes && withoutMarks(bytes, number === 1);
  if (content === undefined || content.length > MAX_LINE_BYTES) {
    yield { number, reason: `line: longer than ${MAX_LINE_BYTES} bytes` };
  } else if (!isUtf8(content)) {
    yield { number, reason: 'line: not valid UTF-8' };
  } else {
    const text = content.toString('utf8');
    if (!/^[ \t\r]*$/.test(text)) yield { number, text };
  }
}

function withoutMarks(bytes: Buffer, first: boolean): Buffer {
  const start = first && bytes.subarray(0, BOM.length).equals(BOM) ? BOM.length : 0;
  const end = bytes.at(-1) === CARRIAGE_RETURN ? bytes.length - 1 : bytes.length;
  return bytes.subarray(start, end);
}
