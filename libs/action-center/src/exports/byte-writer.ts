/** What a UTF-16 code unit becomes at most in UTF-8. */
const MAX_BYTES_PER_UNIT = 3;

/** Texts in UTF-8, one after the other in one buffer that grows; what is in it can be copied to its end. */
export class ByteWriter {
  private buffer: Buffer;
  private end = 0;

  /** @param capacity in bytes: what is likely to be enough */
  constructor(capacity: number) {
    this.buffer = Buffer.allocUnsafe(capacity);
  }

  get length(): number {
    return this.end;
  }

  /** Not to be written to any more once they are used. */
  get bytes(): Buffer {
    return this.buffer.subarray(0, this.end);
  }

  write(text: string): void {
    this.reserve(text.length * MAX_BYTES_PER_UNIT);
    this.end += this.buffer.write(text, this.end);
  }

  /** Writes again what was written from one offset to another. */
  copy(from: number, to: number): void {
    if (from === to) return;
    this.reserve(to - from);
    this.buffer.copyWithin(this.end, from, to);
    this.end += to - from;
  }

  private reserve(bytes: number): void {
    if (this.end + bytes <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(2 * this.buffer.length + bytes);
    this.buffer.copy(larger, 0, 0, this.end);
    this.buffer = larger;
  }
}
