import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { actionLogView, dashboardView, historyView, messageBatchesView } from '#libs/action-center';
import type { DomainEvent, EventCodecs, Metadata, RecordedEvent } from '#libs/event-store';
import { catalogCodecs, emailsView } from '#libs/mail-catalog';
import { viewBuildsCodecs } from '#libs/rebuild';
import { batchCodecs, remediationCodecs } from '#libs/remediation';
import { deliveriesView, deliveryCodecs, webhookCodecs, webhooksView } from '#libs/webhooks';

/**
 * Every shape that an event was ever stored in, one file each: `<EventType>.v<version>.json`, and
 * `<EventType>.v<version>.<variant>.json` where a version has members that may be left out. Logs are for ever, so these
 * files are only ever added. A test that fails here means that a log out there can no longer be read: mend the
 * code (a new version and an upcaster), never the file.
 */
const FOLDER = new URL('golden/', import.meta.url);
const FAMILIES: readonly EventCodecs<DomainEvent>[] = [
  remediationCodecs,
  batchCodecs,
  catalogCodecs,
  viewBuildsCodecs,
  webhookCodecs,
  deliveryCodecs,
];
const VIEWS = [historyView, actionLogView, messageBatchesView, emailsView, webhooksView, deliveriesView];

interface Golden {
  readonly file: string;
  readonly type: string;
  readonly version: number;
  readonly event: { readonly type: string; readonly data: unknown; readonly metadata: Metadata };
}

const goldens: Golden[] = readdirSync(FOLDER).map((file) => {
  const [, type = '', version = ''] = /^(\w+)\.v([1-9]\d*)(?:\.[a-z]+)?\.json$/.exec(file) ?? [];
  const event = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')) as Golden['event'];
  return { file, type, version: Number(version), event };
});
const types = FAMILIES.flatMap((family) => family.types);

const ID = '0d1f6c58-2b7a-5e93-8c40-6f5e4d3c2b1a';
const recorded = ({ event }: Golden): RecordedEvent => ({
  id: ID,
  ...event,
  stream: 'golden',
  revision: 0n,
  position: 0n,
});

/** The family of the event, and the event as the domain of today sees it. */
function decode(golden: Golden): { family: EventCodecs<DomainEvent>; event: DomainEvent } {
  for (const family of FAMILIES) {
    const event = family.decode(recorded(golden));
    if (event !== undefined) return { family, event };
  }
  throw new Error(`no codec for ${golden.file}`);
}

/** The event written again, as it would be stored today. */
function encodeAgain(golden: Golden): Golden['event'] {
  const { family, event } = decode(golden);
  const { type, data, metadata } = family.encode(event, ID, golden.event.metadata);
  return JSON.parse(JSON.stringify({ type, data, metadata })) as Golden['event'];
}

const versionsOf = (type: string): number[] =>
  [...new Set(goldens.filter((golden) => golden.type === type).map(({ version }) => version))].sort(
    (a, b) => a - b,
  );

const newestOf = (type: string): Golden[] =>
  goldens.filter((golden) => golden.type === type && golden.version === versionsOf(type).at(-1));

describe.each(goldens)('$file', (golden) => {
  it('is named after its type and its version, and holds nothing else', () => {
    expect(types).toContain(golden.type);
    expect(golden.event.type).toBe(golden.type);
    expect(golden.event.metadata.schemaVersion).toBe(String(golden.version));
    expect(Object.keys(golden.event).sort()).toEqual(['data', 'metadata', 'type']);
  });

  it('can be read, and means something to today’s schema', () => {
    const { event } = decode(golden);
    expect(event.type).toBe(golden.type);
    expect(Number(encodeAgain(golden).metadata.schemaVersion)).toBeGreaterThanOrEqual(golden.version);
  });

  it('can be projected by every view', () => {
    const documents = VIEWS.flatMap((view) => view.project(recorded(golden)).map(({ id }) => id));
    // How a batch comes to be run, and that it is done, is told by the events about its copies; no view tells of views.
    const inNoView = [
      'BatchReleased',
      'BatchAttemptStarted',
      'BatchAttemptExtended',
      'BatchDeferred',
      'BatchSettled',
      ...viewBuildsCodecs.types,
    ].includes(golden.type);
    expect(documents.length === 0).toBe(inNoView);
  });
});

it.each([...VIEWS, dashboardView])('the view $name asks for every event that changes it', (view) => {
  const changing = goldens.filter((golden) => view.project(recorded(golden)).length > 0);
  expect(changing.length).toBeGreaterThan(0);
  expect(changing.filter(({ type }) => view.types?.has(type) !== true)).toEqual([]);
});

describe.each(types)('%s', (type) => {
  it('has a golden file of its newest version, and is written exactly so today', () => {
    const newest = newestOf(type);
    if (newest.length === 0) throw new Error(`golden/${type}.v1.json is missing`);
    for (const golden of newest) expect(encodeAgain(golden)).toStrictEqual(golden.event);
  });

  it('has golden files of all its versions', () => {
    const versions = versionsOf(type);
    expect(versions).toEqual(versions.map((_, index) => index + 1));
  });
});

it('no two families know the same type', () => {
  expect(new Set(types).size).toBe(types.length);
});
