import { Readable } from 'node:stream';
import { pause } from '#libs/kernel';
import type { Figures, PartInput } from '../harness/bench.js';
import { Product } from '../harness/product.js';
import { timed } from '../harness/statistics.js';
import { mailLines } from './mail.js';

const POLL_MS = 50;

interface Entry {
  readonly status: string;
  readonly counts: { readonly submitted: number; readonly succeeded: number; readonly pending: number };
}

interface Submitted {
  readonly approvalId: string;
  readonly plan: { readonly copies: number; readonly remediable: number };
}

/** What one remediation took: until it was submitted, and until it had finished and every outcome was in the log. */
interface Run {
  readonly approvalId: string;
  readonly moved: number;
  readonly submitSeconds: number;
  readonly seconds: number;
}

/** Imports so many emails, soft deletes all of them with the senders' copies, and undoes that; over HTTP. */
export async function remediateAndUndo({ target, directory }: PartInput, emails: number): Promise<Figures> {
  const product = await Product.start(target, directory, { name: `server-${String(emails)}` });
  const idle = await product.memory();
  const importSeconds = await timed(async () => {
    await product.import(Readable.from(inChunks(mailLines(emails))));
  });
  await product.profile();
  const remediation = await run(product, '/v1/remediations', {
    name: 'Bench',
    severity: 'high',
    action: 'softDelete',
    sendersCopy: true,
    surface: 'threatExplorer',
    selection: { query: {} },
  });
  const undo = await run(product, `/v1/remediations/${remediation.approvalId}/undo`, {});
  const { peakRss } = await product.stop();
  return {
    importPerMinute: (60 * emails) / importSeconds,
    copies: remediation.moved,
    submitSeconds: remediation.submitSeconds,
    runSeconds: remediation.seconds - remediation.submitSeconds,
    copiesPerMinute: (60 * remediation.moved) / remediation.seconds,
    undoSubmitSeconds: undo.submitSeconds,
    undoRunSeconds: undo.seconds - undo.submitSeconds,
    undonePerMinute: (60 * undo.moved) / undo.seconds,
    serverIdleRss: idle.rss,
    serverPeakRss: peakRss,
  };
}

/** @throws {Error} a copy that could be moved was not. */
async function run(product: Product, path: string, body: unknown): Promise<Run> {
  const began = performance.now();
  const since = (): number => (performance.now() - began) / 1000;
  const { approvalId, plan } = (await product.json('POST', path, body)) as Submitted;
  const submitSeconds = since();
  let entry: Entry;
  do {
    await pause(POLL_MS);
    entry = (await product.json('GET', `/v1/remediations/${approvalId}`)) as Entry;
  } while (entry.status !== 'completed' && entry.status !== 'failed');
  await untilLogIsComplete(product, approvalId);
  const seconds = since();
  if (entry.counts.pending > 0 || entry.counts.succeeded < 0.9 * plan.remediable) {
    throw new Error(`of ${String(plan.remediable)} copies: ${JSON.stringify(entry.counts)}`);
  }
  return { approvalId, moved: entry.counts.succeeded, submitSeconds, seconds };
}

async function untilLogIsComplete(product: Product, approvalId: string): Promise<void> {
  for (;;) {
    const path = `/v1/remediations/${approvalId}/log?outcome=pending&limit=1`;
    const { items } = (await product.json('GET', path)) as { items: unknown[] };
    if (items.length === 0) return;
    await pause(POLL_MS);
  }
}

/** A line a chunk would make the sender the slow part. */
function* inChunks(lines: Iterable<string>): Generator<string> {
  let chunk = '';
  for (const line of lines) {
    chunk += line;
    if (chunk.length > 65_536) {
      yield chunk;
      chunk = '';
    }
  }
  yield chunk;
}
