import { createHmac } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  calculateJwkThumbprint,
  type CryptoKey,
  decodeJwt,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWTPayload,
  SignJWT,
} from 'jose';
import { isClawbackError } from '#libs/kernel';
import type { LocalKey } from './local-key.js';
import { bearerToken, IssuerTokenVerifier, LocalTokenVerifier, ROLES, signLocalToken } from './tokens.js';

const newKey = async (): Promise<LocalKey> => {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true });
  return { id: await calculateJwkThumbprint(await exportJWK(publicKey)), privateKey, publicKey };
};
const now = () => Math.floor(Date.now() / 1000);
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const refused = (code: string) => ({ kind: 'unauthenticated', code });

const CLAIMS = {
  iss: 'clawback-local',
  aud: 'clawback',
  sub: 'kim@contoso.example',
  tid: 'contoso',
  roles: ['approver'],
};
const valid = (): JWTPayload => ({ ...CLAIMS, iat: now(), exp: now() + 600 });
const sign = (key: CryptoKey, claims: JWTPayload, alg = 'EdDSA', kid?: string) =>
  new SignJWT(claims).setProtectedHeader({ alg, ...(kid !== undefined && { kid }) }).sign(key);
const without = (claims: JWTPayload, name: string) =>
  Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name));

/** The laws of every verifier; `signed` signs with a key that it trusts. */
function refusesWhatIsWrong(
  verify: (token: string) => Promise<unknown>,
  signed: (claims: JWTPayload) => Promise<string>,
  good: () => JWTPayload,
) {
  it('accepts a good token, and only the roles it knows', async () => {
    const token = await signed({ ...good(), roles: ['approver', 'superuser', 'viewer'] });
    await expect(verify(token)).resolves.toEqual({
      subject: 'kim@contoso.example',
      tenant: 'contoso',
      roles: ['viewer', 'approver'],
    });
  });

  it('keeps the application roles of Graph apart from our own', async () => {
    const only = await signed({ ...good(), roles: ['SecurityAnalyzedMessage.Read.All', 'Mail.Read'] });
    await expect(verify(only)).resolves.toEqual({
      subject: 'kim@contoso.example',
      tenant: 'contoso',
      roles: [],
      appRoles: ['SecurityAnalyzedMessage.Read.All'],
    });
  });

  it.each<[string, () => JWTPayload, string]>([
    ['an expired one', () => ({ ...good(), exp: now() - 60 }), 'tokenExpired'],
    ['one for later', () => ({ ...good(), nbf: now() + 60 }), 'tokenNotYetValid'],
    ['one of another issuer', () => ({ ...good(), iss: 'https://evil.example' }), 'tokenForeign'],
    ['one without an issuer', () => without(good(), 'iss'), 'tokenForeign'],
    ['one for another audience', () => ({ ...good(), aud: ['mail', 'files'] }), 'tokenForeign'],
    ['one without an audience', () => without(good(), 'aud'), 'tokenForeign'],
    ['one that never expires', () => without(good(), 'exp'), 'tokenMalformed'],
    ['one without a subject', () => without(good(), 'sub'), 'tokenMalformed'],
    ['one with an empty subject', () => ({ ...good(), sub: '' }), 'tokenMalformed'],
    ['one without a tenant', () => without(good(), 'tid'), 'tokenWithoutTenant'],
    ['one with a path as tenant', () => ({ ...good(), tid: '../other' }), 'tokenWithoutTenant'],
    ['one with a list of tenants', () => ({ ...good(), tid: ['a', 'b'] }), 'tokenWithoutTenant'],
    ['one without roles', () => without(good(), 'roles'), 'tokenWithoutRoles'],
    ['one with unknown roles', () => ({ ...good(), roles: ['superuser', 'Admin'] }), 'tokenWithoutRoles'],
    ['one with a text of roles', () => ({ ...good(), roles: 'admin' }), 'tokenWithoutRoles'],
  ])('refuses %s', async (_name, claims, code) => {
    await expect(verify(await signed(claims()))).rejects.toMatchObject(refused(code));
  });

  it('tolerates clocks that are a few seconds apart', async () => {
    await expect(verify(await signed({ ...good(), exp: now() - 1 }))).resolves.toBeDefined();
    await expect(verify(await signed({ ...good(), nbf: now() + 3 }))).resolves.toBeDefined();
  });

  it('refuses a token of which any character was changed', async () => {
    const token = await signed(good());
    const at = fc.nat(token.length - 1);
    const character = fc.constantFrom('A', 'b', '0', '1', '-', '_', '.');
    await fc.assert(
      fc.asyncProperty(at, character, async (index, replacement) => {
        // The last characters of base64url may hold bits that nothing reads.
        fc.pre(token[index] !== replacement && !/^(\.|$)/.test(token.slice(index + 1)));
        const changed = token.slice(0, index) + replacement + token.slice(index + 1);
        await expect(verify(changed)).rejects.toMatchObject({ kind: 'unauthenticated' });
      }),
    );
  });

  it('refuses other claims under the old signature', async () => {
    const [header, , signature] = (await signed(good())).split('.');
    const raised = [header, base64url({ ...good(), roles: ['admin'] }), signature].join('.');
    await expect(verify(raised)).rejects.toMatchObject(refused('tokenForeign'));
  });

  it('refuses a token without a signature', async () => {
    for (const alg of ['none', 'None', 'NONE']) {
      const unsigned = `${base64url({ alg, typ: 'JWT' })}.${base64url(good())}.`;
      await expect(verify(unsigned)).rejects.toMatchObject(refused('tokenForeign'));
    }
  });

  it.each(['', 'x', 'a.b.c', '..', 'e30.e30.e30', 'a.b.c.d.e'])('refuses %j', async (text) => {
    await expect(verify(text)).rejects.toMatchObject(refused('tokenMalformed'));
  });

  it('says nothing about the claims in its errors', async () => {
    const token = await signed({ ...good(), aud: 'elsewhere' });
    const error = await verify(token).catch((reason: unknown) => reason);
    expect(isClawbackError(error) && error.cause).toBe(undefined);
    expect(JSON.stringify(error) + String(error)).not.toContain('contoso');
  });
}

