import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  type DeliveryLocation,
  type EmailDirection,
  type EmailRecord,
  emailKey,
  MAX_LINE_BYTES,
  parseDeliveryLocation,
  parseDirection,
  parseEmailLine,
} from './email-record.js';

const ROW = {
  Timestamp: '2026-03-02T08:15:00Z',
  NetworkMessageId: '73CA4154-58d8-43d0-a890-08dc18c52e6d',
  InternetMessageId: '<Abc@relay.example>',
  SenderMailFromAddress: 'Bounce@relay.example',
  SenderFromAddress: 'Desk@Fabrikam-Login.example',
  SenderDisplayName: 'Service Desk',
  SenderIPv4: '203.0.113.7',
  RecipientEmailAddress: 'Ada.Abels@Fabrikam.example',
  Subject: 'Your mailbox is full',
  EmailDirection: 'Inbound',
  DeliveryAction: 'Delivered',
  DeliveryLocation: 'Inbox/folder',
  LatestDeliveryAction: 'Moved to junk folder',
  LatestDeliveryLocation: 'Junk folder',
  ThreatTypes: 'Phish',
  DetectionMethods: '{"Phish":["URL"]}',
  ConfidenceLevel: '{"Phish":"High"}',
  AuthenticationDetails: '{"SPF":"fail"}',
  EmailClusterId: '385899680887',
  ReportId: '73ca-1',
};

const ENVELOPE = {
  time: '2026-03-02T09:00:00Z',
  tenantId: '5f0c1d7e-2b34-4c8a-9a61-fab21ca70001',
  operationName: 'Publish',
  category: 'AdvancedHunting-EmailEvents',
  properties: ROW,
};

function accepted(line: unknown): EmailRecord {
  const parsed = parseEmailLine(typeof line === 'string' ? line : JSON.stringify(line));
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.record;
}

function refused(line: unknown): string {
  const parsed = parseEmailLine(typeof line === 'string' ? line : JSON.stringify(line));
  if (parsed.ok) throw new Error('was accepted');
  return parsed.reason;
}

