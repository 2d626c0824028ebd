import { beforeEach, describe, expect, it } from '@jest/globals';
import type { SubscriptionState } from '#libs/event-store';
import { START } from '#libs/kernel';
import { Connections } from './connections.js';

let lines: [level: 'log' | 'warn', message: unknown, facts: unknown][];
let connections: Connections;
beforeEach(() => {
  lines = [];
  connections = new Connections({
    log: (message, facts) => lines.push(['log', message, facts]),
    warn: (message, facts) => lines.push(['warn', message, facts]),
  });
});

const lost = Object.assign(new Error('14 UNAVAILABLE: 10.0.0.7:2113'), { name: 'UnavailableError' });

const tell = (
  state: SubscriptionState['state'],
  { subscription = 1, error }: { subscription?: number; error?: unknown } = {},
): void => {
  connections.onSubscription({
    subscription,
    name: 'projector',
    state,
    position: START,
    ...(error === undefined ? {} : { lastError: error }),
  });
};

describe('the subscriptions', () => {
  it('are shown by name with their state; those without a name are nobody’s', () => {
    tell('catchingUp');
    connections.onSubscription({ subscription: 2, state: 'live', position: START });
    expect(connections.subscriptions).toMatchObject([
      { name: 'projector', state: 'catchingUp', lastError: undefined },
    ]);
  });

  it('show a fault until it is got over, and count every one by its class', () => {
    tell('live');
    tell('reconnecting', { error: lost });
    tell('reconnecting', { error: lost });
    tell('reconnecting', { error: Object.assign(new Error('silent'), { name: 'SilentSubscription' }) });
    tell('catchingUp');
    const errors = new Map([
      ['UnavailableError', 2],
      ['SilentSubscription', 1],
    ]);
    expect(connections.subscriptions).toMatchObject([
      { state: 'catchingUp', lastError: 'SilentSubscription', errors },
    ]);
    tell('live');
    expect(connections.subscriptions).toMatchObject([{ state: 'live', lastError: undefined, errors }]);
  });

  it('are logged when they are lost and when they are back, once each', () => {
    tell('live');
    for (let attempt = 0; attempt < 10; attempt += 1) tell('reconnecting', { error: lost });
    tell('live');
    expect(lines).toEqual([
      ['warn', 'a connection was lost, and is made again', { connection: 'projector', err: lost }],
      ['log', 'a connection is there again', { connection: 'projector', after: 'UnavailableError' }],
    ]);
  });

  it('of one subscriber are as well as the worst of them, and a successor counts in place of its predecessor', () => {
    const state = () => connections.subscriptions[0]?.state;
    tell('live');
    tell('catchingUp', { subscription: 2 });
    expect(state()).toBe('catchingUp');
    tell('reconnecting', { error: lost });
    expect(state()).toBe('reconnecting');
    tell('ended');
    tell('live', { subscription: 2 });
    expect(state()).toBe('live');
    tell('ended', { subscription: 2 });
    expect(state()).toBe('ended');
  });
});

describe('the work queue', () => {
  it('is not there where there is none', () => {
    expect(connections.queue).toBeUndefined();
  });

  it('shows that its connection was lost, until it consumes again', () => {
    connections.onQueue({ state: 'consuming' });
    connections.onQueue({ state: 'reconnecting', lastError: lost });
    expect(connections.queue).toMatchObject({ state: 'reconnecting', lastError: 'UnavailableError' });
    connections.onQueue({ state: 'consuming' });
    expect(connections.queue).toMatchObject({ state: 'consuming', lastError: undefined });
    expect(connections.queue?.errors).toEqual(new Map([['UnavailableError', 1]]));
    expect(lines).toHaveLength(2);
  });

  it('logs and counts work that could not be taken, which says nothing of the connection', () => {
    const defect = new TypeError('a defect');
    connections.onQueue({ state: 'consuming', lastError: defect });
    expect(connections.queue).toMatchObject({ state: 'consuming', lastError: undefined });
    expect(connections.queue?.errors).toEqual(new Map([['TypeError', 1]]));
    expect(lines).toEqual([['warn', 'work that was handed out could not be taken', { err: defect }]]);
  });

  it('makes nothing of work that a shutdown gives back', () => {
    connections.onQueue({ state: 'consuming', lastError: new DOMException('aborted', 'AbortError') });
    expect(connections.queue?.errors.size).toBe(0);
    expect(lines).toEqual([]);
  });
});
