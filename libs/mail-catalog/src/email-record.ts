import type { Direction, Location } from '#libs/remediation';

export type EmailDirection = Direction;
export type DeliveryLocation = Location;

/** One message for one recipient, as Defender's `EmailEvents` table has it. What the source leaves out is `''`. */
export interface EmailRecord {
  /** A GUID in lower case. */
  readonly networkMessageId: string;
  readonly internetMessageId: string;
  /** In lower case, after the expansion of distribution lists: one mailbox. */
  readonly recipientEmailAddress: string;
  /** In lower case. Of an inbound message it is what the sender claims, so it may be no proper address. */
  readonly senderFromAddress: string;
  readonly senderDisplayName: string;
  readonly senderMailFromAddress: string;
  readonly senderIp: string;
  readonly subject: string;
  readonly direction: EmailDirection;
  readonly deliveryAction: string;
  readonly deliveryLocation: DeliveryLocation;
  readonly latestDeliveryAction: string;
  readonly latestDeliveryLocation: DeliveryLocation;
  /** ISO 8601 in UTC with milliseconds. */
  readonly receivedAt: string;
  /** As Defender lists them, for instance `Phish, Malware`. */
  readonly threatTypes: string;
  readonly detectionMethods: string;
  readonly confidenceLevel: string;
  readonly authenticationDetails: string;
  /** All digits of a 64-bit number. */
  readonly emailClusterId: string;
  readonly reportId: string;
  /** The Microsoft tenant named by the streaming envelope; not our own tenant. */
  readonly tenantIdOfSource: string;
}

export type ParsedLine =
  { readonly ok: true; readonly record: EmailRecord } | { readonly ok: false; readonly reason: string };

/** The longest line that is read, in bytes of UTF-8 without its line end. */
export const MAX_LINE_BYTES = 256 * 1024;

/** The longest address: 64 characters, an @ and 255 characters. */
export const MAX_ADDRESS_LENGTH = 320;

const CATEGORY = 'AdvancedHunting-EmailEvents';

/**
 * Reads one line of NDJSON: the envelope of Defender's streaming API, or a bare row as advanced hunting gives it.
 * A reason names the column, what is wrong and the limit; it never carries a subject or an address.
 */
export function parseEmailLine(line: string): ParsedLine {
  try {
    return { ok: true, record: emailOf(objectIn(line)) };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, reason: error.message };
    throw error;
  }
}

/** Identifies an email: one message for one recipient, both in lower case. */
export const emailKey = (networkMessageId: string, recipient: string): string =>
  `${networkMessageId}/${recipient}`;

/** Reads Defender's or Graph's name of a direction, in any case. Undefined when it is none. */
export const parseDirection = (text: string): EmailDirection | undefined => DIRECTIONS.get(folded(text));

/** Reads Defender's, Graph's or our own name of a delivery location, in any case. Undefined when it is none. */
export const parseDeliveryLocation = (text: string): DeliveryLocation | undefined =>
  LOCATIONS.get(folded(text));

/** Each with its accepted spellings, Defender's own first. Case, spaces and the signs `/ - _` do not matter. */
const DIRECTION_SPELLINGS: Readonly<Record<EmailDirection, readonly string[]>> = {
  inbound: ['Inbound'],
  outbound: ['Outbound'],
  intraOrg: ['Intra-org'],
  unknown: ['Unknown', 'unknownFutureValue'],
};

const LOCATION_SPELLINGS: Readonly<Record<DeliveryLocation, readonly string[]>> = {
  inboxFolder: ['Inbox/folder', 'Inbox'],
  junkFolder: ['Junk', 'Junk folder', 'Junk Email', 'Junk Email folder'],
  deletedItems: ['Deleted items', 'Deleted Items folder', 'deletedFolder'],
  quarantine: ['Quarantine'],
  softDeleted: ['Soft deleted', 'Soft deleted items', 'Recoverable Items/Deletions'],
  hardDeleted: ['Hard deleted', 'Hard deleted items', 'Recoverable Items/Purges'],
  sentItems: ['Sent Items', 'Sent Items folder'],
  onPremisesExternal: ['On-premises/External', 'On-prem/external'],
  failed: ['Failed'],
  dropped: ['Dropped'],
  unknown: ['Unknown', 'others', 'unknownFutureValue'],
};

const folded = (text: string): string => text.toLowerCase().replace(/[\s/_-]/g, '');

