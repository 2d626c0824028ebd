import { BlockList, isIP } from 'node:net';
import { z } from 'zod';
import { type FieldProblem, invalidInput } from '#libs/kernel';

const PREFIX = 'CLAWBACK_';

/** Read by the command line client only; the server accepts and ignores them. */
const CLIENT_VARIABLES: readonly string[] = ['CLAWBACK_URL', 'CLAWBACK_TOKEN'];

const variables = z.registry<{ readonly name: string; readonly meaning: string }>();

type Value = string | number | undefined;

const setting = <S extends z.ZodType<Value>>(name: string, meaning: string, schema: S): S => {
  variables.add(schema, { name, meaning });
  return schema;
};

/** Messages of our own throughout: they name the rule and never the value. */
const text = z
  .string()
  .trim()
  .max(2048, 'must be at most 2048 characters')
  .refine((value) => value !== '', 'must not be blank');

const whole = (min: number, max: number) => {
  const problem = `must be a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,15}$/, problem)
    .transform(Number)
    .pipe(z.number().min(min, problem).max(max, problem));
};

const flag = z.enum(['true', 'false'], 'must be true or false');

const webAddress = text.refine((value) => {
  if (!URL.canParse(value)) return false;
  const { protocol, username, password } = new URL(value);
  return /^https?:$/.test(protocol) && username === '' && password === '';
}, 'must be an http or https address without credentials');

const isNetwork = (text: string): boolean => {
  const [address = '', prefix = '', ...more] = text.split('/');
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return more.length === 0 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= bits;
};

const networks = text.refine(
  (value) => value.split(',').every((part) => isNetwork(part.trim())),
  'must be a list of networks, each an address, a slash and a number of bits, with commas between them',
);

/** The networks of a setting's text. */
export const networksOf = (value: string | undefined): readonly string[] =>
  value?.split(',').map((part) => part.trim()) ?? [];

/** What a process does; a deployment may split them. */
export const PROCESS_ROLES = ['api', 'projections', 'executor'] as const;
export type ProcessRole = (typeof PROCESS_ROLES)[number];

const roles = z
  .string()
  .default(PROCESS_ROLES.join(','))
  .refine(
    (value) => value.split(',').every((role) => (PROCESS_ROLES as readonly string[]).includes(role.trim())),
    `must be a list of ${PROCESS_ROLES.join(', ')}, with commas between them`,
  );

/** The roles that a process has, from the setting's text. */
export const rolesOf = (config: Pick<Config, 'process'>): ReadonlySet<ProcessRole> =>
  new Set(config.process.roles.split(',').map((role) => role.trim() as ProcessRole));

/**
 * How many processes keep the views. One that does nothing else keeps them itself. On servers each further process
 * receives every event once more, which costs more there than on a file.
 */
export function viewProcessesOf(config: Pick<Config, 'process' | 'stores'>): 0 | 1 | 2 {
  const { process, stores } = config;
  const embedded = stores.eventStoreUrl === undefined && stores.mongoUrl === undefined;
  const usual = rolesOf(config).size === 1 ? 0 : embedded ? 2 : 1;
  return (process.viewProcesses ?? usual) as 0 | 1 | 2;
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const HOUR_MS = 3_600_000;

const groups = {
  http: {
    host: setting(
      'CLAWBACK_HOST',
      'The address to listen on. Anything but a loopback address needs CLAWBACK_ISSUER.',
      text.default('127.0.0.1'),
    ),
    port: setting(
      'CLAWBACK_PORT',
      'The port to listen on; 0 takes a free one.',
      whole(0, 65_535).default(8080),
    ),
    publicUrl: setting(
      'CLAWBACK_PUBLIC_URL',
      'Where clients reach the server, for absolute links; by default where each request was sent to.',
      webAddress.optional(),
    ),
    bodyLimitBytes: setting(
      'CLAWBACK_BODY_LIMIT_BYTES',
      'The largest request body, in bytes.',
      whole(KIB, 64 * MIB).default(MIB),
    ),
    importLimitBytes: setting(
      'CLAWBACK_IMPORT_LIMIT_BYTES',
      'The largest mail catalogue import, in bytes after decompression.',
      whole(KIB, 1024 * GIB).default(GIB),
    ),
    huntingLimitBytes: setting(
      'CLAWBACK_HUNTING_LIMIT_BYTES',
      'The largest result of advanced hunting that is taken, in bytes.',
      whole(KIB, GIB).default(64 * MIB),
    ),
    requestTimeoutMs: setting(
      'CLAWBACK_REQUEST_TIMEOUT_MS',
      'How long a client may take to send its whole request, in milliseconds; 0 for ever.',
      whole(0, 24 * HOUR_MS).default(300_000),
    ),
  },
  process: {
    roles: setting(
      'ROLES',
      'What this process does. To split the roles, both servers have to be configured.',
      roles,
    ),
    viewProcesses: setting(
      'CLAWBACK_VIEW_PROCESSES',
      'Processes beside the server that keep the views, up to 2; with 0 it keeps them itself. By default 2, on servers 1.',
      whole(0, 2).optional(),
    ),
    sandboxThread: setting(
      'CLAWBACK_SANDBOX_THREAD',
      'Whether the sandbox tenant has a thread of its own; without one its moves hold up everything else.',
      flag.default('true'),
    ),
  },
  stores: {
    eventStoreUrl: setting(
      'CLAWBACK_EVENTSTORE_URL',
      'Keep the events in this EventStoreDB (esdb://user:password@host:2113?tls=true) instead of a file.',
      text.optional(),
    ),
    eventStoreCaFile: setting(
      'CLAWBACK_EVENTSTORE_CA_FILE',
      'The certificate authority of EventStoreDB, a PEM file.',
      text.optional(),
    ),
    mongoUrl: setting(
      'CLAWBACK_MONGODB_URL',
      'Keep the views in this MongoDB (mongodb://user:password@host:27017/?replicaSet=rs0) instead of a file.',
      text.optional(),
    ),
    mongoDatabase: setting(
      'CLAWBACK_MONGODB_DATABASE',
      'The database of the views.',
      text.default('clawback'),
    ),
  },
  data: {
    directory: setting(
      'CLAWBACK_DATA',
      'The directory of the embedded stores and of the local signing key.',
      text.default('.clawback'),
    ),
  },
  auth: {
    issuer: setting(
      'CLAWBACK_ISSUER',
      'The issuer whose tokens are accepted, exactly as in their "iss" claim. Without it, tokens are signed with a local key.',
      text.optional(),
    ),
    audience: setting(
      'CLAWBACK_AUDIENCE',
      'The audience that a token must name in its "aud" claim.',
      text.default('clawback'),
    ),
    jwksUri: setting(
      'CLAWBACK_JWKS_URI',
      "Where the issuer's public keys are (a JSON Web Key Set). Needed with CLAWBACK_ISSUER.",
      webAddress.optional(),
    ),
  },
  limits: {
    byHand: setting(
      'CLAWBACK_LIMIT_BY_HAND',
      'Emails of one remediation when they are chosen one by one.',
      whole(1, 1_000_000).default(100),
    ),
    byQuery: setting(
      'CLAWBACK_LIMIT_BY_QUERY',
      'Emails of one remediation when a query selects them.',
      whole(1, 10_000_000).default(200_000),
    ),
    hunting: setting(
      'CLAWBACK_LIMIT_HUNTING',
      'Emails of one remediation when they are the result of advanced hunting.',
      whole(1, 10_000_000).default(100_000),
    ),
    exclusions: setting(
      'CLAWBACK_LIMIT_EXCLUSIONS',
      'Emails that may be taken out of what a query selects.',
      whole(0, 1_000_000).default(100),
    ),
    byQueryWithExclusions: setting(
      'CLAWBACK_LIMIT_BY_QUERY_WITH_EXCLUSIONS',
      'Emails of one remediation when a query selects them and some are taken out.',
      whole(1, 10_000_000).default(1000),
    ),
    recipientPercent: setting(
      'CLAWBACK_LIMIT_RECIPIENT_PERCENT',
      'How many different recipients there have to be, in percent of the emails; with fewer, the next limit holds.',
      whole(0, 100).default(40),
    ),
    ofOneRecipient: setting(
      'CLAWBACK_LIMIT_OF_ONE_RECIPIENT',
      'Emails of one recipient in one remediation, when the recipients are few.',
      whole(1, 10_000_000).default(1000),
    ),
    active: setting(
      'CLAWBACK_LIMIT_ACTIVE',
      'Remediations of one tenant that are active at a time.',
      whole(1, 1_000_000).default(50),
    ),
    activeEmails: setting(
      'CLAWBACK_LIMIT_ACTIVE_EMAILS',
      'Emails in all active remediations of one tenant.',
      whole(1, 1_000_000_000).default(1_000_000),
    ),
    liveStreams: setting(
      'CLAWBACK_LIMIT_LIVE_STREAMS',
      'Event streams that one tenant holds open at one process.',
      whole(1, 100_000).default(100),
    ),
  },
  approval: {
    fourEyesFrom: setting(
      'CLAWBACK_FOUR_EYES_FROM',
      'From so many emails on, somebody else than the submitter has to approve; 0: never because of the number.',
      whole(0, 10_000_000).default(0),
    ),
    fourEyesForHardDelete: setting(
      'CLAWBACK_FOUR_EYES_HARD_DELETE',
      'Whether somebody else than the submitter has to approve every hard delete: true or false.',
      flag.default('true'),
    ),
    expireHours: setting(
      'CLAWBACK_PROPOSALS_EXPIRE_HOURS',
      'How long a proposal waits for its decision, in hours.',
      whole(1, 24 * 365).default(7 * 24),
    ),
    sweepMs: setting(
      'CLAWBACK_PROPOSALS_SWEEP_MS',
      'How often proposals are looked for that nobody has decided in time, in milliseconds.',
      whole(1, HOUR_MS).default(60_000),
    ),
    policiesFile: setting(
      'CLAWBACK_POLICIES_FILE',
      'A JSON file with other values for some tenants: {"tenant": {"fourEyesFrom": 100, "expireHours": 24}}.',
      text.optional(),
    ),
  },
  executor: {
    copyDeadlineMs: setting(
      'CLAWBACK_COPY_DEADLINE_MS',
      'How long one copy may take, waiting for a place at its mailbox included, in milliseconds.',
      whole(1, HOUR_MS).default(60_000),
    ),
    throttlePatienceMs: setting(
      'CLAWBACK_THROTTLE_PATIENCE_MS',
      'How long copies wait in all for mailboxes that say when they answer again, in milliseconds.',
      whole(0, 24 * HOUR_MS).default(HOUR_MS),
    ),
    maxAttempts: setting(
      'CLAWBACK_MAX_ATTEMPTS',
      'Attempts at one copy before it has failed; being told when to come again is none.',
      whole(1, 100).default(3),
    ),
    batchesInFlight: setting(
      'CLAWBACK_BATCHES_IN_FLIGHT',
      'Batches that one process works on at a time.',
      whole(1, 1000).default(8),
    ),
    batchesAhead: setting(
      'CLAWBACK_BATCHES_AHEAD',
      'Batches of one remediation that are given out ahead of what has settled.',
      whole(1, 1000).default(16),
    ),
    claimMs: setting(
      'CLAWBACK_CLAIM_MS',
      'How long a worker that died keeps its batch before another takes it over, in milliseconds.',
      whole(1000, HOUR_MS).default(15_000),
    ),
    mailboxConcurrency: setting(
      'CLAWBACK_MAILBOX_CONCURRENCY',
      'Calls to one mailbox at a time.',
      whole(1, 100).default(4),
    ),
  },
  webhooks: {
    key: setting(
      'CLAWBACK_WEBHOOK_KEY',
      'What the secrets of webhooks are derived from, 32 characters or more; without it a file in the data directory.',
      text.min(32, 'must be at least 32 characters').optional(),
    ),
    networks: setting(
      'CLAWBACK_WEBHOOK_NETWORKS',
      'Private networks that webhooks may go to all the same, such as 10.1.0.0/16, with commas between them.',
      networks.optional(),
    ),
    perTenant: setting('CLAWBACK_LIMIT_WEBHOOKS', 'Webhooks of one tenant.', whole(1, 1000).default(20)),
    timeoutMs: setting(
      'CLAWBACK_WEBHOOK_TIMEOUT_MS',
      'How long a receiver may take to answer, in milliseconds.',
      whole(1, 5 * 60_000).default(10_000),
    ),
    retryMs: setting(
      'CLAWBACK_WEBHOOK_RETRY_MS',
      'The wait after the first failure, in milliseconds; it doubles from one to the next.',
      whole(1, HOUR_MS).default(2000),
    ),
    longestRetryMs: setting(
      'CLAWBACK_WEBHOOK_LONGEST_RETRY_MS',
      'The longest wait between two attempts, in milliseconds.',
      whole(1, 24 * HOUR_MS).default(900_000),
    ),
    giveUpMs: setting(
      'CLAWBACK_WEBHOOK_GIVE_UP_MS',
      'A webhook whose receiver has failed for so long is paused, in milliseconds.',
      whole(1, 30 * 24 * HOUR_MS).default(24 * HOUR_MS),
    ),
  },
  log: {
    level: setting(
      'CLAWBACK_LOG_LEVEL',
      `The least severe log entry that is written: ${LOG_LEVELS.join(', ')}.`,
      z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`).default('info'),
    ),
  },
};

