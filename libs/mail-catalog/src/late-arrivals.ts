import { followLog, type EventStore, type RecordedEvent } from '#libs/event-store';
import { idFrom, START, type Clock, type Position } from '#libs/kernel';
import {
  emailKeyOf,
  remediationCodecs,
  type CopyStates,
  type EmailRef,
  type RemediationEvent,
  type Submission,
} from '#libs/remediation';
import { catalogCodecs } from './events.js';
import { matchesFilter } from './emails.view.js';

/** Emails that arrived after the remediation whose query they match. */
export interface LateEmails {
  readonly tenant: string;
  readonly of: Submission;
  readonly emails: readonly EmailRef[];
  /** Names this find: the same one again is no other. */
  readonly key: string;
  /** The import. */
  readonly cause: RecordedEvent;
}

export interface LateArrivalsDependencies {
  readonly events: EventStore;
  readonly copies: CopyStates;
  readonly checkpoints: {
    load(): Promise<Position>;
    save(position: Position): Promise<void>;
  };
  readonly clock: Clock;
  /** Submits a remediation of these emails; under one key once, however often it is called. */
  readonly submit: (late: LateEmails) => Promise<void>;
  readonly onError: (error: unknown, what: string) => void;
}

/** A remediation that goes on with mail that arrives later. */
interface Watch {
  readonly tenant: string;
  readonly submission: Submission;
  readonly submittedAt: Position;
  approved: boolean;
}

/** So many emails at most in one remediation of late arrivals: as many as may be chosen by hand. */
const EMAILS_AT_ONCE = 100;

/** The checkpoint is written so often at most: after a crash so much of the log is read again. */
const SAVE_EVERY_MS = 1000;

/**
 * Goes on with the removal of mail that arrives after a remediation, for as long as that was asked for. Driven by the
 * event log: an approved remediation with `lateArrivalsUntil` begins a watch; its time, an undo, a cancellation and
 * `LateArrivalsStopped` end it. Emails that the remediation itself has touched are not late. The checkpoint never passes
 * the submission of an open watch, and every find has a key of its own, so that after a crash nothing is lost and nothing
 * submitted twice.
 */
export class LateArrivals {
  private readonly stopping = new AbortController();
  private readonly watches = new Map<string, Watch>();
  private following: Promise<void> | undefined;
  private seen: Position = START;
  private saved: Position = START;
  private saveAt = 0;

  constructor(private readonly deps: LateArrivalsDependencies) {}

  async start(): Promise<void> {
    this.seen = this.saved = await this.deps.checkpoints.load();
    this.following = this.follow();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.following;
    await this.saveCheckpoint().catch((error: unknown) => {
      this.deps.onError(error, 'saving how far late arrivals were looked for');
    });
  }

  private follow(): Promise<void> {
    return followLog(
      this.deps.events,
      {
        after: () => this.seen,
        signal: this.stopping.signal,
        types: new Set([...catalogCodecs.types, ...remediationCodecs.types]),
      },
      async ({ events, position, caughtUp }) => {
        for (const event of events) {
          await this.react(event);
          this.seen = event.position;
        }
        this.seen = position;
        if (caughtUp) this.forgetOld();
        if (performance.now() >= this.saveAt) await this.saveCheckpoint();
      },
      (error) => {
        this.deps.onError(error, 'looking for late arrivals');
      },
    );
  }

  private async react(recorded: RecordedEvent): Promise<void> {
    const imported = catalogCodecs.decode(recorded);
    if (imported !== undefined) {
      for (const watch of this.openAt(recorded)) {
        const { selection } = watch.submission;
        if (selection.by !== 'query') continue;
        const found = imported.data.emails.filter((email) => matchesFilter(selection.query, email));
        await this.give(watch, found, recorded);
      }
      return;
    }
    const life = remediationCodecs.decode(recorded);
    if (life !== undefined) this.note(life, recorded);
  }

  private note(event: RemediationEvent, { metadata, position }: RecordedEvent): void {
    const { approvalId } = event.data;
    switch (event.type) {
      case 'RemediationSubmitted':
        if (event.data.lateArrivalsUntil === undefined) return;
        this.watches.set(approvalId, {
          tenant: metadata.tenant ?? '',
          submission: event.data,
          submittedAt: position,
          approved: false,
        });
        break;
      case 'RemediationApproved': {
        const watch = this.watches.get(approvalId);
        if (watch !== undefined) watch.approved = true;
        break;
      }
      case 'RemediationRejected':
      case 'RemediationExpired':
      case 'RemediationCancelRequested':
      case 'RemediationUndone':
      case 'LateArrivalsStopped':
        this.watches.delete(approvalId);
        break;
      default:
    }
  }

  /** The watches that an import at its time concerns. */
  private openAt({ metadata }: RecordedEvent): Watch[] {
    const at = metadata.occurredAt ?? '';
    return [...this.watches.values()].filter(
      ({ approved, tenant, submission }) =>
        approved && tenant === metadata.tenant && at < (submission.lateArrivalsUntil ?? ''),
    );
  }

  private async give(watch: Watch, found: readonly EmailRef[], cause: RecordedEvent): Promise<void> {
    if (found.length === 0) return;
    const { tenant, submission } = watch;
    await this.deps.copies.ready();
    const touched = await this.deps.copies.touchedBy(tenant, submission.approvalId, found);
    const late = found.filter((email) => !touched.has(emailKeyOf(email)));
    for (let from = 0; from < late.length; from += EMAILS_AT_ONCE) {
      const emails = late.slice(from, from + EMAILS_AT_ONCE);
      const key = idFrom('lateArrivals', submission.approvalId, cause.id, String(from));
      await this.deps.submit({ tenant, of: submission, emails, key, cause });
    }
  }

  /** Once everything up to now was looked at, those whose time is over find nothing more. */
  private forgetOld(): void {
    const now = this.deps.clock.now().toISOString();
    for (const [approvalId, { submission }] of this.watches) {
      if ((submission.lateArrivalsUntil ?? '') < now) this.watches.delete(approvalId);
    }
  }

  private async saveCheckpoint(): Promise<void> {
    let safe = this.seen;
    for (const { submittedAt } of this.watches.values()) {
      if (submittedAt <= safe) safe = submittedAt - 1n;
    }
    if (safe <= this.saved) return;
    this.saveAt = performance.now() + SAVE_EVERY_MS;
    await this.deps.checkpoints.save(safe);
    this.saved = safe;
  }
}
