import { idFrom, sha256 } from '#libs/kernel';

export interface SampleOptions {
  /** How many messages; there are about four and a half emails to a message. */
  readonly messages: number;
  /** The same seed gives the same emails. */
  readonly seed: string | number;
}

/** The made-up organisation of the sample, and its tenant id. */
export const SAMPLE_DOMAIN = 'fabrikam.example';
export const SAMPLE_TENANT = '5f0c1d7e-2b34-4c8a-9a61-fab21ca70001';

/**
 * The mail of a made-up organisation as Defender's streaming API writes it: one envelope an email, in the order of time.
 * Of ten messages five are inbound, three are between colleagues, two go out. Any number of them in constant memory.
 */
export function* sampleEmails(options: SampleOptions): Generator<object, void, undefined> {
  for (let index = 0; index < options.messages; index += 1) yield* emailsOf(sampleMessage(options, index));
}

/** The same as lines of NDJSON, each with its line end. */
export function* sampleLines(options: SampleOptions): Generator<string, void, undefined> {
  for (const email of sampleEmails(options)) yield `${JSON.stringify(email)}\n`;
}

type Direction = 'Inbound' | 'Intra-org' | 'Outbound';
type OneOrMore<T> = readonly [T, ...T[]];

interface Sender {
  readonly name: string;
  readonly from: string;
  readonly mailFrom: string;
}

interface Message {
  readonly id: string;
  readonly time: string;
  readonly direction: Direction;
  readonly sender: Sender;
  readonly senderIp: string;
  readonly subject: string;
  readonly threats: string;
  readonly authentication: string;
  readonly clusterId: string;
  readonly recipients: readonly { readonly address: string; readonly delivery: Delivery }[];
}

interface Delivery {
  readonly action: string;
  readonly location: string;
  /** Where something has moved it since. */
  readonly latest?: { readonly action: string; readonly location: string };
}

const DIRECTIONS: OneOrMore<Direction> = [
  'Inbound',
  'Intra-org',
  'Inbound',
  'Outbound',
  'Inbound',
  'Intra-org',
  'Inbound',
  'Intra-org',
  'Outbound',
  'Inbound',
];

/** Each with how often it comes in a hundred. */
const INSIDE: readonly (readonly [number, Delivery])[] = [
  [44, { action: 'Delivered', location: 'Inbox/folder' }],
  [14, { action: 'Junked', location: 'Junk' }],
  [9, { action: 'Delivered', location: 'Deleted items' }],
  [11, { action: 'Blocked', location: 'Quarantine' }],
  [6, { action: 'Blocked', location: 'Failed' }],
  [4, { action: 'Blocked', location: 'Dropped' }],
  [2, { action: 'Delivered', location: 'On-premises/External' }],
  [2, { action: 'Delivered', location: 'Unknown' }],
  [3, movedTo('Moved to junk folder', 'Junk')],
  [2, movedTo('Quarantine', 'Quarantine')],
  [3, movedTo('Soft delete', 'Recoverable Items/Deletions')],
];

const OUTSIDE: readonly (readonly [number, Delivery])[] = [
  [92, { action: 'Delivered', location: 'On-premises/External' }],
  [8, { action: 'Blocked', location: 'Failed' }],
];

function movedTo(action: string, location: string): Delivery {
  return { action: 'Delivered', location: 'Inbox/folder', latest: { action, location } };
}

const OUTSIDERS: OneOrMore<Sender> = [
  {
    name: 'Fabrikam Service Desk',
    from: 'desk@fabrikam-login.example',
    mailFrom: 'bounce@fabrikam-login.example',
  },
  {
    name: 'Paket-Zentrale «Nord»',
    from: 'zustellung@paketzentrale.example',
    mailFrom: 'x81@relay-farm.example',
  },
  {
    name: 'Лотерея "Большой приз"',
    from: 'prize@loteria-win.example',
    mailFrom: 'prize@loteria-win.example',
  },
  { name: '銀行安全通知', from: 'no-reply@ginko-anzen.example', mailFrom: 'm.0039@ginko-anzen.example' },
  { name: 'Rewards, Inc. 🎁', from: 'rewards@gift-4-you.example', mailFrom: 'list+7@gift-4-you.example' },
  { name: '', from: "o'hara@invoices-24.example", mailFrom: '' },
];

