import type { Location, RemediationAction } from '#libs/remediation';

/**
 * Graph's evolvable enums: members that came after the sentinel `unknownFutureValue` are shown only to clients that ask
 * for them by `Prefer: include-unknown-enum-members`; all others get the sentinel. What Graph has no member for at all is
 * treated like that, too.
 */
const SENTINEL = 'unknownFutureValue';

const PREFERENCE = 'include-unknown-enum-members';

/** Whether a client asks for the members beyond the sentinel. */
export const prefersUnknownMembers = (prefer: string | undefined): boolean =>
  (prefer ?? '').split(',').some((preference) => preference.trim().toLowerCase() === PREFERENCE);

/** The answer's header that says so. */
export const PREFERENCE_APPLIED = { 'preference-applied': PREFERENCE } as const;

interface Member {
  readonly name: string;
  readonly beyond?: true;
}

const shown = ({ name, beyond }: Member, all: boolean): string => (beyond === true && !all ? SENTINEL : name);

const ACTIONS: Readonly<Record<RemediationAction, Member>> = {
  moveToJunk: { name: 'moveToJunk' },
  moveToInbox: { name: 'moveToInbox' },
  hardDelete: { name: 'hardDelete' },
  softDelete: { name: 'softDelete' },
  moveToDeletedItems: { name: 'moveToDeletedItems' },
  moveToQuarantine: { name: 'moveToQuarantine', beyond: true },
  releaseFromQuarantine: { name: 'releaseFromQuarantine', beyond: true },
  undo: { name: 'undo', beyond: true },
};

/** The members of `remediationAction` that a client may send; where they stand in the enum does not matter. */
export const GRAPH_ACTIONS = [
  'moveToJunk',
  'moveToInbox',
  'hardDelete',
  'softDelete',
  'moveToDeletedItems',
  'moveToQuarantine',
] as const;

export const actionShown = (action: RemediationAction, all: boolean): string => shown(ACTIONS[action], all);

const LOCATIONS: Readonly<Record<Location, Member>> = {
  inboxFolder: { name: 'inbox_folder' },
  junkFolder: { name: 'junkFolder' },
  deletedItems: { name: 'deletedFolder' },
  quarantine: { name: 'quarantine' },
  onPremisesExternal: { name: 'onprem_external' },
  failed: { name: 'failed' },
  dropped: { name: 'dropped' },
  unknown: { name: 'unknown' },
  softDeleted: { name: 'softDeleted', beyond: true },
  hardDeleted: { name: 'hardDeleted', beyond: true },
  sentItems: { name: 'sentItems', beyond: true },
};

/** A member of `deliveryLocation`. */
export const locationShown = (location: Location, all: boolean): string => shown(LOCATIONS[location], all);

const DELIVERY_ACTIONS = new Map([
  ['delivered', 'delivered'],
  ['junked', 'deliveredToJunk'],
  ['deliveredtojunk', 'deliveredToJunk'],
  ['blocked', 'blocked'],
  ['replaced', 'replaced'],
]);

/** A member of `deliveryAction`. */
export const deliveryActionOf = (text: string): string =>
  DELIVERY_ACTIONS.get(text.toLowerCase().replaceAll(' ', '')) ?? 'unknown';

const THREATS: ReadonlySet<string> = new Set(['spam', 'malware', 'phish']);

/** Members of `threatType`, from Defender's list such as `Phish, Malware`. */
export function threatTypesOf(list: string): string[] {
  const threats = list
    .split(',')
    .map((threat) => threat.trim().toLowerCase())
    .filter((threat) => threat !== '');
  return threats.length === 0
    ? ['none']
    : threats.map((threat) => (THREATS.has(threat) ? threat : 'unknown'));
}
