import { ClawbackError } from '#libs/kernel';
import type { EmailFilter } from '#libs/remediation';
import { NETWORK_MESSAGE_ID, STORABLE } from '../http/fields.js';

/** The properties that `$filter` may name, and which filter of the catalogue each is. */
const PROPERTIES = { networkMessageId: 'networkMessageId', recipientEmailAddress: 'recipient' } as const;
type Property = keyof typeof PROPERTIES;

type Comparison = readonly [property: Property, literal: string];

const SUPPORTED =
  "supported are networkMessageId eq '...' and recipientEmailAddress eq '...', either alone or both with and between them";

/** A quote inside a literal is doubled. */
const TOKEN = /\s*(?:(?<word>[A-Za-z][\w./]*)|'(?<literal>(?:[^']|'')*)'|(?<sign>[()]))/y;

type Token =
  | { readonly kind: 'word'; readonly text: string }
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'sign'; readonly text: string };

/**
 * Reads a `$filter` of analyzedEmails:
 *
 *     filter     = operand *( "and" operand )
 *     operand    = property "eq" literal | "(" filter ")"
 *
 * @throws {ClawbackError} `invalidQueryOption` that says what is supported
 */
export function parseFilter(text: string): Pick<EmailFilter, 'networkMessageId' | 'recipient'> {
  const filter: { networkMessageId?: string; recipient?: string } = {};
  for (const [property, literal] of new Parser(tokensOf(text)).read()) {
    const name = PROPERTIES[property];
    if (filter[name] !== undefined) throw refusal(`names ${property} twice`);
    if (name === 'networkMessageId' && !NETWORK_MESSAGE_ID.regex.test(literal)) {
      throw refusal('compares networkMessageId with something else than a GUID');
    }
    if (literal === '' || literal.length > 320 || !STORABLE.test(literal)) {
      throw refusal(`compares ${property} with something that is no address`);
    }
    filter[name] = literal.toLowerCase();
  }
  return filter;
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  const end = text.trimEnd().length;
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < end) {
    const at = TOKEN.lastIndex;
    const { word, literal, sign } = TOKEN.exec(text)?.groups ?? {};
    if (word !== undefined) tokens.push({ kind: 'word', text: word });
    else if (literal !== undefined) tokens.push({ kind: 'literal', text: literal.replaceAll("''", "'") });
    else if (sign !== undefined) tokens.push({ kind: 'sign', text: sign });
    else throw refusal(`cannot be read from character ${String(at + 1)} on`);
  }
  return tokens;
}

/** Parentheses may be nested so deep. */
const MAX_DEPTH = 20;

class Parser {
  private at = 0;

  constructor(private readonly tokens: readonly Token[]) {}

  read(): Comparison[] {
    const comparisons = this.filter(0);
    if (this.at < this.tokens.length) throw this.unexpected('and');
    return comparisons;
  }

  private filter(depth: number): Comparison[] {
    if (depth > MAX_DEPTH) throw refusal('is nested too deep');
    const comparisons = this.operand(depth);
    while (this.take('word', 'and')) comparisons.push(...this.operand(depth));
    return comparisons;
  }

  private operand(depth: number): Comparison[] {
    if (this.take('sign', '(')) {
      const comparisons = this.filter(depth + 1);
      if (!this.take('sign', ')')) throw this.unexpected('a closing parenthesis');
      return comparisons;
    }
    return [this.comparison()];
  }

  private comparison(): Comparison {
    const property = this.tokens[this.at];
    if (property?.kind !== 'word' || !isProperty(property.text)) throw this.unexpected('a property');
    this.at += 1;
    if (!this.take('word', 'eq')) throw this.unexpected('eq');
    const literal = this.tokens[this.at];
    if (literal?.kind !== 'literal') throw this.unexpected('a text in single quotes');
    this.at += 1;
    return [property.text, literal.text];
  }

  private take(kind: Token['kind'], text: string): boolean {
    const token = this.tokens[this.at];
    const taken = token?.kind === kind && token.text === text;
    if (taken) this.at += 1;
    return taken;
  }

  /** Says where it is by the kind of token only: a literal may be an address. */
  private unexpected(expected: string): ClawbackError {
    const token = this.tokens[this.at];
    const found = token === undefined ? 'its end' : token.kind === 'literal' ? 'a text' : `"${token.text}"`;
    return refusal(`has ${found.slice(0, 60)} where ${expected} is expected`);
  }
}

const isProperty = (text: string): text is Property => Object.hasOwn(PROPERTIES, text);

const refusal = (problem: string): ClawbackError =>
  new ClawbackError('invalid', 'invalidQueryOption', `$filter: ${problem}; ${SUPPORTED}`, {
    errors: [{ field: '$filter', problem }],
  });
