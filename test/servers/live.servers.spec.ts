import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { pause } from '#libs/kernel';
import { Deployment } from '../support/deployment.js';
import { EventStream, type ServerSentEvent } from '../support/event-stream.js';
import { serverName } from '../support/eventstoredb/server-under-test.js';
import { mongoName } from '../support/mongodb.js';
import { bodyOf, emailRef, emailRow, ndjson, request, type SubmittedBody } from '../support/server.js';
import { WebhookReceiver, verified } from '../support/webhook-receiver.js';
import type { WebhookWithSecretBody } from '../../apps/server/src/webhooks/webhooks.dto.js';

const LIFE = [
  'remediation.submitted',
  'remediation.approved',
  'remediation.queued',
  'remediation.started',
  'remediation.completed',
];

describe(`listeners of a split deployment, on ${serverName} and ${mongoName}`, () => {
  let deployment: Deployment;
  let receiver: WebhookReceiver;

  beforeAll(async () => {
    receiver = await WebhookReceiver.start();
    deployment = await Deployment.start({ tenant: 'listeners', executors: 1 });
    await deployment.relaunch({ CLAWBACK_WEBHOOK_NETWORKS: '127.0.0.0/8', CLAWBACK_WEBHOOK_RETRY_MS: '50' });
    await deployment.launch('projections 2');
    const rows = Array.from({ length: 4 }, (_, index) => emailRow({ message: index + 1 }));
    bodyOf(await deployment.api.import(ndjson(rows)), 200);
  }, 300_000);

  afterAll(async () => {
    await deployment.dispose();
    await receiver.stop();
  }, 60_000);

  const run = async (message: number): Promise<string> => {
    const body = request({ selection: { emails: [emailRef(message)] } });
    const submitted = bodyOf(await deployment.api.post('/v1/remediations', body), 202) as SubmittedBody;
    await deployment.untilFinished(submitted.approvalId);
    return submitted.approvalId;
  };

  const listen = async (after?: string): Promise<EventStream> => {
    const init = after === undefined ? {} : { headers: { 'last-event-id': after } };
    return new EventStream(await deployment.api.open('/v1/remediations/live', init)).opened();
  };

  const withoutProgress = (events: readonly ServerSentEvent[]): ServerSentEvent[] =>
    events.filter(({ event }) => event !== 'remediation.progress');

  it('an API that keeps no views streams what happens when the views show it, and resumes', async () => {
    const stream = await listen();
    const approvalId = await run(1);
    const events = withoutProgress(await stream.until(({ event }) => event === 'remediation.completed'));
    await stream.close();
    expect(events.map(({ event }) => event)).toEqual(LIFE);
    expect(new Set(events.map(({ data }) => data.approvalId))).toEqual(new Set([approvalId]));
    const resumed = await listen(events[1]?.id);
    expect(withoutProgress(await resumed.until(({ event }) => event === 'remediation.completed'))).toEqual(
      events.slice(2),
    );
    await resumed.close();
  }, 120_000);

  it('one of two dispatchers sends, and the other goes on when it is killed in the middle', async () => {
    const registered = bodyOf(await deployment.api.post('/v1/webhooks', { url: receiver.url }), 201);
    const { secret } = registered as WebhookWithSecretBody;
    await run(2);
    await receiver.untilTaken(5);
    expect(receiver.requests).toHaveLength(5);

    receiver.behaviour = () => 'hang';
    const third = run(3);
    await receiver.untilAsked(6);
    // It was there first and has the turn; the other waits for the lease to lapse.
    await deployment.kill('projections');
    receiver.behaviour = () => 200;
    await third;
    await run(4);
    const deadline = performance.now() + 90_000;
    while (receiver.taken.length < 15 && performance.now() < deadline) await pause(50);
    expect(receiver.taken.map(({ body }) => body.type)).toEqual([...LIFE, ...LIFE, ...LIFE]);
    const positions = receiver.taken.map(({ body }) => String(body.data.position));
    expect(positions).toEqual([...new Set(positions)].sort());
    expect(receiver.requests.every((one) => verified(secret, one))).toBe(true);
  }, 240_000);
});
