import { createHash } from 'node:crypto';
import { ClawbackError, canonicalJson, invalidInput, type FieldProblem } from '#libs/kernel';
import {
  PlanCounter,
  batcher,
  copyKeyOf,
  emailKeyOf,
  planner,
  type Batch,
  type EmailRef,
  type PlanRules,
  type PlanTotals,
  type PlannedCopy,
  type SelectedEmail,
  type Selection,
  type Tally,
} from '../domain/index.js';
import type { Recipients, RemediationLimits, SelectionSource } from '../ports.js';

/** A plan that has been cut into batches. Preview and submission make it by the same function. */
export interface Planned {
  readonly totals: PlanTotals;
  readonly tally: Tally;
  /** SHA-256 over the action, the sender's copy option and the keys of all emails in order. */
  readonly selectionHash: string;
  readonly batches: number;
}

/**
 * Resolves a selection and plans it, streaming: no more than one batch is in memory, whatever the size.
 * @param onBatch is given each batch in order; the next one waits for it.
 * @param admit is told before any batch how many emails there are at least, and may refuse them.
 * @throws {ClawbackError} for an empty or over-limit selection, an unknown or a repeated email, before any batch.
 */
export async function planSelection(
  source: SelectionSource,
  limits: RemediationLimits,
  tenant: string,
  selection: Selection,
  rules: PlanRules,
  onBatch: (batch: Batch) => Promise<void>,
  admit: (emails: number) => Promise<void> = () => Promise.resolve(),
): Promise<Planned> {
  await source.ready();
  const { emails, atLeast } =
    'emails' in selection
      ? selection.foundBy === 'hunting'
        ? await foundByHunting(source, limits, tenant, selection.emails)
        : await pickedByHand(source, limits, tenant, selection.emails)
      : await foundByQuery(source, limits, tenant, selection);
  await admit(atLeast);

  const hash = selectionHasher({ action: rules.action, sendersCopy: rules.sendersCopy });
  let count = 0;
  async function* copies(): AsyncGenerator<readonly PlannedCopy[]> {
    const plan = planner(rules);
    for await (const page of emails) {
      count += page.length;
      for (const email of page) hash.add(emailKeyOf(email));
      yield page.flatMap((email) => plan.add(email));
    }
    yield plan.end();
  }
  const planned = await planCopies(copies(), onBatch);
  return { ...planned, totals: planned.counter.totals(count), selectionHash: hash.end() };
}

/** Copies in order, some at a time: to hand over each by itself would take longer than to plan it. */
export type CopyGroups = AsyncIterable<readonly PlannedCopy[]> | Iterable<readonly PlannedCopy[]>;

/** Counts copies and cuts them into batches. @param first the number of the first batch */
export async function planCopies(
  copies: CopyGroups,
  onBatch: (batch: Batch) => Promise<void>,
  first = 0,
): Promise<{ counter: PlanCounter; tally: Tally; batches: number }> {
  const counter = new PlanCounter();
  const cutter = batcher(undefined, first);
  let batches = 0;
  const give = async (batch: Batch | undefined): Promise<void> => {
    if (batch === undefined) return;
    batches += 1;
    await onBatch(batch);
  };
  for await (const group of copies) {
    for (const copy of group) {
      counter.add(copy);
      const batch = cutter.add(copy);
      if (batch !== undefined) await give(batch);
    }
  }
  await give(cutter.end());
  return { counter, tally: counter.startingTally(), batches };
}

/**
 * Mail to few recipients is more likely a mistake in the query than an attack: either the recipients are many enough, or
 * none of them has too many of the emails (Microsoft's page on remediating mail that was delivered: 40 % and 1,000).
 */
function checkRecipients(
  { emails, distinct, most: mostOfOne }: Recipients & { readonly emails: number },
  limits: RemediationLimits,
): void {
  if (distinct >= limits.recipientShare * emails || mostOfOne <= limits.ofOneRecipient) return;
  throw new ClawbackError(
    'limit',
    'recipientOverLimit',
    `selection: ${String(mostOfOne)} of the ${String(emails)} emails are for one recipient, the limit is ` +
      `${String(limits.ofOneRecipient)} unless the recipients are ${String(100 * limits.recipientShare)} % of the ` +
      `emails (${String(distinct)} of ${String(Math.ceil(limits.recipientShare * emails))} here); split it by time`,
    {
      field: 'selection',
      actual: mostOfOne,
      limit: limits.ofOneRecipient,
      recipients: distinct,
      recipientShare: limits.recipientShare,
    },
  );
}

