import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { sampleLines } from '#libs/mail-catalog';
import { Deployment } from '../support/deployment.js';
import { serverName } from '../support/eventstoredb/server-under-test.js';
import { mongoName } from '../support/mongodb.js';
import { bodyOf, request, type SubmittedBody } from '../support/server.js';

describe(`one API, one projector and three executors as processes of their own, on ${serverName} and ${mongoName}`, () => {
  let deployment: Deployment;
  beforeAll(async () => {
    deployment = await Deployment.start({ tenant: 'split', executors: 3 });
  }, 300_000);

  afterAll(() => deployment.dispose(), 60_000);

  it('answers readiness and metrics in every role', async () => {
    const addresses = await deployment.addresses();
    expect(addresses.size).toBe(5);
    for (const address of addresses.values()) {
      expect((await fetch(`${address}/health/ready`)).status).toBe(200);
      expect(await (await fetch(`${address}/metrics`)).text()).toContain(
        'clawback_process_resident_memory_bytes',
      );
    }
    expect((await fetch(`${addresses.get('projections') ?? ''}/v1/remediations`)).status).toBe(404);
  });

  it('moves every copy once though an executor is killed on the way, and brings every copy back', async () => {
    const { api } = deployment;
    const lines = [...sampleLines({ messages: 400, seed: 'split' })];
    const imported = bodyOf(await api.import(lines.join('')), 200);
    expect(imported).toMatchObject({ accepted: lines.length, rejected: 0 });

    const submitted = bodyOf(await api.post('/v1/remediations', request()), 202) as SubmittedBody;
    const { approvalId, plan } = submitted;
    // One of those who claimed a batch dies at once, whatever it has done of it.
    await deployment.kill('executor 1');
    expect((await api.get(`/v1/remediations/${approvalId}`)).status).toBe(200);
    const first = await deployment.untilFinished(approvalId);
    expect(first.status).toBe('completed');
    expect(first.counts).toMatchObject({
      submitted: plan.copies,
      nonRemediable: plan.nonRemediable,
      succeeded: plan.remediable - first.counts.alreadyInDestination,
    });

    await deployment.launch('executor 1');
    const undone = bodyOf(await api.post(`/v1/remediations/${approvalId}/undo`, {}), 202) as SubmittedBody;
    const second = await deployment.untilFinished(undone.approvalId);
    expect(second.counts.succeeded).toBe(first.counts.succeeded);

    const moves = await deployment.sandbox((sandbox) => [...sandbox.journal(deployment.tenant)]);
    expect(moves).toHaveLength(2 * first.counts.succeeded);
    expect(new Set(moves.map(({ operationId }) => operationId)).size).toBe(moves.length);
  }, 400_000);
});