describe('parseEmailLine', () => {
  it('reads the envelope of the streaming API', () => {
    expect(accepted(ENVELOPE)).toEqual({
      networkMessageId: '73ca4154-58d8-43d0-a890-08dc18c52e6d',
      internetMessageId: '<Abc@relay.example>',
      recipientEmailAddress: 'ada.abels@fabrikam.example',
      senderFromAddress: 'desk@fabrikam-login.example',
      senderDisplayName: 'Service Desk',
      senderMailFromAddress: 'Bounce@relay.example',
      senderIp: '203.0.113.7',
      subject: 'Your mailbox is full',
      direction: 'inbound',
      deliveryAction: 'Delivered',
      deliveryLocation: 'inboxFolder',
      latestDeliveryAction: 'Moved to junk folder',
      latestDeliveryLocation: 'junkFolder',
      receivedAt: '2026-03-02T08:15:00.000Z',
      threatTypes: 'Phish',
      detectionMethods: '{"Phish":["URL"]}',
      confidenceLevel: '{"Phish":"High"}',
      authenticationDetails: '{"SPF":"fail"}',
      emailClusterId: '385899680887',
      reportId: '73ca-1',
      tenantIdOfSource: '5f0c1d7e-2b34-4c8a-9a61-fab21ca70001',
    });
  });

  it('reads a bare row of advanced hunting', () => {
    expect(accepted(ROW)).toEqual({ ...accepted(ENVELOPE), tenantIdOfSource: '' });
  });

  it("gives '' for what is left out or null, and the first delivery as the latest", () => {
    const record = accepted({
      Timestamp: ROW.Timestamp,
      NetworkMessageId: ROW.NetworkMessageId,
      RecipientEmailAddress: ROW.RecipientEmailAddress,
      SenderFromAddress: ROW.SenderFromAddress,
      DeliveryAction: 'Blocked',
      DeliveryLocation: 'Quarantine',
      LatestDeliveryLocation: '',
      Subject: null,
    });
    expect(record).toEqual({
      networkMessageId: '73ca4154-58d8-43d0-a890-08dc18c52e6d',
      internetMessageId: '',
      recipientEmailAddress: 'ada.abels@fabrikam.example',
      senderFromAddress: 'desk@fabrikam-login.example',
      senderDisplayName: '',
      senderMailFromAddress: '',
      senderIp: '',
      subject: '',
      direction: 'unknown',
      deliveryAction: 'Blocked',
      deliveryLocation: 'quarantine',
      latestDeliveryAction: 'Blocked',
      latestDeliveryLocation: 'quarantine',
      receivedAt: '2026-03-02T08:15:00.000Z',
      threatTypes: '',
      detectionMethods: '',
      confidenceLevel: '',
      authenticationDetails: '',
      emailClusterId: '',
      reportId: '',
      tenantIdOfSource: '',
    });
  });

  it('takes the IPv6 address of a sender that has no other', () => {
    expect(accepted({ ...ROW, SenderIPv4: '', SenderIPv6: '2001:db8::7' }).senderIp).toBe('2001:db8::7');
  });

  it("takes the envelope's time when the row has none", () => {
    const receivedAt = (Timestamp: unknown) =>
      accepted({ ...ENVELOPE, properties: { ...ROW, Timestamp } }).receivedAt;
    expect(receivedAt('')).toBe('2026-03-02T09:00:00.000Z');
    expect(receivedAt(null)).toBe('2026-03-02T09:00:00.000Z');
  });

  it.each([
    ['2026-03-02T08:15:00.1234567Z', '2026-03-02T08:15:00.123Z'],
    ['2026-03-02T08:15:00', '2026-03-02T08:15:00.000Z'],
    ['2026-03-02 08:15:00', '2026-03-02T08:15:00.000Z'],
    ['2026-03-02T08:15:00+02:00', '2026-03-02T06:15:00.000Z'],
    ['2028-02-29T00:00:00z', '2028-02-29T00:00:00.000Z'],
  ])('reads the time %s as %s', (Timestamp, expected) => {
    expect(accepted({ ...ROW, Timestamp }).receivedAt).toBe(expected);
  });

  it.each([
    'yesterday',
    '2026-02-30T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-03-02',
    '2026-03-02T25:00:00Z',
    '9999-12-31T23:00:00-05:00',
    '1',
  ])('refuses the time %s', (Timestamp) => {
    expect(refused({ ...ROW, Timestamp })).toBe(
      'Timestamp: must be a date and time such as 2026-03-02T08:15:00Z',
    );
  });

  it('names the time of the envelope when that is wrong', () => {
    const { Timestamp, ...row } = ROW;
    expect(refused({ ...ENVELOPE, time: Timestamp.slice(0, 7), properties: row })).toMatch(/^time: must be/);
    expect(refused(row)).toBe('time: missing');
  });

  it.each([
    ['nonsense', 'line: not JSON'],
    ['{"Subject":"secret lure"', 'line: not JSON'],
    ['', 'line: not JSON'],
    ['[]', 'line: not a JSON object'],
    ['null', 'line: not a JSON object'],
    ['"text"', 'line: not a JSON object'],
    ['12345678901234567890', 'line: not a JSON object'],
  ])('refuses %j', (line, reason) => {
    expect(refused(line)).toBe(reason);
  });

  it('takes a line of the longest length and refuses one byte more', () => {
    const padded = (bytes: number) => {
      const line = JSON.stringify({ ...ROW, Subject: 'é' });
      return line.replace('é', `é${'x'.repeat(bytes - Buffer.byteLength(line))}`);
    };
    expect(accepted(padded(MAX_LINE_BYTES)).subject).toMatch(/^éx+$/);
    expect(refused(padded(MAX_LINE_BYTES + 1))).toBe('line: longer than 262144 bytes');
  });

  it.each([
    [{ ...ENVELOPE, category: 'AdvancedHunting-UrlClickEvents' }, '"AdvancedHunting-UrlClickEvents"'],
    [{ ...ENVELOPE, category: undefined }, '""'],
    [{ ...ENVELOPE, category: 'x'.repeat(100) }, `"${'x'.repeat(60)}"…`],
  ])('refuses another category and names it', (line, named) => {
    expect(refused(line)).toBe(`category: ${named} is not read; expected AdvancedHunting-EmailEvents`);
  });

  it('refuses an envelope without properties', () => {
    expect(refused({ ...ENVELOPE, properties: undefined })).toBe('properties: not a JSON object');
    expect(refused({ ...ENVELOPE, properties: [ROW] })).toBe('properties: not a JSON object');
  });

  it.each([
    ['NetworkMessageId', ''],
    ['NetworkMessageId', null],
    ['RecipientEmailAddress', '  '],
    ['SenderFromAddress', undefined],
    ['DeliveryLocation', ''],
  ])('refuses a row without %s (%j)', (column, value) => {
    expect(refused({ ...ROW, [column]: value })).toBe(`${column}: missing`);
  });

  it.each([
    ['NetworkMessageId', '73ca4154', 'must be a GUID such as 73ca4154-58d8-43d0-a890-08dc18c52e6d'],
    ['NetworkMessageId', 7, 'must be a text'],
    ['RecipientEmailAddress', 'ada', 'not an email address'],
    ['RecipientEmailAddress', 'ada abels@fabrikam.example', 'not an email address'],
    ['RecipientEmailAddress', 'a\u0007da@fabrikam.example', 'not an email address'],
    ['RecipientEmailAddress', '@fabrikam.example', 'not an email address'],
    ['RecipientEmailAddress', `${'a'.repeat(304)}@fabrikam.example`, 'longer than 320 characters'],
    ['SenderFromAddress', 'desk@', 'not an email address'],
    ['SenderFromAddress', 'desk\r\n@fabrikam.example', 'not an email address'],
    ['SenderFromAddress', `${'a'.repeat(304)}@fabrikam.example`, 'longer than 320 characters'],
    ['Subject', 5, 'must be a text'],
    ['Subject', { a: 1 }, 'must be a text'],
    ['Subject', 'secret\0lure', 'has a NUL character'],
    ['Subject', 'secret \ud83d lure', 'has a lone surrogate'],
    ['SenderDisplayName', '\udc00', 'has a lone surrogate'],
    ['AuthenticationDetails', { SPF: 'a\ud83d' }, undefined],
    [
      'EmailDirection',
      'Sideways',
      '"Sideways" is not known; allowed are Inbound, Outbound, Intra-org, Unknown',
    ],
    [
      'DeliveryLocation',
      'Attic "two"',
      '"Attic \\"two\\"" is not known; allowed are Inbox/folder, Junk, Deleted items, Quarantine, Soft deleted, Hard deleted, ' +
        'Sent Items, On-premises/External, Failed, Dropped, Unknown',
    ],
    ['EmailClusterId', 'abc', 'must be a whole number of at most 20 digits'],
    ['EmailClusterId', '9'.repeat(21), 'must be a whole number of at most 20 digits'],
    ['EmailClusterId', 1.5, 'must be a whole number, written in full'],
  ])('%s: %j', (column, value, problem) => {
    const row = { ...ROW, [column]: value };
    if (problem === undefined) {
      // Already escaped by JSON: it can be stored as it is.
      expect(accepted(row).authenticationDetails).toBe('{"SPF":"a\\ud83d"}');
    } else {
      expect(refused(row)).toBe(`${column}: ${problem}`);
    }
  });

  it('cuts a long unknown value', () => {
    expect(refused({ ...ROW, LatestDeliveryLocation: 'y'.repeat(500) })).toContain(
      `LatestDeliveryLocation: "${'y'.repeat(60)}"… is not known`,
    );
  });

  it('takes an address of 320 characters', () => {
    const address = `${'a'.repeat(303)}@fabrikam.example`;
    expect(accepted({ ...ROW, RecipientEmailAddress: address }).recipientEmailAddress).toBe(address);
  });

  it('takes the broken addresses that phishing claims to come from', () => {
    const SenderFromAddress = 'Your Bonus glück\ufffdwunsch@pot';
    expect(accepted({ ...ROW, SenderFromAddress }).senderFromAddress).toBe(
      'your bonus glück\ufffdwunsch@pot',
    );
  });

  it('keeps every subject exactly', () => {
    const storable = fc.string({ unit: 'grapheme' }).filter((subject) => !subject.includes('\0'));
    const awkward = fc.constantFrom(
      '=HYPERLINK("x","y"),\r\n',
      '\u0001\u001b[31m\u007f\u0085\u2028',
      '👩‍👩‍👧 ',
      ' \ufeffשלום ',
      '"\\"',
    );
    fc.assert(
      fc.property(fc.oneof(storable, awkward), (Subject) => {
        expect(accepted({ ...ROW, Subject }).subject).toBe(Subject);
      }),
    );
  });

  it('keeps all digits of 64-bit numbers', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }), fc.string(), (id, around) => {
        const row = { ...ROW, Subject: `${around} ${id}, :${id}`, EmailClusterId: 1, ReportId: 2 };
        const line = JSON.stringify(row)
          .replace('"EmailClusterId":1', `"EmailClusterId": ${id}`)
          .replace('"ReportId":2', `"ReportId":${id}`);
        const record = accepted(line);
        expect(record.emailClusterId).toBe(String(id));
        expect(record.reportId).toBe(String(id));
        expect(record.subject).toBe(row.Subject);
      }),
    );
  });

  it('does not repair JSON that has a long number in a wrong place', () => {
    expect(refused('{12345678901234567890: 1}')).toBe('line: not JSON');
    expect(refused('{"EmailClusterId": 012345678901234567890}')).toBe('line: not JSON');
  });

  it.each(['1.2345678901234567891e18', '12345678901234567890.5'])('refuses the number %s', (number) => {
    const line = JSON.stringify({ ...ROW, EmailClusterId: 1 }).replace(':1,', `:${number},`);
    expect(refused(line)).toBe('EmailClusterId: must be a whole number, written in full');
  });

  it('takes details as an object too', () => {
    expect(accepted({ ...ROW, ConfidenceLevel: { Phish: 'High' } }).confidenceLevel).toBe('{"Phish":"High"}');
  });

  it('is not misled by the names of an object’s own machinery', () => {
    const { Subject, ...row } = ROW;
    const line = JSON.stringify(row).replace('{', `{"__proto__":{"Subject":"${Subject}"},"constructor":"x",`);
    expect(accepted(line).subject).toBe('');
    expect('Subject' in {}).toBe(false);
    expect(refused({ ...ROW, DeliveryLocation: 'constructor' })).toContain('"constructor" is not known');
    expect(refused({ ...ROW, EmailDirection: '__proto__' })).toContain('"__proto__" is not known');
  });

  it('reads back what was written from a record', () => {
    fc.assert(
      fc.property(records, (record) => {
        expect(accepted(written(record))).toEqual(record);
      }),
    );
  });

  it('answers to anything, and never with the subject', () => {
    const secret = 'zqxj-lure';
    const mess = fc.dictionary(fc.constantFrom(...Object.keys(ROW)), fc.jsonValue());
    fc.assert(
      fc.property(mess, (columns) => {
        const parsed = parseEmailLine(JSON.stringify({ ...ROW, ...columns, Subject: secret }));
        expect(parsed.ok || !parsed.reason.includes(secret)).toBe(true);
      }),
    );
    fc.assert(
      fc.property(fc.nat(400), (cut) => {
        const line = JSON.stringify({ Subject: secret, ...ENVELOPE });
        expect(refused(line.slice(0, cut))).toBe('line: not JSON');
      }),
    );
  });
});