const schema = z
  .object({
    http: z.object(groups.http).readonly(),
    process: z.object(groups.process).readonly(),
    stores: z.object(groups.stores).readonly(),
    data: z.object(groups.data).readonly(),
    auth: z.object(groups.auth).readonly(),
    limits: z.object(groups.limits).readonly(),
    approval: z.object(groups.approval).readonly(),
    executor: z.object(groups.executor).readonly(),
    webhooks: z.object(groups.webhooks).readonly(),
    log: z.object(groups.log).readonly(),
  })
  .superRefine(({ http, auth, process, stores }, check) => {
    const refuse = (group: keyof typeof groups, key: string, message: string) => {
      check.addIssue({ code: 'custom', path: [group, key], message });
    };
    const split = rolesOf({ process }).size < PROCESS_ROLES.length;
    if (split && (stores.eventStoreUrl === undefined || stores.mongoUrl === undefined)) {
      refuse(
        'process',
        'roles',
        'can be split only with CLAWBACK_EVENTSTORE_URL and CLAWBACK_MONGODB_URL set',
      );
    }
    if (auth.issuer !== undefined && auth.jwksUri === undefined) {
      refuse('auth', 'jwksUri', 'is needed because CLAWBACK_ISSUER is set');
    }
    if (auth.issuer === undefined && auth.jwksUri !== undefined) {
      refuse('auth', 'issuer', 'is needed because CLAWBACK_JWKS_URI is set');
    }
    if (auth.issuer === undefined && !isLoopback(http.host)) {
      refuse(
        'http',
        'host',
        'must be a loopback address (127.0.0.0/8, ::1 or localhost) unless CLAWBACK_ISSUER is set: ' +
          'tokens of the local key are for this machine only',
      );
    }
  })
  .readonly();

