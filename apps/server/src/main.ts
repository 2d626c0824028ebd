import { loadConfig } from '#libs/platform';
import { startServer } from './server.js';

const server = await startServer(loadConfig(process.env));
process.stdout.write(`${server.url}\n`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void server.close().then(() => process.exit(0));
  });
}
