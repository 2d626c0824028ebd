import { attachments } from '#libs/kernel';
import type { z } from 'zod';
import type { Metadata, NewEvent, RecordedEvent } from './event-store.js';
import { shapeCheck } from './shape-check.js';

/** An event as the domain speaks of it. */
export interface DomainEvent<Type extends string = string, Data = unknown> {
  readonly type: Type;
  readonly data: Data;
}

/** A domain event together with where and how it was recorded. */
export type Recorded<E extends DomainEvent> = E & Omit<RecordedEvent, 'type' | 'data'>;

/** The data of one type of event in a family. */
export type DataOf<E extends DomainEvent, Type extends E['type']> = Extract<
  E,
  { readonly type: Type }
>['data'];

/**
 * How one type of event is written: the schema of its newest version, without refinements (see {@link shapeCheck}), and for
 * every older version ever stored a function to the next one. `upcasters[0]` turns version 1 into 2.
 */
export interface EventCodec<Data> {
  readonly schema: z.ZodType<Data>;
  readonly upcasters?: readonly ((data: unknown) => unknown)[];
}

/** A codec and what says quickly that data fits it. */
interface CheckedCodec extends EventCodec<unknown> {
  readonly fits: (data: unknown) => boolean;
}

/** One codec for every type of a family: the compiler asks for those that are missing. */
export type CodecTable<E extends DomainEvent> = { readonly [Type in E['type']]: EventCodec<DataOf<E, Type>> };

/** The newest version of a codec: 1 when it has no upcasters. */
const newestVersion = (codec: EventCodec<unknown>): number => (codec.upcasters?.length ?? 0) + 1;

/** A stored event does not fit its schema, or is newer than this program. Never skipped in silence. */
export class MalformedEvent extends Error {
  override readonly name = 'MalformedEvent';
  /** What the event belongs to, for the log. */
  readonly correlationId: string | undefined;

  constructor(event: RecordedEvent, why: string, options?: ErrorOptions) {
    super(`${event.type} in ${event.stream} at revision ${String(event.revision)}: ${why}`, options);
    this.correlationId = event.metadata.correlationId;
  }
}

export const isMalformedEvent = (error: unknown): error is MalformedEvent =>
  error instanceof Error && error.name === 'MalformedEvent';

/** The codecs of some family of events: writes them, and gives them back typed, validated and in the newest version. */
export class EventCodecs<E extends DomainEvent> {
  private readonly codecs: ReadonlyMap<string, CheckedCodec>;
  /** Several views look at the same recorded event: it is validated once. */
  private readonly decoded = attachments<Recorded<E>>();

  constructor(table: CodecTable<E>) {
    const codecs = Object.entries<EventCodec<unknown>>(table);
    this.codecs = new Map(
      codecs.map(([type, codec]) => [type, { ...codec, fits: shapeCheck(codec.schema) }]),
    );
  }

  /** The wire names, for instance for the catalogue of events in the documentation. */
  get types(): readonly string[] {
    return [...this.codecs.keys()];
  }

  /**
   * An event ready to be appended.
   * @throws when the data does not fit its own schema: that is a defect here, and nothing wrong is ever stored.
   */
  encode(event: E, id: string, metadata: Metadata): NewEvent {
    return this.encodeWith(event, id, (version) => ({ ...metadata, schemaVersion: version }));
  }

  /**
   * Events of one append, as {@link encode} gives them. Those of the same version share their metadata object.
   * @throws as {@link encode}.
   */
  encodeAll(events: readonly E[], idOf: (index: number) => string, metadata: Metadata): NewEvent[] {
    const known = new Map<string, Metadata>();
    const metadataOf = (version: string): Metadata => {
      const shared = known.get(version) ?? { ...metadata, schemaVersion: version };
      known.set(version, shared);
      return shared;
    };
    return events.map((event, index) => this.encodeWith(event, idOf(index), metadataOf));
  }

  private encodeWith(event: E, id: string, metadataOf: (version: string) => Metadata): NewEvent {
    const codec = this.codecs.get(event.type);
    if (codec === undefined) throw new Error(`no codec for ${event.type}`);
    const data = codec.fits(event.data) ? event.data : codec.schema.parse(event.data);
    return { id, type: event.type, data, metadata: metadataOf(String(newestVersion(codec))) };
  }

  /**
   * The typed event, or undefined when it belongs to another family.
   * @throws {MalformedEvent}
   */
  decode(event: RecordedEvent): Recorded<E> | undefined {
    const codec = this.codecs.get(event.type);
    if (codec === undefined) return undefined;
    const known = this.decoded.of(event);
    if (known !== undefined) return known;
    const newest = newestVersion(codec);
    const version = Number(event.metadata.schemaVersion ?? Number.NaN);
    if (!Number.isInteger(version) || version < 1) throw new MalformedEvent(event, 'no valid schemaVersion');
    if (version > newest) {
      throw new MalformedEvent(
        event,
        `version ${String(version)} is newer than ${String(newest)}, known here`,
      );
    }
    const steps = (codec.upcasters ?? []).slice(version - 1);
    const data = this.upcast(event, steps);
    const recorded = {
      ...event,
      data: codec.fits(data) ? data : this.parsed(event, codec, data),
    } as Recorded<E>;
    this.decoded.attach(event, recorded);
    return recorded;
  }

  private parsed(event: RecordedEvent, { schema }: EventCodec<unknown>, data: unknown): unknown {
    const parsed = schema.safeParse(data);
    if (parsed.success) return parsed.data;
    const paths = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.code}`);
    throw new MalformedEvent(event, paths.join('; '), { cause: parsed.error });
  }

  private upcast(event: RecordedEvent, steps: readonly ((data: unknown) => unknown)[]): unknown {
    try {
      return steps.reduce<unknown>((older, upcast) => upcast(older), event.data);
    } catch (error) {
      throw new MalformedEvent(event, 'an older version does not fit its own shape', { cause: error });
    }
  }
}
