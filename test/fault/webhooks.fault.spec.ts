import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loadOrCreateLocalKey, signLocalToken } from '#libs/platform';
import { Dice } from '../support/crash-lab.js';
import { ServerProcess, buildProject } from '../support/crash-server.js';
import { EventStream } from '../support/event-stream.js';
import {
  Api,
  bodyOf,
  emailRef,
  emailRow,
  ndjson,
  request,
  until,
  type SubmittedBody,
} from '../support/server.js';
import { SEED } from '../support/seed.js';
import { WebhookReceiver, verified } from '../support/webhook-receiver.js';
import type { WebhookWithSecretBody } from '../../apps/server/src/webhooks/webhooks.dto.js';

const dice = new Dice(SEED);
const ROUNDS = 6;
const LIFE = [
  'remediation.submitted',
  'remediation.approved',
  'remediation.queued',
  'remediation.started',
  'remediation.completed',
];

describe(`listeners of a server that is killed again and again (seed ${dice.seed})`, () => {
  let directory: string;
  let server: ServerProcess;
  let url: string;
  let api: Api;
  let receiver: WebhookReceiver;

  const launch = async (): Promise<void> => {
    server = ServerProcess.launch(directory, {
      CLAWBACK_WEBHOOK_NETWORKS: '127.0.0.0/8',
      CLAWBACK_WEBHOOK_RETRY_MS: '10',
      CLAWBACK_WEBHOOK_LONGEST_RETRY_MS: '50',
    });
    url = await server.ready;
  };

  beforeAll(async () => {
    await buildProject();
    directory = await mkdtemp(join(tmpdir(), 'clawback-webhooks-'));
    receiver = await WebhookReceiver.start();
    const key = await loadOrCreateLocalKey(directory);
    api = new Api(
      () => url,
      signLocalToken(key, { subject: 'pat@ops.example', roles: ['admin'], ttlSeconds: 3600 }),
    );
    await launch();
  }, 180_000);

  afterAll(async () => {
    await server.terminate();
    await receiver.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it('the webhook gets every message, in order, and the stream resumes without a gap', async () => {
    const rows = Array.from({ length: ROUNDS }, (_, index) => emailRow({ message: index + 1 }));
    bodyOf(await api.import(ndjson(rows)), 200);
    const registered = bodyOf(await api.post('/v1/webhooks', { url: receiver.url }), 201);
    const { secret } = registered as WebhookWithSecretBody;
    let lastEventId = '0';
    const streamed: string[] = [];
    const submitted: string[] = [];

    for (let round = 1; round <= ROUNDS; round += 1) {
      // The receiver takes some of it; one attempt hangs, in the midst of which the server dies.
      const takes = Math.floor(dice.between(0, LIFE.length));
      let left = takes;
      receiver.behaviour = () => (left-- > 0 ? 200 : 'hang');
      const asked = receiver.requests.length;
      const body = request({ selection: { emails: [emailRef(round)] } });
      submitted.push((bodyOf(await api.post('/v1/remediations', body), 202) as SubmittedBody).approvalId);
      await receiver.untilAsked(asked + takes + 1);
      const ending = await server.kill();
      expect(ending.signal).toBe('SIGKILL');
      receiver.behaviour = () => 200;
      await launch();
      const stream = new EventStream(
        await api.open('/v1/remediations/live', { headers: { 'last-event-id': lastEventId } }),
      );
      const events = await stream.until(({ event }) => event === 'remediation.completed');
      await stream.close();
      lastEventId = events.at(-1)?.id ?? '';
      streamed.push(...events.map(({ event }) => event).filter((event) => event !== 'remediation.progress'));
    }

    const ids = await until(
      () => Promise.resolve([...new Set(receiver.taken.map(({ id }) => id))]),
      (known) => known.length === ROUNDS * LIFE.length,
    );
    // At least once: what was taken while the server died comes again. By its id the receiver knows it.
    const firsts = ids.map((id) => receiver.taken.find((one) => one.id === id));
    expect(firsts.map((one) => one?.body.type)).toEqual(submitted.flatMap(() => LIFE));
    const positions = firsts.map((one) => String(one?.body.data.position));
    expect(positions).toEqual([...positions].sort());
    expect(receiver.requests.every((one) => verified(secret, one))).toBe(true);
    expect(streamed).toEqual(submitted.flatMap(() => LIFE));
  }, 240_000);
});
