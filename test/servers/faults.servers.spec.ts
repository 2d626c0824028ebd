import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { countsOf as countsOfTally } from '#libs/action-center';
import { pause } from '#libs/kernel';
import { Folders } from '#libs/mailbox';
import { approvalIdFor, copyKeyOf } from '#libs/remediation';
import { Dice } from '../support/crash-lab.js';
import { Deployment, type Place } from '../support/deployment.js';
import { realEventStoreUrl, serverName } from '../support/eventstoredb/server-under-test.js';
import { foldersOf, repeated } from '../support/evidence.js';
import { MailInput } from '../support/mail-input.js';
import { mongoName, realMongoUrl } from '../support/mongodb.js';
import {
  allPages,
  bodyOf,
  countsOf,
  request,
  type LogRowBody,
  type SubmittedBody,
} from '../support/server.js';
import { SEED } from '../support/seed.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

const dice = new Dice(SEED);
const CASE_MS = 240_000;
const KILLS_AT_LEAST = 30;
/** Servers that belong to somebody else are not killed. */
const onStandIns = realEventStoreUrl === undefined && realMongoUrl === undefined;
const itOnStandIns = onStandIns ? it : it.skip;

/** Goes wrong while a remediation is planned and runs; resolves when everything is up again. */
type Trouble = (leg: Leg) => Promise<void>;

/** One remediation of a journey. */
interface Leg {
  /** Resolves when its executors have moved at least this part of the copies. */
  moved(part: number): Promise<void>;
  /** Whether it is shown as finished. */
  isOver(): boolean;
}

const calm: Trouble = () => Promise.resolve();