const bySpelling = <Name extends string>(spellings: Readonly<Record<Name, readonly string[]>>) =>
  new Map(
    Object.entries<readonly string[]>(spellings).flatMap(([name, accepted]) =>
      accepted.map((spelling) => [folded(spelling), name as Name] as const),
    ),
  );

const DIRECTIONS = bySpelling(DIRECTION_SPELLINGS);
const LOCATIONS = bySpelling(LOCATION_SPELLINGS);

const mainSpellings = (spellings: Readonly<Record<string, readonly string[]>>): string =>
  Object.values(spellings)
    .map((accepted) => accepted[0])
    .join(', ');

const ALLOWED_DIRECTIONS = mainSpellings(DIRECTION_SPELLINGS);
const ALLOWED_LOCATIONS = mainSpellings(LOCATION_SPELLINGS);

/** Why a line is not taken. */
class Refusal extends Error {}

type Row = Readonly<Record<string, unknown>>;

function objectIn(line: string): Row {
  if (Buffer.byteLength(line) > MAX_LINE_BYTES) {
    throw new Refusal(`line: longer than ${MAX_LINE_BYTES} bytes`);
  }
  return asObject(jsonOf(line), 'line');
}

function asObject(value: unknown, name: string): Row {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal(`${name}: not a JSON object`);
  }
  return value as Row;
}

/** Integers that a double could round come back as texts of their digits. */
function jsonOf(line: string): unknown {
  try {
    const value: unknown = JSON.parse(line);
    return MAY_HAVE_LONG_INTEGER.test(line) ? JSON.parse(quoteLongIntegers(line)) : value;
  } catch {
    // The parser's own message quotes the text, and with it perhaps a subject.
    throw new Refusal('line: not JSON');
  }
}

