import { expect } from '@jest/globals';
import { sampleLines } from '#libs/mail-catalog';
import { VIEWS } from '../../apps/server/src/views/views.js';
import { ViewReader, rebuild } from './rebuild.js';
import { bodyOf, request, type Api, type EntryBody, type SubmittedBody } from './server.js';

/** Messages that come to 199,020 emails, just below what one remediation may select. */
export const MESSAGES_OF_200_000_EMAILS = 44_000;

/**
 * Imports mail, soft deletes all of it with the senders' copies, and builds every view anew while a client keeps reading.
 * Expects the same checksums and no failed read, and prints what it took.
 */
export async function rebuildsEverything(
  api: Api,
  untilFinished: (approvalId: string) => Promise<EntryBody>,
  messages: number,
): Promise<void> {
  const say = sayer();
  const imported = bodyOf(await api.import(sampleText(messages)), 200) as { accepted: number };
  say(`${imported.accepted} emails imported`);
  const submitted = bodyOf(await api.post('/v1/remediations', request()), 202) as SubmittedBody;
  const entry = await untilFinished(submitted.approvalId);
  expect(entry).toMatchObject({ status: 'completed', plan: { emails: imported.accepted } });
  say(`${entry.counts.submitted} copies remediated`);

  const reader = new ViewReader(api, submitted.approvalId).start();
  for (const name of Object.keys(VIEWS)) {
    const { active, lastComparison } = await rebuild(api, name);
    expect(active).toBe(2);
    expect(lastComparison?.differing).toBe(0);
    expect(lastComparison?.built.checksum).toBe(lastComparison?.active.checksum);
    say(`${name}: ${lastComparison?.built.documents ?? 0} documents built anew and compared`);
  }
  const { reads, failures } = await reader.stop();
  expect(failures).toEqual([]);
  // It was not shut out meanwhile.
  expect(reads).toBeGreaterThan(Object.keys(VIEWS).length);
  say(`${reads} reads meanwhile`);
}

const sampleText = (messages: number): Uint8Array =>
  Buffer.from(Array.from(sampleLines({ messages, seed: 'rebuild' })).join(''));

function sayer(): (what: string) => void {
  let before = performance.now();
  return (what) => {
    const now = performance.now();
    process.stdout.write(`rebuild: ${what} (${((now - before) / 1000).toFixed(1)} s)\n`);
    before = now;
  };
}
