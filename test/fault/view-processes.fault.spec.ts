import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loadOrCreateLocalKey, signLocalToken } from '#libs/platform';
import { ServerProcess, buildProject } from '../support/crash-server.js';
import {
  Api,
  bodyOf,
  emailRow,
  ndjson,
  request,
  until,
  type EntryBody,
  type PageOf,
  type SubmittedBody,
} from '../support/server.js';

const EMAILS = 600;

interface ReadyBody {
  readonly views: readonly { readonly view: string; readonly state: string; readonly lagPositions: string }[];
  readonly checks: readonly { readonly name: string; readonly state: string }[];
}

describe('the processes that keep the views of a server', () => {
  let directory: string;
  let server: ServerProcess;
  let url: string;
  let api: Api;

  const launch = async (): Promise<void> => {
    server = ServerProcess.launch(directory, { CLAWBACK_LIMIT_OF_ONE_RECIPIENT: String(EMAILS) });
    url = await server.ready;
  };
  const children = async (): Promise<readonly number[]> =>
    until(
      () => server.children(),
      ({ length }) => length === 2,
    );
  const ready = async (): Promise<ReadyBody> => bodyOf(await api.get('/health/ready'), 200) as ReadyBody;
  const allShown = (): Promise<ReadyBody> =>
    until(ready, ({ views }) => views.every((view) => view.state === 'live' && view.lagPositions === '0'));
  const submit = async (name: string): Promise<string> => {
    const body = request({ name, selection: { query: {} } });
    return (bodyOf(await api.post('/v1/remediations', body), 202) as SubmittedBody).approvalId;
  };
  const completed = (approvalId: string): Promise<EntryBody> =>
    until(
      async () => bodyOf(await api.get(`/v1/remediations/${approvalId}`), 200) as EntryBody,
      ({ status }) => status === 'completed',
    );
  const killViews = async (): Promise<readonly number[]> => {
    const pids = await children();
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    return pids;
  };

  beforeAll(async () => {
    await buildProject();
    directory = await mkdtemp(join(tmpdir(), 'clawback-views-'));
    const key = await loadOrCreateLocalKey(directory);
    const token = signLocalToken(key, { subject: 'pat@ops.example', roles: ['admin'], ttlSeconds: 3600 });
    api = new Api(() => url, token);
    await launch();
  }, 180_000);

  afterAll(async () => {
    await server.terminate();
    await rm(directory, { recursive: true, force: true });
  });

  it('are two, and are seen in the health of the server', async () => {
    await children();
    const { checks } = await allShown();
    const projectors = checks.filter(({ name }) => name.startsWith('subscription:projector'));
    expect(projectors.map(({ name, state }) => `${name} ${state}`).sort()).toEqual([
      'subscription:projector:actionCenter ok',
      'subscription:projector:catalogue ok',
    ]);
  });

  it('are followed by others when they are killed in the midst of work, and nothing is lost or doubled', async () => {
    const rows = Array.from({ length: EMAILS }, (_, index) => emailRow({ message: index + 1 }));
    bodyOf(await api.import(ndjson(rows)), 200);
    const approvalId = await submit('Killed views');
    const killed = await killViews();
    const { counts, plan } = await completed(approvalId);
    expect(counts.succeeded + counts.alreadyInDestination + counts.nonRemediable).toBe(plan.copies);
    const successors = await children();
    expect(successors.filter((pid) => killed.includes(pid))).toEqual([]);
    const { checks } = await allShown();
    expect(checks.filter(({ state }) => state === 'failed')).toEqual([]);
    const log = bodyOf(await api.get(`/v1/remediations/${approvalId}/log`, { limit: '1000' }), 200);
    expect((log as PageOf<{ outcome: string }>).items.filter(({ outcome }) => outcome === 'pending')).toEqual(
      [],
    );
    expect(server.errors).toContain('it ended by SIGKILL');
  });

  it('build a view anew, and the server reads the new build', async () => {
    const found = async (): Promise<unknown> => bodyOf(await api.get('/v1/emails', { limit: '1000' }), 200);
    const view = async () => bodyOf(await api.get('/v1/views/emails'), 200) as { active: number };
    const before = await found();
    bodyOf(await api.post('/v1/views/emails/rebuild', {}), 202);
    await until(view, ({ active }) => active === 2);
    expect(await found()).toEqual(before);
    await completed(await submit('After the rebuild'));
  });

  it('end with a server that is killed, and its successor goes on', async () => {
    await children();
    // Resolves when all have ended that write to its output, and so its processes too.
    await server.kill();
    await launch();
    await completed(await submit('After the kill'));
    await allShown();
  });

  it('end in order with a server that is told to end', async () => {
    await children();
    expect(await server.terminate()).toEqual({ code: 0, signal: null });
    expect(server.errors).toBe('');
    await launch();
  });
});
