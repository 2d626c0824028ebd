import { ClawbackError, invalidInput } from '#libs/kernel';
import { emailKeyOf, type EmailRef } from '#libs/remediation';
import { parseDirection } from './email-record.js';

/** What any action on mail needs of a result of advanced hunting. */
const COLUMNS = ['NetworkMessageId', 'RecipientEmailAddress'] as const;

/** What the sender's copy option needs besides. */
const SENDER_COLUMNS = ['EmailDirection', 'SenderFromAddress'] as const;

/** Wrong rows that are told by their number; the others are counted. */
export const HUNTING_PROBLEMS_SHOWN = 100;

/** A row of the result: the value of each column by its name. */
export type HuntingRow = Readonly<Record<string, unknown>>;

export interface HuntingSelection {
  readonly rows: number;
  /** Each once, in the order of their first rows. */
  readonly emails: readonly HuntedEmail[];
  /** Rows that name an email which an earlier row has named. */
  readonly duplicates: number;
}

/** An email, and the row that names it first, counted from 1. */
export interface HuntedEmail extends EmailRef {
  readonly row: number;
}

/**
 * Takes the rows of a result one by one, and makes them a selection at the end.
 *
 * @param options.columns the columns of the result when they are known apart from its rows; otherwise those of all rows
 * @param options.limit emails at most; one more is refused at once
 */
export class HuntingReader {
  private readonly columns: Set<string>;
  private readonly emails = new Map<string, HuntedEmail>();
  private readonly problems: { readonly row: number; readonly reason: string }[] = [];
  private rows = 0;
  private wrong = 0;

  constructor(
    private readonly options: {
      readonly columns?: readonly string[];
      readonly sendersCopy: boolean;
      readonly limit: number;
    },
  ) {
    this.columns = new Set(options.columns);
    if (options.columns !== undefined) this.checkColumns();
  }

  /** @throws {ClawbackError} `selectionOverLimit` */
  add(row: unknown): void {
    this.rows += 1;
    const email = this.emailOf(row);
    if (typeof email === 'string') {
      this.wrong += 1;
      if (this.problems.length < HUNTING_PROBLEMS_SHOWN)
        this.problems.push({ row: this.rows, reason: email });
      return;
    }
    const key = emailKeyOf(email);
    if (this.emails.has(key)) return;
    this.emails.set(key, { ...email, row: this.rows });
    if (this.emails.size > this.options.limit) throw overLimit(this.options.limit);
  }

  /**
   * @throws {ClawbackError} `huntingColumnMissing` that names each one; `huntingRowsInvalid` that names the rows by their
   * number; `selectionEmpty`
   */
  end(): HuntingSelection {
    if (this.rows === 0) throw invalidInput([{ field: 'body', problem: 'holds no row' }], 'selectionEmpty');
    this.checkColumns();
    if (this.wrong > 0) throw wrongRows(this.problems, this.wrong);
    const emails = [...this.emails.values()];
    return { rows: this.rows, emails, duplicates: this.rows - emails.length };
  }

  /** The email of a row, or what is wrong with it. */
  private emailOf(row: unknown): EmailRef | string {
    if (typeof row !== 'object' || row === null || Array.isArray(row)) return 'must be an object';
    const { columns } = this.options;
    if (columns === undefined) for (const name of Object.keys(row)) this.columns.add(name);
    const cell = (name: string): string => {
      const value = Object.hasOwn(row, name) ? (row as HuntingRow)[name] : undefined;
      return typeof value === 'string' ? value.trim() : '';
    };
    const networkMessageId = cell('NetworkMessageId').toLowerCase();
    const recipientEmailAddress = cell('RecipientEmailAddress').toLowerCase();
    if (!GUID.test(networkMessageId)) return 'NetworkMessageId: must be a GUID';
    if (!ADDRESS.test(recipientEmailAddress)) return 'RecipientEmailAddress: must be an email address';
    if (this.options.sendersCopy) {
      if (parseDirection(cell('EmailDirection')) === undefined) {
        return 'EmailDirection: must be Inbound, Outbound, Intra-org or Unknown';
      }
      if (cell('SenderFromAddress') === '') return 'SenderFromAddress: missing';
    }
    return { networkMessageId, recipientEmailAddress };
  }

  private checkColumns(): void {
    const needed = [...COLUMNS, ...(this.options.sendersCopy ? SENDER_COLUMNS : [])];
    const missing = needed.filter((name) => !this.columns.has(name));
    if (missing.length === 0) return;
    throw invalidInput(
      missing.map((name) => ({
        field: name,
        problem: SENDER_COLUMNS.some((column) => column === name)
          ? "this column is missing from the result; the sender's copy option needs it"
          : 'this column is missing from the result',
      })),
      'huntingColumnMissing',
    );
  }
}

const GUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/;
const ADDRESS = /^(?=.{3,320}$)[^\s\p{Cc}\p{Surrogate}]+@[^\s\p{Cc}\p{Surrogate}@]+$/u;

const wrongRows = (
  shown: readonly { readonly row: number; readonly reason: string }[],
  count: number,
): ClawbackError =>
  new ClawbackError(
    'invalid',
    'huntingRowsInvalid',
    `body: ${String(count)} of its rows are no emails; row ${String(shown[0]?.row)}: ${shown[0]?.reason ?? ''}`,
    {
      count,
      rows: shown.map(({ row }) => row),
      errors: shown.map(({ row, reason }) => ({ field: `rows[${String(row)}]`, problem: reason })),
    },
  );

const overLimit = (limit: number): ClawbackError =>
  new ClawbackError(
    'limit',
    'selectionOverLimit',
    `body: names more than ${String(limit)} emails, the limit (CLAWBACK_LIMIT_HUNTING) is ${String(limit)}; ` +
      'split it, for instance by time or sender',
    { field: 'body', limit },
  );
