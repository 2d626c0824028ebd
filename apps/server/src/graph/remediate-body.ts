import { invalidInput, type ClawbackError, type FieldProblem } from '#libs/kernel';
import { SEVERITIES, type EmailRef, type RemediationRequest } from '#libs/remediation';
import { z } from 'zod';
import { NETWORK_MESSAGE_ID, STORABLE } from '../http/fields.js';
import { parseEmailId } from './email-id.js';
import { GRAPH_ACTIONS } from './enums.js';

const text = (max: number) =>
  z
    .string('must be a text')
    .max(max, `must be at most ${String(max)} characters`)
    .regex(STORABLE, 'must be of whole characters without NUL');

const flag = z
  .union([z.boolean(), z.enum(['true', 'false'])], 'must be true or false')
  // Microsoft's own example sends a text.
  .transform((value) => value === true || value === 'true');

const oneOf = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.enum(values, `must be one of ${values.join(', ')}`);

/** An analyzedEmail. Clients may send one as they got it: what does not name it is not looked at. */
const analyzedEmail = z.looseObject(
  {
    id: text(2048).nullish(),
    networkMessageId: text(36).nullish(),
    recipientEmailAddress: text(320).nullish(),
  },
  'must be an object',
);

const body = z.strictObject(
  {
    displayName: text(200).min(1, 'must not be empty'),
    description: text(1024).nullish(),
    severity: oneOf(SEVERITIES).nullish(),
    action: oneOf(GRAPH_ACTIONS),
    remediateSendersCopy: flag.nullish(),
    analyzedEmails: z.array(analyzedEmail, 'must be a list'),
  },
  'must be a JSON object',
);

/** What Graph's schema calls nullable and its page calls required: a remediation is of medium severity by default. */
const DEFAULT_SEVERITY = 'medium';

const MAX_PROBLEMS = 100;

/**
 * What the body of `analyzedEmail: remediate` asks for.
 * @throws {ClawbackError} `invalidInput`, field by field
 */
export function remediationRequestOf(value: unknown): RemediationRequest {
  const parsed = body.safeParse(withoutAnnotations(value));
  if (!parsed.success) throw invalid(parsed.error.issues.flatMap(problemsOf));
  const { displayName, description, severity, action, remediateSendersCopy, analyzedEmails } = parsed.data;
  return {
    name: displayName,
    description: description ?? '',
    severity: severity ?? DEFAULT_SEVERITY,
    action,
    sendersCopy: remediateSendersCopy ?? false,
    surface: 'graphApi',
    selection: { emails: emailsOf(analyzedEmails) },
  };
}

/** `@odata.type` and its like, which the generated clients write, say nothing that is not known here. */
const withoutAnnotations = (value: unknown): unknown =>
  typeof value !== 'object' || value === null || Array.isArray(value)
    ? value
    : Object.fromEntries(Object.entries(value).filter(([name]) => !name.includes('@odata.')));

function emailsOf(items: readonly z.output<typeof analyzedEmail>[]): EmailRef[] {
  const problems: FieldProblem[] = [];
  const emails: EmailRef[] = [];
  items.forEach((item, index) => {
    const email = emailOf(item);
    if (typeof email !== 'string') emails.push(email);
    else problems.push({ field: `analyzedEmails[${String(index)}]`, problem: email });
  });
  if (problems.length > 0) throw invalid(problems);
  return emails;
}

/** Null says the same as nothing: generated clients write it. */
const isGiven = (text: string | null | undefined): text is string => text !== undefined && text !== null;

/** The email that an item names, or what is wrong with it. */
function emailOf({
  id,
  networkMessageId,
  recipientEmailAddress,
}: z.output<typeof analyzedEmail>): EmailRef | string {
  if (isGiven(networkMessageId) && isGiven(recipientEmailAddress)) {
    if (!NETWORK_MESSAGE_ID.regex.test(networkMessageId)) return 'networkMessageId must be a GUID';
    if (recipientEmailAddress === '') return 'recipientEmailAddress must not be empty';
    return {
      networkMessageId: networkMessageId.toLowerCase(),
      recipientEmailAddress: recipientEmailAddress.toLowerCase(),
    };
  }
  if (isGiven(id)) return parseEmailId(id) ?? 'id is none that this interface gives';
  return 'needs networkMessageId and recipientEmailAddress, or the id that this interface gives';
}

function problemsOf({ path, message, ...issue }: z.core.$ZodIssue): FieldProblem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ field: key.slice(0, 200), problem: 'unknown field' }));
  }
  const missing = issue.input === undefined && issue.code === 'invalid_type';
  return [{ field: fieldOf(path), problem: missing ? `${message} and is missing` : message }];
}

const fieldOf = (path: readonly PropertyKey[]): string =>
  path.length === 0
    ? 'body'
    : path
        .map((part, index) =>
          typeof part === 'number' ? `[${String(part)}]` : `${index === 0 ? '' : '.'}${String(part)}`,
        )
        .join('');

const invalid = (problems: readonly FieldProblem[]): ClawbackError =>
  invalidInput(problems.slice(0, MAX_PROBLEMS));