const LOCATIONS: readonly DeliveryLocation[] = [
  'inboxFolder',
  'junkFolder',
  'deletedItems',
  'quarantine',
  'softDeleted',
  'sentItems',
  'onPremisesExternal',
  'failed',
  'dropped',
  'unknown',
];
const DIRECTIONS: readonly EmailDirection[] = ['inbound', 'outbound', 'intraOrg', 'unknown'];

const anyText = fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0'));
const address = fc.emailAddress().map((text) => text.toLowerCase());

const records: fc.Arbitrary<EmailRecord> = fc
  .record({
    networkMessageId: fc.uuid(),
    internetMessageId: anyText,
    recipientEmailAddress: address,
    senderFromAddress: address,
    senderDisplayName: anyText,
    senderMailFromAddress: anyText,
    senderIp: fc.oneof(fc.ipV4(), fc.constant('')),
    subject: anyText,
    direction: fc.constantFrom(...DIRECTIONS),
    deliveryAction: anyText,
    deliveryLocation: fc.constantFrom(...LOCATIONS),
    latestDeliveryAction: anyText,
    latestDeliveryLocation: fc.constantFrom(...LOCATIONS),
    receivedAt: fc
      .date({
        min: new Date('0001-01-01T00:00:00Z'),
        max: new Date('9999-12-31T00:00:00Z'),
        noInvalidDate: true,
      })
      .map((date) => date.toISOString()),
    threatTypes: anyText,
    detectionMethods: anyText,
    confidenceLevel: anyText,
    authenticationDetails: anyText,
    emailClusterId: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
    reportId: anyText,
    tenantIdOfSource: anyText,
  })
  // An empty latest action means that it is the first one.
  .map((record) => ({
    ...record,
    latestDeliveryAction: record.latestDeliveryAction || record.deliveryAction,
  }));

