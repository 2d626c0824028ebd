import { beforeEach, describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { newId } from '#libs/kernel';
import { InMemoryEventStore } from '../../../test/support/in-memory-event-store.js';
import { EventCodecs } from './codec.js';
import { decideAndAppend, load, type CommandContext, type Decider } from './decide-and-append.js';
import { isWrongExpectedRevision, type ReadStreamOptions } from './event-store.js';

interface Counted {
  readonly type: 'Counted';
  readonly data: { readonly to: number };
}

const codecs = new EventCodecs<Counted>({ Counted: { schema: z.strictObject({ to: z.int() }) } });

/** Counts on to the number that is asked for, if it is not there yet. */
const counter: Decider<number, number, Counted> = {
  initial: 0,
  decide: (state, wanted) => (wanted <= state ? [] : [{ type: 'Counted', data: { to: wanted } }]),
  evolve: (_, { data }) => data.to,
};

class WatchedStore extends InMemoryEventStore {
  reads = 0;

  override readStream(stream: string, options?: ReadStreamOptions) {
    this.reads += 1;
    return super.readStream(stream, options);
  }
}

const context = (): CommandContext => ({
  tenant: 't',
  actor: 'someone',
  correlationId: 'c',
  causationId: 'c',
  commandId: newId(),
  now: new Date(0),
});

describe('decideAndAppend', () => {
  let store: WatchedStore;

  beforeEach(() => {
    store = new WatchedStore();
  });

  const countTo = (wanted: number, options: Parameters<typeof decideAndAppend<number, number, Counted>>[6]) =>
    decideAndAppend(store, codecs, counter, 's', wanted, context(), options);

  it('loads, decides and appends, and says how the stream is then', async () => {
    const first = await countTo(3, {});
    expect(first).toMatchObject({ state: 3, revision: 0n, events: [{ data: { to: 3 } }] });
    expect(await countTo(2, {})).toMatchObject({ state: 3, revision: 0n, events: [] });
    expect(await load(store, codecs, counter, 's')).toEqual({
      state: 3,
      revision: 0n,
      position: first.position,
    });
  });

  it('does not load what is known', async () => {
    let known = await load(store, codecs, counter, 's');
    store.reads = 0;
    for (const wanted of [1, 2, 3]) known = await countTo(wanted, { known });
    expect(store.reads).toBe(0);
    expect(await load(store, codecs, counter, 's')).toMatchObject({ state: 3, revision: 2n });
  });

  it('loads what is known no longer, or has nothing in it to be recorded', async () => {
    const known = await countTo(1, {});
    await countTo(5, {});
    store.reads = 0;
    expect(await countTo(4, { known })).toMatchObject({ state: 5, events: [] });
    expect(await countTo(1, { known })).toMatchObject({ state: 5, events: [] });
    expect(await countTo(6, { known })).toMatchObject({ state: 6, revision: 2n });
    expect(store.reads).toBe(3);
  });

  it('refuses what was prepared from an older revision', async () => {
    const { revision } = await countTo(1, {});
    expect(await countTo(2, { asOf: revision })).toMatchObject({ state: 2 });
    const refusal = await countTo(3, { asOf: revision }).catch((error: unknown) => error);
    expect(isWrongExpectedRevision(refusal)).toBe(true);
  });
});
