import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { MongoClient } from 'mongodb';
import type { Target } from './bench.js';
import { ROOT } from './machine.js';
import { firstMessage } from './run-part.js';

export const EMBEDDED: Target = { store: 'sqlite', label: 'SQLite' };

/** The stores that the environment names, the embedded ones always. */
export async function namedTargets(): Promise<Target[]> {
  const { EVENTSTORE_URL, MONGODB_URL } = process.env;
  return [EMBEDDED, ...(await serverTargets(EVENTSTORE_URL, 'EventStoreDB', MONGODB_URL))];
}

async function serverTargets(
  eventStoreUrl: string | undefined,
  eventStoreLabel: string,
  mongoUrl: string | undefined,
): Promise<Target[]> {
  const targets: Target[] = [];
  const mongoLabel = mongoUrl === undefined ? '' : await labelOfMongo(mongoUrl);
  if (eventStoreUrl !== undefined) {
    targets.push({ store: 'eventstoredb', label: eventStoreLabel, eventStoreUrl });
  }
  if (mongoUrl !== undefined) targets.push({ store: 'mongodb', label: mongoLabel, mongoUrl });
  if (eventStoreUrl !== undefined && mongoUrl !== undefined) {
    targets.push({
      store: 'servers',
      label: `${eventStoreLabel} and ${mongoLabel}`,
      eventStoreUrl,
      mongoUrl,
    });
  }
  return targets;
}

/** Servers that stand in for the real ones, started for one run. */
export async function startStandIns(
  directory: string,
): Promise<{ readonly targets: readonly Target[]; stop(): Promise<void> }> {
  const events = fork(
    join(ROOT, 'test/support/eventstoredb/stand-in-server.mjs'),
    ['--data-file', join(directory, 'stand-in.log')],
    { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] },
  );
  const { listening } = (await firstMessage(events, 'the EventStoreDB stand-in')) as { listening: number };
  const ferret = spawn(join(ROOT, '.tmp/servers/ferretdb'), ['-data', directory, '-port', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await Promise.race([
    once(createInterface({ input: ferret.stdout }), 'line'),
    once(ferret, 'error').then(() => {
      throw new Error('FerretDB does not start; build it by tools/servers/build.sh');
    }),
  ])) as [string];
  return {
    targets: await serverTargets(
      `esdb://127.0.0.1:${String(listening)}?tls=false`,
      'EventStoreDB stand-in',
      line.replace('ready ', ''),
    ),
    async stop() {
      const ended = Promise.all([once(events, 'exit'), once(ferret, 'exit')]);
      events.kill();
      ferret.kill();
      await ended;
    },
  };
}

/** A server says itself that it is none of MongoDB's own. */
async function labelOfMongo(url: string): Promise<string> {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 5000 });
  try {
    const info = await client.db('admin').command({ buildInfo: 1 });
    const isFerret = 'ferretdb' in info || 'ferretdbVersion' in info;
    return isFerret ? 'FerretDB (MongoDB stand-in)' : `MongoDB ${String(info.version)}`;
  } finally {
    await client.close();
  }
}
