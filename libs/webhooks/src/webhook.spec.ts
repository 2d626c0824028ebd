import { describe, expect, it } from '@jest/globals';
import { START } from '#libs/kernel';
import { given } from '../../../test/support/given-when-then.js';
import { placeOf, type DeliveryEvent } from './delivery.js';
import { webhookDecider, type KnownWebhook, type WebhookEvent } from './webhook.js';

const webhookId = 'w1';
const settings = { url: 'https://hooks.example/', types: ['a', 'b'], description: '' };
const registered: WebhookEvent = {
  type: 'WebhookRegistered',
  data: {
    webhookId,
    tenant: 'fabrikam',
    ...settings,
    secret: { version: 1, keyId: 'k1' },
    begin: { after: '00000000000000000010' },
  },
};
const paused: WebhookEvent = { type: 'WebhookPaused', data: { webhookId, because: 'gaveUp', detail: 'x' } };
const resumed: WebhookEvent = { type: 'WebhookResumed', data: { webhookId } };
const removed: WebhookEvent = { type: 'WebhookRemoved', data: { webhookId } };
const replay = { type: 'Replay', begin: { after: '00000000000000000002' } } as const;
const replayed: WebhookEvent = { type: 'WebhookReplayRequested', data: { webhookId, begin: replay.begin } };

describe('a webhook', () => {
  it('is registered once', () => {
    const command = {
      type: 'Register',
      webhookId,
      tenant: 'fabrikam',
      settings,
      keyId: 'k1',
      begin: { after: '00000000000000000010' },
    } as const;
    given(webhookDecider, []).when(command).then([registered]);
    given(webhookDecider, [registered]).when(command).thenRefused('webhookExists');
  });

  it('changes only when something changes', () => {
    const when = (change: object) => given(webhookDecider, [registered]).when({ type: 'Change', change });
    when({ url: 'https://other.example/' }).then([
      { type: 'WebhookChanged', data: { webhookId, ...settings, url: 'https://other.example/' } },
    ]);
    when({}).thenNothing();
    when({ types: ['b', 'a'] }).thenNothing();
    when({ types: ['a'] }).then([{ type: 'WebhookChanged', data: { webhookId, ...settings, types: ['a'] } }]);
  });

  it('is paused and resumed once', () => {
    const pause = { type: 'Pause', because: 'gaveUp', detail: 'x' } as const;
    given(webhookDecider, [registered]).when(pause).then([paused]);
    given(webhookDecider, [registered, paused]).when(pause).thenNothing();
    given(webhookDecider, [registered, paused]).when({ type: 'Resume' }).then([resumed]);
    given(webhookDecider, [registered]).when({ type: 'Resume' }).thenNothing();
  });

  it('counts the versions of its secret', () => {
    const command = { type: 'RotateSecret', keyId: 'k2', previousUntil: 't' } as const;
    const rotated: WebhookEvent = {
      type: 'WebhookSecretRotated',
      data: { webhookId, secret: { version: 2, keyId: 'k2' }, previousUntil: 't' },
    };
    given(webhookDecider, [registered]).when(command).then([rotated]);
    given(webhookDecider, [registered, rotated])
      .when(command)
      .then([{ ...rotated, data: { ...rotated.data, secret: { version: 3, keyId: 'k2' } } }]);
  });

  it('is gone when it was removed', () => {
    given(webhookDecider, [registered]).when({ type: 'Remove' }).then([removed]);
    for (const past of [[], [registered, removed]]) {
      for (const command of [{ type: 'Remove' }, { type: 'Resume' }, replay] as const) {
        given(webhookDecider, past).when(command).thenRefused('webhookNotFound');
      }
    }
  });
});

describe('where sending goes on', () => {
  const after = (...past: WebhookEvent[]): KnownWebhook => {
    const state = [registered, ...past].reduce(webhookDecider.evolve, webhookDecider.initial);
    if (state.status === 'none') throw new Error('registered');
    return state;
  };
  const common = {
    webhookId,
    messageId: 'm',
    position: '00000000000000000020',
    kind: 'a',
    about: 'r1',
    series: 0,
    attempt: 3,
    since: '2026-03-02T08:00:00.000Z',
    durationMs: 1,
  };
  const delivered: DeliveryEvent = {
    type: 'WebhookDelivered',
    data: { ...common, status: 200, after: '00000000000000000020' },
  };
  const failed: DeliveryEvent = {
    type: 'WebhookAttemptFailed',
    data: {
      ...common,
      error: 'timeout',
      nextAttemptAt: '2026-03-02T08:00:09.000Z',
      after: '00000000000000000015',
    },
  };

  it('is where it was told to begin, before anything was sent', () => {
    expect(placeOf(after(), undefined)).toEqual({ after: 10n });
  });

  it('is after what was taken, or at what has failed and when it is due', () => {
    expect(placeOf(after(), delivered)).toEqual({ after: 20n });
    expect(placeOf(after(), failed)).toEqual({
      after: 15n,
      failing: {
        position: 20n,
        attempts: 3,
        since: '2026-03-02T08:00:00.000Z',
        nextAttemptAt: '2026-03-02T08:00:09.000Z',
      },
    });
  });

  it('is the same place, tried afresh, after a pause or a change', () => {
    expect(placeOf(after(paused, resumed), failed)).toEqual({ after: 15n });
    expect(placeOf(after({ type: 'WebhookChanged', data: { webhookId, ...settings } }), failed)).toEqual({
      after: 15n,
    });
    expect(placeOf(after(paused, resumed), delivered)).toEqual({ after: 20n });
  });

  it('is where a replay begins until something of it was sent', () => {
    expect(placeOf(after(replayed), delivered)).toEqual({ after: 2n });
    expect(placeOf(after(replayed), failed)).toEqual({ after: 2n });
    const one = { ...delivered, data: { ...delivered.data, series: 1, after: '00000000000000000003' } };
    expect(placeOf(after(replayed), one as DeliveryEvent)).toEqual({ after: 3n });
    expect(placeOf(after(replayed, paused, resumed), one as DeliveryEvent)).toEqual({ after: 3n });
    const all: WebhookEvent = { type: 'WebhookReplayRequested', data: { webhookId, begin: { after: '' } } };
    expect(placeOf(after(all), delivered)).toEqual({ after: START });
  });
});
