import { createHash, createHmac } from 'node:crypto';
import type { SecretRef } from './webhook.js';

const PREFIX = 'whsec_';

/**
 * The secrets of all webhooks, derived from one key of the server: nothing that is stored, and nothing that an auditor may
 * read, holds one. Who changes the key changes every secret; the key's id tells that this has happened.
 */
export class WebhookKeys {
  /** Names the key without giving it away. */
  readonly id: string;

  /** @param key at least 32 bytes that nobody can guess. */
  constructor(private readonly key: Uint8Array) {
    if (key.byteLength < 32) throw new Error('the key of the webhooks has fewer than 32 bytes');
    this.id = createHash('sha256').update('clawback webhook key id\0').update(key).digest('hex').slice(0, 16);
  }

  /** `whsec_` and 32 bytes in base64; undefined when it was derived from another key. */
  secret(webhookId: string, { version, keyId }: SecretRef): string | undefined {
    if (keyId !== this.id) return undefined;
    const derived = createHmac('sha256', this.key).update(`clawback webhook\0${webhookId}\0${version}`);
    return `${PREFIX}${derived.digest('base64')}`;
  }
}

/** One signature of the Standard Webhooks scheme: `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64. */
export function signature(secret: string, messageId: string, timestamp: number, body: string): string {
  const key = Buffer.from(secret.slice(PREFIX.length), 'base64');
  return `v1,${createHmac('sha256', key).update(`${messageId}.${timestamp}.${body}`).digest('base64')}`;
}

/** The headers of one attempt. Several secrets give several signatures; a receiver accepts any it knows. */
export const signedHeaders = (
  secrets: readonly string[],
  messageId: string,
  now: Date,
  body: string,
): Readonly<Record<string, string>> => {
  const timestamp = Math.floor(now.getTime() / 1000);
  return {
    'webhook-id': messageId,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': secrets.map((secret) => signature(secret, messageId, timestamp, body)).join(' '),
  };
};