const written = (record: EmailRecord): object => ({
  time: '2000-01-01T00:00:00Z',
  tenantId: record.tenantIdOfSource,
  category: 'AdvancedHunting-EmailEvents',
  properties: {
    Timestamp: record.receivedAt,
    NetworkMessageId: record.networkMessageId.toUpperCase(),
    InternetMessageId: record.internetMessageId,
    SenderMailFromAddress: record.senderMailFromAddress,
    SenderFromAddress: record.senderFromAddress,
    SenderDisplayName: record.senderDisplayName,
    SenderIPv4: record.senderIp,
    RecipientEmailAddress: record.recipientEmailAddress,
    Subject: record.subject,
    EmailDirection: record.direction,
    DeliveryAction: record.deliveryAction,
    DeliveryLocation: record.deliveryLocation,
    LatestDeliveryAction: record.latestDeliveryAction,
    LatestDeliveryLocation: record.latestDeliveryLocation,
    ThreatTypes: record.threatTypes,
    DetectionMethods: record.detectionMethods,
    ConfidenceLevel: record.confidenceLevel,
    AuthenticationDetails: record.authenticationDetails,
    EmailClusterId: record.emailClusterId,
    ReportId: record.reportId,
  },
});

describe('parseDirection', () => {
  it.each<[string, EmailDirection | undefined]>([
    ['Inbound', 'inbound'],
    ['OUTBOUND', 'outbound'],
    ['Intra-org', 'intraOrg'],
    ['intraOrg', 'intraOrg'],
    ['Unknown', 'unknown'],
    ['unknownFutureValue', 'unknown'],
    ['', undefined],
    ['inward', undefined],
    ['toString', undefined],
  ])('%j is %s', (text, expected) => {
    expect(parseDirection(text)).toBe(expected);
  });
});

