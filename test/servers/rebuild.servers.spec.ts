import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { Deployment } from '../support/deployment.js';
import { realEventStoreUrl, serverName } from '../support/eventstoredb/server-under-test.js';
import { mongoName, realMongoUrl } from '../support/mongodb.js';
import { rebuildsEverything } from '../support/rebuild-at-scale.js';

const MINUTES = 60_000;
/**
 * FerretDB reads a whole collection for every page that is not found by its ids. On real servers some 9,000 emails; for
 * 200,000 set CLAWBACK_REBUILD_MESSAGES to 44000. The embedded stores have a suite of that size.
 */
const MESSAGES = Number(
  process.env.CLAWBACK_REBUILD_MESSAGES ??
    (realEventStoreUrl !== undefined && realMongoUrl !== undefined ? 2000 : 200),
);

describe(`all views of a remediation, on ${serverName} and ${mongoName}`, () => {
  let deployment: Deployment;
  beforeAll(async () => {
    deployment = await Deployment.start({ tenant: `rebuild-${randomUUID()}`, executors: 2 });
  }, 5 * MINUTES);

  afterAll(() => deployment.dispose(), MINUTES);

  it(
    'are built anew by the projector while a client of the API keeps reading',
    () =>
      rebuildsEverything(
        deployment.apiWithin(10 * MINUTES),
        (approvalId) => deployment.untilFinished(approvalId, 20 * MINUTES),
        MESSAGES,
      ),
    40 * MINUTES,
  );
});
