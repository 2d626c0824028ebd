import { expect } from '@jest/globals';
import { isClawbackError } from '#libs/kernel';

/** The pure heart of a stream: what the commands mean, and what the events made of the state. */
interface Decider<State, Command, Event> {
  readonly initial: State;
  readonly decide: (state: State, command: Command) => readonly Event[];
  readonly evolve: (state: State, event: Event) => State;
}

/** What may be said about the command: exactly one of these ends the sentence. */
interface Outcome<Event> {
  /** It is answered with exactly these events, in this order. */
  then(expected: readonly Event[]): void;
  /** It is refused with this code. */
  thenRefused(code: string, details?: Readonly<Record<string, unknown>>): void;
  /** It is accepted, and there is nothing to record. */
  thenNothing(): void;
  /** It shows a defect of the caller: an error with this text that no user is meant to see. */
  thenFails(text: string | RegExp): void;
}

/**
 * `given(decider, events).when(command).then(events)`: the past of a stream, one command, and what comes of it.
 * The past is folded from the initial state, so a specification speaks of events and never of the state.
 */
export function given<State, Command, Event>(
  decider: Decider<State, Command, Event>,
  past: readonly Event[],
): { when(command: Command): Outcome<Event> } {
  return {
    when(command) {
      const state = past.reduce(decider.evolve, decider.initial);
      const decide = (): readonly Event[] => decider.decide(state, command);
      return {
        then(expected) {
          expect(decide()).toEqual(expected);
        },
        thenRefused(code, details = {}) {
          const error = thrownBy(decide);
          expect(error).toMatchObject({ code, details });
          expect(isClawbackError(error)).toBe(true);
        },
        thenNothing() {
          expect(decide()).toEqual([]);
        },
        thenFails(text) {
          const error = thrownBy(decide);
          expect(isClawbackError(error)).toBe(false);
          expect(error instanceof Error ? error.message : error).toMatch(text);
        },
      };
    },
  };
}

function thrownBy(work: () => unknown): unknown {
  let result: unknown;
  try {
    result = work();
  } catch (error) {
    return error;
  }
  throw new Error(`expected a refusal, got ${JSON.stringify(result)}`);
}
