import type { EmailRef } from '#libs/remediation';
import { STORABLE } from '../http/fields.js';

const ID = /^([\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})-([\w-]{1,1800})$/i;

/** Names an email in one piece: its message, and its recipient in base64url. Opaque to clients. */
export const emailIdOf = ({ networkMessageId, recipientEmailAddress }: EmailRef): string =>
  `${networkMessageId}-${Buffer.from(recipientEmailAddress).toString('base64url')}`;

/** The email that an id of {@link emailIdOf} names; undefined when it is none. */
export function parseEmailId(id: string): EmailRef | undefined {
  const [, networkMessageId, encoded] = ID.exec(id) ?? [];
  if (networkMessageId === undefined || encoded === undefined) return undefined;
  const recipientEmailAddress = Buffer.from(encoded, 'base64url').toString('utf8').toLowerCase();
  const email = { networkMessageId: networkMessageId.toLowerCase(), recipientEmailAddress };
  return STORABLE.test(recipientEmailAddress) ? email : undefined;
}
