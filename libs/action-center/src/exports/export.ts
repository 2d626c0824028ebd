import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { ClawbackError, formatPosition, type Clock, type Position } from '#libs/kernel';
import { tableWriter, type ExportColumn, type ExportFormat } from './table.js';

export const EXPORT_KINDS = ['log', 'history', 'selection'] as const;
export type ExportKind = (typeof EXPORT_KINDS)[number];

/** Rows that are read together, with the position of the last event that is in any of them. */
export interface RowGroup<Row> {
  readonly rows: readonly Row[];
  readonly position: Position;
}

/** What an export is read from, at an instant. */
export interface ViewLook {
  /** Which build of the view queries read. */
  readonly build: number;
  /** How far that is. */
  readonly position: Position;
}

/** What there is to export. */
export interface ExportSource<Row> {
  readonly kind: ExportKind;
  /** Null when the rows do not belong to one remediation. */
  readonly approvalId: string | null;
  /** The filters, as they were understood. */
  readonly query: object;
  readonly columns: readonly ExportColumn<Row>[];
  /** Read anew by every call, a group at a time. */
  readonly groups: () => AsyncIterable<RowGroup<Row>>;
  /** The view that the rows are read from, as it is now. */
  readonly view: () => Promise<ViewLook>;
  /** A row may leave the query by an event: then it cannot be seen that one is missing. */
  readonly mayLose: boolean;
  /** Nothing that it shows will ever change: the same export later has the same bytes. */
  readonly final: boolean;
}

/** What an export holds, told when its last byte is known. Positions are 20 digits, empty before the first event. */
export interface Manifest {
  readonly kind: ExportKind;
  readonly approvalId: string | null;
  readonly query: object;
  readonly format: ExportFormat;
  readonly columns: readonly string[];
  /** Rows without the header line. */
  readonly rows: number;
  readonly bytes: number;
  /** 64 hexadecimal digits, of the bytes. */
  readonly sha256: string;
  /** How far the view was when the first row was read. */
  readonly firstPosition: string;
  /** How far it was when the last one had been read. */
  readonly lastPosition: string;
  /** Whether the rows are for sure exactly what the view held at `firstPosition`. */
  readonly consistent: boolean;
  readonly final: boolean;
  /** When the export was complete. */
  readonly createdAt: string;
}

/**
 * One pass over a source: bytes, and when they are all there, their manifest. Only the group that is being written is in
 * memory: the next one is read when the consumer asks for more.
 */
export class Export<Row> {
  private done: Manifest | undefined;

  constructor(
    private readonly source: ExportSource<Row>,
    private readonly format: ExportFormat,
    private readonly clock: Clock,
  ) {}

  /** @throws before the last byte was taken: nothing is known of an export that was broken off. */
  get manifest(): Manifest {
    if (this.done === undefined) throw new Error('the export is not complete');
    return this.done;
  }

  async *bytes(): AsyncGenerator<Buffer> {
    const { source, format } = this;
    const writer = tableWriter(format, source.columns);
    const first = await source.view();
    const hash = createHash('sha256');
    let rows = 0;
    let bytes = 0;
    let newest = first.position;
    const counted = (chunk: Buffer): Buffer => {
      hash.update(chunk);
      bytes += chunk.length;
      return chunk;
    };
    if (writer.head.length > 0) yield counted(writer.head);
    for await (const group of source.groups()) {
      rows += group.rows.length;
      if (group.position > newest) newest = group.position;
      if (group.rows.length > 0) yield counted(writer.lines(group.rows));
    }
    const last = await source.view();
    this.done = {
      kind: source.kind,
      approvalId: source.approvalId,
      query: source.query,
      format,
      columns: source.columns.map(({ name }) => name),
      rows,
      bytes,
      sha256: hash.digest('hex'),
      firstPosition: formatPosition(first.position),
      lastPosition: formatPosition(last.position),
      consistent:
        first.build === last.build &&
        (source.final || first.position === last.position || (newest === first.position && !source.mayLose)),
      final: source.final,
      createdAt: this.clock.now().toISOString(),
    };
  }

  /**
   * The manifest alone: everything is read, and written to nobody.
   * @throws {ClawbackError} `callerGone` when the signal fires.
   */
  async run(signal?: AbortSignal): Promise<Manifest> {
    for await (const _chunk of this.bytes()) {
      if (signal?.aborted === true) {
        throw new ClawbackError('unavailable', 'callerGone', 'nobody waits for this manifest any more');
      }
      // An embedded store answers without a pause: others get their turn.
      await setImmediate();
    }
    return this.manifest;
  }
}

/** An export, whatever its rows are. */
export type AnyExport = Pick<Export<never>, 'bytes' | 'run' | 'manifest'>;
