import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline as start, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { ClawbackError, isClawbackError } from '#libs/kernel';
import { type NumberedLine, splitLines } from './lines.js';

export interface SpoolOptions {
  /** Where the temporary file is written; made when it is not there. */
  readonly directory: string;
  /** The body is said to be gzip. Otherwise it is taken for gzip when it starts with gzip's two magic bytes. */
  readonly gzip: boolean;
  /** The most that is accepted, in bytes after decompression. */
  readonly maxBytes: number;
  /** Gives up receiving; a body that has arrived whole is not affected. */
  readonly signal?: AbortSignal;
}

/** A body that has arrived whole. Valid until the callback that was given it is done. */
export interface SpooledBody {
  /** Its size, decompressed. */
  readonly bytes: number;
  /** Reads it from the start, with constant memory, as often as wanted. */
  readonly lines: () => AsyncIterable<NumberedLine>;
}

/**
 * Writes the body, decompressed, to a temporary file and only then lets `use` read it: a body that is broken, cut off
 * or too large has no effect at all. The file is gone afterwards, whatever happened. A refused body is destroyed; an
 * HTTP request can still be answered then, and its connection should be closed.
 * @throws {ClawbackError} `brokenGzip`, `bodyTooLarge`, `bodyIncomplete` (the sender gave up), `spoolUnavailable` (the
 * disk); the AbortError of `signal`; a TypeError for a body that was read before; whatever `use` throws.
 */
export async function withSpooledBody<T>(
  body: Readable,
  options: SpoolOptions,
  use: (spooled: SpooledBody) => Promise<T>,
): Promise<T> {
  if (body.readableDidRead) throw new TypeError('the body has been read already');
  // It may fail while the file is being opened, when nobody listens yet; receiving then reports it.
  body.on('error', () => undefined);
  const path = join(options.directory, `spool-${randomUUID()}.ndjson`);
  const file = await openSpool(options.directory, path, body);
  try {
    const bytes = await receive(body, file, options);
    return await use({ bytes, lines: () => splitLines(chunksOf(file)) });
  } finally {
    await file.close().finally(() => rm(path, { force: true }));
  }
}

const SPOOL_FILE = /^spool-[\da-f-]{36}\.ndjson$/;

/**
 * Removes what a crashed process left in the spool directory. A process that is still at work there is not disturbed on
 * systems that keep an open file readable after its removal.
 * @returns how many files were removed.
 */
export async function cleanSpool(directory: string): Promise<number> {
  const names = (await namesIn(directory)).filter((name) => SPOOL_FILE.test(name));
  for (const name of names) await rm(join(directory, name), { force: true });
  return names.length;
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

async function openSpool(directory: string, path: string, body: Readable): Promise<FileHandle> {
  try {
    await mkdir(directory, { recursive: true });
    return await open(path, 'wx+', 0o600);
  } catch (error) {
    const problem = spoolUnavailable(error);
    // Unlike destroy(), a pipeline that fails leaves the connection of an HTTP request open for the answer.
    await pipeline(body, () => Promise.reject(problem)).catch(() => undefined);
    throw problem;
  }
}

/** @returns the size of what was written. */
async function receive(body: Readable, file: FileHandle, options: SpoolOptions): Promise<number> {
  let bytes = 0;
  const write = async (chunks: AsyncIterable<Uint8Array>): Promise<void> => {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      if (bytes > options.maxBytes) throw tooLarge(options.maxBytes);
      await append(file, chunk);
    }
  };
  try {
    await pipeline(
      body,
      (chunks: AsyncIterable<Uint8Array | string>) => decoded(chunks, options.gzip),
      write,
      options.signal === undefined ? {} : { signal: options.signal },
    );
    return bytes;
  } catch (error) {
    throw receivingError(error, options.signal);
  }
}

async function* decoded(
  chunks: AsyncIterable<Uint8Array | string>,
  gzip: boolean,
): AsyncGenerator<Uint8Array> {
  const rest = bytesOf(chunks);
  const head = await firstBytes(rest, GZIP_MAGIC.length);
  const whole = joined(head, rest);
  if (gzip || head.subarray(0, GZIP_MAGIC.length).equals(GZIP_MAGIC)) yield* inflated(whole);
  else yield* whole;
}

const GZIP_MAGIC = Buffer.from([0x1f, 0x8b]);

async function* bytesOf(chunks: AsyncIterable<Uint8Array | string>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
}

/** Fewer than `size` only when there are no more. */
async function firstBytes(chunks: AsyncIterator<Uint8Array>, size: number): Promise<Buffer> {
  let head = Buffer.alloc(0);
  while (head.length < size) {
    const next = await chunks.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  return head;
}

async function* joined(head: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield head;
  yield* rest;
}

async function* inflated(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip();
  // The reader below sees every error; the callback only says that none is left unheard.
  start(chunks, gunzip, () => undefined);
  yield* gunzip as AsyncIterable<Uint8Array>;
}

async function append(file: FileHandle, chunk: Uint8Array): Promise<void> {
  try {
    await file.writeFile(chunk);
  } catch (error) {
    throw spoolUnavailable(error);
  }
}

const CHUNK_BYTES = 64 * 1024;

async function* chunksOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  for (let position = 0; ;) {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, position);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    position += bytesRead;
  }
}

const tooLarge = (maxBytes: number): ClawbackError =>
  new ClawbackError('tooLarge', 'bodyTooLarge', `the body is larger than ${maxBytes} bytes, decompressed`, {
    maxBytes,
  });

const spoolUnavailable = (cause: unknown): ClawbackError =>
  new ClawbackError(
    'unavailable',
    'spoolUnavailable',
    `the temporary file of the body could not be written (${codeOf(cause)}); nothing was changed`,
    {},
    { cause },
  );

function receivingError(error: unknown, signal: AbortSignal | undefined): unknown {
  if (isClawbackError(error) || signal?.aborted === true) return error;
  if (codeOf(error).startsWith('Z_')) {
    return new ClawbackError(
      'invalid',
      'brokenGzip',
      'the body is not a whole gzip stream; nothing was changed',
      {},
      {
        cause: error,
      },
    );
  }
  return new ClawbackError(
    'invalid',
    'bodyIncomplete',
    'the body ended before it was whole; nothing was changed',
    {},
    { cause: error },
  );
}

/** The code of a system or zlib error. */
const codeOf = (error: unknown): string =>
  typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : 'unknown cause';