const LURES: OneOrMore<string> = [
  'Your mailbox is 98% full: confirm now to keep receiving mail',
  '=HYPERLINK("https://claim.gift-4-you.example","Open your voucher")',
  '+1 missed voice message (00:37)',
  '-50% on your overdue invoice, today only',
  '@everyone: new holiday calendar attached',
  '📦 Ihr Paket wartet: Zollgebühr 1,99 € offen',
  'Ваш счёт заблокирован — подтвердите личность',
  '【重要】お支払い方法の確認をお願いします',
  'تنبيه: سيتم إيقاف حسابك خلال ٢٤ ساعة',
  'אימות חשבון נדרש עוד היום',
  'आपका खाता बंद होने वाला है',
  'บัญชีของคุณถูกระงับชั่วคราว',
  'Η πληρωμή σας απορρίφθηκε; ελέγξτε τα στοιχεία',
  '🎉🎁 You won!!! 👩‍👩‍👧 Family pack inside',
  'Re: "Q3 figures", final, FINAL version',
  "Don't ignore: payroll's new portal, sign in first",
  'Tab\there, and a comma, and a "quote"',
  '<b>Security alert</b> &amp; sign-in from a new device',
  'Cafe\u0301 loyalty card: 2 stamps left',
  '  spaces before and after  ',
  '',
];

const FIRST_NAMES: OneOrMore<string> = [
  'Ada',
  'Bram',
  'Chiara',
  'Dmitri',
  'Elif',
  'Farid',
  'Greta',
  'Hana',
  'Ivo',
  'Jun',
  'Kofi',
  'Lena',
  'Mateo',
  'Noor',
  'Oskar',
  'Priya',
  'Quinn',
  'Rosa',
  'Sven',
  'Tove',
];

const LAST_NAMES: OneOrMore<string> = [
  'Abels',
  'Brandt',
  'Castro',
  'Dahl',
  'Eriksen',
  'Fischer',
  'Goto',
  'Haddad',
  'Ibsen',
  'Jansen',
  'Kaya',
  'Lindqvist',
  'Moreau',
  'Nakata',
  "O'Neil",
  'Petrov',
  'Rossi',
  'Silva',
  'Toth',
  'Weber',
];

const PARTNERS: OneOrMore<string> = ['adatum.example', 'litware.example', 'northwind.example'];

const FIRST_DAY = Date.parse('2026-11-02T06:00:00Z');
const PERIOD_MS = 14 * 24 * 60 * 60 * 1000;

/** The more mail, the more mailboxes: otherwise a large sample would be many mails to few people. */
const mailboxes = (messages: number): number => Math.max(40, messages * 3);

function sampleMessage({ messages, seed }: SampleOptions, index: number): Message {
  const dice = new Dice(`${seed}/${index}`);
  const direction = DIRECTIONS[index % DIRECTIONS.length] ?? 'Inbound';
  const people = mailboxes(messages);
  const inbound = direction === 'Inbound';
  return {
    id: idFrom('sample message', String(seed), String(index)),
    time: new Date(FIRST_DAY + Math.floor((PERIOD_MS * index) / messages)).toISOString(),
    direction,
    sender: inbound ? dice.pick(OUTSIDERS) : colleague(dice.below(people)),
    senderIp: inbound ? `203.0.113.${1 + dice.below(254)}` : `198.51.100.${1 + dice.below(254)}`,
    // The first messages go through all lures, so that a small sample has each of them.
    subject: LURES[index] ?? dice.pick(LURES),
    threats: dice.pick(['Phish', 'Phish', 'Phish, Malware', 'Spam', '']),
    authentication: inbound
      ? `{"SPF":"${dice.pick(['fail', 'pass', 'none'])}","DKIM":"none","DMARC":"fail"}`
      : '{"SPF":"pass","DKIM":"pass","DMARC":"pass"}',
    clusterId: String(BigInt(`0x${sha256(`cluster ${seed}/${index}`).slice(0, 15)}`)),
    recipients: recipientsOf(direction, dice, people),
  };
}

