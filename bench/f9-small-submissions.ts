import { Readable } from 'node:stream';
import { inGroups } from '#libs/kernel';
import { emailKeyOf, type EmailRef } from '#libs/remediation';
import { atLeast, figure, plain, type Bench, type PartInput } from './harness/bench.js';
import { load } from './harness/load.js';
import { Product } from './harness/product.js';
import { percentile, timed } from './harness/statistics.js';
import { mailLines, mailRecords } from './workload/mail.js';

const CONNECTIONS = 64;
const EMAILS = 10;
/** Emails in the catalogue; a submission takes the next ten, and starts anew at the end. */
const CATALOGUE = 20_000;

async function bodies(emails: number): Promise<string[]> {
  const all: string[] = [];
  const refs = new Map<string, EmailRef>();
  for (const { networkMessageId, recipientEmailAddress } of mailRecords(emails)) {
    const ref = { networkMessageId, recipientEmailAddress };
    refs.set(emailKeyOf(ref), ref);
  }
  for await (const group of inGroups(refs.values(), EMAILS)) {
    all.push(
      JSON.stringify({
        name: 'Small',
        severity: 'high',
        action: 'softDelete',
        sendersCopy: true,
        surface: 'threatExplorer',
        selection: { emails: group },
      }),
    );
  }
  return all;
}

async function measure(product: Product, requests: number, texts: readonly string[]) {
  const send = (count: number): Promise<number[]> =>
    load({
      url: product.url,
      path: '/v1/remediations',
      token: product.token,
      connections: CONNECTIONS,
      requests: count,
      bodyOf: (index) => texts[index % texts.length] ?? '',
    });
  await send(Math.ceil(requests / 10));
  await product.profile();
  let times: number[] = [];
  const seconds = await timed(async () => {
    times = await send(requests);
  });
  return { perSecond: requests / seconds, p50: percentile(times, 50), p99: percentile(times, 99) };
}

/** All roles run at the same time: what is submitted is carried out and shown. */
async function submissions({ target, directory, size }: PartInput) {
  const product = await Product.start(target, directory, { name: 'submissions-server' });
  const emails = Math.min(CATALOGUE, size * EMAILS);
  await product.import(Readable.from(mailLines(emails)));
  const measured = await measure(product, size, await bodies(emails));
  if (target.eventStoreUrl !== undefined) await product.finished();
  await product.stop();
  return measured;
}

async function constant({ target, directory, size }: PartInput) {
  const product = await Product.start(target, directory, { name: 'constant-server', constant: true });
  const measured = await measure(product, size, await bodies(Math.min(CATALOGUE, size * EMAILS)));
  await product.stop();
  return measured;
}

export const bench: Bench = {
  title: 'small submissions (10 emails) a second over HTTP at 64 connections',
  baseline: 'the same route, token and body checked, that answers a constant',
  stores: ['sqlite', 'servers'],
  counts: 'submissions',
  sizes: { full: 5_000, quick: 100 },
  runs: 5,
  parts: { submissions, constant },
  rows: [
    plain('submissions', '1/s', 'submissions', 'perSecond'),
    plain('a constant', '1/s', 'constant', 'perSecond'),
    {
      label: 'submissions ÷ constant',
      unit: '×',
      of: (parts) => figure(parts, 'submissions', 'perSecond') / figure(parts, 'constant', 'perSecond'),
      aim: () => atLeast(0.3),
    },
    plain('a submission, median', 'ms', 'submissions', 'p50'),
    plain('a submission, p99', 'ms', 'submissions', 'p99'),
    plain('a constant, median', 'ms', 'constant', 'p50'),
  ],
};
