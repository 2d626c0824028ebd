import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { pause } from '#libs/kernel';
import { DEFAULT_TENANT, loadOrCreateLocalKey, signLocalToken } from '#libs/platform';
import { buildProject, ServerProcess } from '../support/crash-server.js';
import { MESSAGES_OF_200_000_EMAILS, rebuildsEverything } from '../support/rebuild-at-scale.js';
import { Api, bodyOf, type EntryBody } from '../support/server.js';

const MINUTES = 60_000;
const LOOK_EVERY_MS = 200;

describe('all views of a remediation of 200,000 emails, on the embedded stores', () => {
  let directory: string;
  let server: ServerProcess;
  let api: Api;
  beforeAll(async () => {
    await buildProject();
    directory = await mkdtemp(join(tmpdir(), 'clawback-scale-'));
    const key = await loadOrCreateLocalKey(directory);
    const token = signLocalToken(key, {
      subject: 'pat@ops.example',
      roles: ['admin'],
      tenant: DEFAULT_TENANT,
      ttlSeconds: 3600,
    });
    server = ServerProcess.launch(directory);
    const url = await server.ready;
    api = new Api(() => url, token, 5 * MINUTES);
  }, 5 * MINUTES);

  afterAll(async () => {
    await server.terminate();
    await rm(directory, { recursive: true });
  }, MINUTES);

  const untilFinished = async (approvalId: string): Promise<EntryBody> => {
    for (;;) {
      const entry = bodyOf(await api.get(`/v1/remediations/${approvalId}`), 200) as EntryBody;
      if (['completed', 'failed'].includes(entry.status)) return entry;
      await pause(LOOK_EVERY_MS);
    }
  };

  it(
    'are built anew while a client keeps reading',
    () => rebuildsEverything(api, untilFinished, MESSAGES_OF_200_000_EMAILS),
    20 * MINUTES,
  );
});
