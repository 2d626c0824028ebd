import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import {
  copiesOf,
  emailKey,
  parseEmailLine,
  sampleLines,
  type EmailRecord,
  type PlacedCopy,
  type SampleOptions,
} from '#libs/mail-catalog';
import { Folders, type Folder } from '#libs/mailbox';
import { copyKeyOf, type Outcome } from '#libs/remediation';

/** The root of this project; suites are run from anywhere. */
export const PROJECT_ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Where real mail events are, when there are any. */
export const REAL_INPUT_FILE = resolve(
  PROJECT_ROOT,
  process.env.CLAWBACK_REAL_INPUT ?? '../shared/data/email-events.ndjson.gz',
);

export const hasRealInput = (): boolean => existsSync(REAL_INPUT_FILE);

/** A copy that an email placed in a mailbox. */
export interface ExpectedCopy extends PlacedCopy {
  readonly networkMessageId: string;
}

/** A file of mail events, and what has to come of it by the rules of the product. */
export class MailInput {
  readonly emails: ReadonlyMap<string, EmailRecord>;
  /** The subject of each message as the file has it, read without the product's own parser. */
  readonly subjects: ReadonlyMap<string, string>;
  /** Every copy that there is in a mailbox, by its key. */
  readonly copies: ReadonlyMap<string, ExpectedCopy>;

  private constructor(
    readonly name: string,
    /** NDJSON, compressed. */
    readonly gzip: Uint8Array,
  ) {
    const lines = gunzipSync(gzip).toString('utf8').trimEnd().split('\n');
    this.emails = new Map(lines.map(recordOf).map((email) => [keyOf(email), email]));
    this.subjects = new Map(lines.map(subjectOf));
    this.copies = new Map([...this.emails.values()].flatMap(expectedCopies));
  }

  static async real(): Promise<MailInput> {
    return new MailInput(REAL_INPUT_FILE, await readFile(REAL_INPUT_FILE));
  }

  static generated(options: SampleOptions): MailInput {
    const text = [...sampleLines(options)].join('');
    return new MailInput(`generated mail, seed ${options.seed}`, gzipSync(text));
  }

  /** What a soft delete of everything with the senders' copies comes to, by kind of copy. */
  softDeleted(): Record<'recipientCopies' | 'sendersCopies', Partial<Record<Outcome, number>>> {
    const copies = [...this.copies.values()];
    const ofKind = (kind: PlacedCopy['kind']) => {
      const all = copies.filter((copy) => copy.kind === kind);
      const there = all.filter(({ folder }) => folder === Folders.recoverableDeletions).length;
      return { succeeded: all.length - there, alreadyInDestination: there };
    };
    const recipientCopies = ofKind('recipient');
    const held = recipientCopies.succeeded + recipientCopies.alreadyInDestination;
    return {
      recipientCopies: { ...recipientCopies, nonRemediable: this.emails.size - held },
      sendersCopies: ofKind('sender'),
    };
  }

  /** The folder of every copy as it was delivered. */
  delivered(): ReadonlyMap<string, Folder> {
    return new Map([...this.copies].map(([key, { folder }]) => [key, folder]));
  }
}

const keyOf = (email: EmailRecord): string => emailKey(email.networkMessageId, email.recipientEmailAddress);

function recordOf(line: string): EmailRecord {
  const parsed = parseEmailLine(line);
  if (!parsed.ok) throw new Error(`the input has a line that is no email: ${parsed.reason}`);
  return parsed.record;
}

function subjectOf(line: string): [string, string] {
  const { properties } = JSON.parse(line) as { properties: { NetworkMessageId: string; Subject: string } };
  return [properties.NetworkMessageId.toLowerCase(), properties.Subject];
}

const expectedCopies = (email: EmailRecord): [string, ExpectedCopy][] =>
  copiesOf(email).map((placed) => {
    const copy = { ...placed, networkMessageId: email.networkMessageId };
    return [copyKeyOf(copy), copy];
  });
