import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { TestServer, emailRow, request } from '../support/server.js';
let server: TestServer;
beforeAll(async () => { server = await TestServer.start(); });
afterAll(async () => { await server.dispose(); });
it('works', async () => {
  const t = server.tenant();
  expect(await t.import([emailRow()])).toEqual({});
});
it('runs', async () => {
  const t = server.tenant();
  await t.import([emailRow()]);
  const e = await t.run(request());
  console.log(e, await t.log(e.approvalId), await t.export(e.approvalId), t.folders());
  console.log((await server.api().get('/openapi.json')).text.length);
});
