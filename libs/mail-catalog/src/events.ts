import { EventCodecs } from '#libs/event-store';
import { DIRECTIONS, LOCATIONS } from '#libs/remediation';
import { z } from 'zod';
import type { EmailRecord } from './email-record.js';

/** The mail catalogue learnt of these emails, or learnt better. Later records replace earlier ones of the same email. */
export interface EmailsImported {
  readonly type: 'EmailsImported';
  readonly data: { readonly importId: string; readonly emails: readonly EmailRecord[] };
}

const email = z.strictObject({
  networkMessageId: z.string(),
  internetMessageId: z.string(),
  recipientEmailAddress: z.string(),
  senderFromAddress: z.string(),
  senderDisplayName: z.string(),
  senderMailFromAddress: z.string(),
  senderIp: z.string(),
  subject: z.string(),
  direction: z.enum(DIRECTIONS),
  deliveryAction: z.string(),
  deliveryLocation: z.enum(LOCATIONS),
  latestDeliveryAction: z.string(),
  latestDeliveryLocation: z.enum(LOCATIONS),
  receivedAt: z.string(),
  threatTypes: z.string(),
  detectionMethods: z.string(),
  confidenceLevel: z.string(),
  authenticationDetails: z.string(),
  emailClusterId: z.string(),
  reportId: z.string(),
  tenantIdOfSource: z.string(),
});

export const catalogCodecs = new EventCodecs<EmailsImported>({
  EmailsImported: { schema: z.strictObject({ importId: z.string(), emails: z.array(email) }) },
});

/** One import, chunk by chunk. */
export const importStream = (importId: string): string => `emailImport-${importId}`;
