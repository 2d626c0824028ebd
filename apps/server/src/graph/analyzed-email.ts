import type { Copy } from '#libs/action-center';
import type { EmailDoc } from '#libs/mail-catalog';
import { emailIdOf } from './email-id.js';
import { deliveryActionOf, locationShown, threatTypesOf } from './enums.js';

/** An email as Graph's `microsoft.graph.security.analyzedEmail` has it. What the source left out is null. */
export function analyzedEmailOf({ record, location }: EmailDoc, all: boolean): Record<string, unknown> {
  const { networkMessageId, recipientEmailAddress } = record;
  const levels = membersOf(record.confidenceLevel);
  return {
    id: emailIdOf(record),
    networkMessageId,
    internetMessageId: orNull(record.internetMessageId),
    recipientEmailAddress,
    subject: record.subject,
    directionality: record.direction,
    loggedDateTime: record.receivedAt,
    returnPath: orNull(record.senderMailFromAddress),
    emailClusterId: orNull(record.emailClusterId),
    senderDetail: {
      displayName: orNull(record.senderDisplayName),
      fromAddress: record.senderFromAddress,
      domainName: domainOf(record.senderFromAddress),
      mailFromAddress: orNull(record.senderMailFromAddress),
      mailFromDomainName: domainOf(record.senderMailFromAddress),
      ipv4: record.senderIp.includes(':') ? null : orNull(record.senderIp),
    },
    recipientDetail: { domainName: domainOf(recipientEmailAddress) },
    originalDelivery: {
      action: deliveryActionOf(record.deliveryAction),
      location: locationShown(record.deliveryLocation, all),
    },
    latestDelivery: {
      action: deliveryActionOf(record.latestDeliveryAction),
      location: locationShown(location, all),
    },
    threatTypes: threatTypesOf(record.threatTypes),
    detectionMethods: listOf(record.detectionMethods),
    phishConfidenceLevel: textIn(levels, 'Phish'),
    spamConfidenceLevel: textIn(levels, 'Spam'),
    authenticationDetails: authenticationOf(record.authenticationDetails),
  };
}

/** What happened to the recipient's copy: its delivery, and what remediations did. */
export const timelineEventsOf = ({ record }: EmailDoc, copies: readonly Copy[]): object[] => [
  {
    eventDateTime: record.receivedAt,
    eventType: 'originalDelivery',
    eventSource: 'system',
    eventResult: record.deliveryAction,
    eventDetails: null,
    eventThreats: threatTypesOf(record.threatTypes),
  },
  ...copies
    .flatMap(({ kind, touches }) => touches.map((touch) => ({ kind, touch })))
    .sort((a, b) => (a.touch.at < b.touch.at ? -1 : 1))
    .map(({ kind, touch }) => ({
      eventDateTime: touch.at,
      // Graph has no member for a manual remediation.
      eventType: 'unknown',
      eventSource: 'admin',
      eventResult: touch.outcome,
      eventDetails: `remediation ${touch.approvalId}, ${kind}'s copy`,
      eventThreats: [],
    })),
];

const orNull = (text: string): string | null => (text === '' ? null : text);

const domainOf = (address: string): string | null => {
  const at = address.lastIndexOf('@');
  return at < 0 ? null : address.slice(at + 1);
};

/** Defender writes lists as `A, B` or as JSON. */
const listOf = (text: string): string[] =>
  text.startsWith('{')
    ? Object.keys(membersOf(text))
    : text
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== '');

/** A column of Kusto's type `dynamic`. What is no object is none here, too. */
function membersOf(text: string): Readonly<Record<string, unknown>> {
  if (!text.startsWith('{')) return {};
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    return {};
  }
}

const textIn = (members: Readonly<Record<string, unknown>>, name: string): string | null => {
  const value = Object.hasOwn(members, name) ? members[name] : undefined;
  return typeof value === 'string' ? value : null;
};

function authenticationOf(text: string): object {
  const members = membersOf(text);
  return {
    compositeAuthentication: textIn(members, 'CompAuth'),
    dkim: textIn(members, 'DKIM'),
    dmarc: textIn(members, 'DMARC'),
    senderPolicyFramework: textIn(members, 'SPF'),
  };
}
