/** The words of the domain; see docs/architecture.md. Plain data, no behaviour but the small rules that define them. */

export const DIRECTIONS = ['inbound', 'outbound', 'intraOrg', 'unknown'] as const;
export type Direction = (typeof DIRECTIONS)[number];

export const COPY_KINDS = ['recipient', 'sender'] as const;
export type CopyKind = (typeof COPY_KINDS)[number];

/** What a caller may ask for. */
export const ACTIONS = [
  'softDelete',
  'hardDelete',
  'moveToInbox',
  'moveToJunk',
  'moveToDeletedItems',
  'moveToQuarantine',
  'releaseFromQuarantine',
] as const;
export type Action = (typeof ACTIONS)[number];

/** Actions after which the copy should be gone: one that is not there any more is a goal reached. */
export const isDelete = (action: RemediationAction): boolean =>
  action === 'softDelete' || action === 'hardDelete';

/** What a remediation does: an asked action, or the undo of another remediation. */
export const REMEDIATION_ACTIONS = [...ACTIONS, 'undo'] as const;
export type RemediationAction = (typeof REMEDIATION_ACTIONS)[number];

export const SEVERITIES = ['low', 'medium', 'high'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** Where the request came from. */
export const SURFACES = [
  'threatExplorer',
  'emailEntity',
  'summaryPanel',
  'advancedHunting',
  'graphApi',
] as const;
export type Surface = (typeof SURFACES)[number];

/** Where a mail is, in Defender's terms; `softDeleted` is Recoverable Items/Deletions. */
export const LOCATIONS = [
  'inboxFolder',
  'junkFolder',
  'deletedItems',
  'quarantine',
  'softDeleted',
  'hardDeleted',
  'sentItems',
  'onPremisesExternal',
  'failed',
  'dropped',
  'unknown',
] as const;
export type Location = (typeof LOCATIONS)[number];

/** What became of one copy; `pending` before anything did. */
export const OUTCOMES = [
  'pending',
  'succeeded',
  'alreadyInDestination',
  'notFound',
  'nonRemediable',
  'failed',
  'timedOut',
  'cancelled',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** The life of a remediation as the Action Center shows it. */
export const STATUSES = [
  'pending',
  'started',
  'queued',
  'inProgress',
  'completed',
  'failed',
  'cancelled',
  'rejected',
  'expired',
] as const;
export type Status = (typeof STATUSES)[number];

/** Statuses that count against the limits on active remediations. */
export const ACTIVE_STATUSES: readonly Status[] = ['started', 'queued', 'inProgress'];

/** How many copies have which outcome, by kind of copy. */
export type Tally = Readonly<Record<CopyKind, Readonly<Record<Outcome, number>>>>;

const noOutcomes = (): Record<Outcome, number> =>
  Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as Record<Outcome, number>;

export const emptyTally = (): Tally => ({ recipient: noOutcomes(), sender: noOutcomes() });

/** The tally with `count` more (or fewer) copies of this kind and outcome. */
export const addToTally = (tally: Tally, kind: CopyKind, outcome: Outcome, count = 1): Tally => ({
  ...tally,
  [kind]: { ...tally[kind], [outcome]: tally[kind][outcome] + count },
});

/** A copy leaves one outcome for another: the sum stays. */
export const moveInTally = (tally: Tally, kind: CopyKind, from: Outcome, to: Outcome, count = 1): Tally =>
  addToTally(addToTally(tally, kind, from, -count), kind, to, count);

/** A tally that many copies are counted in, without a new one for each. */
export type TallyDraft = Record<CopyKind, Record<Outcome, number>>;

export const draftOf = ({ recipient, sender }: Tally): TallyDraft => ({
  recipient: { ...recipient },
  sender: { ...sender },
});

/** One copy that was pending has this outcome. */
export function settleIn(tally: TallyDraft, kind: CopyKind, outcome: Outcome): void {
  tally[kind].pending -= 1;
  tally[kind][outcome] += 1;
}

/** Nothing that is pending will run any more: it gets this outcome. */
export function closePending(tally: Tally, outcome: 'cancelled' | 'timedOut'): Tally {
  let closed = tally;
  for (const kind of COPY_KINDS) {
    closed = moveInTally(closed, kind, 'pending', outcome, tally[kind].pending);
  }
  return closed;
}

export const sumTallies = (tallies: Iterable<Tally>): Tally => {
  const sum = { recipient: noOutcomes(), sender: noOutcomes() };
  for (const tally of tallies) {
    for (const kind of COPY_KINDS) for (const outcome of OUTCOMES) sum[kind][outcome] += tally[kind][outcome];
  }
  return sum;
};

/** How many copies of this outcome there are, of both kinds. */
export const ofOutcome = (tally: Tally, outcome: Outcome): number =>
  tally.recipient[outcome] + tally.sender[outcome];

/** Copies in all, of one kind or both. */
export const copiesIn = (tally: Tally, kinds: readonly CopyKind[] = COPY_KINDS): number =>
  kinds.reduce((sum, kind) => sum + OUTCOMES.reduce((inner, outcome) => inner + tally[kind][outcome], 0), 0);
