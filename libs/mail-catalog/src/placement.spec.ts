import { describe, expect, it } from '@jest/globals';
import { Folders } from '#libs/mailbox';
import {
  type DeliveryLocation,
  type EmailDirection,
  type EmailRecord,
  parseEmailLine,
} from './email-record.js';
import { copiesOf, folderOf, locationOf } from './placement.js';

function email(
  direction: EmailDirection,
  latestDeliveryLocation: DeliveryLocation,
  deliveryLocation = latestDeliveryLocation,
): EmailRecord {
  const parsed = parseEmailLine(
    JSON.stringify({
      Timestamp: '2026-03-02T08:15:00Z',
      NetworkMessageId: '73ca4154-58d8-43d0-a890-08dc18c52e6d',
      SenderFromAddress: 'sender@fabrikam.example',
      RecipientEmailAddress: 'recipient@fabrikam.example',
      EmailDirection: direction,
      DeliveryLocation: deliveryLocation,
      LatestDeliveryLocation: latestDeliveryLocation,
    }),
  );
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.record;
}

const recipientIn = (folder: string) => ({
  kind: 'recipient',
  mailbox: 'recipient@fabrikam.example',
  folder,
});
const SENDERS = { kind: 'sender', mailbox: 'sender@fabrikam.example', folder: 'Sent Items' };

describe('copiesOf', () => {
  it.each<[DeliveryLocation, string]>([
    ['inboxFolder', 'Inbox'],
    ['junkFolder', 'Junk Email'],
    ['deletedItems', 'Deleted Items'],
    ['quarantine', 'Quarantine'],
    ['softDeleted', 'Recoverable Items/Deletions'],
  ])("puts the recipient's copy at %s into %s", (location, folder) => {
    expect(copiesOf(email('inbound', location))).toEqual([recipientIn(folder)]);
  });

  it.each<DeliveryLocation>(['onPremisesExternal', 'failed', 'dropped', 'unknown', 'sentItems'])(
    'knows no cloud copy of the recipient at %s',
    (location) => {
      expect(copiesOf(email('inbound', location))).toEqual([]);
    },
  );

  it('goes by the latest location', () => {
    expect(copiesOf(email('inbound', 'quarantine', 'inboxFolder'))).toEqual([recipientIn('Quarantine')]);
    expect(copiesOf(email('inbound', 'failed', 'inboxFolder'))).toEqual([]);
  });

  it.each<[EmailDirection, boolean]>([
    ['intraOrg', true],
    ['outbound', true],
    ['inbound', false],
    ['unknown', false],
  ])("%s: a sender's copy: %s", (direction, expected) => {
    expect(copiesOf(email(direction, 'inboxFolder'))).toEqual([
      recipientIn('Inbox'),
      ...(expected ? [SENDERS] : []),
    ]);
  });

  it("has the sender's copy also where the recipient has none", () => {
    expect(copiesOf(email('outbound', 'onPremisesExternal'))).toEqual([SENDERS]);
  });
});

describe('folderOf and locationOf', () => {
  const within = Object.values(Folders).filter((folder) => folder !== Folders.recoverablePurges);
  it.each(within)('a copy in %s has a location that leads back to it', (folder) => {
    expect(folderOf(locationOf(folder))).toBe(folder);
  });

  it('has no folder for what was hard deleted: no delivery leads there', () => {
    expect(locationOf(Folders.recoverablePurges)).toBe('hardDeleted');
    expect(folderOf('hardDeleted')).toBeUndefined();
  });

  it("calls a user's own folder Inbox/folder", () => {
    expect(locationOf('Inbox/Projects')).toBe('inboxFolder');
    expect(locationOf('constructor')).toBe('inboxFolder');
  });

  it('has no folder for what is not in the cloud', () => {
    expect(folderOf('onPremisesExternal')).toBeUndefined();
  });
});
