import type { Position } from '#libs/kernel';
import type { CopyIdentity, EmailFilter, EmailRef, SelectedEmail } from './domain/index.js';

/** How emails are spread over their recipients. */
export interface Recipients {
  /** Different ones. */
  readonly distinct: number;
  /** Emails of the one who has most of them. */
  readonly most: number;
}

/** What the write side asks the mail catalogue. All addresses and ids are in lower case. */
export abstract class SelectionSource {
  /** Resolves when everything recorded before the call can be found. @throws {ClawbackError} `unavailable` */
  abstract ready(): Promise<void>;
  abstract count(tenant: string, filter: EmailFilter): Promise<number>;
  /** How the matches are spread over their recipients. */
  abstract recipients(tenant: string, filter: EmailFilter): Promise<Recipients>;
  /**
   * All matches in the order of their keys, so that the emails of a message follow each other; a page at a time.
   * @param count how many there are, where that is known: else they are counted to find the best way.
   */
  abstract stream(
    tenant: string,
    filter: EmailFilter,
    count?: number,
  ): AsyncIterable<readonly SelectedEmail[]>;
  /** Those that exist among these keys, in no order. */
  abstract getMany(tenant: string, keys: readonly string[]): Promise<SelectedEmail[]>;
}

/** A copy that was moved: where to, and where in the log that is recorded. */
export interface MovedCopy extends CopyIdentity {
  readonly to: string;
  readonly position: Position;
}

/** What the write side asks about copies. */
export abstract class CopyStates {
  /** As {@link SelectionSource.ready}. */
  abstract ready(): Promise<void>;
  /** Of copies that this remediation has moved those that are, as far as is known, still where it moved them to. */
  abstract stillMovedBy<Copy extends MovedCopy>(
    tenant: string,
    approvalId: string,
    moved: readonly Copy[],
  ): Promise<readonly Copy[]>;
  /** The keys of those emails whose recipient's copy this remediation has given an outcome. */
  abstract touchedBy(
    tenant: string,
    approvalId: string,
    emails: readonly EmailRef[],
  ): Promise<ReadonlySet<string>>;
}

/** How much is under way, for the limits on active remediations. */
export abstract class ActiveRemediations {
  abstract active(tenant: string): Promise<{ readonly remediations: number; readonly emails: number }>;
}

/** The limits of the product; a request over one is refused with its number, never truncated. */
export class RemediationLimits {
  constructor(
    /** Emails chosen by hand. */
    readonly byHand: number,
    /** Emails found by a query. */
    readonly byQuery: number,
    /** Emails excluded from a query. */
    readonly exclusions: number,
    /** Remediations active at once in a tenant. */
    readonly active: number,
    /** Emails in the active remediations of a tenant. */
    readonly activeEmails: number,
    /** Emails found by a query from which some are excluded. */
    readonly byQueryWithExclusions: number,
    /** The part of the emails, from 0 to 1, that there have to be different recipients... */
    readonly recipientShare: number,
    /** ...or else no recipient may have more than so many of the emails. */
    readonly ofOneRecipient: number,
    /** Emails that are the result of advanced hunting. */
    readonly hunting = 100_000,
  ) {}
}

/** What a tenant asks for before a remediation may run. */
export interface ApprovalPolicy {
  /** From so many emails on, a second person has to approve; undefined: never because of the number. */
  readonly fourEyesFrom: number | undefined;
  /** Whether a second person has to approve every hard delete. */
  readonly fourEyesForHardDelete: boolean;
  /** How long a proposal waits for its decision, in milliseconds. */
  readonly expireAfterMs: number;
}

/** The approval policy of each tenant. */
export abstract class ApprovalPolicies {
  abstract of(tenant: string): ApprovalPolicy;
}
