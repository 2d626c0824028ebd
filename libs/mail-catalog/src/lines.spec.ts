import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { collect } from '#libs/kernel';
import { MAX_LINE_BYTES } from './email-record.js';
import { type NumberedLine, splitLines } from './lines.js';

const linesOf = (...chunks: (string | Uint8Array)[]): Promise<NumberedLine[]> =>
  collect(splitLines(chunks.map((chunk) => Buffer.from(chunk as string))));

const TOO_LONG = 'line: longer than 262144 bytes';

describe('splitLines', () => {
  it('numbers lines from 1, with either line end, and takes a last one without', async () => {
    expect(await linesOf('a\r\nb\nc')).toEqual([
      { number: 1, text: 'a' },
      { number: 2, text: 'b' },
      { number: 3, text: 'c' },
    ]);
  });

  it('skips blank lines and counts them', async () => {
    expect(await linesOf('\n\r\n \t\r\na\n\n')).toEqual([{ number: 4, text: 'a' }]);
    expect(await linesOf()).toEqual([]);
    expect(await linesOf('\ufeff\n')).toEqual([]);
  });

  it('drops a byte order mark at the start only', async () => {
    expect(await linesOf('\ufeffa\n\ufeffb')).toEqual([
      { number: 1, text: 'a' },
      { number: 2, text: '\ufeffb' },
    ]);
  });

  it('leaves a carriage return inside a line alone', async () => {
    expect(await linesOf('a\rb\r\r\n')).toEqual([{ number: 1, text: 'a\rb\r' }]);
  });

  it('reports bytes that are not UTF-8 and goes on', async () => {
    expect(await linesOf(Buffer.from('c3280a', 'hex'), 'ok\n', Buffer.from('eda0800a', 'hex'))).toEqual([
      { number: 1, reason: 'line: not valid UTF-8' },
      { number: 2, text: 'ok' },
      { number: 3, reason: 'line: not valid UTF-8' },
    ]);
  });

  it('takes the longest line, marks not counted, and reports one byte more', async () => {
    const longest = 'é'.repeat(MAX_LINE_BYTES / 2);
    expect(await linesOf(`\ufeff${longest}\r\n${longest}x\r\nb`)).toEqual([
      { number: 1, text: longest },
      { number: 2, reason: TOO_LONG },
      { number: 3, text: 'b' },
    ]);
  });

  it('does not keep a line that is too long in memory', async () => {
    // What is let go of is collected on demand, so that only what is kept is measured.
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    let peak = 0;
    function* endless(): Generator<Buffer> {
      for (let count = 1; count <= 512; count += 1) {
        yield Buffer.alloc(2 ** 20, 'x');
        if (count % 64 !== 0) continue;
        collectGarbage();
        peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
      }
      yield Buffer.from('\nb');
    }
    expect(await collect(splitLines(endless()))).toEqual([
      { number: 1, reason: TOO_LONG },
      { number: 2, text: 'b' },
    ]);
    expect(peak).toBeLessThan(256 * 2 ** 20);
  });

  it('gives the same lines wherever the stream is cut', async () => {
    const pieces = fc.oneof(
      fc.string({ unit: 'grapheme' }).map((text) => Buffer.from(text)),
      fc.constantFrom('\n', '\r\n', '\r', '\ufeff', '👩‍👩‍👧', ' ').map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(pieces), fc.array(fc.nat(40)), async (parts, sizes) => {
        const whole = Buffer.concat(parts);
        const chunks: Buffer[] = [];
        let rest = whole;
        for (const size of sizes) {
          chunks.push(rest.subarray(0, size));
          rest = rest.subarray(size);
        }
        expect(await linesOf(...chunks, rest)).toEqual(await linesOf(whole));
      }),
    );
  });

  it('gives back the lines that were written', async () => {
    const line = fc
      .string({ unit: 'grapheme', minLength: 1 })
      .filter((text) => !/[\r\n]/.test(text) && !text.startsWith('\ufeff') && text.trim() !== '');
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.constantFrom('\n', '\r\n'), async (texts, end) => {
        expect(await linesOf(texts.join(end))).toEqual(
          texts.map((text, index) => ({ number: index + 1, text })),
        );
      }),
    );
  });
});
