import { describe, expect, it } from '@jest/globals';
import { LOCATIONS, REASONS, REASON_CODES, notRemediableAt, type Location, type Reason } from './index.js';

describe('a location', () => {
  const expected: Record<Location, Reason | undefined> = {
    inboxFolder: undefined,
    junkFolder: undefined,
    deletedItems: undefined,
    quarantine: undefined,
    softDeleted: undefined,
    hardDeleted: 'hardDeleted',
    sentItems: undefined,
    onPremisesExternal: 'onPremisesExternal',
    failed: 'deliveryFailed',
    dropped: 'deliveryDropped',
    unknown: 'locationUnknown',
  };
  it.each(LOCATIONS)('says whether a copy can be remediated, and if not, why: %s', (location) => {
    expect(notRemediableAt(location)).toBe(expected[location]);
  });
});

describe('the published reasons', () => {
  // Consumers of the export match on these codes: one may be added, none may change or go.
  it('keep their codes', () => {
    expect(REASON_CODES).toEqual([
      'onPremisesExternal',
      'hardDeleted',
      'deliveryFailed',
      'deliveryDropped',
      'locationUnknown',
      'mailboxNotFound',
      'notFoundInMailbox',
      'alreadyInDestination',
      'movedSince',
      'notInQuarantine',
      'mailboxError',
      'remediationDeadline',
      'deadlineExceeded',
    ]);
  });

  it('are each explained by a text of its own', () => {
    const texts = Object.values(REASONS);
    expect(new Set(texts).size).toBe(texts.length);
    expect(texts.filter((text) => !/^[A-Z].+\.$/.test(text))).toEqual([]);
  });
});
