import {
  ClawbackError,
  formatPosition,
  parsePosition,
  START,
  SystemClock,
  type Clock,
  type Position,
} from '#libs/kernel';
import { SqliteFile, type SqlRow } from '#libs/sqlite';
import { Folders, MailboxError, type Folder, type MoveRequest, type MoveResult } from '../mailbox-gateway.js';
import {
  giveUp,
  refuseWhenFired,
  Sandbox,
  sandboxClosed,
  type CopyKind,
  type Fault,
  type MailboxFault,
  type SandboxCopy,
} from './sandbox.js';

/**
 * Moves of one transaction: enough that waiting for the disk does not count, and few enough that whoever has asked can go
 * on with what became of the first ones while the next ones are made.
 */
const MOVES_AT_ONCE = 256;

/**
 * Copies are moved in the order of the file, so that few pages are needed at a time; and SQLite goes through all that it
 * keeps when it commits a page that was split, as some are in every commit here.
 */
const CACHE_MIB = 8;

/** How often a checkpoint is written that nothing was placed up to. */
const WRITE_EVERY_MS = 1000;

/** What to answer once the transaction is committed. */
type Answer = () => MoveResult | Promise<MoveResult>;

/** A move that waits for the transaction of its turn. */
interface AskedMove {
  readonly request: MoveRequest;
  readonly signal: AbortSignal;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** One real move that an operation made. What users do themselves (see {@link Fault}) is not in the journal. */
export interface JournalEntry {
  readonly operationId: string;
  readonly tenant: string;
  readonly mailbox: string;
  readonly networkMessageId: string;
  readonly copyKind: CopyKind;
  readonly from: Folder;
  readonly to: Folder;
  /** ISO 8601, UTC. */
  readonly at: string;
}

export interface SandboxOptions {
  /** Dates the rows of the journal. */
  readonly clock?: Clock;
}

/**
 * Moves a copy that is there and that this operation has not moved yet, in a mailbox without a fault or whatever its fault
 * is (the last value). Gives the folder it was in; nothing when it is any other move.
 */
const MOVE = `
  UPDATE copies SET previousFolder = folder, folder = ?6
  WHERE tenant = ?1 AND mailbox = ?2 AND networkMessageId = ?3 AND copyKind = ?4
    AND folder NOT IN (?6, '${Folders.recoverablePurges}') AND folder = coalesce(?7, folder)
    AND NOT EXISTS(
      SELECT 1 FROM moves
      WHERE operationId = ?5 AND tenant = ?1 AND mailbox = ?2 AND networkMessageId = ?3 AND copyKind = ?4
    )
    AND (?8 OR NOT EXISTS(SELECT 1 FROM faults WHERE tenant = ?1 AND mailbox = ?2))
  RETURNING previousFolder AS folder`;

/** All that a move depends on, in one row: the fault of its mailbox, what the same operation did before, and the copy. */
const SITUATION = `
  SELECT fault, remaining, fromFolder, toFolder, copies.tenant IS NOT NULL AS isThere, folder
  FROM (SELECT ? AS tenant, ? AS mailbox, ? AS networkMessageId, ? AS copyKind, ? AS operationId)
    LEFT JOIN faults USING(tenant, mailbox)
    LEFT JOIN moves USING(tenant, operationId, mailbox, networkMessageId, copyKind)
    LEFT JOIN copies USING(tenant, mailbox, networkMessageId, copyKind)`;

const JOURNAL_PAGE = 500;

const SCHEMA = `
  -- A copy whose folder is NULL is purged: the row stays, so that a repeated delivery does not bring it back.
  -- The message comes first in the key, as in the order of a plan: what a batch moves is on a few pages.
  CREATE TABLE IF NOT EXISTS copies(
    tenant TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    networkMessageId TEXT NOT NULL,
    copyKind TEXT NOT NULL,
    internetMessageId TEXT NOT NULL,
    folder TEXT,
    previousFolder TEXT,
    PRIMARY KEY(tenant, networkMessageId, mailbox, copyKind)
  ) WITHOUT ROWID;
  -- Those to which something was ever delivered.
  CREATE TABLE IF NOT EXISTS mailboxes(
    tenant TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    PRIMARY KEY(tenant, mailbox)
  ) WITHOUT ROWID;
  -- A file of before there was that table.
  INSERT INTO mailboxes SELECT DISTINCT tenant, mailbox FROM copies WHERE NOT EXISTS(SELECT 1 FROM mailboxes);
  CREATE TABLE IF NOT EXISTS moves(
    sequence INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    operationId TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    networkMessageId TEXT NOT NULL,
    copyKind TEXT NOT NULL,
    fromFolder TEXT NOT NULL,
    toFolder TEXT NOT NULL,
    at TEXT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS movesOfOperation ON moves(operationId);
  CREATE TABLE IF NOT EXISTS faults(
    tenant TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    fault TEXT NOT NULL,
    remaining INTEGER,
    PRIMARY KEY(tenant, mailbox)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS delivered(
    only INTEGER PRIMARY KEY CHECK(only = 1),
    position TEXT NOT NULL
  );
  INSERT INTO delivered VALUES(1, '') ON CONFLICT DO NOTHING;
`;

/**
 * A mail tenant of its own in one SQLite file: durable, with faults that can be injected while it runs. Hundreds of
 * moves share one commit. Mailbox addresses are compared in lower case.
 *
 * Every real move is remembered by its operation id, also when other operations followed; a refusal changed nothing, so
 * a repeat of it is looked at afresh.
 *
 * Every method throws {@link ClawbackError} of kind `unavailable` once closed, or when the file cannot be used.
 */
export class SandboxTenant extends Sandbox {
  private readonly file: SqliteFile;
  private readonly clock: Clock;
  private readonly sleepers = new Set<() => void>();
  private readonly asked: AskedMove[] = [];
  private isMoving = false;
  /** How far was delivered through this object, and when that has to be written at the latest. */
  private passed: Position = START;
  private writeAt = 0;
  private dated = { at: Number.NaN, text: '' };

