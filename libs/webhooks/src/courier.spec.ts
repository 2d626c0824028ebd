import { beforeEach, describe, expect, it } from '@jest/globals';
import { collect, pause, type Position } from '#libs/kernel';
import { InMemoryEventStore, InMemoryLog } from '../../../test/support/in-memory-event-store.js';
import { TestClock } from '../../../test/support/test-clock.js';
import { deliveryCodecs, deliveryStream } from './codecs.js';
import { Courier, type CourierPorts } from './courier.js';
import type { DeliveryEvent } from './delivery.js';
import { Messages, type MessageAt } from './notifications.js';
import { WebhookSender, type Attempt } from './sender.js';
import { WebhookKeys } from './signature.js';
import { decideOnWebhook, loadWebhook } from './webhook.handler.js';
import type { WebhookCommand } from './webhook.js';

const HOUR_MS = 3_600_000;
const webhookId = 'w1';
const keys = new WebhookKeys(Buffer.alloc(32, 7));

let log: InMemoryLog;
let store: InMemoryEventStore;
let clock: TestClock;
/** What was sent: the number in the message, in the order of the attempts. */
let sent: number[];
/** What the receiver answers to the n-th attempt. */
let answer: (attempt: number) => Partial<Attempt> | Promise<Partial<Attempt>>;
let errors: unknown[];
let commands: number;
let newest: number;

beforeEach(async () => {
  log = new InMemoryLog();
  store = new InMemoryEventStore(log);
  clock = new TestClock();
  sent = [];
  errors = [];
  commands = 0;
  newest = 3;
  answer = () => ({ status: 200 });
  await decide({
    type: 'Register',
    webhookId,
    tenant: 'fabrikam',
    settings: { url: 'https://hooks.example/', types: ['wanted'], description: '' },
    keyId: keys.id,
    begin: { after: '' },
  });
});

async function decide(command: WebhookCommand): Promise<void> {
  commands += 1;
  const context = { tenant: 'fabrikam', actor: 'kim', causationId: `c${commands}`, now: clock.now() };
  await decideOnWebhook(store, webhookId, command, context);
}

/** Messages 0 to the newest, of which those divisible by 10 are of another type; then nothing more. */
class TestMessages extends Messages {
  async *subscribe({ after, signal }: { after: Position; signal: AbortSignal }): AsyncGenerator<MessageAt> {
    for (let number = Number(after) + 1; number <= newest && !signal.aborted; number += 1) {
      await Promise.resolve();
      const type = number % 10 === 0 ? 'unwanted' : 'wanted';
      const message = { type, about: 'r1', time: clock.now().toISOString(), data: { number } };
      yield { position: BigInt(number), message };
    }
    if (!signal.aborted) await pause(60_000, signal);
  }
}

class TestSender extends WebhookSender {
  async post(_url: string, _headers: object, body: string, signal: AbortSignal): Promise<Attempt> {
    const { data } = JSON.parse(body) as { data: { number: number } };
    sent.push(data.number);
    const given = await answer(sent.length);
    if (signal.aborted) return { durationMs: 0, error: 'aborted' };
    const { status = 0 } = given;
    return {
      durationMs: 1,
      ...given,
      ...(status >= 200 && status < 300 ? {} : { error: `status${status}` }),
    };
  }
}

const ports = (over: Partial<CourierPorts> = {}): CourierPorts => ({
  events: store,
  messages: new TestMessages(),
  sender: new TestSender(),
  keys,
  clock,
  retries: { firstMs: 1, longestMs: 1, giveUpMs: 24 * HOUR_MS },
  random: () => 0,
  onError: (error) => errors.push(error),
  ...over,
});

/** A courier at work, until it ends by itself or is told to. */
function start(over: Partial<CourierPorts> = {}) {
  const stopping = new AbortController();
  const breaking = new AbortController();
  const ended = new Courier(ports(over), webhookId).run({
    stopping: stopping.signal,
    breaking: breaking.signal,
  });
  return {
    over: ended,
    async stop(): Promise<void> {
      stopping.abort();
      await ended;
    },
    async breakOff(): Promise<void> {
      stopping.abort();
      breaking.abort();
      await ended;
    },
  };
}

const recorded = async (): Promise<DeliveryEvent[]> =>
  (await collect(store.readStream(deliveryStream(webhookId)))).flatMap(
    (event) => deliveryCodecs.decode(event) ?? [],
  );

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await pause(1);
}

const isRecorded = (count: number) => async (): Promise<boolean> => (await recorded()).length >= count;