/** All settings of a process; frozen. Sizes are in bytes, times in milliseconds. */
export type Config = z.output<typeof schema>;

/** Values that win over the environment, for instance from command line options. `undefined` does not. */
export type ConfigOverrides = {
  readonly [G in keyof Config]?: { readonly [K in keyof Config[G]]?: Config[G][K] | undefined };
};

/**
 * Reads the settings once, at boot. An empty variable counts as not set.
 * @throws ClawbackError 'invalid' `invalidConfiguration` that lists every wrong or unknown `CLAWBACK_*` variable with
 * the reason, and never its value.
 */
export function loadConfig(
  env: Readonly<Record<string, string | undefined>>,
  overrides: ConfigOverrides = {},
): Config {
  const unknown = unknownVariables(env);
  const parsed = schema.safeParse(rawSettings(env, overrides));
  const wrong = parsed.success ? [] : parsed.error.issues.map(problemOf);
  if (!parsed.success || unknown.length > 0) {
    throw invalidInput([...unknown, ...wrong], 'invalidConfiguration');
  }
  return parsed.data;
}

/** Every variable, its default and its meaning, one a line, in aligned columns. */
export function configHelp(): string {
  const rows = settings().map(({ schema, name, meaning }) => {
    const { data } = schema.safeParse(undefined);
    return [name, data === undefined ? '(none)' : String(data), meaning];
  });
  const width = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0)) + 2;
  const widths = [width(0), width(1), 0];
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('')).join('\n');
}

