import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { emailKey, type EmailRecord, parseEmailLine } from './email-record.js';
import { copiesOf } from './placement.js';
import { SAMPLE_DOMAIN, SAMPLE_TENANT, sampleEmails, sampleLines, type SampleOptions } from './sample.js';

const CHECKED_IN = { messages: 60, seed: 'fabrikam' };

function recordsOf(options: SampleOptions): EmailRecord[] {
  return [...sampleEmails(options)].map((email) => {
    const parsed = parseEmailLine(JSON.stringify(email));
    if (!parsed.ok) throw new Error(parsed.reason);
    return parsed.record;
  });
}

function byMessage(records: readonly EmailRecord[]): EmailRecord[][] {
  const messages = new Map<string, EmailRecord[]>();
  for (const record of records) {
    const emails = messages.get(record.networkMessageId);
    if (emails === undefined) messages.set(record.networkMessageId, [record]);
    else emails.push(record);
  }
  return [...messages.values()];
}

describe('sampleEmails', () => {
  const large = recordsOf({ messages: 2000, seed: 1 });
  const messages = byMessage(large);

  it('has one email per message and recipient, 1 to 12 to a message', () => {
    expect(messages).toHaveLength(2000);
    const keys = large.map((record) => emailKey(record.networkMessageId, record.recipientEmailAddress));
    expect(new Set(keys).size).toBe(large.length);
    const sizes = new Set(messages.map((emails) => emails.length));
    expect([...sizes].sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });

  it('is half inbound, three tenths intra-org and two tenths outbound', () => {
    const count = (direction: string) => messages.filter(([email]) => email?.direction === direction).length;
    expect([count('inbound'), count('intraOrg'), count('outbound')]).toEqual([1000, 600, 400]);
  });

  it('has senders and recipients on the right side of the border', () => {
    const ours = (address: string) => address.endsWith(`@${SAMPLE_DOMAIN}`);
    for (const email of large) {
      expect(ours(email.senderFromAddress)).toBe(email.direction !== 'inbound');
      expect(ours(email.recipientEmailAddress)).toBe(email.direction !== 'outbound');
    }
  });

  it('agrees on everything but the recipient and the delivery within a message', () => {
    for (const emails of messages) {
      const shared = emails.map(({ subject, senderFromAddress, direction, receivedAt, internetMessageId }) =>
        JSON.stringify([subject, senderFromAddress, direction, receivedAt, internetMessageId]),
      );
      expect(new Set(shared).size).toBe(1);
    }
  });

  it('comes in the order of time', () => {
    const times = large.map((record) => record.receivedAt);
    expect(times).toEqual([...times].sort());
  });

  it('reaches so many mailboxes that no limit on mails to few recipients bites', () => {
    const recipients = new Set(large.map((record) => record.recipientEmailAddress));
    expect(recipients.size).toBeGreaterThan(0.4 * large.length);
  });

  it('differs by seed and not by run', () => {
    const lines = (seed: number) => [...sampleLines({ messages: 20, seed })].join('');
    expect(lines(1)).toBe(lines(1));
    expect(lines(1)).not.toBe(lines(2));
  });

  it('makes the first email of a hundred million messages without making the others', () => {
    const [first] = sampleEmails({ messages: 100_000_000, seed: 1 });
    expect(first).toMatchObject({ tenantId: SAMPLE_TENANT, category: 'AdvancedHunting-EmailEvents' });
    expect([...sampleEmails({ messages: 0, seed: 1 })]).toEqual([]);
  });
});

describe('samples/fabrikam.ndjson', () => {
  const records = recordsOf(CHECKED_IN);

  it('is what the generator writes, byte for byte', () => {
    const file = readFileSync(new URL('../../../samples/fabrikam.ndjson', import.meta.url));
    expect(file.equals(Buffer.from([...sampleLines(CHECKED_IN)].join('')))).toBe(true);
  });

  it('has every direction, location and kind of copy', () => {
    expect(new Set(records.map((record) => record.direction))).toEqual(
      new Set(['inbound', 'intraOrg', 'outbound']),
    );
    expect(new Set(records.map((record) => record.latestDeliveryLocation))).toEqual(
      new Set([
        'inboxFolder',
        'junkFolder',
        'deletedItems',
        'quarantine',
        'softDeleted',
        'onPremisesExternal',
        'failed',
        'dropped',
        'unknown',
      ]),
    );
    expect(new Set(records.flatMap(copiesOf).map((copy) => `${copy.kind}: ${copy.folder}`))).toEqual(
      new Set([
        'recipient: Inbox',
        'recipient: Junk Email',
        'recipient: Deleted Items',
        'recipient: Quarantine',
        'recipient: Recoverable Items/Deletions',
        'sender: Sent Items',
      ]),
    );
  });

  it.each([
    ['a formula', /^=HYPERLINK\("/],
    ['a plus', /^\+/],
    ['a minus', /^-/],
    ['an at sign', /^@/],
    ['emoji', /\p{Emoji_Presentation}/u],
    ['quotes and commas', /".*", /],
    ['a tab', /\t/],
    ['markup', /<b>/],
    ['a combining accent', /\p{Mn}/u],
    ['no text', /^$/],
    ['Cyrillic', /\p{Script=Cyrillic}/u],
    ['Arabic', /\p{Script=Arabic}/u],
    ['Hebrew', /\p{Script=Hebrew}/u],
    ['Han', /\p{Script=Han}/u],
    ['Thai', /\p{Script=Thai}/u],
    ['Devanagari', /\p{Script=Devanagari}/u],
    ['Greek', /\p{Script=Greek}/u],
  ])('has a subject with %s', (_what, pattern) => {
    expect(records.some((record) => pattern.test(record.subject))).toBe(true);
  });
});
