import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEventStoreDbStandIn, type EventStoreDbStandIn } from './stand-in.js';

/** Connection string of a real server; when it is set, the suites run against that one. */
export const realEventStoreUrl = process.env.EVENTSTORE_URL;

/** To be part of the name of every suite: what it has run against. */
export const serverName =
  realEventStoreUrl === undefined ? 'EventStoreDB stand-in' : 'EventStoreDB at EVENTSTORE_URL';

/** A stand-in with a folder of its own; `stop` removes that too. */
export async function startInNewFolder(
  options: Omit<Parameters<typeof startEventStoreDbStandIn>[0], 'dataFile'> = {},
): Promise<EventStoreDbStandIn & { readonly dataFile: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'clawback-stand-in-'));
  const dataFile = join(folder, 'log');
  const standIn = await startEventStoreDbStandIn({ ...options, dataFile });
  return {
    ...standIn,
    dataFile,
    async stop() {
      await standIn.stop();
      await rm(folder, { recursive: true });
    },
  };
}

export interface EventStoreUnderTest {
  readonly url: string;
  /** Undefined on a real server. */
  readonly standIn: EventStoreDbStandIn | undefined;
  /** Ends it if it is ours. */
  stop(): Promise<void>;
}

/** The real server, whose log is shared with whoever else uses it, or else a stand-in in a folder of its own. */
export async function startEventStore(): Promise<EventStoreUnderTest> {
  if (realEventStoreUrl !== undefined) {
    return { url: realEventStoreUrl, standIn: undefined, stop: () => Promise.resolve() };
  }
  const standIn = await startInNewFolder();
  return { url: standIn.url, standIn, stop: () => standIn.stop() };
}
