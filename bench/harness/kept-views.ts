import { createLogger, loadConfig, viewProcessesOf } from '#libs/platform';
import type { ReadStore } from '#libs/read-store';
import { ViewProcesses } from '../../apps/server/src/views/view-processes.js';
import { viewGroups, VIEWS } from '../../apps/server/src/views/views.js';
import type { Target } from './bench.js';

/** All views kept by processes beside this one, as many as beside the product's server on these stores. */
export async function keepViews(
  { eventStoreUrl, mongoUrl }: Target,
  directory: string,
  { store, database }: { readonly store: ReadStore; readonly database: string },
): Promise<{ stop(): Promise<void> }> {
  const config = loadConfig(
    {},
    {
      stores: { eventStoreUrl, mongoUrl, mongoDatabase: database },
      data: { directory },
      log: { level: 'error' },
    },
  );
  for (const view of Object.values(VIEWS)) await store.prepare(view);
  const processes = new ViewProcesses({
    config,
    instance: 'bench',
    groups: viewGroups(viewProcessesOf(config) || 1),
    listener: { onSubscription: () => undefined },
    logger: createLogger(config),
  });
  await processes.start();
  return processes;
}
