import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isClawbackError } from '#libs/kernel';
import { given as givenPast } from '../../../../test/support/given-when-then.js';
import {
  buildsOf,
  decideViewBuilds,
  evolveViewBuilds,
  initialViewBuilds,
  type BuildComparison,
  type ViewBuilds,
  type ViewBuildsCommand,
  type ViewBuildsEvent,
} from './index.js';

const ref = { view: 'history', version: 3 };
const decider = {
  initial: initialViewBuilds(ref),
  decide: decideViewBuilds,
  evolve: evolveViewBuilds,
};
const given = (...past: ViewBuildsEvent[]) => givenPast(decider, past);

const comparisonOf = (built: number, active: number, differing = 0): BuildComparison => ({
  built: { build: built, documents: 7, checksum: differing === 0 ? 'same' : 'other' },
  active: { build: active, documents: 7, checksum: 'same' },
  differing,
  examples: differing === 0 ? [] : ['r1'],
});

const requested = (build: number, acceptDifferences = false): ViewBuildsEvent => ({
  type: 'ViewRebuildRequested',
  data: { ...ref, build, acceptDifferences },
});
const compared = (built: number, active: number, differing = 0): ViewBuildsEvent => ({
  type: 'ViewBuildCompared',
  data: { ...ref, ...comparisonOf(built, active, differing) },
});
const activated = (build: number, previous: number): ViewBuildsEvent => ({
  type: 'ViewBuildActivated',
  data: { ...ref, build, previous },
});
const discarded = (build: number): ViewBuildsEvent => ({
  type: 'ViewBuildDiscarded',
  data: { ...ref, build },
});
const failed = (build: number): ViewBuildsEvent => ({
  type: 'ViewRebuildFailed',
  data: { ...ref, build, problem: 'cannot project' },
});

const rebuild = (acceptDifferences = false): ViewBuildsCommand => ({
  type: 'RequestRebuild',
  acceptDifferences,
});
const recordComparison = (comparison: BuildComparison): ViewBuildsCommand => ({
  type: 'RecordComparison',
  comparison,
});
const recordFailure = (build: number): ViewBuildsCommand => ({
  type: 'RecordFailure',
  build,
  problem: 'cannot project',
});
const switchOver: ViewBuildsCommand = { type: 'Switch' };
const discard: ViewBuildsCommand = { type: 'Discard' };

/** The states that a view can be in, each with a past that leads there. */
const past = {
  alone: [],
  building: [requested(2)],
  switched: [requested(2), compared(2, 1), activated(2, 1)],
  differs: [requested(2), compared(2, 1, 4)],
  failed: [requested(2), failed(2)],
  givenUp: [requested(2), discarded(2)],
  back: [requested(2), compared(2, 1), activated(2, 1), activated(1, 2)],
  aloneAgain: [requested(2), compared(2, 1), activated(2, 1), discarded(1)],
} satisfies Record<string, ViewBuildsEvent[]>;

const stateAfter = (events: readonly ViewBuildsEvent[]): ViewBuilds =>
  events.reduce(evolveViewBuilds, decider.initial);

