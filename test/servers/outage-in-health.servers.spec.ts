import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  realEventStoreUrl,
  serverName,
  startInNewFolder,
} from '../support/eventstoredb/server-under-test.js';
import { type EventStoreDbStandIn } from '../support/eventstoredb/stand-in.js';
import { TestServer, emailRow, expectProblem, request, until, type Answer } from '../support/server.js';

interface Check {
  readonly name: string;
  readonly state: string;
  readonly detail: string;
}

const FOLLOWERS = ['executor', 'lateArrivals', 'projector', 'sandbox', 'webhooks'];
const FLOWS = [...FOLLOWERS.map((name) => `subscription:${name}`), 'workQueue'];

const checkOf = (answer: Answer, name: string): Check | undefined =>
  (answer.body as { readonly checks: readonly Check[] }).checks.find((check) => check.name === name);

const statesOf = (answer: Answer): Record<string, string | undefined> =>
  Object.fromEntries(FLOWS.map((name) => [name, checkOf(answer, name)?.state]));

const everyOne = (state: string): Record<string, string> =>
  Object.fromEntries(FLOWS.map((name) => [name, state]));

/** A server that belongs to somebody else is not killed. */
const suite = realEventStoreUrl === undefined ? describe : describe.skip;

suite(`health and metrics while the event store is away, on ${serverName}`, () => {
  const lines: Readonly<Record<string, unknown>>[] = [];
  let standIn: EventStoreDbStandIn;
  let server: TestServer;

  beforeAll(async () => {
    standIn = await startInNewFolder();
    server = await TestServer.start(
      { stores: { eventStoreUrl: standIn.url }, log: { level: 'info' } },
      (line) => lines.push(JSON.parse(line) as Readonly<Record<string, unknown>>),
    );
  });
  afterAll(async () => {
    await standIn.restart();
    await server.dispose();
    await standIn.stop();
  });

  const ready = (): Promise<Answer> => server.api().get('/health/ready');
  const metrics = async (): Promise<string[]> => (await server.api().get('/metrics')).text.split('\n');
  const LIVE = 'clawback_subscription_state{subscription="projector",state="live"} 1';

  it('show the subscriptions and the queue at work', async () => {
    const answer = await until(ready, (each) => each.status === 200 && statesOf(each).workQueue === 'ok');
    expect(statesOf(answer)).toEqual(everyOne('ok'));
    const measured = await until(metrics, (found) => found.includes(LIVE));
    expect(measured).toContain('clawback_work_queue_state{state="consuming"} 1');
    expect(measured).toContain('clawback_store_up{store="eventStore"} 1');
  });

  it('show that they reconnect, and why, when it is killed', async () => {
    await standIn.kill();
    const answer = await until(
      ready,
      (each) => each.status === 503 && Object.values(statesOf(each)).every((state) => state === 'degraded'),
    );
    expectProblem(answer, 503, 'notReady', 'eventStore: does not answer');
    expect(checkOf(answer, 'eventStore')?.state).toBe('failed');
    expect(checkOf(answer, 'readStore')?.state).toBe('ok');
    for (const name of FLOWS)
      expect(checkOf(answer, name)?.detail).toMatch(/^reconnecting; last error: \w+$/);
    // Anybody may ask: nothing tells where the store is.
    expect(answer.text).not.toContain(String(standIn.port));

    const measured = await metrics();
    for (const series of [
      'clawback_subscription_state{subscription="projector",state="reconnecting"} 1',
      'clawback_work_queue_state{state="reconnecting"} 1',
      'clawback_store_up{store="eventStore"} 0',
      'clawback_store_up{store="readStore"} 1',
    ]) {
      expect(measured).toContain(series);
    }
    const faults = expect.stringMatching(
      /^clawback_subscription_errors_total\{subscription="projector",error="\w+"\} [1-9]/,
    );
    expect(measured).toContainEqual(faults);
    expect(measured).toContainEqual(
      expect.stringMatching(/^clawback_work_queue_errors_total\{error="\w+"\} [1-9]/),
    );
  });

  it('show all of it well again after its restart, and the work goes on', async () => {
    await standIn.restart();
    const answer = await until(
      ready,
      (each) => each.status === 200 && Object.values(statesOf(each)).every((state) => state === 'ok'),
    );
    expect(statesOf(answer)).toEqual(everyOne('ok'));
    await until(metrics, (found) => found.includes(LIVE));
    const tenant = server.tenant();
    await tenant.import([emailRow()]);
    expect((await tenant.run(request())).status).toBe('completed');
  });

  it('have it in the log, once when they were lost and once when they are back', () => {
    const about = (msg: string) =>
      lines.filter((line) => line.msg === msg).map(({ connection }) => connection);
    const names = [...FOLLOWERS, 'workQueue'];
    expect(about('a connection was lost, and is made again').sort()).toEqual(names);
    expect(about('a connection is there again').sort()).toEqual(names);
  });
});
