import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { sampleLines } from '#libs/mail-catalog';
import { VIEWS } from '../../apps/server/src/views/views.js';
import { ViewReader, rebuild, type ViewBody } from '../support/rebuild.js';
import { TestServer, bodyOf, request, until, type TestTenant } from '../support/server.js';

const NAMES = Object.keys(VIEWS);

/** Nobody has registered a webhook here. */
const WITHOUT_DOCUMENTS: ReadonlySet<string> = new Set(['webhooks', 'webhookDeliveries']);

let server: TestServer;
let tenant: TestTenant;
let approvalId: string;
beforeAll(async () => {
  server = await TestServer.start();
  tenant = server.tenant();
  bodyOf(
    await tenant.as('ingest').import([...sampleLines({ messages: 300, seed: 'rebuild' })].join('')),
    200,
  );
  ({ approvalId } = await tenant.run(request()));
});
afterAll(() => server.dispose());

const view = async (name: string): Promise<ViewBody> =>
  bodyOf(await tenant.as('admin').get(`/v1/views/${name}`), 200) as ViewBody;

const change = async (name: string, what: string, status = 202) =>
  bodyOf(await tenant.as('admin').post(`/v1/views/${name}/${what}`, {}), status);

describe('building a view anew', () => {
  it('lists every view with the one build that there is at first', async () => {
    const { items } = bodyOf(await tenant.as('admin').get('/v1/views'), 200) as { items: ViewBody[] };
    expect(items.map(({ name }) => name)).toEqual(NAMES);
    for (const { active, builds } of items) {
      expect(active).toBe(1);
      expect(builds).toMatchObject([{ build: 1, state: 'active', progress: 1 }]);
    }
  });

  it('changes no answer of any view, before, while and after', async () => {
    const before = await everything();
    const reader = new ViewReader(tenant.as('viewer'), approvalId).start();
    for (const name of NAMES) {
      const rebuilt = await rebuild(tenant.as('admin'), name);
      expect(rebuilt).toMatchObject({ active: 2, lastComparison: { differing: 0 } });
      const { built, active } = rebuilt.lastComparison ?? {};
      expect(built?.checksum).toBe(active?.checksum);
      if (!WITHOUT_DOCUMENTS.has(name)) expect(built?.documents).toBeGreaterThan(0);
    }
    expect((await reader.stop()).failures).toEqual([]);
    expect(await everything()).toEqual(before);
  });

  it('keeps the build before up to date, switches back to it at once, and lets go of the other', async () => {
    const another = await tenant.run(request({ name: 'another', action: 'moveToInbox', sendersCopy: true }));
    await change('history', 'switch');
    const back = await until(
      () => view('history'),
      ({ active }) => active === 1,
    );
    expect(back.builds).toMatchObject([
      { build: 1, state: 'active' },
      { build: 2, state: 'standby' },
    ]);
    expect(await tenant.entry(another.approvalId)).toEqual(another);

    await change('history', 'discard');
    const alone = await until(
      () => view('history'),
      ({ builds }) => builds.length === 1,
    );
    expect(alone.builds).toMatchObject([{ build: 1, state: 'active' }]);
    expect(await tenant.entry(another.approvalId)).toEqual(another);
  });

  it('survives a restart in which build is read', async () => {
    const active = async () => (await view('actionLog')).active;
    expect(await active()).toBe(2);
    await server.restart();
    expect(await active()).toBe(2);
    expect((await view('actionLog')).builds.map(({ state }) => state)).toEqual(['standby', 'active']);
  });

  it('is recorded with who asked for it', async () => {
    const recorded = [];
    for await (const { type, metadata } of server.eventsOf('viewBuilds-history_v2')) {
      recorded.push([type, metadata.actor]);
    }
    expect(recorded.slice(0, 1)).toEqual([['ViewRebuildRequested', 'admin@ops.example']]);
    expect(recorded.map(([type]) => type)).toEqual([
      'ViewRebuildRequested',
      'ViewBuildCompared',
      'ViewBuildActivated',
      'ViewBuildActivated',
      'ViewBuildDiscarded',
    ]);
  });

  it('refuses what makes no sense, and says why', async () => {
    expect(await change('history', 'switch', 409)).toMatchObject({ code: 'noOtherBuild' });
    expect(await change('history', 'discard', 409)).toMatchObject({ code: 'noOtherBuild' });
    expect(await change('nothing', 'rebuild', 404)).toMatchObject({
      code: 'viewNotFound',
      detail: `there is no view nothing; there are ${NAMES.join(', ')}`,
    });
    const answer = await tenant.as('admin').post('/v1/views/history/rebuild', { acceptDifferences: 'yes' });
    expect(bodyOf(answer, 400)).toMatchObject({ errors: [{ field: 'acceptDifferences' }] });
  });

  const everything = async () => ({
    history: await tenant.history(),
    log: await tenant.log(approvalId),
    emails: await tenant.search(),
    export: (await tenant.export(approvalId)).rows,
  });
});
