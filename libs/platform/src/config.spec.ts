import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type ClawbackError, type FieldProblem, isClawbackError } from '#libs/kernel';
import { configHelp, isLoopback, loadConfig, rolesOf, viewProcessesOf } from './config.js';

const refusal = (env: Record<string, string>): ClawbackError => {
  try {
    loadConfig(env);
  } catch (error) {
    if (isClawbackError(error)) return error;
    throw error;
  }
  throw new Error('the settings were accepted');
};
const problems = (env: Record<string, string>) => refusal(env).details['errors'] as FieldProblem[];
const names = (env: Record<string, string>) => problems(env).map(({ field }) => field);

const WITH_ISSUER = {
  CLAWBACK_ISSUER: 'https://login.example/',
  CLAWBACK_JWKS_URI: 'https://login.example/keys',
};

describe('loadConfig', () => {
  it('has a default for everything', () => {
    expect(loadConfig({})).toEqual({
      http: {
        host: '127.0.0.1',
        port: 8080,
        bodyLimitBytes: 1_048_576,
        importLimitBytes: 1_073_741_824,
        huntingLimitBytes: 67_108_864,
        requestTimeoutMs: 300_000,
      },
      process: { roles: 'api,projections,executor', sandboxThread: 'true' },
      stores: { mongoDatabase: 'clawback' },
      data: { directory: '.clawback' },
      auth: { audience: 'clawback' },
      limits: {
        byHand: 100,
        byQuery: 200_000,
        byQueryWithExclusions: 1000,
        hunting: 100_000,
        exclusions: 100,
        recipientPercent: 40,
        ofOneRecipient: 1000,
        active: 50,
        activeEmails: 1_000_000,
        liveStreams: 100,
      },
      approval: { fourEyesFrom: 0, fourEyesForHardDelete: 'true', expireHours: 168, sweepMs: 60_000 },
      executor: {
        copyDeadlineMs: 60_000,
        throttlePatienceMs: 3_600_000,
        maxAttempts: 3,
        batchesInFlight: 8,
        batchesAhead: 16,
        claimMs: 15_000,
        mailboxConcurrency: 4,
      },
      webhooks: {
        perTenant: 20,
        timeoutMs: 10_000,
        retryMs: 2000,
        longestRetryMs: 900_000,
        giveUpMs: 86_400_000,
      },
      log: { level: 'info' },
    });
  });

  it('reads the environment, and takes an empty variable as not set', () => {
    const config = loadConfig({
      ...WITH_ISSUER,
      CLAWBACK_HOST: '0.0.0.0',
      CLAWBACK_PORT: '0',
      CLAWBACK_DATA: '/srv/clawback',
      CLAWBACK_LIMIT_BY_HAND: '7',
      CLAWBACK_LOG_LEVEL: 'debug',
      CLAWBACK_AUDIENCE: '',
      PATH: '/bin',
    });
    expect(config.http).toMatchObject({ host: '0.0.0.0', port: 0 });
    expect(config.data.directory).toBe('/srv/clawback');
    expect(config.auth).toEqual({
      issuer: 'https://login.example/',
      audience: 'clawback',
      jwksUri: 'https://login.example/keys',
    });
    expect(config.limits.byHand).toBe(7);
    expect(config.log.level).toBe('debug');
  });

  it('lets overrides win, by the same rules', () => {
    const overrides = { http: { port: 0, host: undefined }, data: { directory: 'elsewhere' } };
    const config = loadConfig({ CLAWBACK_PORT: '9000', CLAWBACK_HOST: '127.0.0.2' }, overrides);
    expect(config.http).toMatchObject({ host: '127.0.0.2', port: 0 });
    expect(config.data.directory).toBe('elsewhere');
    expect(() => loadConfig({}, { http: { port: 70_000 } })).toThrow('CLAWBACK_PORT: must be a whole number');
  });

  it('gives a frozen object', () => {
    const config = loadConfig({});
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.values(config).every((group) => Object.isFrozen(group))).toBe(true);
  });

  it('lists every wrong and every unknown variable at once, and never a value', () => {
    const env = {
      CLAWBACK_PORT: 'eighty-eighty',
      CLAWBACK_LIMIT_BY_HAND: '-5555',
      CLAWBACK_LOG_LEVEL: 'chatty',
      CLAWBACK_JWKS_URI: 'gopher://hunter2',
      CLAWBACK_PROT: 'mistyped-value',
    };
    const error = refusal(env);
    expect(error).toMatchObject({ kind: 'invalid', code: 'invalidConfiguration' });
    expect(names(env).sort()).toEqual(Object.keys(env).sort());
    for (const [name, value] of Object.entries(env)) {
      expect(error.message).toContain(name);
      expect(error.message).not.toContain(value);
      expect(JSON.stringify(error.details)).not.toContain(value);
    }
  });

  it('accepts the variables of the client', () => {
    const env = { CLAWBACK_URL: 'http://127.0.0.1:8080', CLAWBACK_TOKEN: 'not-for-the-server' };
    expect(loadConfig(env)).toEqual(loadConfig({}));
  });

  it.each(['1.5', '1e3', '0x10', ' 5', '+5', 'NaN', '9'.repeat(400)])('takes no number from %j', (value) => {
    expect(names({ CLAWBACK_MAX_ATTEMPTS: value })).toEqual(['CLAWBACK_MAX_ATTEMPTS']);
  });

  it('has two processes keep the views, on servers one, and none beside a process that does nothing else', () => {
    const events = { CLAWBACK_EVENTSTORE_URL: 'esdb://db.example:2113' };
    const servers = { ...events, CLAWBACK_MONGODB_URL: 'mongodb://db.example' };
    const processes = (env: Record<string, string>) => viewProcessesOf(loadConfig(env));
    expect([processes({}), processes(events), processes(servers)]).toEqual([2, 1, 1]);
    expect(processes({ ...servers, ROLES: 'projections' })).toBe(0);
    expect(processes({ ...servers, ROLES: 'projections', CLAWBACK_VIEW_PROCESSES: '2' })).toBe(2);
    expect(processes({ CLAWBACK_VIEW_PROCESSES: '0' })).toBe(0);
    expect(names({ CLAWBACK_VIEW_PROCESSES: '3' })).toEqual(['CLAWBACK_VIEW_PROCESSES']);
  });

  it('lets a process have some of the roles only when both stores are on servers', () => {
    const servers = {
      CLAWBACK_EVENTSTORE_URL: 'esdb://db.example:2113',
      CLAWBACK_MONGODB_URL: 'mongodb://db.example',
    };
    const config = loadConfig({ ...servers, ROLES: 'executor, api' });
    expect([...rolesOf(config)].sort()).toEqual(['api', 'executor']);
    expect(rolesOf(loadConfig({})).size).toBe(3);
    const { CLAWBACK_MONGODB_URL: _mongo, ...one } = servers;
    expect(names({ ...one, ROLES: 'api' })).toEqual(['ROLES']);
    expect(problems({ ...servers, ROLES: 'api,cook' })).toEqual([
      { field: 'ROLES', problem: expect.stringContaining('must be a list of') },
    ]);
  });

  it('wants the issuer and its keys together', () => {
    expect(names({ CLAWBACK_ISSUER: 'https://login.example/' })).toEqual(['CLAWBACK_JWKS_URI']);
    expect(names({ CLAWBACK_JWKS_URI: 'https://login.example/keys' })).toEqual(['CLAWBACK_ISSUER']);
  });

  it.each(['127.0.0.1', '127.255.3.4', '::1', '0:0:0:0:0:0:0:1', 'localhost', 'LOCALHOST'])(
    'may listen on %s without an issuer',
    (host) => {
      expect(loadConfig({ CLAWBACK_HOST: host }).http.host).toBe(host);
    },
  );

  it.each([
    '0.0.0.0',
    '::',
    '10.0.0.1',
    '128.0.0.1',
    '127.1',
    'example.org',
    'localhost.example',
    '2001:db8::1',
  ])('listens on %s with an issuer only', (host) => {
    expect(problems({ CLAWBACK_HOST: host })).toEqual([
      { field: 'CLAWBACK_HOST', problem: expect.stringContaining('CLAWBACK_ISSUER') },
    ]);
    expect(loadConfig({ ...WITH_ISSUER, CLAWBACK_HOST: host }).http.host).toBe(host);
  });
});

describe('isLoopback', () => {
  it('holds for an IPv4 address exactly when it starts with 127', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        expect(isLoopback(address)).toBe(address.startsWith('127.'));
      }),
    );
  });
});

describe('configHelp', () => {
  it('has a line for every variable, with its default', () => {
    const lines = configHelp().split('\n');
    expect(lines).toHaveLength(48);
    expect(lines.every((line) => /^(CLAWBACK_[A-Z_]+|ROLES) {2,}\S+ {2,}\S.*\.$/.test(line))).toBe(true);
    expect(lines.find((line) => line.startsWith('CLAWBACK_PORT '))).toContain(' 8080 ');
    expect(lines.find((line) => line.startsWith('CLAWBACK_ISSUER '))).toContain(' (none) ');
  });

  it('names no variable that is refused', () => {
    const listed = configHelp()
      .split('\n')
      .map((line) => line.split(' ')[0] ?? '');
    expect(new Set(listed).size).toBe(listed.length);
    expect(loadConfig(Object.fromEntries(listed.map((name) => [name, ''])))).toEqual(loadConfig({}));
  });
});
