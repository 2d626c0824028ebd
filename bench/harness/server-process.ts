import { startServer, type RunningServer } from '#apps/server';
import { loadConfig, type ConfigOverrides } from '#libs/platform';
import { startConstantServer } from './constant-server.js';
import { memoryOfAll, type Memory } from './memory.js';
import { beginProfile } from './profiler.js';

/** What a parent tells this process: first how to start, then what to do. */
export type ServerOrder =
  { readonly start: ConfigOverrides; readonly constant: boolean } | 'memory' | 'profile' | 'stop';

export type ServerAnswer = { readonly url: string } | Memory | { readonly error: string };

// Stopped before, or its parent was ended.
process.once('disconnect', () => process.exit());

let server: RunningServer | undefined;
let endProfile: () => Promise<void> = () => Promise.resolve();

process.on('message', (order: ServerOrder) => {
  void perform(order)
    .catch((error: unknown): ServerAnswer => ({
      error: error instanceof Error ? (error.stack ?? '') : String(error),
    }))
    .then((answer) => {
      process.send?.(answer, () => {
        if (order === 'stop') process.disconnect();
      });
    });
});

async function perform(order: ServerOrder): Promise<ServerAnswer> {
  if (typeof order === 'object') {
    server = order.constant
      ? await startConstantServer(order.start)
      : await startServer(loadConfig({}, order.start));
    return { url: server.url };
  }
  // Before it ends: then its processes have ended too.
  const memory = memoryOfAll();
  if (order === 'profile') endProfile = await beginProfile();
  if (order === 'stop') {
    await endProfile();
    await server?.close();
  }
  return memory;
}
