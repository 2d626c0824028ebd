import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { ClawbackError } from '#libs/kernel';
import type { Config } from './config.js';
import { readOrCreate } from './key-file.js';

const FILE = 'webhook-signing.key';
const BYTES = 32;

/**
 * The key that the secrets of webhooks are derived from, 32 bytes: of the configured text or, without one, of the file
 * `keys/webhook-signing.key` in the data directory, which is made on the first call.
 * @throws ClawbackError 'unavailable' `webhookKeyUnusable` when the file is there but holds no such key, or cannot be read
 * or written.
 */
export async function webhookKey({ webhooks, data }: Pick<Config, 'webhooks' | 'data'>): Promise<Uint8Array> {
  if (webhooks.key !== undefined) return createHash('sha256').update(webhooks.key).digest();
  const path = join(data.directory, 'keys', FILE);
  try {
    const text = await readOrCreate(path, () => `${randomBytes(BYTES).toString('base64')}\n`);
    const key = Buffer.from(text.trim(), 'base64');
    if (key.byteLength !== BYTES) throw new Error('not a key of 32 bytes');
    return key;
  } catch (error) {
    throw new ClawbackError(
      'unavailable',
      'webhookKeyUnusable',
      `the key of the webhooks ${path} cannot be used: it has to be 32 bytes in base64; without it every secret changes`,
      {},
      { cause: error },
    );
  }
}