describe('LocalTokenVerifier', () => {
  let key: LocalKey;
  beforeAll(async () => {
    key = await newKey();
  });
  const verify = (token: string) => new LocalTokenVerifier(key).verify(token);

  refusesWhatIsWrong(verify, (claims) => sign(key.privateKey, claims), valid);

  it('accepts what signLocalToken makes, in the default tenant for 8 hours', async () => {
    const token = await signLocalToken(key, { subject: 'kim', roles: ['viewer', 'admin', 'viewer'] });
    await expect(verify(token)).resolves.toEqual({
      subject: 'kim',
      tenant: 'default',
      roles: ['viewer', 'admin'],
    });
    const { iss, aud, iat = 0, exp = 0 } = decodeJwt(token);
    expect({ iss, aud, lifetime: exp - iat }).toEqual({
      iss: 'clawback-local',
      aud: 'clawback',
      lifetime: 28_800,
    });
  });

  it('accepts its own audience only', async () => {
    const request = { subject: 'kim', roles: ['viewer'], audience: 'staging' } as const;
    const token = await signLocalToken(key, request);
    await expect(new LocalTokenVerifier(key, 'staging').verify(token)).resolves.toBeDefined();
    await expect(verify(token)).rejects.toMatchObject(refused('tokenForeign'));
  });

  it('refuses a token of another key', async () => {
    const token = await signLocalToken(await newKey(), { subject: 'kim', roles: ['admin'] });
    await expect(verify(token)).rejects.toMatchObject(refused('tokenForeign'));
  });

  it('refuses the public key as a shared secret', async () => {
    const jwk = await exportJWK(key.publicKey);
    const secrets = [
      await exportSPKI(key.publicKey),
      JSON.stringify(jwk),
      Buffer.from(jwk.x ?? '', 'base64url'),
    ];
    for (const secret of secrets) {
      const text = `${base64url({ alg: 'HS256', typ: 'JWT' })}.${base64url(valid())}`;
      const token = `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
      await expect(verify(token)).rejects.toMatchObject(refused('tokenForeign'));
    }
  });

  it('refuses a key that the token brings along', async () => {
    const own = await newKey();
    const token = await new SignJWT(valid())
      .setProtectedHeader({ alg: 'EdDSA', jwk: await exportJWK(own.publicKey) })
      .sign(own.privateKey);
    await expect(verify(token)).rejects.toMatchObject(refused('tokenForeign'));
  });
});

describe('signLocalToken', () => {
  it('refuses what no verifier would accept', async () => {
    const key = await newKey();
    const request = { subject: '', roles: [], tenant: 'a b', ttlSeconds: 0 };
    await expect(signLocalToken(key, request)).rejects.toMatchObject({
      kind: 'invalid',
      code: 'invalidTokenRequest',
      details: {
        errors: ['subject', 'tenant', 'roles', 'ttlSeconds'].map((field) =>
          expect.objectContaining({ field }),
        ),
      },
    });
  });

  it('makes a token for every set of roles that says exactly those', async () => {
    const key = await newKey();
    await fc.assert(
      fc.asyncProperty(fc.subarray([...ROLES], { minLength: 1 }), async (roles) => {
        const token = await signLocalToken(key, { subject: 'kim', roles });
        const principal = await new LocalTokenVerifier(key).verify(token);
        expect([...principal.roles].sort()).toEqual([...roles].sort());
      }),
      { numRuns: 30 },
    );
  });
});

describe('IssuerTokenVerifier', () => {
  const issuer = 'https://login.example/contoso';
  const keys = new Map<string, { alg: string; privateKey: CryptoKey; publicKey: CryptoKey }>();
  let server: Server;
  let answer: { status: number; body: string };
  let requests = 0;
  let jwksUri: string;

  const publish = async (...kids: readonly string[]) => {
    const published = kids.map(async (kid) => {
      const key = keys.get(kid);
      if (key === undefined) throw new Error(`no key ${kid}`);
      return { ...(await exportJWK(key.publicKey)), kid, alg: key.alg, use: 'sig' };
    });
    answer = { status: 200, body: JSON.stringify({ keys: await Promise.all(published) }) };
  };

  beforeAll(async () => {
    for (const alg of ['RS256', 'ES256', 'EdDSA']) {
      keys.set(alg, { alg, ...(await generateKeyPair(alg, { extractable: true })) });
    }
    await publish('RS256', 'ES256', 'EdDSA');
    server = createServer((_request, response) => {
      requests += 1;
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    jwksUri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
    verifier = new IssuerTokenVerifier({ issuer, audience: 'clawback', jwksUri });
  });
  afterAll(() => new Promise((closed) => server.close(closed)));

  let verifier: IssuerTokenVerifier;
  const good = () => ({ ...valid(), iss: issuer });
  const signed = (claims: JWTPayload, kid = 'RS256') => {
    const key = keys.get(kid);
    if (key === undefined) throw new Error(`no key ${kid}`);
    return sign(key.privateKey, claims, key.alg, kid);
  };

  refusesWhatIsWrong((token) => verifier.verify(token), signed, good);

  it.each(['RS256', 'ES256', 'EdDSA'])('accepts %s', async (alg) => {
    await expect(verifier.verify(await signed(good(), alg))).resolves.toMatchObject({ tenant: 'contoso' });
  });

  it('fetches the keys once for many tokens', async () => {
    const fresh = new IssuerTokenVerifier({ issuer, audience: 'clawback', jwksUri });
    const before = requests;
    const tokens = await Promise.all(Array.from({ length: 20 }, () => signed(good())));
    await Promise.all(tokens.map((token) => fresh.verify(token)));
    expect(requests - before).toBe(1);
  });

  it('refuses a token of a key that is not published', async () => {
    const { privateKey } = await generateKeyPair('RS256');
    const token = await sign(privateKey, good(), 'RS256', 'unknown');
    await expect(verifier.verify(token)).rejects.toMatchObject(refused('tokenForeign'));
    const underKnownName = await sign(privateKey, good(), 'RS256', 'RS256');
    await expect(verifier.verify(underKnownName)).rejects.toMatchObject(refused('tokenForeign'));
  });

  it('refuses a published key as a shared secret', async () => {
    const rsa = keys.get('RS256');
    if (rsa === undefined) throw new Error('no key');
    const text = `${base64url({ alg: 'HS256', kid: 'RS256' })}.${base64url(good())}`;
    const mac = createHmac('sha256', await exportSPKI(rsa.publicKey)).update(text);
    await expect(verifier.verify(`${text}.${mac.digest('base64url')}`)).rejects.toMatchObject(
      refused('tokenForeign'),
    );
  });

  it.each([
    ['answers with an error', { status: 500, body: 'down' }],
    ['answers with no JSON', { status: 200, body: '<html>' }],
    ['answers with no keys', { status: 200, body: '{}' }],
  ])('is unavailable while the issuer %s, and recovers', async (_name, broken) => {
    const fresh = new IssuerTokenVerifier({ issuer, audience: 'clawback', jwksUri });
    const token = await signed(good());
    answer = broken;
    await expect(fresh.verify(token)).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'issuerUnavailable',
    });
    await publish('RS256', 'ES256', 'EdDSA');
    await expect(fresh.verify(token)).resolves.toMatchObject({ tenant: 'contoso' });
  });

  it('is unavailable when nobody listens', async () => {
    const closed = createServer();
    await new Promise<void>((listening) => closed.listen(0, '127.0.0.1', listening));
    const { port } = closed.address() as AddressInfo;
    await new Promise((done) => closed.close(done));
    const trusted = { issuer, audience: 'clawback', jwksUri: `http://127.0.0.1:${port}/keys` };
    await expect(new IssuerTokenVerifier(trusted).verify(await signed(good()))).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'issuerUnavailable',
    });
  });
});

describe('bearerToken', () => {
  it('takes the token out of the header, whatever the case of the scheme', () => {
    expect(bearerToken('Bearer aa.bb.cc')).toBe('aa.bb.cc');
    expect(bearerToken('bearer aa.bb.cc')).toBe('aa.bb.cc');
  });

  it.each([undefined, '', 'Basic a2ltOmtpbQ==', 'Bearerx aa'])('misses a token in %j', (header) => {
    expect(() => bearerToken(header)).toThrow(expect.objectContaining(refused('tokenMissing')));
  });

  it.each(['Bearer', 'Bearer ', 'Bearer a b', 'Bearer a,b', 'Bearer ä'])(
    'takes no token from %j',
    (header) => {
      expect(() => bearerToken(header)).toThrow(expect.objectContaining(refused('tokenMalformed')));
    },
  );
});
