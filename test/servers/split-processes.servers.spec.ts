import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { printableToken } from '#apps/server';
import { pause } from '#libs/kernel';
import { sampleLines } from '#libs/mail-catalog';
import { SandboxTenant } from '#libs/mailbox/sandbox';
import { buildProject, ServerProcess } from '../support/crash-server.js';
import {
  realEventStoreUrl,
  serverName,
  startInNewFolder,
} from '../support/eventstoredb/server-under-test.js';
import { mongoName, startMongo, type MongoUnderTest } from '../support/mongodb.js';

interface Entry {
  readonly status: string;
  readonly counts: Readonly<Record<string, number>>;
}

const PARTS = [
  ...['pending', 'succeeded', 'alreadyInDestination', 'notFound'],
  ...['nonRemediable', 'failed', 'timedOut', 'cancelled'],
];

/** The outcomes add up, whoever looks whenever. */
function expectSums({ counts }: Entry): void {
  expect(PARTS.reduce((sum, part) => sum + (counts[part] ?? Number.NaN), 0)).toBe(counts.submitted);
}

describe(`one API, one projector and three executors as processes of their own, on ${serverName} and ${mongoName}`, () => {
  const tenant = 'split';
  let data: string;
  let mongo: MongoUnderTest;
  let eventStore: { readonly url: string; stop(): Promise<void> };
  let variables: Readonly<Record<string, string>>;
  let url: string;
  let token: string;
  let api: ServerProcess;
  let projector: ServerProcess;
  const executors: ServerProcess[] = [];

  const launch = async (role: string): Promise<ServerProcess> => {
    const started = ServerProcess.launch(data, { ...variables, ROLES: role });
    await started.ready;
    return started;
  };

  const call = async (
    method: string,
    path: string,
    body?: unknown,
    type = 'application/json',
  ): Promise<Response> =>
    fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': type }) },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });

  const untilFinished = async (
    approvalId: string,
    look: (entry: Entry) => void = () => undefined,
  ): Promise<Entry> => {
    for (;;) {
      const answer = await call('GET', `/v1/remediations/${approvalId}`);
      expect(answer.status).toBe(200);
      const entry = (await answer.json()) as Entry;
      expectSums(entry);
      look(entry);
      if (entry.status === 'completed' || entry.status === 'failed') return entry;
      await pause(100);
    }
  };

  beforeAll(async () => {
    await buildProject();
    data = await mkdtemp(join(tmpdir(), 'clawback-split-'));
    mongo = await startMongo();
    eventStore =
      realEventStoreUrl === undefined
        ? await startInNewFolder()
        : { url: realEventStoreUrl, stop: () => Promise.resolve() };
    variables = {
      CLAWBACK_EVENTSTORE_URL: eventStore.url,
      CLAWBACK_MONGODB_URL: mongo.url,
      CLAWBACK_MONGODB_DATABASE: mongo.database,
      CLAWBACK_CLAIM_MS: '3000',
    };
    api = await launch('api');
    url = await api.ready;
    token = await printableToken(data, { roles: ['admin'], subject: 'pat', tenant, ttlSeconds: 3600 });
    projector = await launch('projections');
    for (let count = 0; count < 3; count += 1) executors.push(await launch('executor'));
  }, 300_000);

  afterAll(async () => {
    const running = [api, projector, ...executors];
    await Promise.all(running.map((each) => each.terminate()));
    await mongo.dispose();
    await eventStore.stop();
    await rm(data, { recursive: true });
  }, 60_000);

  it('answers readiness and metrics in every role', async () => {
    for (const each of [api, projector, ...executors]) {
      const address = await each.ready;
      expect((await fetch(`${address}/health/ready`)).status).toBe(200);
      expect(await (await fetch(`${address}/metrics`)).text()).toContain(
        'clawback_process_resident_memory_bytes',
      );
    }
    const address = await projector.ready;
    expect((await fetch(`${address}/v1/remediations`)).status).toBe(404);
  });

  it('moves every copy once though an executor is killed on the way, and brings every copy back', async () => {
    const lines = [...sampleLines({ messages: 400, seed: 'split' })];
    const imported = await call('POST', '/v1/emails/import', lines.join(''), 'application/x-ndjson');
    expect(await imported.json()).toMatchObject({ accepted: lines.length, rejected: 0 });

    const submitted = await call('POST', '/v1/remediations', {
      name: 'Split',
      severity: 'high',
      action: 'softDelete',
      sendersCopy: true,
      surface: 'threatExplorer',
      selection: { query: {} },
    });
    expect(submitted.status).toBe(202);
    const { approvalId, plan } = (await submitted.json()) as {
      approvalId: string;
      plan: Readonly<Record<string, number>>;
    };
    // One of those who claimed a batch dies at once, whatever it has done of it.
    await executors.shift()?.kill();
    const first = await untilFinished(approvalId);
    expect(first.status).toBe('completed');
    expect(first.counts).toMatchObject({
      submitted: plan.copies,
      nonRemediable: plan.nonRemediable,
      succeeded: (plan.remediable ?? 0) - (first.counts.alreadyInDestination ?? 0),
    });

    executors.push(await launch('executor'));
    const undone = await call('POST', `/v1/remediations/${approvalId}/undo`, {});
    expect(undone.status).toBe(202);
    const undo = (await undone.json()) as { approvalId: string };
    const second = await untilFinished(undo.approvalId);
    expect(second.counts.succeeded).toBe(first.counts.succeeded);

    const sandbox = new SandboxTenant(join(data, 'sandbox.db'));
    try {
      const moves = [...sandbox.journal(tenant)];
      expect(moves).toHaveLength(2 * (first.counts.succeeded ?? 0));
      expect(new Set(moves.map(({ operationId }) => operationId)).size).toBe(moves.length);
    } finally {
      await sandbox.close();
    }
  }, 400_000);
});
