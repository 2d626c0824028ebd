import { describe, expect, it } from '@jest/globals';
import { collect } from '#libs/kernel';
import { openConnection } from './connection.js';

const messageOf = (connectionString: string, caFile?: string): string => {
  try {
    openConnection({ connectionString, ...(caFile === undefined ? {} : { caFile }) });
  } catch (error) {
    expect(error).toMatchObject({ kind: 'invalid', code: 'invalidConnectionString' });
    return String(error);
  }
  throw new Error('expected a refusal');
};

describe('a connection string', () => {
  it.each([
    ['nothing', ''],
    ['another scheme', 'https://user:secret@host?tls=false'],
    ['no host', 'esdb://?tls=false'],
    ['a value of the wrong kind', 'esdb://user:secret@host?tls=perhaps'],
    ['a key that the client does not know', 'esdb://user:secret@host?tls=false&tslCAFile=x'],
    ['a key that this client ignores', 'esdb://user:secret@host?tlsVerifyCert=false'],
    ['a user that is not URL-encoded', 'esdb://user:secret%zz@host'],
    ['encryption without a user', 'esdb://host:2113'],
  ])('is refused with %s, and not repeated', (_title, connectionString) => {
    expect(messageOf(connectionString)).not.toContain('secret');
  });

  it('is refused when the certificate of its authority is not there', () => {
    expect(messageOf('esdb://user:secret@host', '/no/such/ca.pem')).toContain('File was not found');
  });

  it('gives the user, decoded', () => {
    const { credentials } = openConnection({ connectionString: 'esdb://ops:p%40ss%3Aword@host:2113' });
    expect(credentials).toEqual({ username: 'ops', password: 'p@ss:word' });
  });

  it('without a user still has something that makes every append a call of its own', () => {
    const { credentials } = openConnection({ connectionString: 'esdb://host:2113?tls=false' });
    expect(credentials).toEqual({ username: expect.any(String), password: expect.any(String) });
  });

  it('may set what is otherwise set here', () => {
    const connectionString = 'esdb://host?tls=false&connection-name=mine&keepAliveTimeout=1234';
    expect(openConnection({ connectionString }).client.connectionName).toBe('mine');
  });
});

describe('a client', () => {
  it('leaves no rejection to nobody when a call ends while it looks for a node of its cluster', async () => {
    const { client } = openConnection({
      connectionString: 'esdb://127.0.0.1:1,127.0.0.1:2?tls=false&maxDiscoverAttempts=2&discoveryInterval=10',
    });
    const looking = collect(client.readAll()).catch((error: unknown) => String(error));
    const ended = Reflect.get(client, 'handleError') as (of: object, error: Error) => Promise<void>;
    const lost = Object.assign(new Error('lost'), { code: 14, details: '' });
    await expect(ended({ getChannel: () => undefined }, lost)).resolves.toBeUndefined();
    expect(await looking).toContain('Failed to discover');
  });
});