  constructor(path: string, options: SandboxOptions = {}) {
    super();
    this.clock = options.clock ?? new SystemClock();
    this.file = reportingStoreErrors(() => {
      const file = new SqliteFile(path, { durability: 'full', cacheMiB: CACHE_MIB });
      file.exec(SCHEMA);
      return file;
    });
  }

  /**
   * Where there is nothing to place, which is most of a log, the checkpoint is on the disk only after a while: a crash
   * would have that looked through again.
   */
  override async deliver(copies: readonly SandboxCopy[], position: Position): Promise<void> {
    this.refuseWhenClosed();
    if (copies.length > 0 || performance.now() >= this.writeAt) {
      this.writeAt = performance.now() + WRITE_EVERY_MS;
      await this.write(() => {
        for (const copy of copies) this.place(copy);
        this.makeKnown(copies);
        this.file.run('UPDATE delivered SET position = max(position, ?)', formatPosition(position));
      });
    }
    if (position > this.passed) this.passed = position;
    this.wake();
  }

  override deliveredTo(): Position {
    const written = this.read(() =>
      parsePosition(textOf(this.file.get('SELECT position FROM delivered'), 'position')),
    );
    return written > this.passed ? written : this.passed;
  }

  /** Delivered by this instance, or already in the file when it is asked. */
  override async whenDelivered(position: Position, signal?: AbortSignal): Promise<void> {
    await this.waitFor(() => (this.deliveredTo() >= position ? true : undefined), signal);
  }

  override async move(request: MoveRequest, signal: AbortSignal): Promise<MoveResult> {
    refuseWhenFired(signal);
    const answer = await new Promise<Answer>((resolve, reject) => {
      this.asked.push({ request, signal, resolve, reject });
      if (!this.isMoving) void this.moveAllAsked();
    });
    return answer();
  }

  /** Where a copy is now and where it was before its last move; undefined when it was never there or is purged. */
  locate(
    tenant: string,
    mailbox: string,
    networkMessageId: string,
    copyKind: CopyKind,
  ): { folder: Folder; previousFolder: Folder | undefined } | undefined {
    const row = this.read(() => this.copy({ tenant, mailbox, networkMessageId, copyKind }));
    if (row === undefined || row.folder === null) return undefined;
    return {
      folder: textOf(row, 'folder'),
      previousFolder: row.previousFolder === null ? undefined : textOf(row, 'previousFolder'),
    };
  }

  /** The real moves of a tenant in the order they were made; only operations whose id begins with the prefix. */
  *journal(tenant: string, operationIdPrefix = ''): Generator<JournalEntry> {
    let after: number | undefined = 0;
    while (after !== undefined) {
      const page: SqlRow[] = this.journalPage(tenant, operationIdPrefix, after);
      for (const row of page) yield journalEntryOf(row);
      after = page.length < JOURNAL_PAGE ? undefined : Number(page.at(-1)?.sequence);
    }
  }