async function recipientsOf(
  selected: AsyncIterable<readonly EmailRef[]> | Iterable<readonly EmailRef[]>,
): Promise<Recipients & { readonly emails: number }> {
  const byRecipient = new Map<string, number>();
  let emails = 0;
  let most = 0;
  for await (const page of selected) {
    for (const { recipientEmailAddress } of page) {
      const ofThisOne = (byRecipient.get(recipientEmailAddress) ?? 0) + 1;
      byRecipient.set(recipientEmailAddress, ofThisOne);
      most = Math.max(most, ofThisOne);
    }
    emails += page.length;
  }
  return { emails, distinct: byRecipient.size, most };
}

/**
 * Plans copies that the events of another remediation name. Its emails are the recipients' copies.
 * @param about what the selection hash covers beside the keys of the copies.
 */
export async function planNamed(
  copies: CopyGroups,
  about: Readonly<Record<string, unknown>>,
  onBatch: (batch: Batch) => Promise<void>,
): Promise<{ plan: PlanTotals; tally: Tally; batches: number; selectionHash: string }> {
  const hash = selectionHasher(about);
  async function* hashed(): AsyncGenerator<readonly PlannedCopy[]> {
    for await (const group of copies) {
      for (const { message, kind, mailbox } of group) {
        hash.add(copyKeyOf({ networkMessageId: message.networkMessageId, kind, mailbox }));
      }
      yield group;
    }
  }
  const { counter, tally, batches } = await planCopies(hashed(), onBatch);
  const totals = counter.totals(0);
  const plan = { ...totals, emails: totals.recipientCopies };
  return { plan, tally, batches, selectionHash: hash.end() };
}

/** A call of the hash for each key would take longer than to hash it. */
const HASHED_AT_ONCE = 65_536;

/** Hashes what is selected, key by key. */
export function selectionHasher(rules: Readonly<Record<string, unknown>>): {
  add(key: string): void;
  end(): string;
} {
  const hash = createHash('sha256');
  let lines = `${canonicalJson(rules)}\n`;
  return {
    add(key) {
      lines += `${key}\n`;
      if (lines.length < HASHED_AT_ONCE) return;
      hash.update(lines);
      lines = '';
    },
    end: () => hash.update(lines).digest('hex'),
  };
}

/** Refuses a list that is empty, over its limit, or names an email twice. Fields are named as the caller wrote them. */
export function checkList<T>(
  field: string,
  items: readonly T[],
  limit: number,
  keyOf: (item: T) => string,
): void {
  if (items.length === 0)
    throw invalidInput([{ field, problem: 'must name at least one' }], 'selectionEmpty');
  if (items.length > limit) throw overLimit(field, 'selectionOverLimit', items.length, limit);
  const first = new Map<string, number>();
  const problems: FieldProblem[] = [];
  items.forEach((item, index) => {
    const key = keyOf(item);
    const earlier = first.get(key);
    if (earlier === undefined) first.set(key, index);
    else
      problems.push({
        field: `${field}[${String(index)}]`,
        problem: `is the same as ${field}[${String(earlier)}]`,
      });
  });
  if (problems.length > 0) throw invalidInput(problems, 'selectionRepeats');
}

interface Selected {
  readonly emails: AsyncIterable<readonly SelectedEmail[]> | readonly (readonly SelectedEmail[])[];
  readonly atLeast: number;
}

async function pickedByHand(
  source: SelectionSource,
  limits: RemediationLimits,
  tenant: string,
  refs: readonly EmailRef[],
): Promise<Selected> {
  checkList('selection.emails', refs, limits.byHand, emailKeyOf);
  const found = await source.getMany(tenant, refs.map(emailKeyOf));
  refuseUnknown('selection.emails', refs, found);
  checkRecipients(await recipientsOf([found]), limits);
  const emails = [...found].sort((a, b) => (emailKeyOf(a) < emailKeyOf(b) ? -1 : 1));
  return { emails: [emails], atLeast: emails.length };
}

