import type { RunningServer } from '#apps/server';
import type { ConfigOverrides } from '#libs/platform';
import type { ROLES } from './api.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The server's code is loaded by the few commands that run it, not by those that only talk to one. */
const load = async () => {
  const [server, platform] = await Promise.all([import('#apps/server'), import('#libs/platform')]);
  return { ...server, ...platform };
};

/** Starts a server in this process, with the settings of the environment less what `overrides` says. */
export async function startLocalServer(
  env: Environment,
  overrides: ConfigOverrides,
): Promise<RunningServer & { readonly dataDirectory: string }> {
  const { startServer, loadConfig } = await load();
  const config = loadConfig(env, overrides);
  const server = await startServer(config);
  return { url: server.url, close: () => server.close(), dataDirectory: config.data.directory };
}

export interface TokenRequest {
  readonly roles: readonly (typeof ROLES)[number][];
  readonly subject: string;
  readonly tenant: string;
  readonly ttlSeconds: number;
}

/** A token for the server that uses this data directory, or the one that the environment names. */
export async function localToken(
  env: Environment,
  directory: string | undefined,
  request: TokenRequest,
): Promise<string> {
  const { printableToken, loadConfig } = await load();
  const { data, auth } = loadConfig(env, { data: { directory } });
  return printableToken(data.directory, { ...request, audience: auth.audience });
}

/** All settings with their defaults, for help. */
export const settingsHelp = async (): Promise<string> => (await load()).configHelp();