  /** How many copies of a tenant are in each folder; folders without any are left out. */
  countByFolder(tenant: string): Readonly<Record<Folder, number>> {
    const rows = this.read(() =>
      this.file.all(
        'SELECT folder, count(*) AS copies FROM copies WHERE tenant = ? AND folder IS NOT NULL GROUP BY folder',
        tenant,
      ),
    );
    return Object.fromEntries(rows.map((row) => [textOf(row, 'folder'), Number(row.copies)]));
  }

  override async setFault(tenant: string, mailbox: string, fault: Fault): Promise<void> {
    const address = mailbox.toLowerCase();
    await this.write(() => {
      this.file.run(
        'INSERT OR REPLACE INTO faults(tenant, mailbox, fault, remaining) VALUES(?, ?, ?, ?)',
        tenant,
        address,
        JSON.stringify(fault),
        'times' in fault ? fault.times : null,
      );
      if (fault.kind === 'movedByUser') this.moveByUser(tenant, address, fault.folder);
      if (fault.kind === 'deletedByUser') this.purge(tenant, address);
    });
  }

  override async clearFault(tenant: string, mailbox: string): Promise<void> {
    await this.write(() =>
      this.file.run('DELETE FROM faults WHERE tenant = ? AND mailbox = ?', tenant, mailbox.toLowerCase()),
    );
  }

  override faults(tenant: string): MailboxFault[] {
    const rows = this.read(() =>
      this.file.all('SELECT mailbox, fault, remaining FROM faults WHERE tenant = ? ORDER BY mailbox', tenant),
    );
    return rows.map((row) => ({ mailbox: textOf(row, 'mailbox'), fault: faultOf(row) }));
  }

  /** Finishes the moves that have begun; calls that wait for their turn or hang are told `unavailable`. Idempotent. */
  override close(): Promise<void> {
    this.file.close();
    this.wake();
    return Promise.resolve();
  }

  /** The moves that are asked for, {@link MOVES_AT_ONCE} in a transaction. Never rejects. */
  private async moveAllAsked(): Promise<void> {
    this.isMoving = true;
    while (this.asked.length > 0) {
      let taken: readonly AskedMove[] = [];
      try {
        const answers = await this.write(() => {
          taken = this.asked.splice(0, MOVES_AT_ONCE);
          return taken.map(({ request, signal, resolve }) => {
            const answer = this.answerTo(request, signal);
            return () => {
              resolve(answer);
            };
          });
        });
        for (const answer of answers) answer();
      } catch (error) {
        // The transaction failed, or did not begin.
        if (taken.length === 0) taken = this.asked.splice(0);
        for (const { reject } of taken) reject(error);
      }
    }
    this.isMoving = false;
  }

  /** What is wrong with one move fails no other; it is found before anything is written. */
  private answerTo(request: MoveRequest, signal: AbortSignal): Answer {
    try {
      return this.attempt(request, signal);
    } catch (error) {
      if (isSqliteError(error)) throw error;
      return () => {
        throw error;
      };
    }
  }

  /**
   * Runs inside the transaction and gives what to answer after its commit: a fault that counts down must not be rolled
   * back by the error it makes.
   */
  private attempt(request: MoveRequest, signal: AbortSignal): Answer {
    if (signal.aborted) return giveUp;
    // What most moves are is done at once, and looked at only when it is not.
    const moved = this.tryToMove(request, { despiteFault: false });
    if (moved !== undefined) return () => moved;
    const situation = this.situation(request);
    const fault = this.useFault(request, situation);
    switch (fault?.kind) {
      case 'missingMailbox':
        return () => ({ kind: 'mailboxNotFound' });
      case 'error':
        return () => {
          throw new MailboxError(fault.code, 'injected fault', fault.retryable, fault.retryAfterMs);
        };
      case 'hang':
        return () => this.waitFor<MoveResult>(() => undefined, signal);
      case 'slow':
        return () => this.moveAfter(fault.delayMs, request, signal);
      case 'movedByUser':
      case 'deletedByUser':
      case undefined: {
        const result = this.carryOut(request, situation);
        return () => result;
      }
    }
  }

