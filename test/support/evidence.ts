import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EventStore } from '#libs/event-store';
import { SqliteEventStore } from '#libs/event-store/sqlite';
import { START, type Position } from '#libs/kernel';
import { catalogCodecs, emailKey } from '#libs/mail-catalog';
import { type Folder } from '#libs/mailbox';
import { SandboxTenant, type JournalEntry } from '#libs/mailbox/sandbox';
import { DEFAULT_TENANT } from '#libs/platform';
import {
  batchCodecs,
  copyKeyOf,
  isCopyEvent,
  moveInTally,
  outcomeOf,
  remediationCodecs,
  startingTallyOf,
  sumTallies,
  type BatchEvent,
  type CopyEvent,
  type RemediationEvent,
  type Submission,
  type Tally,
} from '#libs/remediation';
import type { ExpectedCopy } from './mail-input.js';

type BatchPlanned = Extract<BatchEvent, { type: 'BatchPlanned' }>['data'];

/** Everything that was recorded about one batch. */
interface BatchEvidence {
  planned?: BatchPlanned;
  attempts: number;
  readonly outcomes: CopyEvent[];
  readonly settled: Tally[];
}

/** A real move, by its operation and by what it did. */
const moveText = (operationId: string, copyKey: string, from: string, to: string): string =>
  `${operationId}: ${copyKey} from ${from} to ${to}`;

const journalText = (entry: JournalEntry): string =>
  moveText(entry.operationId, copyKeyOf({ ...entry, kind: entry.copyKind }), entry.from, entry.to);

/**
 * What was recorded, and what was really done: the events, and the real moves of the mailboxes. Read without the views,
 * so that these can be measured by it.
 */
export class Evidence {
  head: Position = START;
  /** Records of emails in the log, repeated ones included, and how many emails they are. */
  records = 0;
  readonly emails = new Set<string>();
  /** By approval ID: the life of a remediation. */
  readonly lives = new Map<string, RemediationEvent[]>();
  /** By plan: its batches by number. Not every plan was submitted. */
  readonly plans = new Map<string, Map<number, BatchEvidence>>();
  readonly journal: JournalEntry[] = [];

  /** On the disk of a data directory that no process uses. */
  static async of(directory: string): Promise<Evidence> {
    const events = new SqliteEventStore(join(directory, 'events.db'));
    try {
      return await Evidence.in(events, directory, DEFAULT_TENANT);
    } finally {
      await events.close();
    }
  }

  /** Of one tenant, in an event store and in the sandbox of a data directory; both may be in use. */
  static async in(events: EventStore, directory: string, tenant: string): Promise<Evidence> {
    const evidence = new Evidence();
    await evidence.readEvents(events, tenant);
    await withSandbox(directory, (sandbox) => {
      evidence.journal.push(...sandbox.journal(tenant));
    });
    return evidence;
  }

  /**
   * Of a process that was just killed. Reads a copy, for a look at the files themselves would take the repair from the
   * next start.
   */
  static async ofCrash(directory: string): Promise<Evidence> {
    const copy = await mkdtemp(join(tmpdir(), 'clawback-scene-'));
    try {
      for (const name of await readdir(directory)) {
        if (/^(events|sandbox)\.db(-wal)?$/.test(name)) await cp(join(directory, name), join(copy, name));
      }
      return await Evidence.of(copy);
    } finally {
      await rm(copy, { recursive: true, force: true });
    }
  }

  submission(approvalId: string): Submission | undefined {
    const [first] = this.lives.get(approvalId) ?? [];
    return first?.type === 'RemediationSubmitted' ? first.data : undefined;
  }

  batches(planId: string): BatchEvidence[] {
    return [...(this.plans.get(planId) ?? [])].sort(([a], [b]) => a - b).map(([, batch]) => batch);
  }

  /** The outcomes of a plan, counted anew from its batches. */
  tally(planId: string): Tally {
    return sumTallies(this.batches(planId).map(tallyOf));
  }

  /** The moves of a plan that the mailboxes made, and those that the log says were made. */
  moves(planId: string): { readonly made: string[]; readonly recorded: string[] } {
    return {
      made: this.journal.filter(({ operationId }) => operationId.startsWith(`${planId}/`)).map(journalText),
      recorded: this.batches(planId).flatMap(({ outcomes }) => outcomes.flatMap(recordedMove)),
    };
  }

  /** Moves that were made and not yet recorded: they must not be made again. */
  inDoubt(): number {
    const recorded = new Set([...this.plans.keys()].flatMap((planId) => this.moves(planId).recorded));
    return this.journal.filter((entry) => !recorded.has(journalText(entry))).length;
  }

  /** What must not be, at whatever instant the process ended. */
  contradictions(): string[] {
    return [
      ...this.untrueMoves(),
      ...this.repeatedOutcomes(),
      ...this.repeatedMoves(),
      ...this.workOnPlansThatDoNotCount(),
    ];
  }

