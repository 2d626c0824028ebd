import { idsFrom, type Position } from '#libs/kernel';
import type { DomainEvent, EventCodecs } from './codec.js';
import {
  WrongExpectedRevision,
  isWrongExpectedRevision,
  type EventStore,
  type Metadata,
} from './event-store.js';

/** Who asks for what, and what it is part of. Becomes the metadata of the events. */
export interface CommandContext {
  readonly tenant: string;
  readonly actor: string;
  /** Ties together everything that belongs together: of a remediation, its approval ID. */
  readonly correlationId: string;
  /** What caused this: a request or the event reacted to. */
  readonly causationId: string;
  /** Names this command; event ids derive from it, so the same command again is recognised. */
  readonly commandId: string;
  readonly now: Date;
}

export interface Decider<State, Command, Event> {
  readonly initial: State;
  readonly decide: (state: State, command: Command) => readonly Event[];
  readonly evolve: (state: State, event: Event) => State;
  /** The same as {@link evolve} for one event after the other, for states that are costly to copy. */
  readonly evolveAll?: (state: State, events: readonly Event[]) => State;
}

/** The state after these events. */
export const fold = <State, Event>(
  { evolve, evolveAll }: Pick<Decider<State, never, Event>, 'evolve' | 'evolveAll'>,
  state: State,
  events: readonly Event[],
): State => evolveAll?.(state, events) ?? events.reduce(evolve, state);

/** A stream, folded. */
export interface Loaded<State> {
  readonly state: State;
  /** Of its last event; undefined for a stream that is still empty. */
  readonly revision: bigint | undefined;
  readonly position: Position | undefined;
}

/** The stream as it is now, and what was appended, if anything. */
export interface Decided<State, Event> extends Loaded<State> {
  readonly events: readonly Event[];
}

/** How often a decision is made again because somebody else appended first. */
const CONFLICT_RETRIES = 5;

export const metadataOf = (context: CommandContext): Metadata => ({
  tenant: context.tenant,
  actor: context.actor,
  correlationId: context.correlationId,
  causationId: context.causationId,
  commandId: context.commandId,
  occurredAt: context.now.toISOString(),
});

/** Folds a stream. */
export async function load<State, Event extends DomainEvent>(
  store: EventStore,
  codecs: EventCodecs<Event>,
  decider: Pick<Decider<State, never, Event>, 'initial' | 'evolve' | 'evolveAll'>,
  stream: string,
): Promise<Loaded<State>> {
  const events: Event[] = [];
  let revision: bigint | undefined;
  let position: Position | undefined;
  for await (const recorded of store.readStream(stream)) {
    const event = codecs.decode(recorded);
    if (event !== undefined) events.push(event);
    revision = recorded.revision;
    position = recorded.position;
  }
  return { state: fold(decider, decider.initial, events), revision, position };
}

/**
 * Load, decide, append with the revision just read; on a conflict from the start, a bounded number of times.
 * A decision that finds nothing to record appends nothing.
 * @param asOf the revision that the command was prepared from: when the stream has moved on, it has to be prepared anew.
 * @param known the stream as it was a moment ago, in place of the first load. It is loaded after all when it has moved on,
 *   and when by this there is nothing to record.
 * @throws what `decide` throws, and the store's errors.
 */
export async function decideAndAppend<State, Command, Event extends DomainEvent>(
  store: EventStore,
  codecs: EventCodecs<Event>,
  decider: Decider<State, Command, Event>,
  stream: string,
  command: Command,
  context: CommandContext,
  { asOf, known }: { readonly asOf?: bigint | undefined; readonly known?: Loaded<State> | undefined } = {},
): Promise<Decided<State, Event>> {
  for (let retry = 0; ; retry += 1) {
    const early = retry === 0 ? known : undefined;
    const { state, revision, position } = early ?? (await load(store, codecs, decider, stream));
    if (asOf !== undefined && revision !== asOf)
      throw new WrongExpectedRevision(stream, asOf, revision ?? 'noStream');
    const events = decider.decide(state, command);
    if (events.length === 0) {
      if (early !== undefined) continue;
      return { events, state, revision, position };
    }
    try {
      const appended = await appendEvents(store, codecs, stream, revision ?? 'noStream', events, context);
      return { events, state: fold(decider, state, events), ...appended };
    } catch (error) {
      if (!isWrongExpectedRevision(error) || retry >= CONFLICT_RETRIES) throw error;
    }
  }
}

/** Appends decided events with ids derived from the command. */
export const appendEvents = <Event extends DomainEvent>(
  store: EventStore,
  codecs: EventCodecs<Event>,
  stream: string,
  expected: bigint | 'noStream',
  events: readonly Event[],
  context: CommandContext,
): Promise<{ revision: bigint; position: Position }> =>
  store.append(
    stream,
    expected,
    codecs.encodeAll(events, idsFrom(context.commandId, stream), metadataOf(context)),
  );
