import { EventStoreDBClient, type Credentials } from '@eventstore/db-client';
import { ClawbackError } from '#libs/kernel';

/** How to reach the server, for the event store and the work queue alike. */
export interface ConnectionOptions {
  /**
   * `esdb://[user:password@]host[:port][,host[:port]…][?key=value&…]`, or `esdb+discover://` for a cluster by its DNS
   * name. Encrypted unless it says `tls=false`; encrypted connections need a user.
   */
  readonly connectionString: string;
  /** PEM file of the authority that signed the server's certificate; default those known to Node. */
  readonly caFile?: string;
  /** Milliseconds that one call may take, or stay silent; default 10,000. */
  readonly deadlineMs?: number;
  /**
   * Milliseconds between two signs of life asked of the server while a call is open; default 10,000. The connection is
   * given up when the answer takes longer than half of that.
   */
  readonly keepAliveMs?: number;
}

/** What the client understands. It would print any other key, with the password of the string beside it. */
const KNOWN_KEYS = [
  'maxDiscoverAttempts',
  'connectionName',
  'defaultDeadline',
  'discoveryInterval',
  'gossipTimeout',
  'nodePreference',
  'tls',
  'tlsCAFile',
  'keepAliveInterval',
  'keepAliveTimeout',
];

const DEFAULT_DEADLINE_MS = 10_000;
const DEFAULT_KEEP_ALIVE_MS = 10_000;
/** The client prints a warning below this. */
const LEAST_KEEP_ALIVE_MS = 10_000;

/**
 * Passed in every append of a connection without a user, so that the client makes each append a call of its own: on its
 * shared call a dying server raises unhandled rejections. Never sent, for such a connection is not encrypted.
 */
const UNSENT: Credentials = { username: 'unsent', password: 'unsent' };

/** The client as this folder uses it. */
export interface Connection {
  readonly client: EventStoreDBClient;
  readonly credentials: Credentials;
  readonly deadlineMs: number;
}

/**
 * Makes a client; it connects at its first call.
 * @throws {ClawbackError} `invalidConnectionString`. The message never repeats the string: it may hold a password.
 */
export function openConnection(options: ConnectionOptions): Connection {
  const { connectionString, deadlineMs = DEFAULT_DEADLINE_MS } = options;
  const keys = keysOf(connectionString);
  const unknown = keys.find((key) => !KNOWN_KEYS.some((known) => flat(known) === key));
  if (unknown !== undefined)
    throw invalid(`${unknown} is no key of a connection string that is supported here`);
  const given = credentialsIn(connectionString);
  if (given === undefined && !/[?&]tls=false(&|$)/i.test(connectionString)) {
    throw invalid('an encrypted connection needs a user: esdb://user:password@host');
  }
  const client = clientFor(withDefaults(connectionString, keys, options));
  return { client: guarded(client), credentials: given ?? UNSENT, deadlineMs };
}

function clientFor(connectionString: string): EventStoreDBClient {
  try {
    return EventStoreDBClient.connectionString(connectionString);
  } catch (error) {
    // The client's own error carries the whole string; only that of a missing file is safe to tell.
    const reason =
      error instanceof Error && error.message.includes('File was not found') ? error.message : '';
    throw invalid(reason === '' ? 'expected esdb://[user:password@]host[:port][?key=value&…]' : reason);
  }
}

function withDefaults(connectionString: string, keys: readonly string[], options: ConnectionOptions): string {
  const { caFile, deadlineMs = DEFAULT_DEADLINE_MS, keepAliveMs = DEFAULT_KEEP_ALIVE_MS } = options;
  const defaults: Record<string, string | undefined> = {
    tlsCAFile: caFile,
    defaultDeadline: String(deadlineMs),
    keepAliveInterval: String(Math.max(keepAliveMs, LEAST_KEEP_ALIVE_MS)),
    keepAliveTimeout: String(Math.ceil(keepAliveMs / 2)),
  };
  return Object.entries(defaults).reduce((string, [key, value]) => {
    if (value === undefined || keys.includes(flat(key))) return string;
    return `${string}${string.includes('?') ? '&' : '?'}${key}=${encodeURIComponent(value)}`;
  }, connectionString.trim());
}

/** The client compares keys so. */
const flat = (key: string): string => key.trim().toLowerCase().replace(/[_-]/g, '');

const keysOf = (connectionString: string): string[] =>
  [...connectionString.matchAll(/[?&]([^=&]*)/g)].map(([, key]) => flat(key ?? ''));

function credentialsIn(connectionString: string): Credentials | undefined {
  const found = /^esdb(?:\+discover)?:\/\/([^:@/?]+):([^@]+)@/.exec(connectionString.trim());
  if (found === null) return undefined;
  const [, username = '', password = ''] = found;
  try {
    return { username: decodeURIComponent(username), password: decodeURIComponent(password) };
  } catch {
    throw invalid('user and password must be URL-encoded');
  }
}

const invalid = (problem: string): ClawbackError =>
  new ClawbackError('invalid', 'invalidConnectionString', `EventStoreDB connection string: ${problem}`);

/**
 * After a lost connection the client looks for another node of a cluster and awaits that result nowhere: when there is
 * none, the rejection would go unhandled and end the process. The next call meets the same failure and reports it.
 */
function guarded(client: EventStoreDBClient): EventStoreDBClient {
  const reconnect = Reflect.get(client, 'handleError') as (...args: unknown[]) => Promise<void>;
  return Object.assign(client, {
    handleError: (...args: unknown[]) => reconnect(...args).catch(() => undefined),
  });
}