  private untrueMoves(): string[] {
    const made = new Set(this.journal.map(journalText));
    return [...this.plans.keys()]
      .flatMap((planId) => this.moves(planId).recorded)
      .filter((move) => !made.has(move))
      .map((move) => `recorded, but never made: ${move}`);
  }

  private repeatedOutcomes(): string[] {
    const targets = [...this.plans].flatMap(([planId, batches]) =>
      [...batches].flatMap(([number, { outcomes }]) =>
        outcomes.map(({ data }) => `${planId}/${number}/${data.target}`),
      ),
    );
    return repeated(targets).map((target) => `more than one outcome: ${target}`);
  }

  private repeatedMoves(): string[] {
    const copies = this.journal.map((entry) => {
      const [planId = ''] = entry.operationId.split('/');
      return `${planId} ${copyKeyOf({ ...entry, kind: entry.copyKind })}`;
    });
    return repeated(copies).map((copy) => `moved more than once: ${copy}`);
  }

  /** Until it is submitted, a plan is paper. */
  private workOnPlansThatDoNotCount(): string[] {
    const submitted = new Set([...this.lives.keys()].map((id) => this.submission(id)?.planId));
    const worked = [...this.plans].flatMap(([planId, batches]) =>
      [...batches.values()].some(({ attempts, outcomes }) => attempts + outcomes.length > 0) ? [planId] : [],
    );
    const moved = this.journal.map(({ operationId }) => operationId.split('/')[0] ?? '');
    return [...new Set([...worked, ...moved])]
      .filter((planId) => !submitted.has(planId))
      .map((planId) => `work on the plan ${planId}, which was never submitted`);
  }

  private async readEvents(store: EventStore, tenant: string): Promise<void> {
    for await (const recorded of store.readAll(START)) {
      this.head = recorded.position;
      if (recorded.metadata.tenant !== tenant) continue;
      const imported = catalogCodecs.decode(recorded);
      for (const email of imported?.data.emails ?? []) {
        this.records += 1;
        this.emails.add(emailKey(email.networkMessageId, email.recipientEmailAddress));
      }
      const life = remediationCodecs.decode(recorded);
      if (life !== undefined) atKey(this.lives, life.data.approvalId, () => []).push(life);
      const batch = batchCodecs.decode(recorded);
      if (batch !== undefined) this.addBatchEvent(batch);
    }
  }

  private addBatchEvent(event: BatchEvent): void {
    const { planId, batch: number } = event.data;
    const batches = atKey(this.plans, planId, () => new Map<number, BatchEvidence>());
    const batch = atKey(batches, number, () => ({ attempts: 0, outcomes: [], settled: [] }));
    if (event.type === 'BatchPlanned') batch.planned = event.data;
    else if (event.type === 'BatchAttemptStarted') batch.attempts += 1;
    else if (event.type === 'BatchSettled') batch.settled.push(event.data.tally);
    else if (isCopyEvent(event)) batch.outcomes.push(event);
  }
}

const tallyOf = ({ planned, outcomes }: BatchEvidence): Tally => {
  let tally = startingTallyOf(planned?.targets ?? []);
  for (const event of outcomes) {
    const { kind, outcome } = outcomeOf(event);
    tally = moveInTally(tally, kind, 'pending', outcome);
  }
  return tally;
};

function recordedMove(event: CopyEvent): string[] {
  const { kind, outcome, from = '', to = '' } = outcomeOf(event);
  if (outcome !== 'succeeded') return [];
  const { planId, batch, target, ...copy } = event.data;
  return [moveText(`${planId}/${batch}/${target}`, copyKeyOf({ ...copy, kind }), from, to)];
}

/** Those that come more than once. */
export function repeated(texts: readonly string[]): string[] {
  const seen = new Set<string>();
  return texts.filter((text) => seen.size === seen.add(text).size);
}

function atKey<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const value = map.get(key) ?? make();
  map.set(key, value);
  return value;
}

/** The folder of each of these copies, in the sandbox itself. A copy that is nowhere is left out. */
export async function foldersOf(
  directory: string,
  copies: ReadonlyMap<string, ExpectedCopy>,
  tenant: string = DEFAULT_TENANT,
): Promise<ReadonlyMap<string, Folder>> {
  const folders = new Map<string, Folder>();
  await withSandbox(directory, (sandbox) => {
    for (const [key, { mailbox, networkMessageId, kind }] of copies) {
      const place = sandbox.locate(tenant, mailbox, networkMessageId, kind);
      if (place !== undefined) folders.set(key, place.folder);
    }
  });
  return folders;
}

async function withSandbox(directory: string, use: (sandbox: SandboxTenant) => void): Promise<void> {
  const sandbox = new SandboxTenant(join(directory, 'sandbox.db'));
  try {
    use(sandbox);
  } finally {
    await sandbox.close();
  }
}
