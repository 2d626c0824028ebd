import { join } from 'node:path';
import { calculateJwkThumbprint, type CryptoKey, exportJWK, generateKeyPair, importJWK } from 'jose';
import { z } from 'zod';
import { ClawbackError } from '#libs/kernel';
import { readOrCreate } from './key-file.js';

const FILE = 'token-signing.json';

const storedKey = z.object({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string(),
  d: z.string(),
});

/** The Ed25519 key pair that signs and verifies the tokens of the embedded default. */
export interface LocalKey {
  /** The RFC 7638 thumbprint of the public key; the `kid` of its tokens. */
  readonly id: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}

/**
 * The key in `<directory>/keys/token-signing.json` (a private JWK, for the owner only), made on the first call.
 * Processes that start together agree on one key: it appears under its name whole, and only once.
 * @param directory the data directory
 * @throws ClawbackError 'unavailable' `signingKeyUnusable` when the file is there but holds no such key, or cannot be
 * read or written.
 */
export async function loadOrCreateLocalKey(directory: string): Promise<LocalKey> {
  const path = join(directory, 'keys', FILE);
  try {
    return await importKey(await readOrCreate(path, newKey));
  } catch (error) {
    throw new ClawbackError(
      'unavailable',
      'signingKeyUnusable',
      `the signing key ${path} cannot be used: make it a readable Ed25519 key, or delete it to get a new one`,
      {},
      { cause: error },
    );
  }
}

async function newKey(): Promise<string> {
  const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  const jwk = await exportJWK(privateKey);
  return `${JSON.stringify({ ...jwk, use: 'sig', alg: 'EdDSA' })}\n`;
}

async function importKey(text: string): Promise<LocalKey> {
  const { d, ...publicJwk } = storedKey.parse(JSON.parse(text));
  return {
    id: await calculateJwkThumbprint(publicJwk),
    privateKey: asymmetric(await importJWK({ ...publicJwk, d }, 'EdDSA')),
    publicKey: asymmetric(await importJWK(publicJwk, 'EdDSA')),
  };
}

/** `importJWK` gives bytes for a symmetric key, which an OKP never is. */
function asymmetric(key: CryptoKey | Uint8Array): CryptoKey {
  if (key instanceof Uint8Array) throw new Error('not an asymmetric key');
  return key;
}
