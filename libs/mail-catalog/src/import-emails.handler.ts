import { EventStore, metadataOf } from '#libs/event-store';
import { idFrom, newId, START, type Position } from '#libs/kernel';
import { ReadStore, untilShown } from '#libs/read-store';
import { type RequestContext } from '#libs/remediation';
import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { emailKey, parseEmailLine, type EmailRecord } from './email-record.js';
import { emailsView, sameRecord } from './emails.view.js';
import { catalogCodecs, importStream } from './events.js';
import type { NumberedLine } from './lines.js';
import { MailCatalog } from './mail-catalog.js';

export interface Rejection {
  /** Counted from 1. */
  readonly line: number;
  readonly reason: string;
}

export interface ImportReport {
  /** Lines that told something new. */
  readonly accepted: number;
  /** Lines that said what was known. */
  readonly unchanged: number;
  readonly rejected: number;
  /** The rejected lines in order, at most {@link MAX_REJECTIONS_LISTED}; `rejected` counts all. */
  readonly rejections: readonly Rejection[];
  /** Views that have come this far show the import. */
  readonly position: Position;
}

export interface ImportProgress {
  readonly lines: number;
  readonly accepted: number;
  readonly unchanged: number;
  readonly rejected: number;
}

/** Import `EmailEvents` records, a line each. Lines that are wrong are reported and do not stop the others. */
export class ImportEmails extends Command<ImportReport> {
  constructor(
    readonly lines: AsyncIterable<NumberedLine>,
    readonly context: RequestContext,
    readonly onProgress: (progress: ImportProgress) => void = () => undefined,
  ) {
    super();
  }
}

/** A file of nothing but wrong lines must not fill the memory. */
export const MAX_REJECTIONS_LISTED = 100_000;

/** Records in one event at most, by number and by bytes of JSON: an append stays well under 1 MiB. */
const CHUNK_RECORDS = 500;
const CHUNK_BYTES = 700 * 1024;

/** Chunks that are recorded but not yet shown by the catalogue: so many may be ahead of it. */
const CHUNKS_AHEAD = 8;

/**
 * Streams: a few chunks are in memory at a time. What the catalogue does not show yet is kept beside it, so that a record
 * repeated within one import is recognised as well as one of an earlier import.
 */
@CommandHandler(ImportEmails)
export class ImportEmailsHandler implements ICommandHandler<ImportEmails> {
  constructor(
    private readonly events: EventStore,
    private readonly store: ReadStore,
    private readonly catalog: MailCatalog,
  ) {}

  async execute({ lines, context, onProgress }: ImportEmails): Promise<ImportReport> {
    const importId = newId();
    const rejections: Rejection[] = [];
    const progress = { lines: 0, accepted: 0, unchanged: 0, rejected: 0 };
    const ahead: { position: Position; records: readonly EmailRecord[] }[] = [];
    let chunks = 0;
    let position: Position = START;

    await this.catalog.ready();
    const take = async (chunk: readonly EmailRecord[]): Promise<void> => {
      const fresh = await this.fresh(context.tenant, chunk, ahead);
      if (fresh.length > 0) {
        position = await this.append(importId, chunks, fresh, context);
        chunks += 1;
        ahead.push({ position, records: fresh });
        const oldest = ahead.length > CHUNKS_AHEAD ? ahead.shift() : undefined;
        if (oldest !== undefined) await untilShown(this.store, emailsView, oldest.position);
      }
      progress.accepted += fresh.length;
      progress.unchanged += chunk.length - fresh.length;
      onProgress({ ...progress });
    };

    let chunk: EmailRecord[] = [];
    let bytes = 0;
    for await (const line of lines) {
      progress.lines += 1;
      const parsed =
        'reason' in line ? { ok: false as const, reason: line.reason } : parseEmailLine(line.text);
      if (!parsed.ok) {
        progress.rejected += 1;
        if (rejections.length < MAX_REJECTIONS_LISTED) {
          rejections.push({ line: line.number, reason: parsed.reason });
        }
        continue;
      }
      const size = Buffer.byteLength(JSON.stringify(parsed.record));
      if (chunk.length >= CHUNK_RECORDS || bytes + size > CHUNK_BYTES) {
        await take(chunk);
        chunk = [];
        bytes = 0;
      }
      chunk.push(parsed.record);
      bytes += size;
    }
    if (chunk.length > 0) await take(chunk);
    const { accepted, unchanged, rejected } = progress;
    return { accepted, unchanged, rejected, rejections, position };
  }

  /** What of a chunk is new, in order; what the chunk itself repeats is not new the second time. */
  private async fresh(
    tenant: string,
    chunk: readonly EmailRecord[],
    ahead: readonly { readonly records: readonly EmailRecord[] }[],
  ): Promise<EmailRecord[]> {
    const docs = await this.catalog.docs(tenant, chunk.map(keyOf));
    const known = new Map(docs.map(({ record }) => [keyOf(record), record]));
    const wanted = new Set(chunk.map(keyOf));
    for (const { records } of ahead) {
      for (const record of records) if (wanted.has(keyOf(record))) known.set(keyOf(record), record);
    }
    return chunk.filter((record) => {
      const before = known.get(keyOf(record));
      if (before !== undefined && sameRecord(before, record)) return false;
      known.set(keyOf(record), record);
      return true;
    });
  }

  private async append(
    importId: string,
    chunk: number,
    emails: readonly EmailRecord[],
    context: RequestContext,
  ): Promise<Position> {
    const commandId = idFrom('import', importId, String(chunk));
    const event = catalogCodecs.encode(
      { type: 'EmailsImported', data: { importId, emails } },
      commandId,
      metadataOf({ ...context, correlationId: importId, commandId }),
    );
    const expected = chunk === 0 ? 'noStream' : BigInt(chunk - 1);
    return (await this.events.append(importStream(importId), expected, [event])).position;
  }
}

const keyOf = (record: EmailRecord): string =>
  emailKey(record.networkMessageId, record.recipientEmailAddress);