  /** Undefined when there is more to say of it than that it moved. */
  private tryToMove(
    request: MoveRequest,
    { despiteFault }: { readonly despiteFault: boolean },
  ): MoveResult | undefined {
    const { operationId, to, onlyFrom = null } = request;
    const row = this.file.get(MOVE, ...keyOf(request), operationId, to, onlyFrom, despiteFault ? 1 : 0);
    return row === undefined ? undefined : this.noted(request, textOf(row, 'folder'));
  }

  private async moveAfter(delayMs: number, request: MoveRequest, signal: AbortSignal): Promise<MoveResult> {
    let elapsed = false;
    const timer = setTimeout(() => {
      elapsed = true;
      this.wake();
    }, delayMs);
    try {
      await this.waitFor(() => (elapsed ? true : undefined), signal);
    } finally {
      clearTimeout(timer);
    }
    return this.write(() => {
      refuseWhenFired(signal);
      return this.carryOut(request, this.situation(request));
    });
  }

  private situation(request: MoveRequest): SqlRow {
    const row = this.file.get(SITUATION, ...keyOf(request), request.operationId);
    if (row === undefined) throw new TypeError('sandbox: expected a row for every move');
    return row;
  }

  /** The fault that hits this call, if any, counted down by it. */
  private useFault({ tenant, mailbox }: MoveRequest, situation: SqlRow): Fault | undefined {
    const { fault, remaining } = situation;
    if (fault === null || remaining === 0) return undefined;
    if (remaining !== null) {
      this.file.run(
        'UPDATE faults SET remaining = remaining - 1 WHERE tenant = ? AND mailbox = ?',
        tenant,
        mailbox.toLowerCase(),
      );
    }
    return faultOf(situation);
  }

  private carryOut(request: MoveRequest, situation: SqlRow): MoveResult {
    const { to } = request;
    if (situation.fromFolder !== null) {
      return { kind: 'moved', from: textOf(situation, 'fromFolder'), to: textOf(situation, 'toFolder') };
    }
    if (situation.isThere === 0 && !this.isKnown(request.tenant, request.mailbox)) {
      return { kind: 'mailboxNotFound' };
    }
    if (situation.folder === null) return { kind: 'notFound' };
    const folder = textOf(situation, 'folder');
    if (folder === Folders.recoverablePurges) return { kind: 'notFound' };
    if (folder === to) return { kind: 'alreadyInDestination', folder };
    // Of all that keeps it from moving only the folder that it has to come from is left.
    return this.tryToMove(request, { despiteFault: true }) ?? { kind: 'movedSince', folder };
  }

  /** Of a copy that has just been moved: the journal has it, so that a repeat is answered as this one is. */
  private noted(request: MoveRequest, from: Folder): MoveResult {
    const { operationId, to } = request;
    const [tenant, mailbox, networkMessageId, copyKind] = keyOf(request);
    this.file.run(
      `INSERT INTO moves(tenant, operationId, mailbox, networkMessageId, copyKind, fromFolder, toFolder, at)
       VALUES(?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[tenant, operationId, mailbox, networkMessageId, copyKind, from, to, this.nowAsText()],
    );
    return { kind: 'moved', from, to };
  }

  /** Made anew only when the millisecond has passed: it took as long as a tenth of the move. */
  private nowAsText(): string {
    const now = this.clock.now();
    if (now.getTime() !== this.dated.at) this.dated = { at: now.getTime(), text: now.toISOString() };
    return this.dated.text;
  }

  private place(copy: SandboxCopy): void {
    this.file.run(
      `INSERT INTO copies(tenant, mailbox, networkMessageId, copyKind, internetMessageId, folder)
       VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
      ...[...keyOf(copy), copy.internetMessageId, copy.folder],
    );
  }

  private makeKnown(copies: readonly SandboxCopy[]): void {
    const mailboxes = new Map(copies.map((copy) => [`${copy.tenant}/${copy.mailbox}`, copy]));
    for (const { tenant, mailbox } of mailboxes.values()) {
      this.file.run(
        'INSERT INTO mailboxes(tenant, mailbox) VALUES(?, ?) ON CONFLICT DO NOTHING',
        ...[tenant, mailbox.toLowerCase()],
      );
    }
  }

  private copy(key: CopyKey): SqlRow | undefined {
    return this.file.get(
      `SELECT folder, previousFolder FROM copies
       WHERE tenant = ? AND mailbox = ? AND networkMessageId = ? AND copyKind = ?`,
      ...keyOf(key),
    );
  }

