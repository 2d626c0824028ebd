import { describe, expect, it } from '@jest/globals';
import { recipientPossibility, senderPossibility } from './possible.js';
import { ACTIONS } from './vocabulary.js';

const why = (found: ReturnType<typeof recipientPossibility>): string =>
  found.possible ? 'possible' : found.reason;

describe("what can be done with the recipient's copy", () => {
  it.each([
    ['softDelete', 'inboxFolder', 'Inbox', 'possible'],
    ['softDelete', 'softDeleted', 'Recoverable Items/Deletions', 'alreadyInDestination'],
    ['moveToInbox', 'softDeleted', 'Recoverable Items/Deletions', 'possible'],
    ['moveToInbox', 'inboxFolder', 'Inbox', 'alreadyInDestination'],
    ['moveToInbox', 'inboxFolder', 'Projects', 'possible'],
    ['releaseFromQuarantine', 'inboxFolder', 'Inbox', 'notInQuarantine'],
    ['releaseFromQuarantine', 'quarantine', 'Quarantine', 'possible'],
    ['hardDelete', 'hardDeleted', 'Recoverable Items/Purges', 'hardDeleted'],
    ['moveToJunk', 'onPremisesExternal', null, 'onPremisesExternal'],
    ['moveToJunk', 'inboxFolder', null, 'notFoundInMailbox'],
  ] as const)('%s at %s in %s: %s', (action, location, folder, expected) => {
    expect(why(recipientPossibility(action, location, { folder }))).toBe(expected);
  });
});

describe("what can be done with the sender's copy", () => {
  it.each([
    ['softDelete', 'intraOrg', 'Sent Items', 'possible'],
    ['softDelete', 'outbound', 'Recoverable Items/Deletions', 'alreadyInDestination'],
    ['moveToInbox', 'intraOrg', 'Recoverable Items/Deletions', 'possible'],
    ['moveToInbox', 'intraOrg', 'Sent Items', 'alreadyInDestination'],
    ['softDelete', 'inbound', 'Sent Items', 'senderElsewhere'],
    ['softDelete', 'unknown', 'Sent Items', 'senderElsewhere'],
    ['softDelete', 'intraOrg', null, 'notFoundInMailbox'],
  ] as const)('%s, %s, in %s: %s', (action, direction, folder, expected) => {
    expect(why(senderPossibility(action, direction, { folder }))).toBe(expected);
  });

  it('is there for two actions only', () => {
    const having = ACTIONS.filter((action) => senderPossibility(action, 'intraOrg', undefined).possible);
    expect(having).toEqual(['softDelete', 'moveToInbox']);
  });
});
