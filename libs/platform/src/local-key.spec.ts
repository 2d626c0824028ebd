import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type LocalKey, loadOrCreateLocalKey } from './local-key.js';
import { LocalTokenVerifier, signLocalToken } from './tokens.js';

describe('loadOrCreateLocalKey', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'clawback-key-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const works = async (signer: LocalKey, verifier: LocalKey) => {
    const token = await signLocalToken(signer, { subject: 'kim', roles: ['viewer'] });
    return new LocalTokenVerifier(verifier).verify(token);
  };

  it('makes a key once and finds it again', async () => {
    const data = join(directory, 'data');
    const first = await loadOrCreateLocalKey(data);
    const second = await loadOrCreateLocalKey(data);
    expect(second.id).toBe(first.id);
    await expect(works(first, second)).resolves.toMatchObject({ subject: 'kim' });
    await expect(works(second, first)).resolves.toMatchObject({ subject: 'kim' });
  });

  it('makes different keys for different directories', async () => {
    const one = await loadOrCreateLocalKey(join(directory, 'one'));
    const other = await loadOrCreateLocalKey(join(directory, 'other'));
    expect(one.id).not.toBe(other.id);
  });

  it('lets only the owner in, and stores a JWK', async () => {
    await loadOrCreateLocalKey(directory);
    const file = join(directory, 'keys', 'token-signing.json');
    expect((await stat(join(directory, 'keys'))).mode & 0o777).toBe(0o700);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ kty: 'OKP', crv: 'Ed25519' });
  });

  it('gives starters at the same time one key, and leaves no other file', async () => {
    const keys = await Promise.all(Array.from({ length: 16 }, () => loadOrCreateLocalKey(directory)));
    expect(new Set(keys.map(({ id }) => id)).size).toBe(1);
    expect(await readdir(join(directory, 'keys'))).toEqual(['token-signing.json']);
  });

  it.each(['', '{', '{"kty":"oct","k":"c2VjcmV0"}', '{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}'])(
    'neither uses nor replaces a file with %j',
    async (text) => {
      const file = join(directory, 'keys', 'token-signing.json');
      await mkdir(join(directory, 'keys'));
      await writeFile(file, text);
      await expect(loadOrCreateLocalKey(directory)).rejects.toMatchObject({
        kind: 'unavailable',
        code: 'signingKeyUnusable',
      });
      expect(await readFile(file, 'utf8')).toBe(text);
    },
  );

  it('says which file it cannot make', async () => {
    await writeFile(join(directory, 'keys'), 'in the way');
    await expect(loadOrCreateLocalKey(directory)).rejects.toMatchObject({
      code: 'signingKeyUnusable',
      message: expect.stringContaining('token-signing.json'),
    });
  });
});
