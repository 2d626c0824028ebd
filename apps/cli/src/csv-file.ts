import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';

/**
 * Writes a whole file or none: under another name first, renamed when it is complete and on the disk.
 * @param onBytes told how many bytes are written so far
 */
export async function writeWhole(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<void> {
  const temporary = `${path}.${randomUUID()}.part`;
  const file = await open(temporary, 'wx', 0o600);
  try {
    try {
      let bytes = 0;
      for await (const chunk of chunks) {
        await file.appendFile(chunk);
        bytes += chunk.length;
        onBytes(bytes);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

const QUOTE = 0x22;
const NEWLINE = 0x0a;

/** Counts the records of a CSV as it goes by: a line end inside quotes ends no record. */
export class RecordCounter {
  private quoted = false;
  private ends = 0;
  private last = NEWLINE;

  /** The records so far, the header among them. */
  get records(): number {
    return this.last === NEWLINE && !this.quoted ? this.ends : this.ends + 1;
  }

  async *through(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      for (const byte of chunk) {
        if (byte === QUOTE) this.quoted = !this.quoted;
        else if (byte === NEWLINE && !this.quoted) this.ends += 1;
        this.last = byte;
      }
      yield chunk;
    }
  }
}

/** Writes a CSV as a whole and gives the number of its rows without the header. */
export async function saveCsv(path: string, chunks: AsyncIterable<Uint8Array>): Promise<number> {
  const counter = new RecordCounter();
  await writeWhole(path, counter.through(chunks));
  return Math.max(0, counter.records - 1);
}