/** Whether only this machine can reach a server that listens there. Names other than `localhost` are not looked up. */
export function isLoopback(host: string): boolean {
  const family = isIP(host);
  return family === 0
    ? host.toLowerCase() === 'localhost'
    : loopback.check(host, family === 4 ? 'ipv4' : 'ipv6');
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

interface Setting {
  readonly group: string;
  readonly key: string;
  readonly name: string;
  readonly meaning: string;
  readonly schema: z.ZodType<Value>;
}

function settings(): Setting[] {
  return Object.entries(groups).flatMap(([group, members]) =>
    Object.entries<z.ZodType<Value>>(members).map(([key, schema]) => {
      const variable = variables.get(schema);
      if (variable === undefined) throw new Error(`the setting ${group}.${key} has no variable`);
      return { group, key, schema, ...variable };
    }),
  );
}

function rawSettings(
  env: Readonly<Record<string, string | undefined>>,
  overrides: Readonly<Record<string, Readonly<Record<string, Value>> | undefined>>,
): Record<string, Record<string, string>> {
  const raw: Record<string, Record<string, string>> = {};
  for (const { group, key, name } of settings()) {
    const members = (raw[group] ??= {});
    const override = overrides[group]?.[key];
    const value = override === undefined ? env[name] : String(override);
    if (value !== undefined && value !== '') members[key] = value;
  }
  return raw;
}

function unknownVariables(env: Readonly<Record<string, string | undefined>>): FieldProblem[] {
  const known = new Set([...CLIENT_VARIABLES, ...settings().map(({ name }) => name)]);
  return Object.keys(env)
    .filter((name) => name.startsWith(PREFIX) && !known.has(name))
    .sort()
    .map((field) => ({ field, problem: 'is not a variable of Clawback' }));
}

function problemOf(issue: z.core.$ZodIssue): FieldProblem {
  const [group, key] = issue.path;
  const at = settings().find((setting) => setting.group === group && setting.key === key);
  return { field: at?.name ?? issue.path.join('.'), problem: issue.message };
}
