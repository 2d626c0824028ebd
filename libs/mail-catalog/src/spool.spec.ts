import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { collect } from '#libs/kernel';
import { type NumberedLine } from './lines.js';
import { cleanSpool, type SpooledBody, type SpoolOptions, withSpooledBody } from './spool.js';

let directory = '';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'clawback-spool-'));
});

afterEach(async () => {
  // Whatever a test did, no file is left behind.
  const left = await readdir(directory);
  await rm(directory, { recursive: true, force: true });
  expect(left).toEqual([]);
});

const bodyOf = (...chunks: (string | Uint8Array)[]): Readable =>
  Readable.from(chunks.map((chunk) => Buffer.from(chunk as string)));

const spool = <T>(
  body: Readable,
  use: (spooled: SpooledBody) => Promise<T>,
  more: Partial<SpoolOptions> = {},
) => withSpooledBody(body, { directory, gzip: false, maxBytes: 1_000_000, ...more }, use);

const readAll = ({ lines }: SpooledBody): Promise<NumberedLine[]> => collect(lines());

/** For bodies that must never be used. */
const unused = (): Promise<never> => Promise.reject(new Error('a body that is not whole was used'));

const AB = [
  { number: 1, text: 'a' },
  { number: 2, text: 'b' },
];

function cutInto(bytes: Uint8Array, size: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let start = 0; start < bytes.length; start += size) chunks.push(bytes.subarray(start, start + size));
  return chunks;
}

describe('withSpooledBody', () => {
  it('gives the lines, as often as wanted, and what use returns', async () => {
    const result = await spool(bodyOf('a\n', 'b'), async (spooled) => ({
      bytes: spooled.bytes,
      first: await readAll(spooled),
      again: await readAll(spooled),
    }));
    expect(result).toEqual({ bytes: 3, first: AB, again: AB });
  });

  it('takes an empty body, and one of texts', async () => {
    expect(await spool(bodyOf(), ({ bytes }) => Promise.resolve(bytes))).toBe(0);
    expect(await spool(Readable.from(['a\n', 'b']), readAll)).toEqual(AB);
  });

  it('reads a body that is larger than a chunk', async () => {
    const text = Array.from({ length: 50_000 }, (_, index) => `line ${index} ünï`).join('\n');
    const lines = await spool(bodyOf(text), readAll);
    expect(lines).toHaveLength(50_000);
    expect(lines.at(-1)).toEqual({ number: 50_000, text: 'line 49999 ünï' });
  });

  it('makes the directory', async () => {
    const deep = join(directory, 'x', 'y');
    expect(await spool(bodyOf('a\nb'), readAll, { directory: deep })).toEqual(AB);
    await rm(join(directory, 'x'), { recursive: true });
  });

  it.each([1, 2, 7, 1000])('inflates gzip in chunks of %i bytes, announced or not', async (size) => {
    const gzip = gzipSync('a\nb\n');
    for (const announced of [true, false]) {
      expect(await spool(bodyOf(...cutInto(gzip, size)), readAll, { gzip: announced })).toEqual(AB);
    }
  });

  it('inflates gzip of several members', async () => {
    const members = Buffer.concat([gzipSync('a\n'), gzipSync(''), gzipSync('b')]);
    for (const size of [1, 5, 1000])
      expect(await spool(bodyOf(...cutInto(members, size)), readAll)).toEqual(AB);
  });

  it('counts bytes after decompression', async () => {
    const text = 'x'.repeat(50_000);
    expect(await spool(bodyOf(gzipSync(text)), ({ bytes }) => Promise.resolve(bytes))).toBe(50_000);
  });

  it('refuses gzip that is cut off anywhere', async () => {
    const gzip = gzipSync('{"Subject":"a"}\n{"Subject":"b"}\n');
    await fc.assert(
      fc.asyncProperty(fc.nat(gzip.length - 1), fc.integer({ min: 1, max: 30 }), async (cut, size) => {
        const first = gzip.subarray(0, cut);
        const refused = { name: 'ClawbackError', kind: 'invalid', code: 'brokenGzip' };
        await expect(spool(bodyOf(...cutInto(first, size)), unused, { gzip: true })).rejects.toMatchObject(
          refused,
        );
        // A second member that is cut off, unless it is cut off altogether.
        if (cut > 0) {
          const second = cutInto(Buffer.concat([gzip, first]), size);
          await expect(spool(bodyOf(...second), unused)).rejects.toMatchObject(refused);
        }
      }),
    );
  });

  it('refuses gzip with a changed byte in its data, or that is none', async () => {
    const gzip = gzipSync('some text that is compressed');
    gzip.writeUInt8((gzip.at(-5) ?? 0) ^ 0xff, gzip.length - 5);
    const refused = { kind: 'invalid', code: 'brokenGzip' };
    await expect(spool(bodyOf(gzip), unused)).rejects.toMatchObject(refused);
    await expect(spool(bodyOf('plain'), unused, { gzip: true })).rejects.toMatchObject(refused);
  });

  it('takes a body of exactly the limit and refuses one byte more, naming the limit', async () => {
    expect(await spool(bodyOf('12345'), ({ bytes }) => Promise.resolve(bytes), { maxBytes: 5 })).toBe(5);
    await expect(spool(bodyOf('123', '456'), unused, { maxBytes: 5 })).rejects.toMatchObject({
      name: 'ClawbackError',
      kind: 'tooLarge',
      code: 'bodyTooLarge',
      message: 'the body is larger than 5 bytes, decompressed',
      details: { maxBytes: 5 },
    });
  });

  it('stops reading a zip bomb at the limit', async () => {
    // Much more than the streams on the way hold, which differs between versions of Node.
    const bomb = Buffer.concat(Array<Buffer>(20).fill(gzipSync(Buffer.alloc(50_000_000))));
    let sent = 0;
    function* sending(): Generator<Uint8Array> {
      for (const chunk of cutInto(bomb, 1000)) {
        sent += chunk.length;
        yield chunk;
      }
    }
    const body = Readable.from(sending(), { highWaterMark: 1 });
    await expect(spool(body, unused, { maxBytes: 100_000 })).rejects.toMatchObject({ code: 'bodyTooLarge' });
    expect(sent).toBeLessThan(bomb.length / 2);
    expect(body.destroyed).toBe(true);
  });

  const beginnings: [string, Buffer][] = [
    ['plain', Buffer.from('a\nb\n')],
    ['gzip', gzipSync('a\nb\n').subarray(0, 15)],
    ['nothing yet', Buffer.alloc(0)],
  ];

  describe.each(beginnings)('a body that stops (%s)', (_name, beginning) => {
    const stalled = (): PassThrough => {
      const body = new PassThrough();
      body.write(beginning);
      return body;
    };

    it('is refused when its sender goes away', async () => {
      const body = stalled();
      const spooled = spool(body, unused);
      setImmediate(() => body.destroy());
      await expect(spooled).rejects.toMatchObject({ kind: 'invalid', code: 'bodyIncomplete' });
    });

    it('is refused when it fails, with the cause', async () => {
      const body = stalled();
      const cause = new Error('connection reset');
      const spooled = spool(body, unused);
      setImmediate(() => body.destroy(cause));
      await expect(spooled).rejects.toMatchObject({ kind: 'invalid', code: 'bodyIncomplete', cause });
    });

    it('is given up when the signal fires', async () => {
      const body = stalled();
      const abort = new AbortController();
      const spooled = spool(body, unused, { signal: abort.signal });
      setImmediate(() => {
        abort.abort();
      });
      await expect(spooled).rejects.toMatchObject({ name: 'AbortError' });
      expect(body.destroyed).toBe(true);
    });
  });

  it('does not begin when the signal has fired or the body is gone', async () => {
    await expect(spool(bodyOf('a'), unused, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    });
    await expect(spool(new PassThrough().destroy(), unused)).rejects.toMatchObject({
      code: 'bodyIncomplete',
    });
  });

  it('refuses a body that was read before', async () => {
    const body = bodyOf('a');
    await collect(body);
    await expect(spool(body, unused)).rejects.toThrow('read already');
  });

  it('does not disturb the use of a body that has arrived', async () => {
    const abort = new AbortController();
    const lines = await spool(
      bodyOf('a\nb'),
      (spooled) => {
        abort.abort();
        return readAll(spooled);
      },
      { signal: abort.signal },
    );
    expect(lines).toEqual(AB);
  });

  it('passes on what use throws', async () => {
    const mine = new Error('mine');
    await expect(spool(bodyOf('a'), () => Promise.reject(mine))).rejects.toBe(mine);
  });

  it('lets use stop in the middle of the lines', async () => {
    const first = await spool(bodyOf('a\nb\nc'), async ({ lines }) => {
      for await (const line of lines()) return line;
      return undefined;
    });
    expect(first).toEqual({ number: 1, text: 'a' });
  });

  it('says so when the disk cannot be written', async () => {
    const notADirectory = join(directory, 'file');
    await writeFile(notADirectory, '');
    const body = bodyOf('a');
    await expect(spool(body, unused, { directory: notADirectory })).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'spoolUnavailable',
    });
    expect(body.destroyed).toBe(true);
    // Neither a body that sends nothing nor one that is gone hides the reason.
    for (const silent of [new PassThrough(), new PassThrough().destroy()]) {
      await expect(spool(silent, unused, { directory: notADirectory })).rejects.toMatchObject({
        code: 'spoolUnavailable',
      });
    }
    await rm(notADirectory);
  });
});

