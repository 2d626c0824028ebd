import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import { actionLogView, type ActionLogDoc } from '#libs/action-center';
import { viewKey } from '../libs/read-store/src/view-rules.js';
import { atLeast, atMost, figure, MIB, plain, type Bench, type PartInput } from './harness/bench.js';
import { Product } from './harness/product.js';
import { timed } from './harness/statistics.js';
import { openRawSqlite } from './harness/stores.js';
import {
  dropLongLog,
  LONG_LOG_ID,
  LONG_LOG_PLAN,
  longLogDatabase,
  longLogFor,
  prepareLongLog,
} from './workload/long-log.js';

const NEWLINE = 0x0a;

/** Of the log, in both stores. */
const TABLE = viewKey(actionLogView);

/** The whole log as CSV over HTTP, by a client that reads it and keeps nothing. */
async function exported(input: PartInput) {
  const known = await longLogFor(input);
  const product = await Product.start(input.target, input.directory, {
    name: 'export-server',
    ...(known === undefined ? {} : { known }),
  });
  await product.json('GET', `/v1/remediations/${LONG_LOG_ID}/log?limit=1`);
  const idle = await product.memory();
  await product.profile();
  let lines = 0;
  let bytes = 0;
  const seconds = await timed(async () => {
    for await (const part of await product.send('GET', `/v1/remediations/${LONG_LOG_ID}/export`)) {
      const chunk = part as Buffer;
      bytes += chunk.length;
      for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, at + 1)) lines += 1;
    }
  });
  const { peakRss } = await product.stop();
  // Some subjects have line ends of their own.
  if (lines < input.size + 1) throw new Error(`only ${String(lines)} lines`);
  return { rowsPerSecond: input.size / seconds, bytes, overIdle: peakRss - idle.rss };
}

/** The same rows as objects, by a cursor of the driver: what an export has to read at least. */
async function raw({ size, target, prepared }: PartInput) {
  let rows = 0;
  const read = (doc: string): void => {
    const { items } = JSON.parse(doc) as ActionLogDoc;
    for (const item of items) if (item.mailbox !== '') rows += 1;
  };
  const seconds = await timed(
    target.mongoUrl === undefined
      ? () => {
          const db = openRawSqlite(join(prepared, 'views', 'actionLog.db'), 'NORMAL');
          const cursor = db.prepare(`SELECT doc FROM ${TABLE} WHERE f_planId = ? ORDER BY id`);
          for (const row of cursor.iterate(LONG_LOG_PLAN)) read((row as { doc: string }).doc);
          db.close();
        }
      : async () => {
          const client = new MongoClient(target.mongoUrl ?? '');
          const documents = client.db(longLogDatabase(prepared)).collection(TABLE);
          const cursor = documents.find({ 'state.f.planId': LONG_LOG_PLAN }, { sort: { _id: 1 } });
          for await (const row of cursor) read((row as unknown as { state: { doc: string } }).state.doc);
          await client.close();
        },
  );
  if (rows !== size) throw new Error(`read ${String(rows)} rows`);
  return { rowsPerSecond: rows / seconds };
}

export const bench: Bench = {
  title: 'export of the log as CSV over HTTP',
  baseline: 'reading the same rows as objects by a cursor of the driver alone',
  stores: ['sqlite', 'mongodb'],
  counts: 'rows',
  sizes: { full: 1_000_000, quick: 2_000 },
  runs: 5,
  prepare: prepareLongLog,
  cleanUp: dropLongLog,
  parts: { exported, raw },
  rows: [
    plain('rows exported', '1/s', 'exported', 'rowsPerSecond'),
    plain('the driver alone', '1/s', 'raw', 'rowsPerSecond'),
    {
      label: 'exported ÷ driver alone',
      unit: '×',
      of: (parts) => figure(parts, 'exported', 'rowsPerSecond') / figure(parts, 'raw', 'rowsPerSecond'),
      aim: () => atLeast(0.5),
    },
    plain('peak memory over idle', 'MiB', 'exported', 'overIdle', { per: MIB, aim: atMost(200) }),
    plain('size of the CSV', 'MiB', 'exported', 'bytes', { per: MIB }),
  ],
};
