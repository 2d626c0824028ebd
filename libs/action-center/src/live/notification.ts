import type { RecordedEvent } from '#libs/event-store';
import { formatPosition, type Position } from '#libs/kernel';
import { copyEventTypes, remediationCodecs, type RemediationEvent } from '#libs/remediation';
import { countsOf, type Counts } from '../counts.js';

/** What subscribers hear of. Published names: a change of one breaks whoever listens. */
export const NOTIFICATION_TYPES = [
  'remediation.submitted',
  'remediation.approved',
  'remediation.rejected',
  'remediation.partlyApproved',
  'remediation.partFinished',
  'remediation.expired',
  'remediation.queued',
  'remediation.overdue',
  'remediation.cancelRequested',
  'remediation.cancelled',
  'remediation.lateArrivalsStopped',
  'remediation.started',
  'remediation.progress',
  'remediation.completed',
  'remediation.failed',
  'remediation.undone',
] as const;
export type NotificationType = (typeof NOTIFICATION_TYPES)[number];

/** One thing that happened to a remediation, for those who listen from outside. */
export interface Notification {
  readonly type: NotificationType;
  readonly tenant: string;
  readonly approvalId: string;
  /** Of the event in the log; no two notifications have the same. */
  readonly position: Position;
  /** When the event was recorded. */
  readonly time: string;
  /** What else there is to say, as JSON; see {@link publicBody}. */
  readonly facts: NotificationFacts;
}

export interface NotificationFacts {
  /** Who did it. */
  readonly by?: string;
  readonly name?: string;
  readonly action?: string;
  readonly severity?: string;
  readonly surface?: string;
  readonly sendersCopy?: boolean;
  readonly undoOf?: string | null;
  /** How many emails were approved before the rest. */
  readonly firstEmails?: number;
  /** Nothing is begun after this. */
  readonly deadline?: string;
  /** Why it was rejected or is to be cancelled. */
  readonly reason?: string;
  /** The approval ID of the undo. */
  readonly undoneBy?: string;
  /** Where the copies are: of `progress`, what the history showed when it was sent. */
  readonly counts?: Counts;
}

/** Events after which nothing more happens to the copies of a remediation. */
export const LAST_NOTIFICATIONS: ReadonlySet<string> = new Set<NotificationType>([
  'remediation.completed',
  'remediation.failed',
  'remediation.cancelled',
  'remediation.rejected',
  'remediation.expired',
]);

type Saying<Type extends RemediationEvent['type']> = {
  readonly type: NotificationType;
  readonly facts: (data: Extract<RemediationEvent, { type: Type }>['data'], by: string) => NotificationFacts;
};

/** The events that are told of. */
export const NOTIFYING: ReadonlySet<string> = new Set([...remediationCodecs.types, ...copyEventTypes]);

/** What each event of a remediation's life is to the outside. The compiler asks for every one. */
const SAYINGS: { readonly [Type in RemediationEvent['type']]: Saying<Type> } = {
  RemediationSubmitted: {
    type: 'remediation.submitted',
    facts: ({ name, action, severity, surface, sendersCopy, undoOf, tally }, by) => ({
      ...{ by, name, action, severity, surface, sendersCopy },
      undoOf: undoOf ?? null,
      counts: countsOf(tally),
    }),
  },
  RemediationApproved: { type: 'remediation.approved', facts: (_data, by) => ({ by }) },
  RemediationPartlyApproved: {
    type: 'remediation.partlyApproved',
    facts: ({ emails }, by) => ({ by, firstEmails: emails }),
  },
  RemediationPartFinished: {
    type: 'remediation.partFinished',
    facts: ({ tally }) => ({ counts: countsOf(tally) }),
  },
  RemediationExpired: { type: 'remediation.expired', facts: () => ({}) },
  RemediationQueued: {
    type: 'remediation.queued',
    facts: ({ deadline }) => (deadline === undefined ? {} : { deadline }),
  },
  RemediationOverdue: { type: 'remediation.overdue', facts: () => ({}) },
  RemediationCancelRequested: {
    type: 'remediation.cancelRequested',
    facts: ({ reason }, by) => ({ by, reason }),
  },
  RemediationCancelled: {
    type: 'remediation.cancelled',
    facts: ({ tally }) => ({ counts: countsOf(tally) }),
  },
  LateArrivalsStopped: { type: 'remediation.lateArrivalsStopped', facts: (_data, by) => ({ by }) },
  RemediationRejected: { type: 'remediation.rejected', facts: ({ reason }, by) => ({ by, reason }) },
  RemediationStarted: { type: 'remediation.started', facts: () => ({}) },
  RemediationCompleted: {
    type: 'remediation.completed',
    facts: ({ tally }) => ({ counts: countsOf(tally) }),
  },
  RemediationFailed: { type: 'remediation.failed', facts: ({ tally }) => ({ counts: countsOf(tally) }) },
  RemediationUndone: {
    type: 'remediation.undone',
    facts: ({ undo }, by) => ({ by, undoneBy: undo.approvalId }),
  },
};

/** Remediations whose copies have moved on since anybody was told, by approval ID; in the order of their last event. */
export type Waiting = ReadonlyMap<string, Notification>;

export const NOTHING_WAITS: Waiting = new Map();

/**
 * What events are to the outside, in order. Progress waits until somebody asks for it ({@link released}) or until
 * something else is told, so that a thousand copies are one notification.
 * @throws {MalformedEvent}
 */
export function digest(
  before: Waiting,
  events: readonly RecordedEvent[],
): { readonly told: readonly Notification[]; readonly waiting: Waiting } {
  const told: Notification[] = [];
  const waiting = new Map(before);
  for (const event of events) {
    if (copyEventTypes.has(event.type)) {
      const progress = progressOf(event);
      waiting.delete(progress.approvalId);
      waiting.set(progress.approvalId, progress);
      continue;
    }
    const notification = notificationOf(event);
    if (notification === undefined) continue;
    // The last counts come with the end.
    if (LAST_NOTIFICATIONS.has(notification.type)) waiting.delete(notification.approvalId);
    told.push(...released(waiting), notification);
    waiting.clear();
  }
  return { told, waiting };
}

/** The progress that waits, in order. */
export const released = (waiting: Waiting): readonly Notification[] => [...waiting.values()];

/** An event of a remediation's life; undefined for any other event. @throws {MalformedEvent} */
export function notificationOf(recorded: RecordedEvent): Notification | undefined {
  const event = remediationCodecs.decode(recorded);
  if (event === undefined) return undefined;
  const { type, facts } = SAYINGS[event.type] as Saying<RemediationEvent['type']>;
  return {
    type,
    ...whereAndWhen(recorded),
    approvalId: event.data.approvalId,
    facts: facts(event.data, recorded.metadata.actor ?? ''),
  };
}

const progressOf = (event: RecordedEvent): Notification => ({
  type: 'remediation.progress',
  ...whereAndWhen(event),
  approvalId: event.metadata.correlationId ?? '',
  facts: {},
});

const whereAndWhen = ({
  position,
  metadata,
}: RecordedEvent): Pick<Notification, 'position' | 'tenant' | 'time'> => ({
  position,
  tenant: metadata.tenant ?? '',
  time: metadata.occurredAt ?? '',
});

/** What is sent: flat JSON. */
export const publicBody = ({
  type,
  approvalId,
  position,
  time,
  facts,
}: Notification): Record<string, unknown> => ({
  type,
  approvalId,
  position: formatPosition(position),
  time,
  ...facts,
});
