import { createHash } from 'node:crypto';
import { ClawbackError, canonicalJson, invalidInput, type FieldProblem } from '#libs/kernel';
import {
  PlanCounter,
  batcher,
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
import type { RemediationLimits, SelectionSource } from '../ports.js';

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
 * @throws {ClawbackError} for an empty or over-limit selection, an unknown or a repeated email, before any batch.
 */
export async function planSelection(
  source: SelectionSource,
  limits: RemediationLimits,
  tenant: string,
  selection: Selection,
  rules: PlanRules,
  onBatch: (batch: Batch) => Promise<void>,
): Promise<Planned> {
  await source.ready();
  const emails =
    'emails' in selection
      ? await pickedByHand(source, limits, tenant, selection.emails)
      : await foundByQuery(source, limits, tenant, selection);

  const hash = selectionHasher({ action: rules.action, sendersCopy: rules.sendersCopy });
  let count = 0;
  async function* copies(): AsyncGenerator<PlannedCopy> {
    const plan = planner(rules);
    for await (const email of emails) {
      count += 1;
      hash.add(emailKeyOf(email));
      yield* plan.add(email);
    }
    yield* plan.end();
  }
  const planned = await planCopies(copies(), onBatch);
  return { ...planned, totals: planned.counter.totals(count), selectionHash: hash.end() };
}

/** Counts copies and cuts them into batches. */
export async function planCopies(
  copies: AsyncIterable<PlannedCopy>,
  onBatch: (batch: Batch) => Promise<void>,
): Promise<{ counter: PlanCounter; tally: Tally; batches: number }> {
  const counter = new PlanCounter();
  const cutter = batcher();
  let batches = 0;
  const give = async (batch: Batch | undefined): Promise<void> => {
    if (batch === undefined) return;
    batches += 1;
    await onBatch(batch);
  };
  for await (const copy of copies) {
    counter.add(copy);
    await give(cutter.add(copy));
  }
  await give(cutter.end());
  return { counter, tally: counter.startingTally(), batches };
}

/** Hashes what is selected, key by key. */
export function selectionHasher(rules: Readonly<Record<string, unknown>>): {
  add(key: string): void;
  end(): string;
} {
  const hash = createHash('sha256').update(`${canonicalJson(rules)}\n`);
  return {
    add(key) {
      hash.update(`${key}\n`);
    },
    end: () => hash.digest('hex'),
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

async function pickedByHand(
  source: SelectionSource,
  limits: RemediationLimits,
  tenant: string,
  refs: readonly EmailRef[],
): Promise<readonly SelectedEmail[]> {
  checkList('selection.emails', refs, limits.byHand, emailKeyOf);
  const found = await source.getMany(tenant, refs.map(emailKeyOf));
  refuseUnknown('selection.emails', refs, found);
  return [...found].sort((a, b) => (emailKeyOf(a) < emailKeyOf(b) ? -1 : 1));
}

async function foundByQuery(
  source: SelectionSource,
  limits: RemediationLimits,
  tenant: string,
  selection: Extract<Selection, { query: unknown }>,
): Promise<AsyncIterable<SelectedEmail>> {
  const excluding = selection.excluding ?? [];
  if (excluding.length > 0) {
    checkList('selection.excluding', excluding, limits.exclusions, emailKeyOf);
    refuseUnknown('selection.excluding', excluding, await source.getMany(tenant, excluding.map(emailKeyOf)));
  }
  const count = await source.count(tenant, selection.query);
  if (count > limits.byQuery) throw overLimit('selection.query', 'selectionOverLimit', count, limits.byQuery);
  const left = new Set(excluding.map(emailKeyOf));
  const matches = source.stream(tenant, selection.query);
  const emails = (async function* () {
    let given = 0;
    for await (const email of matches) {
      if (left.has(emailKeyOf(email))) continue;
      given += 1;
      // Mail may have been imported since it was counted.
      if (given > limits.byQuery)
        throw overLimit('selection.query', 'selectionOverLimit', given, limits.byQuery);
      yield email;
    }
    if (given === 0)
      throw invalidInput([{ field: 'selection.query', problem: 'matches no email' }], 'selectionEmpty');
  })();
  return emails;
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