describe('parseDeliveryLocation', () => {
  it.each<[string, DeliveryLocation | undefined]>([
    ['Inbox/folder', 'inboxFolder'],
    ['Inbox/Folder', 'inboxFolder'],
    ['Inbox', 'inboxFolder'],
    ['inbox_folder', 'inboxFolder'],
    ['Junk', 'junkFolder'],
    ['Junk folder', 'junkFolder'],
    ['Junk Email', 'junkFolder'],
    ['Deleted items', 'deletedItems'],
    ['Deleted Items folder', 'deletedItems'],
    ['deletedFolder', 'deletedItems'],
    ['Quarantine', 'quarantine'],
    ['Recoverable Items/Deletions', 'softDeleted'],
    ['recoverableitemsdeletions', 'softDeleted'],
    ['Sent Items', 'sentItems'],
    ['On-premises/External', 'onPremisesExternal'],
    ['On-prem/external', 'onPremisesExternal'],
    ['onprem_external', 'onPremisesExternal'],
    ['FAILED', 'failed'],
    ['Dropped', 'dropped'],
    ['Unknown', 'unknown'],
    ['others', 'unknown'],
    ['', undefined],
    ['Archive', undefined],
    ['hasOwnProperty', undefined],
  ])('%j is %s', (text, expected) => {
    expect(parseDeliveryLocation(text)).toBe(expected);
  });

  it.each(LOCATIONS)('knows our own name %s', (location) => {
    expect(parseDeliveryLocation(location)).toBe(location);
  });
});

describe('emailKey', () => {
  it('joins the message and the recipient', () => {
    expect(emailKey('73ca4154-58d8-43d0-a890-08dc18c52e6d', 'ada@fabrikam.example')).toBe(
      '73ca4154-58d8-43d0-a890-08dc18c52e6d/ada@fabrikam.example',
    );
  });
});
