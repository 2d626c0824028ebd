import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import { startFerretDb, type FerretDb } from './ferretdb.js';

/** A real MongoDB; when it is set, the suites run against that one. */
export const realMongoUrl = process.env.MONGODB_URL;

/** To be part of the name of every suite: what it has run against. */
export const mongoName =
  realMongoUrl === undefined ? 'FerretDB (MongoDB-compatible)' : 'MongoDB at MONGODB_URL';

export interface MongoUnderTest {
  readonly url: string;
  /** A database that nobody has used before. */
  readonly database: string;
  /** For looking at what the adapter left, past the adapter. */
  readonly client: MongoClient;
  /** Where the server really is. */
  readonly address: { readonly host: string; readonly port: number };
  /** The url that leads to the same server by this port of this machine. */
  urlBy(port: number): string;
  /** The server itself, when it is ours. */
  readonly ferretDb: FerretDb | undefined;
  /** Drops the database, and ends the server if it is ours. */
  dispose(): Promise<void>;
}

/** The real server with a database of its own, or else a FerretDB in a folder of its own. */
export async function startMongo(): Promise<MongoUnderTest> {
  const folder = await mkdtemp(join(tmpdir(), 'clawback-mongodb-'));
  const ferretDb = realMongoUrl === undefined ? await startFerretDb({ dataDirectory: folder }) : undefined;
  const url = ferretDb?.url ?? realMongoUrl ?? '';
  const database = `clawback_test_${randomUUID().replaceAll('-', '')}`;
  const client = new MongoClient(url);
  const [address] = client.options.hosts;
  return {
    url,
    database,
    client,
    ferretDb,
    address: { host: address?.host ?? '', port: address?.port ?? 0 },
    urlBy(port) {
      const [, start = '', path = '', query = ''] =
        /^(mongodb:\/\/(?:[^@/]*@)?)[^/?]+(\/[^?]*)?(?:\?(.*))?$/.exec(url) ?? [];
      const parameters = new URLSearchParams(query);
      // Else the client would ask the members of the set where else to go.
      parameters.set('directConnection', 'true');
      return `${start}127.0.0.1:${String(port)}${path || '/'}?${parameters.toString()}`;
    },
    async dispose() {
      await client.db(database).dropDatabase();
      await client.close();
      await ferretDb?.stop();
      await rm(folder, { recursive: true });
    },
  };
}