describe(`a split deployment under faults, on ${serverName} and ${mongoName} (seed ${dice.seed})`, () => {
  const input = MailInput.generated({ messages: 200, seed: 'faults' });
  const expected = countsOf(...partsOf(input));
  let deployment: Deployment;
  let toEvents: TcpProxy | undefined;
  let toViews: TcpProxy | undefined;
  let journeys = 0;

  beforeAll(async () => {
    process.stdout.write(`fault suite: seed ${dice.seed}, ${input.emails.size} emails\n`);
    if (!onStandIns) {
      process.stdout.write('fault suite: left out on real servers: the cases that stop or freeze a server\n');
    }
    deployment = await Deployment.start({ tenant: `faults-${randomUUID()}`, executors: 3 });
    const imported = bodyOf(await deployment.api.import(input.gzip, { 'content-encoding': 'gzip' }), 200);
    expect(imported).toMatchObject({ accepted: input.emails.size, rejected: 0 });
  }, CASE_MS);

  afterAll(async () => {
    await deployment.dispose();
    await toEvents?.close();
    await toViews?.close();
  }, 60_000);

  afterEach(() => {
    deployment.throwIfOneEnded();
  });

  const inDeletions = (): Promise<number> =>
    deployment.sandbox(
      (sandbox) => sandbox.countByFolder(deployment.tenant)[Folders.recoverableDeletions] ?? 0,
    );

  /** Sends the request under its key until it is answered, and follows it to its end, whatever happens meanwhile. */
  const carriedOut = async (path: string, key: string, trouble: Trouble) => {
    const approvalId = approvalIdFor(deployment.tenant, key);
    const before = await inDeletions();
    const over = new AbortController();
    const leg: Leg = {
      async moved(part) {
        const due = part * expected.succeeded;
        while (!over.signal.aborted && Math.abs((await inDeletions()) - before) < due) {
          await pause(5, over.signal);
        }
      },
      isOver: () => over.signal.aborted,
    };
    const work = async () => {
      try {
        const body = path.endsWith('/undo') ? {} : request();
        const answer = await deployment.patientApi.post(path, body, { 'idempotency-key': key });
        const submitted = bodyOf(answer, 202) as SubmittedBody;
        expect(submitted.approvalId).toBe(approvalId);
        return { submitted, entry: await deployment.untilFinished(approvalId) };
      } finally {
        over.abort();
      }
    };
    const [done] = await Promise.all([work(), trouble(leg)]);
    return done;
  };

  /** Soft deletes everything with the senders' copies and brings it all back; then everything has to add up. */
  const journey = async (onDelete: Trouble, onUndo: Trouble): Promise<void> => {
    journeys += 1;
    const deleted = await carriedOut('/v1/remediations', `delete-${journeys}`, onDelete);
    expect(deleted.entry).toMatchObject({ status: 'completed', counts: expected });
    const path = `/v1/remediations/${deleted.submitted.approvalId}/undo`;
    const undone = await carriedOut(path, `undo-${journeys}`, onUndo);
    expect(undone.entry).toMatchObject({
      status: 'completed',
      counts: { submitted: expected.succeeded, succeeded: expected.succeeded },
    });
    expect(await foldersOf(deployment.dataDirectory, input.copies, deployment.tenant)).toEqual(
      input.delivered(),
    );
    await expectReconciled(deleted.submitted.approvalId, undone.submitted.approvalId);
  };

  /** What was recorded, what was really moved and what is shown are the same, once each. */
  const expectReconciled = async (...approvalIds: readonly string[]): Promise<void> => {
    const evidence = await deployment.evidence();
    expect(evidence.contradictions()).toEqual([]);
    expect(evidence.inDoubt()).toBe(0);
    expect(repeated(evidence.journal.map(({ operationId }) => operationId))).toEqual([]);
    for (const approvalId of approvalIds) {
      const submission = evidence.submission(approvalId);
      if (submission === undefined) throw new Error(`${approvalId} was not submitted`);
      const { planId, batches, plan } = submission;
      const types = evidence.lives.get(approvalId)?.map(({ type }) => type) ?? [];
      expect(repeated(types)).toEqual([]);
      expect(types).toEqual(
        expect.arrayContaining(['RemediationSubmitted', 'RemediationApproved', 'RemediationCompleted']),
      );
      const planned = evidence.batches(planId);
      expect(planned).toHaveLength(batches);
      for (const { planned: batch, outcomes, settled } of planned) {
        const due = batch?.targets.flatMap(({ notRemediable }, target) =>
          notRemediable === undefined ? [target] : [],
        );
        expect(outcomes.map(({ data }) => data.target).sort((a, b) => a - b)).toEqual(due);
        expect(settled).toHaveLength(1);
      }
      const { made, recorded } = evidence.moves(planId);
      expect(recorded.sort()).toEqual(made.sort());

      const counts = countsOfTally(evidence.tally(planId));
      expect(bodyOf(await deployment.api.get(`/v1/remediations/${approvalId}`), 200)).toMatchObject({
        counts,
      });
      const log = (await allPages(deployment.api, `/v1/remediations/${approvalId}/log`, {})) as LogRowBody[];
      expect(log).toHaveLength(plan.copies);
      expect(repeated(log.map(keyOfRow))).toEqual([]);
      expect(countsOf(outcomesIn(log, false), outcomesIn(log, true))).toEqual(counts);
    }
  };

  /** Kills the processes of each of these places so often, the places at the same time. */
  const kills =
    (times: Readonly<Partial<Record<Place, number>>>): Trouble =>
    async () => {
      const places = Object.entries(times) as [Place, number][];
      await Promise.all(
        places.map(async ([place, count]) => {
          for (let kill = 0; kill < count; kill += 1) {
            await pause(dice.between(0, 600));
            if (kill % 3 === 1) {
              await deployment.killInStart(place, dice.between(0, 900));
            } else {
              await deployment.kill(place);
              await deployment.launch(place);
            }
          }
        }),
      );
    };

  /** Down for so long, from when part of the copies is moved. */
  const outage =
    (ms: number, down: () => Promise<void> | void, up: () => Promise<void> | void): Trouble =>
    async (leg) => {
      await leg.moved(dice.between(0.1, 0.7));
      expect(leg.isOver()).toBe(false);
      await down();
      await pause(ms);
      await up();
    };

  const eventStore = () => deployment.eventStore.standIn ?? absent('event store');
  const readStore = () => deployment.mongo.ferretDb ?? absent('read store');

  it(
    'processes of every role are killed at random',
    async () => {
      const round = kills({ api: 4, projections: 2, 'executor 1': 2, 'executor 2': 2, 'executor 3': 2 });
      await journey(round, round);
    },
    CASE_MS,
  );

  itOnStandIns(
    'the event store is stopped for 20 seconds, and then for a moment',
    async () => {
      await journey(
        outage(
          20_000,
          () => eventStore().kill(),
          () => eventStore().restart(),
        ),
        outage(
          0,
          () => eventStore().kill(),
          () => eventStore().restart(),
        ),
      );
    },
    CASE_MS,
  );

  itOnStandIns(
    'the read store is killed, and comes back at once or after a while',
    async () => {
      await journey(
        outage(
          0,
          () => readStore().kill(),
          () => readStore().restart(),
        ),
        outage(
          5_000,
          () => readStore().kill(),
          () => readStore().restart(),
        ),
      );
    },
    CASE_MS,
  );

  itOnStandIns(
    'both stores are killed at once, and come back one after the other',
    async () => {
      const both = (first: 'events' | 'views'): Trouble =>
        outage(
          3_000,
          async () => {
            await Promise.all([eventStore().kill(), readStore().kill()]);
          },
          async () => {
            if (first === 'events') await eventStore().restart();
            await readStore().restart();
            if (first === 'views') await eventStore().restart();
          },
        );
      await journey(both('events'), both('views'));
    },
    CASE_MS,
  );

  it(
    'the event store drops its consumers where it can be told to, and a slow projector falls behind',
    async () => {
      const { standIn } = deployment.eventStore;
      const drops: Trouble = async (leg) => {
        for (let part = 0; part < 1; part += 0.1) {
          await leg.moved(part);
          await standIn?.dropConsumers();
        }
      };
      const slow: Trouble = async (leg) => {
        const asleep = deployment.frozen('projections', 4_000);
        await leg.moved(0.9);
        expect(leg.isOver()).toBe(false);
        await standIn?.dropConsumers();
        await asleep;
      };
      await journey(drops, slow);
    },
    CASE_MS,
  );

  describe('a network that hangs instead of closing', () => {
    beforeAll(async () => {
      const { eventStore: events, mongo } = deployment;
      toEvents = await startTcpProxy(addressIn(events.url));
      toViews = await startTcpProxy(mongo.address);
      await deployment.relaunch({
        CLAWBACK_EVENTSTORE_URL: throughPort(events.url, toEvents.port),
        CLAWBACK_MONGODB_URL: mongo.urlBy(toViews.port),
      });
    }, CASE_MS);

    const hanging = (ms: number, ...names: readonly ('events' | 'views')[]): Trouble => {
      const proxies = () => [
        ...(names.includes('events') ? [toEvents] : []),
        ...(names.includes('views') ? [toViews] : []),
      ];
      return outage(
        ms,
        () => {
          for (const proxy of proxies()) proxy?.hang();
        },
        () => {
          for (const proxy of proxies()) proxy?.goOn();
        },
      );
    };

    it(
      'before the event store, and before the read store',
      async () => {
        // The first is longer than any call to the event store may take.
        await journey(hanging(11_000, 'events'), hanging(7_000, 'views'));
      },
      CASE_MS,
    );

    it(
      'before both; and an event store of ours that is frozen itself',
      async () => {
        const frozen: Trouble = outage(
          6_000,
          () => {
            eventStore().hang();
          },
          () => {
            eventStore().resume();
          },
        );
        await journey(hanging(4_000, 'events', 'views'), onStandIns ? frozen : calm);
      },
      CASE_MS,
    );
  });

  it(`has killed processes ${KILLS_AT_LEAST} times and more, of every role`, () => {
    const all = [...deployment.kills];
    const sum = all.reduce((total, [, count]) => total + count, 0);
    process.stdout.write(
      `fault suite: ${sum} kills (${all.map(([role, count]) => `${role} ${count}`).join(', ')}), ` +
        `${journeys} journeys\n`,
    );
    expect(sum).toBeGreaterThanOrEqual(KILLS_AT_LEAST);
    expect(all.map(([role]) => role).sort()).toEqual(['api', 'executor', 'projections']);
  });
});

function partsOf(input: MailInput): Parameters<typeof countsOf> {
  const { recipientCopies, sendersCopies } = input.softDeleted();
  return [recipientCopies, sendersCopies];
}

const keyOfRow = ({ networkMessageId, mailbox, isSendersCopy }: LogRowBody): string =>
  copyKeyOf({ networkMessageId, mailbox, kind: isSendersCopy ? 'sender' : 'recipient' });

function outcomesIn(log: readonly LogRowBody[], sendersCopies: boolean): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { isSendersCopy, outcome } of log) {
    if (isSendersCopy === sendersCopies) counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
  return counts;
}

function absent(what: string): never {
  throw new Error(`the ${what} is not ours`);
}

const HOST = /^(esdb:\/\/(?:[^@/?]*@)?)([^:/?,]+)(?::(\d+))?/;

/** Of an EventStoreDB that is one node. */
function addressIn(connectionString: string): { readonly host: string; readonly port: number } {
  const [, , host = '', port = '2113'] = HOST.exec(connectionString) ?? [];
  return { host, port: Number(port) };
}

/** The same server, by a port of this machine. */
const throughPort = (connectionString: string, port: number): string =>
  connectionString.replace(HOST, (_all, start: string) => `${start}127.0.0.1:${port}`);
