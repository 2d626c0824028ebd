import type { Direction, Location } from './vocabulary.js';

/** One message for one recipient: what Defender counts as an email. Both parts in lower case. */
export interface EmailRef {
  readonly networkMessageId: string;
  readonly recipientEmailAddress: string;
}

/** A filter over the mail catalogue; all parts hold together, and an empty one matches every email. */
export interface EmailFilter {
  /** Exact address of the sender (From). */
  readonly sender?: string;
  /** Exact address of the recipient. */
  readonly recipient?: string;
  /** A part of the subject; case does not matter. */
  readonly subject?: string;
  readonly direction?: Direction;
  /** Latest known location. */
  readonly location?: Location;
  /** Received at or after this instant (ISO 8601). */
  readonly startTime?: string;
  /** Received before this instant (ISO 8601). */
  readonly endTime?: string;
  readonly networkMessageId?: string;
  readonly internetMessageId?: string;
  readonly clusterId?: string;
}

/** What a caller selects: emails by hand or as advanced hunting has found them, or everything a query finds less some. */
export type Selection =
  | { readonly emails: readonly EmailRef[]; readonly foundBy?: 'hunting' }
  | { readonly query: EmailFilter; readonly excluding?: readonly EmailRef[] };

/** What the planner needs to know of an email. */
export interface SelectedEmail extends EmailRef {
  readonly internetMessageId: string;
  readonly sender: string;
  readonly subject: string;
  readonly direction: Direction;
  readonly receivedAt: string;
  readonly location: Location;
}

/** `networkMessageId/recipient`: the key of an email, and the order in which selections are planned. */
export const emailKeyOf = (email: EmailRef): string =>
  `${email.networkMessageId.toLowerCase()}/${email.recipientEmailAddress.toLowerCase()}`;
