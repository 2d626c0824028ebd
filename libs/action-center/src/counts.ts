import { OUTCOMES, copiesIn, ofOutcome, type CopyKind, type Outcome, type Tally } from '#libs/remediation';

/** How many copies have which outcome. `submitted` is always the sum of all others. */
export type OutcomeCounts = { readonly submitted: number } & Readonly<Record<Outcome, number>>;

export interface Counts extends OutcomeCounts {
  readonly recipientCopies: OutcomeCounts;
  readonly sendersCopies: OutcomeCounts;
}

export const countsOf = (tally: Tally): Counts => ({
  submitted: copiesIn(tally),
  ...(Object.fromEntries(OUTCOMES.map((outcome) => [outcome, ofOutcome(tally, outcome)])) as Record<
    Outcome,
    number
  >),
  recipientCopies: ofKind(tally, 'recipient'),
  sendersCopies: ofKind(tally, 'sender'),
});

const ofKind = (tally: Tally, kind: CopyKind): OutcomeCounts => ({
  submitted: copiesIn(tally, [kind]),
  ...tally[kind],
});