describe('a courier', () => {
  it('brings what is wanted, in order, and records each before the next', async () => {
    newest = 12;
    const seen: number[] = [];
    answer = async () => {
      seen.push((await recorded()).length);
      return { status: 204 };
    };
    const courier = start();
    await until(isRecorded(11));
    await courier.stop();
    expect(sent).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12]);
    expect(seen).toEqual(sent.map((_, index) => index));
    expect((await recorded()).map(({ data }) => Number(data.position))).toEqual(sent);
    expect(errors).toEqual([]);
  });

  it('tries one message until it is taken, and counts', async () => {
    answer = (attempt) => ({ status: attempt < 4 ? 500 : 200 });
    const courier = start();
    await until(isRecorded(6));
    await courier.stop();
    expect(sent).toEqual([1, 1, 1, 1, 2, 3]);
    expect((await recorded()).map(({ type, data }) => [type, data.attempt, Number(data.after)])).toEqual([
      ['WebhookAttemptFailed', 1, 0],
      ['WebhookAttemptFailed', 2, 0],
      ['WebhookAttemptFailed', 3, 0],
      ['WebhookDelivered', 4, 1],
      ['WebhookDelivered', 1, 2],
      ['WebhookDelivered', 1, 3],
    ]);
  });

  it('goes on counting where the one before it died', async () => {
    answer = () => ({ status: 500 });
    const first = start();
    await until(isRecorded(2));
    await first.stop();
    const failed = (await recorded()).length;
    answer = () => ({ status: 200 });
    const second = start();
    await until(isRecorded(failed + 1));
    await second.stop();
    expect((await recorded())[failed]).toMatchObject({
      type: 'WebhookDelivered',
      data: { attempt: failed + 1, since: (await recorded())[0]?.data.since },
    });
  });

  it('gives up after the time for it, pauses the webhook and skips nothing', async () => {
    answer = () => {
      clock.advance(HOUR_MS);
      return { status: 500 };
    };
    await start().over;
    expect(sent).toHaveLength(24);
    const all = await recorded();
    expect(all.at(-1)).toMatchObject({ type: 'WebhookAttemptFailed', data: { error: 'status500' } });
    expect(all.map(({ data }) => 'nextAttemptAt' in data && data.nextAttemptAt !== undefined)).toEqual([
      ...Array<boolean>(23).fill(true),
      false,
    ]);
    expect(await loadWebhook(store, webhookId)).toMatchObject({ status: 'paused' });
    // It stays so.
    await start().over;
    expect(sent).toHaveLength(24);

    await decide({ type: 'Resume' });
    answer = () => ({ status: 200 });
    const courier = start();
    await until(isRecorded(27));
    await courier.stop();
    expect(sent.slice(24)).toEqual([1, 2, 3]);
    expect((await recorded())[24]?.data).toMatchObject({ attempt: 1, series: 1 });
  });

  it('records nothing of an attempt that was broken off, and makes it again', async () => {
    let release: (attempt: Partial<Attempt>) => void = () => undefined;
    answer = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    const first = start();
    await until(() => sent.length === 1);
    const ended = first.breakOff();
    release({ status: 200 });
    await ended;
    expect(await recorded()).toEqual([]);
    answer = () => ({ status: 200 });
    const second = start();
    await until(isRecorded(3));
    await second.stop();
    expect(sent).toEqual([1, 1, 2, 3]);
  });

  it('finishes and records the attempt under way when it is merely stopped', async () => {
    let release: (attempt: Partial<Attempt>) => void = () => undefined;
    answer = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    const courier = start();
    await until(() => sent.length === 1);
    const stopped = courier.stop();
    release({ status: 200 });
    await stopped;
    expect((await recorded()).map(({ type }) => type)).toEqual(['WebhookDelivered']);
    expect(sent).toEqual([1]);
  });

  it('is refused by the log when another has been at work, and begins again from what that one recorded', async () => {
    let release: (attempt: Partial<Attempt>) => void = () => undefined;
    answer = (attempt) =>
      attempt === 1
        ? new Promise((resolve) => {
            release = resolve;
          })
        : { status: 200 };
    const stale = start();
    await until(() => sent.length === 1);
    const other = start();
    await until(isRecorded(2));
    clock.advance(1);
    release({ status: 200 });
    await until(isRecorded(3));
    await until(() => errors.length > 0);
    await stale.stop();
    await other.stop();
    expect(errors).toEqual([expect.objectContaining({ name: 'WrongExpectedRevision' })]);
    // Message 1 went twice, as at least once allows; each is recorded as taken once.
    expect((await recorded()).map(({ data }) => Number(data.position))).toEqual([1, 2, 3]);
  });

  it('rides out a log that does not answer', async () => {
    answer = (attempt) => {
      if (attempt === 2) store.goDown();
      return { status: 200 };
    };
    const courier = start();
    await until(() => sent.length === 2);
    await pause(1);
    store.comeBack();
    await until(isRecorded(3));
    await courier.stop();
    expect(sent).toEqual([1, 2, 3]);
  });

  it('sends nothing that it cannot sign', async () => {
    const courier = start({ keys: new WebhookKeys(Buffer.alloc(32, 8)) });
    await until(isRecorded(1));
    await courier.stop();
    expect(sent).toEqual([]);
    expect((await recorded())[0]).toMatchObject({ data: { error: 'signingKeyChanged' } });
  });
});