  /** Whether there is such a mailbox: something was delivered to it, or a fault was injected into it. */
  private isKnown(tenant: string, mailbox: string): boolean {
    const key = [tenant, mailbox.toLowerCase()] as const;
    const found = this.file.get(
      `SELECT EXISTS(SELECT 1 FROM mailboxes WHERE tenant = ? AND mailbox = ?)
           OR EXISTS(SELECT 1 FROM faults WHERE tenant = ? AND mailbox = ?) AS known`,
      ...[...key, ...key],
    );
    return found?.known === 1;
  }

  private moveByUser(tenant: string, mailbox: string, folder: Folder): void {
    this.file.run(
      `UPDATE copies SET previousFolder = folder, folder = ?
       WHERE tenant = ? AND mailbox = ? AND folder <> ?`,
      ...[folder, tenant, mailbox, folder],
    );
  }

  private purge(tenant: string, mailbox: string): void {
    this.file.run(
      'UPDATE copies SET folder = NULL, previousFolder = NULL WHERE tenant = ? AND mailbox = ?',
      ...[tenant, mailbox],
    );
  }

  private journalPage(tenant: string, prefix: string, after: number): SqlRow[] {
    return this.read(() =>
      this.file.all(
        `SELECT * FROM moves
         WHERE tenant = ? AND sequence > ? AND substr(operationId, 1, length(?)) = ?
         ORDER BY sequence LIMIT ?`,
        ...[tenant, after, prefix, prefix, JOURNAL_PAGE],
      ),
    );
  }

  /** The first answer that is not undefined: asked now, and again whenever something wakes us. */
  private async waitFor<T>(answer: () => T | undefined, signal?: AbortSignal): Promise<T> {
    for (;;) {
      this.refuseWhenClosed();
      refuseWhenFired(signal);
      const found = answer();
      if (found !== undefined) return found;
      await this.woken(signal);
    }
  }

  private woken(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.sleepers.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      this.sleepers.add(wake);
      signal?.addEventListener('abort', wake);
    });
  }

  private wake(): void {
    for (const wake of [...this.sleepers]) wake();
  }

  private read<T>(work: () => T): T {
    this.refuseWhenClosed();
    return reportingStoreErrors(work);
  }

  private async write<T>(work: () => T): Promise<T> {
    this.refuseWhenClosed();
    try {
      return await this.file.grouped(work);
    } catch (error) {
      throw storeError(error);
    }
  }

  private refuseWhenClosed(): void {
    if (!this.file.isOpen) {
      throw sandboxClosed();
    }
  }
}

type CopyKey = Pick<SandboxCopy, 'tenant' | 'mailbox' | 'networkMessageId' | 'copyKind'>;

const keyOf = (copy: CopyKey) =>
  [copy.tenant, copy.mailbox.toLowerCase(), copy.networkMessageId, copy.copyKind] as const;

const textOf = (row: SqlRow | undefined, column: string): string => {
  const value = row?.[column];
  if (typeof value !== 'string') throw new TypeError(`sandbox: expected a text in ${column}`);
  return value;
};

const journalEntryOf = (row: SqlRow): JournalEntry => ({
  operationId: textOf(row, 'operationId'),
  tenant: textOf(row, 'tenant'),
  mailbox: textOf(row, 'mailbox'),
  networkMessageId: textOf(row, 'networkMessageId'),
  copyKind: textOf(row, 'copyKind') as CopyKind,
  from: textOf(row, 'fromFolder'),
  to: textOf(row, 'toFolder'),
  at: textOf(row, 'at'),
});

const faultOf = (row: SqlRow): Fault => {
  const fault = JSON.parse(textOf(row, 'fault')) as Fault;
  return typeof row.remaining === 'number' ? ({ ...fault, times: row.remaining } as Fault) : fault;
};

/** A failure of the file becomes `unavailable`; anything else is passed on as it is. */
function storeError(error: unknown): unknown {
  if (!isSqliteError(error)) return error;
  return new ClawbackError(
    'unavailable',
    'sandboxUnavailable',
    'the file of the sandbox tenant cannot be used',
    {},
    { cause: error },
  );
}

/** By shape: the driver's errors need not come from the realm of our own `Error`. */
const isSqliteError = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && 'code' in error && error.code === 'ERR_SQLITE_ERROR';

function reportingStoreErrors<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw storeError(error);
  }
}
