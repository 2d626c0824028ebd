import {
  BACKWARDS,
  END,
  eventTypeFilter,
  streamNameFilter,
  START as LOG_START,
  type ReadPosition,
} from '@eventstore/db-client';
import { START, type Position } from '#libs/kernel';
import { type Connection } from './connection.js';
import { isOurs, positionOf, type Arrived } from './encoding.js';
import { NoAnswer } from './errors.js';
import { BUFFERED, CatchUpCall, incomingRead, type Incoming } from './incoming.js';

/** The server's own streams stay on the server. Their tombstones come, and are left out by {@link isOurs}. */
const NO_SYSTEM_STREAMS = '^[^$]';
/** A sign of life after so many times 32 events that were looked at and not sent. */
const CHECKPOINT_INTERVAL = 8;
/** The last event is ours, as a rule; if not, a longer look back. */
const FIRST_LOOK = 4;
const NEXT_LOOK = 500;

/** The order of our events, as the server gives it: of all, or without those of some types. Errors are the client's own. */
export class AllEvents {
  /** The last event that counts up to `looked`, as far as known: what lies before need not be looked at again. */
  private last: Position = START;
  private looked: Position = START;

  /** @param leftOut types of events that stay on the server. */
  constructor(
    private readonly connection: Connection,
    private readonly leftOut: ReadonlySet<string> = new Set(),
  ) {}

  /** The events after a position, past and live; may contain the server's tombstones and what is in streams of its own. */
  open(after: Position): CatchUpCall {
    const signsOfLife = {
      checkpointInterval: CHECKPOINT_INTERVAL,
      checkpointReached: () => {
        call.touch();
      },
    };
    const { leftOut } = this;
    const call: CatchUpCall = new CatchUpCall(
      this.connection.client.subscribeToAll(
        {
          fromPosition: after < 0n ? LOG_START : at(after),
          filter:
            leftOut.size === 0
              ? streamNameFilter({ regex: NO_SYSTEM_STREAMS, ...signsOfLife })
              : eventTypeFilter({ regex: noneOf(leftOut), ...signsOfLife }),
        },
        BUFFERED,
      ),
    );
    return call;
  }

  /** An event that counts is known to be there. */
  saw(position: Position): void {
    if (position > this.last) this.last = position;
    if (position > this.looked) this.looked = position;
  }

  /**
   * The position of the last event that every subscriber is given; `START` without any. What the server itself has written
   * behind it does not count, nor what is left out: nobody could ever reach that.
   */
  async lastPosition(): Promise<Position> {
    let from: ReadPosition = END;
    let newest: Position | undefined;
    for (let maxCount = FIRST_LOOK; ; maxCount = NEXT_LOOK) {
      let count = 0;
      let lowest: Position | undefined;
      for await (const arrived of this.backwards(from, maxCount)) {
        const position = positionOf(arrived);
        newest ??= position;
        if (position <= this.looked) return this.found(this.last, newest);
        if (this.counts(arrived)) return this.found(position, newest);
        lowest = position;
        count += 1;
      }
      if (count < maxCount || lowest === undefined) return this.found(this.last, newest ?? START);
      from = at(lowest);
    }
  }

  private counts(arrived: Arrived): boolean {
    return isOurs(arrived) && !this.leftOut.has(arrived.event?.type ?? '');
  }

  private found(position: Position, newest: Position): Position {
    this.saw(position);
    if (newest > this.looked) this.looked = newest;
    return this.last;
  }

  private backwards(fromPosition: ReadPosition, maxCount: number) {
    const read = this.connection.client.readAll({ direction: BACKWARDS, fromPosition, maxCount }, BUFFERED);
    return each(incomingRead(read), this.connection.deadlineMs);
  }
}

/** A pattern of the types that are ours and none of these. */
const noneOf = (types: ReadonlySet<string>): string => `^(?!(?:${[...types].join('|')})$)[^$]`;

const at = (position: Position): ReadPosition => ({ commit: position, prepare: position });

/** The items of a call to its end. @throws {NoAnswer} the server was silent for longer than the deadline. */
export async function* each<T>(call: Incoming<T>, deadlineMs: number): AsyncGenerator<T> {
  try {
    for (;;) {
      const item = call.take();
      if (item !== undefined) yield item;
      else if (call.isOver()) return;
      else if (!(await call.wait(deadlineMs))) throw new NoAnswer(deadlineMs);
    }
  } finally {
    call.close();
  }
}
