import { describe, expect, it } from '@jest/globals';
import { WebhookKeys, signature, signedHeaders } from './signature.js';

describe('a signature', () => {
  it('is the one that the Standard Webhooks scheme gives for its published example', () => {
    const given = signature(
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      1614265330,
      '{"test": 2432232314}',
    );
    expect(given).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  });

  it('comes in headers with the id and the time in seconds, one for each secret', () => {
    const secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'];
    const headers = signedHeaders(secrets, 'msg_1', new Date('2021-02-25T15:02:10.999Z'), '{}');
    expect(headers).toEqual({
      'webhook-id': 'msg_1',
      'webhook-timestamp': '1614265330',
      'webhook-signature': secrets.map((secret) => signature(secret, 'msg_1', 1614265330, '{}')).join(' '),
    });
  });
});

describe('the secrets of a server', () => {
  const keys = new WebhookKeys(Buffer.alloc(32, 1));
  const ref = { version: 1, keyId: keys.id };

  it('are the same whenever they are asked for, and differ by webhook, version and key', () => {
    const secret = keys.secret('w1', ref);
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(new WebhookKeys(Buffer.alloc(32, 1)).secret('w1', ref)).toBe(secret);
    const other = new WebhookKeys(Buffer.alloc(32, 2));
    const all = [
      secret,
      keys.secret('w2', ref),
      keys.secret('w1', { ...ref, version: 2 }),
      other.secret('w1', { version: 1, keyId: other.id }),
    ];
    expect(new Set(all).size).toBe(4);
  });

  it('are unknown to another key, and its id gives the key not away', () => {
    const other = new WebhookKeys(Buffer.alloc(32, 2));
    expect(other.secret('w1', ref)).toBeUndefined();
    expect(keys.id).toMatch(/^[0-9a-f]{16}$/);
    expect(keys.id).not.toBe(other.id);
  });

  it('are not made of a short key', () => {
    expect(() => new WebhookKeys(Buffer.alloc(31))).toThrow('fewer than 32 bytes');
  });
});
