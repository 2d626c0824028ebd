import { type Folder, Folders } from '#libs/mailbox';
import { type DeliveryLocation, type EmailRecord } from './email-record.js';

/** One stored copy of a message: in whose mailbox and in which folder. */
export interface PlacedCopy {
  readonly kind: 'recipient' | 'sender';
  readonly mailbox: string;
  readonly folder: Folder;
}

const FOLDER_OF: Readonly<Partial<Record<DeliveryLocation, Folder>>> = {
  inboxFolder: Folders.inbox,
  junkFolder: Folders.junk,
  deletedItems: Folders.deletedItems,
  quarantine: Folders.quarantine,
  softDeleted: Folders.recoverableDeletions,
  sentItems: Folders.sentItems,
};

const LOCATION_OF = new Map([
  ...Object.entries(FOLDER_OF).map(([location, folder]) => [folder, location as DeliveryLocation] as const),
  // Not the other way round: what was hard deleted is in no folder that anybody reaches.
  [Folders.recoverablePurges, 'hardDeleted'] as const,
]);

/** The folder that a delivery location means. Undefined where there is no copy in a cloud mailbox. */
export const folderOf = (location: DeliveryLocation): Folder | undefined => FOLDER_OF[location];

/** What Defender calls the place of a copy in this folder. `Inbox/folder` stands for every folder of the user's own. */
export const locationOf = (folder: Folder): DeliveryLocation => LOCATION_OF.get(folder) ?? 'inboxFolder';

/**
 * The copies in cloud mailboxes that an email implies: the recipient's where it was last seen, and the sender's in Sent
 * Items when the sender is one of ours. The emails of one message all imply the same sender's copy.
 */
export function copiesOf(email: EmailRecord): PlacedCopy[] {
  return [...recipientCopy(email), ...senderCopy(email)];
}

function recipientCopy(email: EmailRecord): PlacedCopy[] {
  const location = email.latestDeliveryLocation;
  const folder = location === 'sentItems' ? undefined : folderOf(location);
  return folder === undefined ? [] : [{ kind: 'recipient', mailbox: email.recipientEmailAddress, folder }];
}

function senderCopy(email: EmailRecord): PlacedCopy[] {
  const sentByUs = email.direction === 'intraOrg' || email.direction === 'outbound';
  return sentByUs ? [{ kind: 'sender', mailbox: email.senderFromAddress, folder: Folders.sentItems }] : [];
}
