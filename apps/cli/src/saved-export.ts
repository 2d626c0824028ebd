import { createHash } from 'node:crypto';
import { RecordCounter, writeWhole } from './csv-file.js';

/** What is known of the bytes of an export that went by. */
export interface Seen {
  /** Without the header line. */
  readonly rows: number;
  readonly bytes: number;
  /** 64 hexadecimal digits. */
  readonly sha256: string;
}

export type Format = 'csv' | 'ndjson';

/** Looks at an export as it goes by. */
export class ExportWitness {
  private readonly hash = createHash('sha256');
  private readonly records = new RecordCounter();
  private lines = 0;
  private bytes = 0;

  constructor(private readonly format: Format) {}

  get seen(): Seen {
    const rows = this.format === 'csv' ? Math.max(0, this.records.records - 1) : this.lines;
    return { rows, bytes: this.bytes, sha256: this.hash.copy().digest('hex') };
  }

  through(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    return this.format === 'csv' ? this.records.through(this.noted(chunks)) : this.noted(chunks);
  }

  private async *noted(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      this.hash.update(chunk);
      this.bytes += chunk.length;
      for (const byte of this.format === 'csv' ? [] : chunk) if (byte === NEWLINE) this.lines += 1;
      yield chunk;
    }
  }
}

const NEWLINE = 0x0a;

/**
 * Writes an export as a whole.
 * @param check told what arrived, before the file gets its name; when it throws there is no file
 */
export async function saveExport(
  path: string,
  format: Format,
  chunks: AsyncIterable<Uint8Array>,
  check: (seen: Seen) => Promise<void>,
): Promise<Seen> {
  const witness = new ExportWitness(format);
  async function* checked(): AsyncGenerator<Uint8Array> {
    yield* witness.through(chunks);
    await check(witness.seen);
  }
  await writeWhole(path, checked());
  return witness.seen;
}