/** Emails of a hunted selection that are read at once. */
const HUNTED_AT_ONCE = 1000;

async function foundByHunting(
  source: SelectionSource,
  limits: RemediationLimits,
  tenant: string,
  refs: readonly EmailRef[],
): Promise<Selected> {
  checkList('selection.emails', refs, limits.hunting, emailKeyOf);
  checkRecipients(await recipientsOf([refs]), limits);
  const keys = refs.map(emailKeyOf).sort();
  const emails = (async function* () {
    for (let at = 0; at < keys.length; at += HUNTED_AT_ONCE) {
      const part = keys.slice(at, at + HUNTED_AT_ONCE);
      const found = new Map((await source.getMany(tenant, part)).map((email) => [emailKeyOf(email), email]));
      yield part.map((key) => {
        const email = found.get(key);
        if (email !== undefined) return email;
        throw invalidInput(
          [{ field: 'selection.emails', problem: 'has one that is not an email of the catalogue' }],
          'emailUnknown',
        );
      });
    }
  })();
  return { emails, atLeast: keys.length };
}

async function foundByQuery(
  source: SelectionSource,
  limits: RemediationLimits,
  tenant: string,
  selection: Extract<Selection, { query: unknown }>,
): Promise<Selected> {
  const excluding = selection.excluding ?? [];
  if (excluding.length > 0) {
    checkList('selection.excluding', excluding, limits.exclusions, emailKeyOf);
    refuseUnknown('selection.excluding', excluding, await source.getMany(tenant, excluding.map(emailKeyOf)));
  }
  const count = await source.count(tenant, selection.query);
  const limit = excluding.length > 0 ? limits.byQueryWithExclusions : limits.byQuery;
  if (count > limit) throw overLimit('selection.query', 'selectionOverLimit', count, limit);
  const left = new Set(excluding.map(emailKeyOf));
  const selected = () => less(source.stream(tenant, selection.query, count), left, limit);
  // So few cannot be too many for one recipient.
  if (count > limits.ofOneRecipient) {
    // The store can count all that match; those of which some are excluded have to be read.
    const recipients =
      left.size === 0
        ? { emails: count, ...(await source.recipients(tenant, selection.query)) }
        : await recipientsOf(selected());
    checkRecipients(recipients, limits);
  }
  // What is excluded need not be among the matches.
  return { emails: selected(), atLeast: count - left.size };
}

/** What a query finds without what is excluded. */
async function* less(
  matches: AsyncIterable<readonly SelectedEmail[]>,
  excluded: ReadonlySet<string>,
  limit: number,
): AsyncGenerator<readonly SelectedEmail[]> {
  let given = 0;
  for await (const page of matches) {
    const left = excluded.size === 0 ? page : page.filter((email) => !excluded.has(emailKeyOf(email)));
    given += left.length;
    // Mail may have been imported since it was counted.
    if (given > limit) throw overLimit('selection.query', 'selectionOverLimit', given, limit);
    yield left;
  }
  if (given === 0)
    throw invalidInput([{ field: 'selection.query', problem: 'matches no email' }], 'selectionEmpty');
}

function refuseUnknown(field: string, refs: readonly EmailRef[], found: readonly SelectedEmail[]): void {
  const known = new Set(found.map(emailKeyOf));
  const problems = refs.flatMap((ref, index) =>
    known.has(emailKeyOf(ref))
      ? []
      : [{ field: `${field}[${String(index)}]`, problem: 'is not an email of the catalogue' }],
  );
  if (problems.length > 0) throw invalidInput(problems, 'emailUnknown');
}

const overLimit = (field: string, code: string, actual: number, limit: number): ClawbackError =>
  new ClawbackError(
    'limit',
    code,
    `${field}: names ${String(actual)} emails, the limit is ${String(limit)}; split it, for instance by time or sender`,
    { field, actual, limit },
  );
