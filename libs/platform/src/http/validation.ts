import { type ArgumentMetadata, ValidationPipe } from '@nestjs/common';
import type { ValidationError } from 'class-validator';
import { type ClawbackError, type FieldProblem, invalidInput } from '#libs/kernel';

const MAX_PROBLEMS = 100;
/** Levels of objects and lists in a body; far more than any route has, far fewer than fill the call stack. */
const MAX_DEPTH = 20;
const MAX_FIELD_LENGTH = 200;

/**
 * Checks every DTO: unknown fields are refused, values become instances of the DTO's class. Wrong input gives a
 * ClawbackError 'invalid' `invalidInput` with one problem per field and rule (the first 100), each under its full path.
 */
export const validationPipe = (): ValidationPipe =>
  new BoundedValidationPipe({
    whitelist: true,
    forbidNonWhitelisted: true,
    transform: true,
    validationError: { target: false, value: false },
    exceptionFactory: toClawbackError,
  });

/** Transforming and checking recurse: a body that is nested without end is refused before. */
class BoundedValidationPipe extends ValidationPipe {
  override transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    if (metadata.type === 'body' && isDeeperThan(value, MAX_DEPTH)) {
      throw invalidInput([
        { field: 'body', problem: `must not be nested more than ${MAX_DEPTH} levels deep` },
      ]);
    }
    return super.transform(value, metadata);
  }
}

const isDeeperThan = (value: unknown, levels: number): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (levels === 0 || Object.values(value).some((inner) => isDeeperThan(inner, levels - 1)));

function toClawbackError(errors: readonly ValidationError[]): ClawbackError {
  const problems: FieldProblem[] = [];
  for (const problem of problemsOf(errors)) {
    if (problems.length === MAX_PROBLEMS) {
      problems.push({ field: '...', problem: 'more problems follow' });
      break;
    }
    problems.push(problem);
  }
  return invalidInput(problems);
}

function* problemsOf(errors: readonly ValidationError[], parent = ''): Generator<FieldProblem> {
  for (const { property, constraints = {}, children = [] } of errors) {
    const field = pathOf(parent, property);
    for (const [rule, message] of Object.entries(constraints)) {
      yield { field: shortened(field), problem: problemIn(rule, message, property) };
    }
    yield* problemsOf(children, field);
  }
}

/** Children of an array are named by their index. */
function pathOf(parent: string, property: string): string {
  if (/^\d+$/.test(property)) return `${parent}[${property}]`;
  return parent === '' ? property : `${parent}.${property}`;
}

/** An unknown field's name is the caller's text and may have any length. */
const shortened = (field: string): string =>
  field.length > MAX_FIELD_LENGTH ? `${field.slice(0, MAX_FIELD_LENGTH)}...` : field;

/** The rule's message without the field's name, which `field` already says. */
function problemIn(rule: string, message: string, property: string): string {
  switch (rule) {
    case 'whitelistValidation':
      return 'unknown field';
    case 'nestedValidation':
    case 'unknownValue':
    case 'isObject':
      return 'must be an object';
    default:
      return withoutPrefix(message, `${property} `)
        .replace(`each value in ${property} `, 'each value ')
        .replace('must be one of the following values: ', 'must be one of ');
  }
}

const withoutPrefix = (text: string, prefix: string): string =>
  text.startsWith(prefix) ? text.slice(prefix.length) : text;
