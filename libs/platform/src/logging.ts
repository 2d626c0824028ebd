import { format } from 'node:util';
import type { LoggerService } from '@nestjs/common';
import { type DestinationStream, type Level, type Logger, pino } from 'pino';
import type { Config } from './config.js';
import { isError } from './is-error.js';

const STDERR = 2;
const MAX_DEPTH = 4;

/** Members whose text is never written, wherever they are: credentials, and who wrote what to whom. */
const PRIVATE = /authori[sz]ation|token|secret|password|cookie|subject|address|mailbox|recipient|sender/i;

/**
 * JSON lines on stderr at the configured level. Whatever it is given, credentials, subjects and addresses stay out.
 * @param stream where to write instead, for tests
 */
export function createLogger(config: Pick<Config, 'log'>, stream?: DestinationStream): JsonLogger {
  const options = {
    level: config.log.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    // Errors come here as plain objects already; pino's own serializer would merge their causes.
    serializers: { err: (error: unknown) => error },
  };
  return new JsonLogger(pino(options, stream ?? pino.destination({ fd: STDERR, sync: true })));
}

/** Parts of Nest that list every route and module at each start. */
const NOISY: ReadonlySet<unknown> = new Set([
  'RoutesResolver',
  'RouterExplorer',
  'InstanceLoader',
  'NestFactory',
]);

/**
 * Nest's logger by pino. Takes what Nest gives (`message, ...details, context`): texts, errors and objects of fields;
 * a last text is the context, an earlier one that looks like it is a stack.
 */
export class JsonLogger implements LoggerService {
  constructor(private readonly pino: Logger) {}

  log(message: unknown, ...rest: unknown[]): void {
    this.write(NOISY.has(rest.at(-1)) ? 'debug' : 'info', message, rest);
  }

  error(message: unknown, ...rest: unknown[]): void {
    this.write('error', message, rest);
  }

  warn(message: unknown, ...rest: unknown[]): void {
    this.write('warn', message, rest);
  }

  debug(message: unknown, ...rest: unknown[]): void {
    this.write('debug', message, rest);
  }

  verbose(message: unknown, ...rest: unknown[]): void {
    this.write('trace', message, rest);
  }

  fatal(message: unknown, ...rest: unknown[]): void {
    this.write('fatal', message, rest);
  }

  private write(level: Level, message: unknown, rest: readonly unknown[]): void {
    if (!this.pino.isLevelEnabled(level)) return;
    const { msg, ...fields } = entry(message, rest);
    this.pino[level](fields, msg);
  }
}

interface Entry extends Record<string, unknown> {
  msg?: string;
}

function entry(message: unknown, rest: readonly unknown[]): Entry {
  const texts = rest.filter((part) => typeof part === 'string');
  const stack = texts.find((text) => /\n\s+at /.test(text));
  const context = texts.filter((text) => text !== stack).at(-1);
  const fields: Entry = {};
  for (const part of [message, ...rest.filter((part) => typeof part !== 'string')]) {
    if (isError(part)) fields['err'] = withoutSecrets(part);
    else if (typeof part === 'object' && part !== null) Object.assign(fields, withoutSecrets(part));
    else if (part !== undefined) fields.msg = scrub(format('%s', part));
  }
  if (stack !== undefined) fields['stack'] = scrub(stack);
  if (context !== undefined) fields['context'] = scrub(context);
  return fields;
}

/** Starts where a word starts, so that a long text is read once; the folders of scoped packages are no addresses. */
const ADDRESS =
  /(?<![^\s@<>(),;:[\]])[^\s@<>(),;:[\]]+(?<!node_modules\/)@(?:[\p{L}\p{N}.-]+|\[[^\]\s]*\])/gu;

/** A text without anything that looks like an address or a token. Takes time in proportion to the text. */
export const scrub = (text: string): string =>
  text
    .replace(/\bbearer\s+[\w.~+/=-]+/gi, '[token]')
    .replace(/(?<![\w-])eyJ[\w-]*\.[\w.-]*/g, '[token]')
    .replace(ADDRESS, '[address]');

function withoutSecrets(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return scrub(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) return '[too deep]';
  const inner = (part: unknown) => withoutSecrets(part, depth + 1);
  if (value instanceof Date) return value;
  if (Array.isArray(value)) return value.map(inner);
  return Object.fromEntries(
    Object.entries(isError(value) ? membersOf(value) : value).map(([key, part]: [string, unknown]) => [
      scrub(key),
      PRIVATE.test(key) && !isHarmless(part) ? '[private]' : inner(part),
    ]),
  );
}

const isHarmless = (value: unknown): boolean =>
  value === null || ['number', 'boolean', 'undefined'].includes(typeof value);

const membersOf = (error: Error): Record<string, unknown> => ({
  ...Object.fromEntries(Object.entries(error)),
  type: error.name,
  message: error.message,
  stack: error.stack,
  cause: error.cause,
});