const MAY_HAVE_LONG_INTEGER = /[\s:,[]-?\d{16}/;
const STRINGS_AND_NUMBERS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g;
const LONG_INTEGER = /^-?\d{16,}$/;

/** Strings are matched too, so that digits inside them stay as they are. The text must be valid JSON. */
const quoteLongIntegers = (json: string): string =>
  json.replace(STRINGS_AND_NUMBERS, (token) => (LONG_INTEGER.test(token) ? `"${token}"` : token));

function emailOf(line: Row): EmailRecord {
  const enveloped = Object.hasOwn(line, 'properties') || Object.hasOwn(line, 'category');
  if (!enveloped) return recordOf(line, {});
  const category = text(line, 'category');
  if (category !== CATEGORY) {
    throw new Refusal(`category: ${quoted(category)} is not read; expected ${CATEGORY}`);
  }
  return recordOf(asObject(line['properties'], 'properties'), line);
}

function recordOf(row: Row, envelope: Row): EmailRecord {
  const deliveryAction = text(row, 'DeliveryAction');
  const deliveryLocation = location(row, 'DeliveryLocation');
  return {
    networkMessageId: messageId(row, 'NetworkMessageId'),
    internetMessageId: text(row, 'InternetMessageId'),
    recipientEmailAddress: address(row, 'RecipientEmailAddress', MAILBOX_ADDRESS),
    senderFromAddress: address(row, 'SenderFromAddress', CLAIMED_ADDRESS),
    senderDisplayName: text(row, 'SenderDisplayName'),
    senderMailFromAddress: text(row, 'SenderMailFromAddress'),
    senderIp: text(row, 'SenderIPv4') || text(row, 'SenderIPv6'),
    subject: text(row, 'Subject'),
    direction: direction(row, 'EmailDirection'),
    deliveryAction,
    deliveryLocation,
    latestDeliveryAction: text(row, 'LatestDeliveryAction') || deliveryAction,
    latestDeliveryLocation:
      text(row, 'LatestDeliveryLocation') === '' ? deliveryLocation : location(row, 'LatestDeliveryLocation'),
    receivedAt: text(row, 'Timestamp') === '' ? instant(envelope, 'time') : instant(row, 'Timestamp'),
    threatTypes: text(row, 'ThreatTypes'),
    detectionMethods: text(row, 'DetectionMethods'),
    confidenceLevel: details(row, 'ConfidenceLevel'),
    authenticationDetails: details(row, 'AuthenticationDetails'),
    emailClusterId: integer(row, 'EmailClusterId'),
    reportId: textOrNumber(row, 'ReportId'),
    tenantIdOfSource: text(envelope, 'tenantId'),
  };
}

/** Missing and null are `''`. */
function text(row: Row, column: string): string {
  const value = cell(row, column);
  if (value === undefined) return '';
  if (typeof value !== 'string') throw new Refusal(`${column}: must be a text`);
  return storable(value, column);
}

function cell(row: Row, column: string): unknown {
  return Object.hasOwn(row, column) ? (row[column] ?? undefined) : undefined;
}

/** No store keeps these two as they are: NUL ends a text for some, and a lone surrogate has no UTF-8. */
function storable(value: string, column: string): string {
  if (value.includes('\0')) throw new Refusal(`${column}: has a NUL character`);
  if (/\p{Surrogate}/u.test(value)) throw new Refusal(`${column}: has a lone surrogate`);
  return value;
}

function required(row: Row, column: string): string {
  const value = text(row, column).trim();
  if (value === '') throw new Refusal(`${column}: missing`);
  return value;
}

/** Columns of Kusto's type `dynamic`: a text of JSON in the streaming API, an object in some exports. */
function details(row: Row, column: string): string {
  const value = cell(row, column);
  return typeof value === 'object' ? storable(JSON.stringify(value), column) : text(row, column);
}

function textOrNumber(row: Row, column: string): string {
  const value = cell(row, column);
  if (typeof value !== 'number') return text(row, column);
  // What is left as a number and is not safe was written as a fraction or with an exponent: digits are lost.
  if (!Number.isSafeInteger(value)) throw new Refusal(`${column}: must be a whole number, written in full`);
  return String(value);
}

function integer(row: Row, column: string): string {
  const value = textOrNumber(row, column);
  if (!/^(?:-?\d{1,20})?$/.test(value)) {
    throw new Refusal(`${column}: must be a whole number of at most 20 digits`);
  }
  return value;
}

function messageId(row: Row, column: string): string {
  const value = required(row, column).toLowerCase();
  if (!/^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/.test(value)) {
    throw new Refusal(`${column}: must be a GUID such as 73ca4154-58d8-43d0-a890-08dc18c52e6d`);
  }
  return value;
}

const MAILBOX_ADDRESS = /^[^\s\p{Cc}]+@[^\s\p{Cc}@]+$/u;

/** Phishing comes with sender's addresses that break the rules, for instance with spaces; it is remediable all the same. */
const CLAIMED_ADDRESS = /^[^\p{Cc}]+@[^\p{Cc}]+$/u;

function address(row: Row, column: string, plausible: RegExp): string {
  const value = required(row, column).toLowerCase();
  if (value.length > MAX_ADDRESS_LENGTH) {
    throw new Refusal(`${column}: longer than ${MAX_ADDRESS_LENGTH} characters`);
  }
  if (!plausible.test(value)) throw new Refusal(`${column}: not an email address`);
  return value;
}

/** Mail of unknown direction is taken: its recipients' copies are remediable all the same. */
function direction(row: Row, column: string): EmailDirection {
  const value = text(row, column).trim();
  if (value === '') return 'unknown';
  return parseDirection(value) ?? refuseValue(column, value, ALLOWED_DIRECTIONS);
}

function location(row: Row, column: string): DeliveryLocation {
  const value = required(row, column);
  return parseDeliveryLocation(value) ?? refuseValue(column, value, ALLOWED_LOCATIONS);
}

function refuseValue(column: string, value: string, allowed: string): never {
  throw new Refusal(`${column}: ${quoted(value)} is not known; allowed are ${allowed}`);
}

const MAX_QUOTED = 60;

const quoted = (value: string): string =>
  value.length > MAX_QUOTED ? `${JSON.stringify(value.slice(0, MAX_QUOTED))}…` : JSON.stringify(value);

/** Kusto's times are in UTC and have up to seven decimals; the zone is left out in some exports. */
const DATE_TIME = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)(Z|[+-]\d{2}:\d{2})?$/i;

function instant(row: Row, column: string): string {
  const [, day = '', time = '', zone = 'Z'] = DATE_TIME.exec(required(row, column)) ?? [];
  const date = new Date(`${day}T${time}${zone.toUpperCase()}`);
  // Date takes 30 February for 2 March, and years outside of 0 to 9999 would not sort as text.
  if (Number.isNaN(date.getTime()) || !isDay(day) || date.toISOString().length !== 24) {
    throw new Refusal(`${column}: must be a date and time such as 2026-03-02T08:15:00Z`);
  }
  return date.toISOString();
}

const isDay = (day: string): boolean => new Date(`${day}T00:00:00Z`).toISOString().startsWith(day);
