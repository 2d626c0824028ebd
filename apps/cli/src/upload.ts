import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { ImportReport } from './api.js';
import type { Client } from './client.js';
import type { Context } from './context.js';
import { formatCount, printable } from './output.js';

/**
 * Uploads a file of records and follows the import.
 * @param file a path, or `-` for stdin; plain or gzip, which its first bytes tell
 */
export async function upload(context: Context, client: Client, file: string): Promise<ImportReport> {
  const path = resolve(context.io.cwd, file);
  const size = file === '-' ? undefined : (await stat(path)).size;
  const source = file === '-' ? context.io.stdin : createReadStream(path);
  const { gzip, bytes } = await sniffed(source);
  const sending = context.progress({ label: 'sending', total: size, format: sizeText });
  let sent = 0;
  let lineEnds = 0;
  let last = NEWLINE;
  const counting = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of bytes) {
      yield chunk;
      sent += chunk.length;
      if (!gzip) lineEnds += lineEndsIn(chunk);
      last = chunk.at(-1) ?? last;
      sending.update(sent);
    }
    sending.stop();
  };
  try {
    const importing = new ImportProgress(context, () =>
      gzip ? undefined : lineEnds + (last === NEWLINE ? 0 : 1),
    );
    for await (const step of client.importEmails(counting(), gzip)) {
      if ('report' in step) {
        importing.stop();
        return step.report;
      }
      importing.update(step.progress.lines);
    }
    throw new Error('an import ended without a report');
  } finally {
    sending.stop();
    source.destroy();
  }
}

/** Begins when there is something to tell. How many lines there are is known once a plain file is sent. */
class ImportProgress {
  private shown: ReturnType<Context['progress']> | undefined;

  constructor(
    private readonly context: Context,
    private readonly total: () => number | undefined,
  ) {}

  update(lines: number): void {
    this.shown ??= this.context.progress({ label: 'lines imported', total: this.total() });
    this.shown.update(lines);
  }

  stop(): void {
    this.shown?.stop();
  }
}

const NEWLINE = 0x0a;

function lineEndsIn(chunk: Uint8Array): number {
  let ends = 0;
  for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, at + 1)) ends += 1;
  return ends;
}

const sizeText = (bytes: number): string =>
  bytes < 1_000_000 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;

/** Looks at the first two bytes, and gives all of them on. */
async function sniffed(
  source: AsyncIterable<Uint8Array>,
): Promise<{ gzip: boolean; bytes: AsyncIterable<Uint8Array> }> {
  const chunks = source[Symbol.asyncIterator]();
  const head: Uint8Array[] = [];
  let length = 0;
  while (length < 2) {
    const next = await chunks.next();
    if (next.done === true) break;
    head.push(next.value);
    length += next.value.length;
  }
  const [first, second] = Buffer.concat(head);
  return {
    gzip: first === 0x1f && second === 0x8b,
    bytes: (async function* () {
      yield* head;
      yield* { [Symbol.asyncIterator]: () => chunks };
    })(),
  };
}

const SHOWN_REJECTIONS = 20;

/** The report for people; the first rejections only. */
export function importText({ accepted, unchanged, rejected, rejections }: ImportReport): string {
  const more = rejected - Math.min(rejections.length, SHOWN_REJECTIONS);
  return [
    `accepted ${formatCount(accepted)}, unchanged ${formatCount(unchanged)}, rejected ${formatCount(rejected)}`,
    ...rejections
      .slice(0, SHOWN_REJECTIONS)
      .map(({ line, reason }) => `  line ${formatCount(line)}: ${printable(reason)}`),
    ...(more > 0 ? [`  and ${formatCount(more)} more (--json lists them)`] : []),
  ].join('\n');
}