describe('the builds of a view', () => {
  it.each<[keyof typeof past, Partial<ViewBuilds>, number[]]>([
    ['alone', { active: 1, newest: 1 }, [1]],
    ['building', { active: 1, building: { build: 2, acceptDifferences: false }, newest: 2 }, [1, 2]],
    ['switched', { active: 2, standby: 1, newest: 2, lastComparison: comparisonOf(2, 1) }, [2, 1]],
    ['differs', { active: 1, standby: 2, newest: 2, lastComparison: comparisonOf(2, 1, 4) }, [1, 2]],
    ['failed', { active: 1, newest: 2, lastFailure: { build: 2, problem: 'cannot project' } }, [1]],
    ['givenUp', { active: 1, newest: 2 }, [1]],
    ['back', { active: 1, standby: 2, newest: 2, lastComparison: comparisonOf(2, 1) }, [1, 2]],
    ['aloneAgain', { active: 2, newest: 2, lastComparison: comparisonOf(2, 1) }, [2]],
  ])('are these when %s', (name, state, builds) => {
    expect(stateAfter(past[name])).toEqual({ ...ref, ...state });
    expect(buildsOf(stateAfter(past[name]))).toEqual(builds);
  });

  describe('asked for a rebuild', () => {
    it.each([true, false])('begin one by the next number; differences accepted: %s', (accept) => {
      given()
        .when(rebuild(accept))
        .then([requested(2, accept)]);
    });

    it('give up the one that stands by, whichever that is', () => {
      given(...past.switched)
        .when(rebuild())
        .then([discarded(1), requested(3)]);
      given(...past.differs)
        .when(rebuild(true))
        .then([discarded(2), requested(3, true)]);
      given(...past.back)
        .when(rebuild())
        .then([discarded(2), requested(3)]);
    });

    it.each(['failed', 'givenUp', 'aloneAgain'] as const)('never use a number again: %s', (name) => {
      given(...past[name])
        .when(rebuild())
        .then([requested(3)]);
    });

    it('refuse a second at a time', () => {
      given(...past.building)
        .when(rebuild())
        .thenRefused('rebuildUnderWay', { view: 'history', build: 2 });
    });
  });

  describe('told of a comparison', () => {
    it('switch when nothing differs', () => {
      given(...past.building)
        .when(recordComparison(comparisonOf(2, 1)))
        .then([compared(2, 1), activated(2, 1)]);
    });

    it('do not switch when something differs', () => {
      given(...past.building)
        .when(recordComparison(comparisonOf(2, 1, 4)))
        .then([compared(2, 1, 4)]);
    });

    it('switch all the same when differences are accepted', () => {
      given(requested(2, true))
        .when(recordComparison(comparisonOf(2, 1, 4)))
        .then([compared(2, 1, 4), activated(2, 1)]);
    });

    it.each(['alone', 'switched', 'differs', 'failed', 'givenUp', 'back', 'aloneAgain'] as const)(
      'record nothing when nothing is being made: %s',
      (name) => {
        given(...past[name])
          .when(recordComparison(comparisonOf(2, 1)))
          .thenNothing();
      },
    );

    it('record nothing about another build, or one compared with another than the active', () => {
      given(...past.building)
        .when(recordComparison(comparisonOf(3, 1)))
        .thenNothing();
      given(...past.aloneAgain, requested(3))
        .when(recordComparison(comparisonOf(3, 1)))
        .thenNothing();
      given(...past.aloneAgain, requested(3))
        .when(recordComparison(comparisonOf(3, 2)))
        .then([compared(3, 2), activated(3, 2)]);
    });
  });

  describe('told of a failure', () => {
    it('record it for the one that is being made', () => {
      given(...past.building)
        .when(recordFailure(2))
        .then([failed(2)]);
    });

    it.each(['alone', 'switched', 'differs', 'failed', 'givenUp', 'back', 'aloneAgain'] as const)(
      'record nothing when nothing is being made: %s',
      (name) => {
        given(...past[name])
          .when(recordFailure(2))
          .thenNothing();
      },
    );

    it('record nothing about another build', () => {
      given(...past.failed, requested(3))
        .when(recordFailure(2))
        .thenNothing();
    });
  });

  describe('asked to switch', () => {
    it('go back, on, and back again', () => {
      given(...past.switched)
        .when(switchOver)
        .then([activated(1, 2)]);
      given(...past.back)
        .when(switchOver)
        .then([activated(2, 1)]);
    });

    it('take the one that differs', () => {
      given(...past.differs)
        .when(switchOver)
        .then([activated(2, 1)]);
    });

    it('refuse while one is being made, and when there is no other', () => {
      given(...past.building)
        .when(switchOver)
        .thenRefused('rebuildUnderWay', { view: 'history', build: 2 });
      for (const name of ['alone', 'failed', 'givenUp', 'aloneAgain'] as const) {
        given(...past[name])
          .when(switchOver)
          .thenRefused('noOtherBuild', { view: 'history' });
      }
    });
  });

  describe('asked to discard', () => {
    it.each([
      ['building', 2],
      ['switched', 1],
      ['differs', 2],
      ['back', 2],
    ] as const)('give up the one beside the active one: %s', (name, build) => {
      given(...past[name])
        .when(discard)
        .then([discarded(build)]);
    });

    it.each(['alone', 'failed', 'givenUp', 'aloneAgain'] as const)(
      'refuse when there is none: %s',
      (name) => {
        given(...past[name])
          .when(discard)
          .thenRefused('noOtherBuild', { view: 'history' });
      },
    );
  });

  it('keep their laws whatever is asked, and whatever late comer tells of any build', () => {
    const number = fc.integer({ min: 1, max: 6 });
    const command: fc.Arbitrary<ViewBuildsCommand> = fc.oneof(
      fc.boolean().map(rebuild),
      fc
        .tuple(number, number, fc.integer({ min: 0, max: 1 }))
        .map((numbers) => recordComparison(comparisonOf(...numbers))),
      number.map(recordFailure),
      fc.constantFrom(switchOver, discard),
    );
    /** What the keeper would say next, so that the walk gets far. */
    const fitting = fc
      .integer({ min: 0, max: 1 })
      .map(
        (differing) => (state: ViewBuilds) =>
          state.building === undefined
            ? switchOver
            : recordComparison(comparisonOf(state.building.build, state.active, differing)),
      );
    const step = fc.oneof(
      command.map((one) => () => one),
      fitting,
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let state = decider.initial;
        const begun = new Set([1]);
        const gone = new Set<number>();
        for (const next of steps) {
          for (const event of decide(state, next(state))) {
            if (event.type === 'ViewRebuildRequested') {
              expect(state.building).toBeUndefined();
              expect(begun.has(event.data.build)).toBe(false);
              begun.add(event.data.build);
            }
            if (event.type === 'ViewBuildDiscarded' || event.type === 'ViewRebuildFailed') {
              expect(event.data.build).not.toBe(state.active);
              expect(buildsOf(state)).toContain(event.data.build);
              gone.add(event.data.build);
            }
            if (event.type === 'ViewBuildActivated') {
              expect(event.data.previous).toBe(state.active);
              expect(state.standby).toBe(event.data.build);
            }
            state = evolveViewBuilds(state, event);
          }
          const builds = buildsOf(state);
          expect(new Set(builds).size).toBe(builds.length);
          expect(builds).toContain(state.active);
          expect(builds.filter((build) => gone.has(build) || !begun.has(build))).toEqual([]);
          expect(begun.size).toBe(builds.length + gone.size);
          expect(state.newest).toBe(Math.max(...begun));
          expect(state.building === undefined || state.standby === undefined).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});

/** A refusal records nothing. */
function decide(state: ViewBuilds, command: ViewBuildsCommand): readonly ViewBuildsEvent[] {
  try {
    return decideViewBuilds(state, command);
  } catch (error) {
    if (isClawbackError(error) && error.kind === 'conflict') return [];
    throw error;
  }
}