function recipientsOf(direction: Direction, dice: Dice, people: number): Message['recipients'] {
  const outbound = direction === 'Outbound';
  const domain = outbound ? dice.pick(PARTNERS) : SAMPLE_DOMAIN;
  return dice.distinct(recipientCount(dice), people).map((person) => ({
    address: addressOf(person, domain),
    delivery: dice.weighted(outbound ? OUTSIDE : INSIDE),
  }));
}

/** From 1 to 12; few recipients are more common than many. */
const recipientCount = (dice: Dice): number => 1 + Math.min(dice.below(12), dice.below(12));

function colleague(person: number): Sender {
  const address = addressOf(person, SAMPLE_DOMAIN);
  return { name: nameOf(person).join(' '), from: address, mailFrom: address };
}

function addressOf(person: number, domain: string): string {
  const namesakes = Math.floor(person / (FIRST_NAMES.length * LAST_NAMES.length));
  const local = nameOf(person).join('.').toLowerCase();
  return `${local}${namesakes === 0 ? '' : String(namesakes + 1)}@${domain}`;
}

function nameOf(person: number): [string, string] {
  const first = FIRST_NAMES[person % FIRST_NAMES.length] ?? FIRST_NAMES[0];
  const last = LAST_NAMES[Math.floor(person / FIRST_NAMES.length) % LAST_NAMES.length] ?? LAST_NAMES[0];
  return [first, last];
}

function* emailsOf(message: Message): Generator<object, void, undefined> {
  for (const [index, { address, delivery }] of message.recipients.entries()) {
    const latest = delivery.latest ?? delivery;
    yield {
      time: message.time,
      tenantId: SAMPLE_TENANT,
      operationName: 'Publish',
      category: 'AdvancedHunting-EmailEvents',
      properties: {
        Timestamp: message.time,
        NetworkMessageId: message.id,
        InternetMessageId: `<${message.id.slice(0, 18)}@${domainOf(message.sender.from)}>`,
        SenderMailFromAddress: message.sender.mailFrom,
        SenderFromAddress: message.sender.from,
        SenderDisplayName: message.sender.name,
        SenderFromDomain: domainOf(message.sender.from),
        SenderIPv4: message.senderIp,
        RecipientEmailAddress: address,
        Subject: message.subject,
        EmailDirection: message.direction,
        DeliveryAction: delivery.action,
        DeliveryLocation: delivery.location,
        LatestDeliveryAction: latest.action,
        LatestDeliveryLocation: latest.location,
        ThreatTypes: message.threats,
        ConfidenceLevel: message.threats.startsWith('Phish') ? '{"Phish":"High"}' : '',
        AuthenticationDetails: message.authentication,
        EmailClusterId: message.clusterId,
        ReportId: `${message.id}-${message.clusterId}-${index + 1}`,
      },
    };
  }
}

const domainOf = (address: string): string => address.slice(address.lastIndexOf('@') + 1);

/** Numbers that look random and are the same for the same seed, on every machine (a 32-bit xorshift). */
class Dice {
  private state: number;

  constructor(seed: string) {
    // Zero is the one state that such a generator never leaves.
    this.state = Number.parseInt(sha256(seed).slice(0, 8), 16) || 1;
  }

  /** From 0 to `limit` - 1. */
  below(limit: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return Math.floor(((this.state >>> 0) / 2 ** 32) * limit);
  }

  pick<T>(items: OneOrMore<T>): T {
    return items[this.below(items.length)] ?? items[0];
  }

  /** `count` different numbers below `limit`. */
  distinct(count: number, limit: number): number[] {
    const found = new Set<number>();
    while (found.size < count) found.add(this.below(limit));
    return [...found];
  }

  weighted<T>(choices: readonly (readonly [number, T])[]): T {
    let roll = this.below(choices.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, choice] of choices) {
      roll -= weight;
      if (roll < 0) return choice;
    }
    throw new Error('no choices');
  }
}