describe('withSpooledBody over HTTP', () => {
  it.each([
    ['too large', () => directory, 'bodyTooLarge'],
    ['refused by the disk', () => '/dev/null/none', 'spoolUnavailable'],
  ])('still answers a request whose body is %s', async (_why, where, code) => {
    const server = createServer((request, response) => {
      const options = { directory: where(), gzip: false, maxBytes: 100_000 };
      withSpooledBody(request, options, unused).catch((error: unknown) => {
        response.writeHead(413, { connection: 'close' }).end((error as { code: string }).code);
      });
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const { port } = server.address() as AddressInfo;
    const answer = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', body: Buffer.alloc(5_000_000) });
    expect([answer.status, await answer.text()]).toEqual([413, code]);
    await new Promise((closed) => server.close(closed));
  });
});

describe('cleanSpool', () => {
  it('removes what a crashed process left and nothing else', async () => {
    await writeFile(join(directory, 'spool-0190f5fe-1a2b-4c3d-8e4f-5a6b7c8d9e0f.ndjson'), 'left');
    await writeFile(join(directory, 'spool-notes.ndjson'), 'mine');
    await mkdir(join(directory, 'other'));
    expect(await cleanSpool(directory)).toBe(1);
    expect((await readdir(directory)).sort()).toEqual(['other', 'spool-notes.ndjson']);
    await rm(join(directory, 'other'), { recursive: true });
    await rm(join(directory, 'spool-notes.ndjson'));
  });

  it('has nothing to do where there is no directory', async () => {
    expect(await cleanSpool(join(directory, 'none'))).toBe(0);
  });

  it('recognises the files of withSpooledBody, and leaves one in use readable', async () => {
    const lines = await spool(bodyOf('a\nb'), async (spooled) => {
      expect(await cleanSpool(directory)).toBe(1);
      return readAll(spooled);
    });
    expect(lines).toEqual(AB);
  });
});
