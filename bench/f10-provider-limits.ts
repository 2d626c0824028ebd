import { join } from 'node:path';
import { Executor } from '#libs/executor';
import { START, SystemClock } from '#libs/kernel';
import { SandboxTenant } from '#libs/mailbox/sandbox';
import { loadConfig } from '#libs/platform';
import { Projector, type AnyProjection } from '#libs/read-store';
import {
  batchWriter,
  ofOutcome,
  recordSubmission,
  remediationCodecs,
  type PlannedCopy,
} from '#libs/remediation';
import { VIEWS } from '../apps/server/src/views/views.js';
import { atMost, figure, plain, type Bench, type PartInput } from './harness/bench.js';
import { openEventStore, openReadStore } from './harness/stores.js';
import { timed } from './harness/statistics.js';
import { contextOf } from './workload/batches.js';
import { cutInBatches, planFor } from './workload/log.js';
import { mailRecords, TENANT } from './workload/mail.js';
import { LimitedGateway, secondsAllowed, type ProviderLimits } from './workload/provider-limits.js';

const FULL_SIZE = 200_000;
const MINUTES_10 = 600_000;
const CATCH_UP_MS = 1_800_000;

/** The limits of the issue; a smaller run has a shorter window with as many fewer requests in it. */
const limitsFor = (size: number): ProviderLimits => ({
  callsAtOnce: 4,
  callMs: 30,
  windowRequests: Math.ceil((10_000 * size) / FULL_SIZE),
  windowMs: Math.ceil((MINUTES_10 * size) / FULL_SIZE),
});

/** Mail to so many mailboxes, the same number to each. */
function copiesTo(mailboxes: number, size: number): PlannedCopy[] {
  return Array.from(mailRecords(size), (record, index) => ({
    message: {
      networkMessageId: record.networkMessageId,
      internetMessageId: record.internetMessageId,
      sender: record.senderFromAddress,
      subject: record.subject,
      direction: record.direction,
      receivedAt: record.receivedAt,
    },
    kind: 'recipient',
    // The index makes the key of a message with several recipients unique in its mailbox.
    mailbox: `user${String(index % mailboxes)}@fabrikam.example`,
    to: 'Recoverable Items/Deletions',
  }));
}

/** One remediation by the executor with the product's own settings, its views kept at the same time. */
const remediate = (mailboxes: number) => async (input: PartInput) => {
  const { size, target, directory } = input;
  const limits = limitsFor(size);
  const clock = new SystemClock();
  const events = await openEventStore(target, directory);
  const views = await openReadStore(target, directory);
  const sandbox = new SandboxTenant(join(directory, 'sandbox.db'));
  const gateway = new LimitedGateway(sandbox, limits);
  const projector = new Projector({
    events,
    store: views.store,
    projections: Object.values<AnyProjection>(VIEWS),
  });

  const copies = distinct(copiesTo(mailboxes, size));
  const { submission, batches } = planFor('delete', cutInBatches(copies));
  for (const { messages, targets } of batches) {
    await sandbox.deliver(
      targets.map(({ message, mailbox, kind }) => ({
        tenant: TENANT,
        mailbox,
        copyKind: kind,
        networkMessageId: messages[message]?.networkMessageId ?? '',
        internetMessageId: messages[message]?.internetMessageId ?? '',
        folder: 'Inbox',
      })),
      START,
    );
  }
  const { approvalId, planId } = submission;
  const writer = batchWriter(events, 'softDelete', { approvalId, planId }, contextOf('plan'));
  for (const batch of batches) await writer.write(batch);
  await writer.drain();
  const planned = await events.head();
  // What others have done on a server is not this executor's.
  let saved = planned;
  const executor = new Executor(
    {
      store: events,
      gateway,
      clock,
      checkpoints: {
        load: () => Promise.resolve(saved),
        save: (position) => {
          saved = position;
          return Promise.resolve();
        },
      },
      mailboxesReady: () => Promise.resolve(),
      onError: (error, what) => {
        throw new Error(what, { cause: error });
      },
    },
    { ...loadConfig({}).executor, worker: 'bench', flushMs: 250 },
  );
  await projector.start();
  // As in life the views hold the plan when it is submitted; else keeping them up would be measured with planning them.
  const timeoutMs = CATCH_UP_MS;
  await Promise.all(
    Object.values(VIEWS).map(({ name }) => projector.whenProjected(name, planned, { timeoutMs })),
  );
  await executor.start();
  let succeeded = 0;
  const seconds = await timed(async () => {
    const { position } = await recordSubmission(events, submission, true, contextOf('submit'));
    const stop = new AbortController();
    for await (const delivery of events.subscribe({ after: position, signal: stop.signal })) {
      for (const recorded of delivery.events) {
        const event = remediationCodecs.decode(recorded);
        if (event?.type !== 'RemediationCompleted' && event?.type !== 'RemediationFailed') continue;
        if (event.data.approvalId !== approvalId) continue;
        succeeded = ofOutcome(event.data.tally, 'succeeded');
        stop.abort();
      }
      if (stop.signal.aborted) break;
    }
  });
  await executor.stop();
  await projector.stop();
  await views.dispose();
  await events.close();
  await gateway.close();
  const allowed = secondsAllowed(Math.max(...perMailbox(copies)), limits);
  return {
    seconds,
    allowed,
    ratio: seconds / allowed,
    refused: gateway.refused,
    lost: copies.length - succeeded,
  };
};

/** A message has one copy in a mailbox. */
const distinct = (copies: readonly PlannedCopy[]): PlannedCopy[] => [
  ...new Map(copies.map((copy) => [`${copy.message.networkMessageId}/${copy.mailbox}`, copy])).values(),
];

function perMailbox(copies: readonly PlannedCopy[]): Iterable<number> {
  const counts = new Map<string, number>();
  for (const { mailbox } of copies) counts.set(mailbox, (counts.get(mailbox) ?? 0) + 1);
  return counts.values();
}

const rowsOf = (part: string, what: string) => [
  plain(`${what}: took`, 's', part, 'seconds'),
  plain(`${what}: the limits alone allow`, 's', part, 'allowed'),
  {
    label: `${what}: took ÷ allowed`,
    unit: '×',
    of: (parts: Parameters<typeof figure>[0]) => figure(parts, part, 'ratio'),
    aim: () => atMost(1.15),
  },
  plain(`${what}: copies that did not succeed`, '', part, 'lost', { aim: atMost(0) }),
  plain(`${what}: calls refused with 429`, '', part, 'refused'),
];

export const bench: Bench = {
  title: 'limits of a provider: 4 calls at once and 10,000 requests in 10 minutes a mailbox, 30 ms a call',
  baseline: 'the time that the limits alone allow',
  stores: ['sqlite', 'servers'],
  counts: 'emails, in 20 mailboxes (at the limit of requests) and in 16 (over it)',
  sizes: { full: FULL_SIZE, quick: 800 },
  runs: 1,
  parts: { within: remediate(20), over: remediate(16) },
  rows: [...rowsOf('within', '20 mailboxes'), ...rowsOf('over', '16 mailboxes')],
};
