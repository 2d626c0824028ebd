import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { ROLES } from '../api.js';
import { action, type Context, type Shell } from '../context.js';
import { Demo } from '../demo.js';
import { type ExitCode } from '../exit-codes.js';
import { localToken, startLocalServer, type Environment } from '../local-server.js';
import { packageRoot } from '../package-root.js';

interface DemoOptions {
  readonly data?: string;
  readonly keep?: boolean;
  readonly roundTrip?: boolean;
}

export function registerDemo(program: Command, shell: Shell): void {
  program
    .command('demo')
    .summary('show it all: import, soft delete, export, undo, and check every number')
    .description(
      'Run the whole story on an embedded server with a sandbox of mailboxes; no other server is needed. Imports ' +
        "records, soft deletes all of it with the senders' copies, exports the log, undoes it, and checks that every " +
        'number adds up and every copy is back where it was. Exit code 0 only if all of that holds.',
    )
    .argument('[file]', 'records to use instead of samples/fabrikam.ndjson')
    .option('--data <directory>', 'keep the data here (default: a temporary directory that is removed)')
    .option('--keep', 'keep the temporary directory')
    .option('--round-trip', 'undo the undo as well')
    .addHelpText(
      'after',
      '\nExamples:\n  clawback demo\n  clawback demo events.ndjson.gz --data ./demo --json',
    )
    .action(
      action<DemoOptions>(shell, async (context, options, [file]) => {
        const data = await dataDirectory(context, options);
        try {
          return await runOn(data.path, context, file, options.roundTrip === true);
        } finally {
          await data.dispose();
        }
      }),
    );
}

async function dataDirectory(
  { io, out }: Context,
  { data, keep }: DemoOptions,
): Promise<{ readonly path: string; dispose(): Promise<void> }> {
  if (data !== undefined) return { path: resolve(io.cwd, data), dispose: () => Promise.resolve() };
  const path = await mkdtemp(join(tmpdir(), 'clawback-demo-'));
  return {
    path,
    async dispose() {
      if (keep === true) out.note(`the data is kept in ${path}`);
      else await rm(path, { recursive: true, force: true });
    },
  };
}

async function runOn(
  directory: string,
  context: Context,
  file: string | undefined,
  roundTrip: boolean,
): Promise<ExitCode> {
  const env = withoutDeployment(context.io.env);
  const server = await startLocalServer(env, {
    http: { host: '127.0.0.1', port: 0 },
    data: { directory },
    log: { level: env.CLAWBACK_LOG_LEVEL === undefined ? 'warn' : undefined },
  });
  try {
    const token = await localToken(env, directory, {
      roles: ROLES,
      subject: 'demo',
      tenant: 'default',
      ttlSeconds: 24 * 60 * 60,
    });
    const source = file === undefined ? join(packageRoot(), 'samples', 'fabrikam.ndjson') : file;
    return await new Demo(context, context.clientOf(server.url, token)).run(source, roundTrip);
  } finally {
    await server.close();
  }
}

/** The demo is for this process alone: where a deployment listens and whose tokens it takes are not for it. */
function withoutDeployment(env: Environment): Environment {
  const {
    CLAWBACK_HOST: _host,
    CLAWBACK_PORT: _port,
    CLAWBACK_ISSUER: _issuer,
    CLAWBACK_JWKS_URI: _keys,
    CLAWBACK_AUDIENCE: _audience,
    ...rest
  } = env;
  return rest;
}
