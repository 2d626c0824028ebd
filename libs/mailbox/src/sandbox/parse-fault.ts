import { z } from 'zod';
import { invalidInput, type FieldProblem } from '#libs/kernel';
import type { Fault } from './sandbox.js';

const ONE_HOUR_MS = 3_600_000;

const times = z.int().min(1).max(1_000_000).exactOptional();
const milliseconds = z.int().min(0).max(ONE_HOUR_MS);
const name = z
  .string()
  .min(1)
  .max(255)
  .refine((text) => !text.includes('\0'), { error: 'must not contain NUL' });

const faultSchema = z.discriminatedUnion(
  'kind',
  [
    z.strictObject({ kind: z.literal('missingMailbox') }),
    z.strictObject({ kind: z.literal('movedByUser'), folder: name }),
    z.strictObject({ kind: z.literal('deletedByUser') }),
    z.strictObject({
      kind: z.literal('error'),
      code: name,
      retryable: z.boolean(),
      times,
      retryAfterMs: milliseconds.exactOptional(),
    }),
    z.strictObject({ kind: z.literal('hang'), times }),
    z.strictObject({ kind: z.literal('slow'), delayMs: milliseconds }),
  ],
  {
    error:
      'must be an object whose kind is one of missingMailbox, movedByUser, deletedByUser, error, hang, slow',
  },
);

/**
 * Checks a fault that comes from outside. `times` is 1 to 1,000,000; `delayMs` and `retryAfterMs` are 0 to one hour;
 * `folder` and `code` have 1 to 255 characters.
 * @throws {ClawbackError} kind `invalid`, code `invalidFault`, with a problem for each wrong field.
 */
export function parseFault(input: unknown): Fault {
  const parsed = faultSchema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw invalidInput(parsed.error.issues.flatMap(problemsOf), 'invalidFault');
}

function problemsOf(issue: z.core.$ZodIssue): FieldProblem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((field) => ({ field, problem: 'is not a field of this kind of fault' }));
  }
  return [{ field: issue.path.length === 0 ? 'fault' : issue.path.join('.'), problem: issue.message }];
}
