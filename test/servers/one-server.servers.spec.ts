import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { sampleLines } from '#libs/mail-catalog';
import { buildProject, ServerProcess } from '../support/crash-server.js';
import { tokenFor } from '../support/deployment.js';
import {
  serverName,
  startEventStore,
  type EventStoreUnderTest,
} from '../support/eventstoredb/server-under-test.js';
import { mongoName, startMongo, type MongoUnderTest } from '../support/mongodb.js';
import { Api, bodyOf, request, until, type EntryBody, type SubmittedBody } from '../support/server.js';
import { WebhookReceiver } from '../support/webhook-receiver.js';

const isCompletion = ({ type }: { readonly type: string }): boolean => type === 'remediation.completed';

/** Only a hang gets there. */
const PATIENCE_MS = 100_000;

describe(`one server, and a process beside it that keeps its views, on ${serverName} and ${mongoName}`, () => {
  let directory: string;
  let events: EventStoreUnderTest;
  let mongo: MongoUnderTest;
  let server: ServerProcess;
  let api: Api;
  let receiver: WebhookReceiver;

  beforeAll(async () => {
    await buildProject();
    directory = await mkdtemp(join(tmpdir(), 'clawback-one-server-'));
    events = await startEventStore();
    mongo = await startMongo();
    server = ServerProcess.launch(directory, {
      CLAWBACK_EVENTSTORE_URL: events.url,
      CLAWBACK_MONGODB_URL: mongo.url,
      CLAWBACK_MONGODB_DATABASE: mongo.database,
      CLAWBACK_WEBHOOK_NETWORKS: '127.0.0.0/8',
    });
    receiver = await WebhookReceiver.start();
    const url = await server.ready;
    api = new Api(() => url, tokenFor(directory, 'one'), PATIENCE_MS);
  }, 300_000);

  afterAll(async () => {
    await server.terminate();
    await receiver.stop();
    await mongo.dispose();
    await events.stop();
    await rm(directory, { recursive: true, force: true });
  }, 60_000);

  const child = async (): Promise<number> =>
    (
      await until(
        () => server.children(),
        ({ length }) => length === 1,
      )
    )[0] ?? 0;
  const entry = async (approvalId: string): Promise<EntryBody | undefined> => {
    const answer = await api.get(`/v1/remediations/${approvalId}`);
    // Answered without a view that shows it, when none did for too long.
    return answer.status === 404 ? undefined : (bodyOf(answer, 200) as EntryBody);
  };
  const finished = async (approvalId: string): Promise<EntryBody> =>
    (await until(
      () => entry(approvalId),
      (found) => found?.status === 'completed',
      PATIENCE_MS,
    )) as EntryBody;

  it('moves every copy and brings every copy back, though that process is killed in between, and a webhook is told', async () => {
    bodyOf(await api.post('/v1/webhooks', { url: receiver.url }), 201);
    const lines = [...sampleLines({ messages: 100, seed: 'one server' })];
    bodyOf(await api.import(lines.join('')), 200);
    const submitted = bodyOf(await api.post('/v1/remediations', request()), 202) as SubmittedBody;
    const first = await finished(submitted.approvalId);
    expect(first.counts).toMatchObject({ submitted: submitted.plan.copies, pending: 0, failed: 0 });

    const killed = await child();
    process.kill(killed, 'SIGKILL');
    const path = `/v1/remediations/${submitted.approvalId}/undo`;
    const undone = bodyOf(await api.post(path, {}), 202) as SubmittedBody;
    const second = await finished(undone.approvalId);
    expect(second.counts.succeeded).toBe(first.counts.succeeded);
    expect(await child()).not.toBe(killed);
    expect(server.errors).toContain('it ended by SIGKILL');

    const told = await until(
      () => Promise.resolve(receiver.taken.map(({ body }) => body).filter(isCompletion)),
      ({ length }) => length === 2,
      PATIENCE_MS,
    );
    expect(told.map(({ data }) => data.approvalId)).toEqual([submitted.approvalId, undone.approvalId]);
  }, 300_000);
});
