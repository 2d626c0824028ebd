import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { Command } from 'commander';
import type { FieldProblem } from '#libs/kernel';
import { DIRECTIONS, LOCATIONS, type EmailFilter, type EmailRef, type Selection } from './api.js';
import type { Io } from './context.js';
import { usageError } from './failure.js';
import { choice, instant } from './options.js';

/** The options that filter emails, as commander names them. */
export interface FilterOptions {
  readonly sender?: string;
  readonly recipient?: string;
  readonly subject?: string;
  readonly direction?: string;
  readonly location?: string;
  readonly start?: string;
  readonly end?: string;
  readonly networkMessageId?: string;
  readonly internetMessageId?: string;
  readonly cluster?: string;
}

export const addFilterOptions = (command: Command): Command =>
  command
    .option('--sender <address>', 'exact address of the sender')
    .option('--recipient <address>', 'exact address of the recipient')
    .option('--subject <text>', 'a part of the subject; case does not matter')
    .addOption(choice('--direction <direction>', 'which way the message went', DIRECTIONS))
    .addOption(choice('--location <location>', "where the recipient's copy is by now", LOCATIONS))
    .option('--start <time>', 'received at or after this time (ISO 8601, UTC by default)', instant)
    .option('--end <time>', 'received before this time', instant)
    .option('--network-message-id <id>', 'one message')
    .option('--internet-message-id <id>', 'the Message-ID header, with its angle brackets')
    .option('--cluster <id>', 'the email cluster');

/** The filter that the options make; without any, an empty one. */
export function filterOf(options: FilterOptions): EmailFilter {
  const { start, end, cluster } = options;
  const { sender, recipient, subject, direction, location, networkMessageId, internetMessageId } = options;
  const filter = {
    ...{ sender, recipient, subject, direction, location, networkMessageId, internetMessageId },
    ...{ startTime: start, endTime: end, clusterId: cluster },
  };
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}

export interface SelectionOptions extends FilterOptions {
  readonly all?: boolean;
  readonly emails?: string;
  readonly excluding?: string;
}

export const addSelectionOptions = (command: Command): Command =>
  addFilterOptions(
    command
      .option('--all', 'every email of the catalogue')
      .option('--emails <file>', 'the emails that a file lists; - for stdin')
      .option('--excluding <file>', 'take the emails out that a file lists; not with --emails'),
  );

/** For `--help`. */
export const EMAIL_FILE_HELP = `A file of emails holds lines "networkMessageId,recipient", or JSON: an array or a line each of
{"networkMessageId": "...", "recipientEmailAddress": "..."}.`;

/** @throws {CliFailure} of usage when nothing, or two things at once, are selected; or when a file is wrong */
export async function selectionOf(options: SelectionOptions, io: Io): Promise<Selection> {
  const query = filterOf(options);
  const filtered = Object.keys(query).length > 0;
  const ways = [options.all === true, filtered, options.emails !== undefined].filter(Boolean).length;
  if (ways === 0)
    throw usageError(
      'select emails: with filters such as --sender, with --emails FILE, with --hunting FILE, or --all',
    );
  if (ways > 1) throw usageError('--all, filters and --emails exclude each other');
  if (options.emails !== undefined) {
    if (options.excluding !== undefined) throw usageError('--excluding is for --all and filters only');
    return { emails: await readEmailFile(options.emails, io) };
  }
  if (options.excluding === undefined) return { query };
  return { query, excluding: await readEmailFile(options.excluding, io) };
}

/** @param file a path, or `-` for stdin */
export async function readEmailFile(file: string, io: Io): Promise<EmailRef[]> {
  const text = file === '-' ? await buffer(io.stdin) : await readFile(resolve(io.cwd, file));
  return parseEmails(text.toString('utf8'), file);
}

const GUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;
const MAX_PROBLEMS = 20;

/**
 * Reads a list of emails; see {@link EMAIL_FILE_HELP}. Names of members and columns may have Defender's capitals.
 * @throws {CliFailure} of usage that names each wrong line
 */
export function parseEmails(text: string, file: string): EmailRef[] {
  const problems: FieldProblem[] = [];
  const emails: EmailRef[] = [];
  for (const { place, email } of entriesOf(text.replace(/^\uFEFF/, ''), file)) {
    if (typeof email === 'string') problems.push({ field: place, problem: email });
    else emails.push(email);
  }
  if (problems.length > 0) {
    const more = problems.length - MAX_PROBLEMS;
    const shown = problems.slice(0, MAX_PROBLEMS);
    if (more > 0) shown.push({ field: '...', problem: `${more} more` });
    throw usageError(`the file ${file} does not list emails`, shown);
  }
  if (emails.length === 0) throw usageError(`the file ${file} lists no emails`);
  return emails;
}

interface Entry {
  readonly place: string;
  /** The email, or what is wrong with it. */
  readonly email: EmailRef | string;
}

function entriesOf(text: string, file: string): Entry[] {
  if (text.trimStart().startsWith('[')) {
    return arrayIn(text, file).map((item, index) => ({ place: `[${index}]`, email: emailOfObject(item) }));
  }
  return text
    .split(/\r?\n/)
    .map((line, index) => ({ line: line.trim(), place: `line ${index + 1}` }))
    .filter(({ line, place }) => line !== '' && !(place === 'line 1' && HEADER.test(line)))
    .map(({ line, place }) => ({
      place,
      email: line.startsWith('{') ? emailOfJson(line) : emailOfLine(line),
    }));
}

const HEADER = /^"?NetworkMessageId"?\s*,/i;

function arrayIn(text: string, file: string): unknown[] {
  try {
    return JSON.parse(text) as unknown[];
  } catch {
    throw usageError(`the file ${file} begins like a JSON array and is none`);
  }
}

function emailOfJson(line: string): EmailRef | string {
  try {
    return emailOfObject(JSON.parse(line));
  } catch {
    return 'not JSON';
  }
}

function emailOfObject(value: unknown): EmailRef | string {
  if (typeof value !== 'object' || value === null) return 'not an object';
  const members = new Map(
    Object.entries(value).map(([name, member]) => [name.toLowerCase(), member as unknown]),
  );
  return emailOfParts(members.get('networkmessageid'), members.get('recipientemailaddress'));
}

function emailOfLine(line: string): EmailRef | string {
  const comma = line.indexOf(',');
  if (comma < 0) return 'expected networkMessageId,recipient';
  return emailOfParts(unquoted(line.slice(0, comma)), unquoted(line.slice(comma + 1)));
}

const unquoted = (cell: string): string => cell.trim().replace(/^"(.*)"$/, '$1');

function emailOfParts(networkMessageId: unknown, recipient: unknown): EmailRef | string {
  if (typeof networkMessageId !== 'string' || !GUID.test(networkMessageId)) {
    return 'networkMessageId must be a GUID';
  }
  if (typeof recipient !== 'string' || !/^\S+@[^\s@,]+$/.test(recipient)) {
    return 'the recipient must be an email address';
  }
  return { networkMessageId, recipientEmailAddress: recipient };
}
