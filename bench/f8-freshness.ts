import { ActionCenter, actionLogId, historyView } from '#libs/action-center';
import { type NewEvent, appendEvents, metadataOf } from '#libs/event-store';
import { idFrom, pause } from '#libs/kernel';
import { untilShown } from '#libs/read-store';
import { batchCodecs, batchDecider, batchStream, recordSubmission } from '#libs/remediation';
import { atMost, plain, type Bench, type PartInput } from './harness/bench.js';
import { keepViews } from './harness/kept-views.js';
import { openEventStore, openReadStore } from './harness/stores.js';
import { percentile, timed } from './harness/statistics.js';
import {
  claimCommand,
  contextOf,
  decided,
  movableBatches,
  movedCommand,
  planCommand,
  releaseCommand,
  started,
} from './workload/batches.js';
import { planFor } from './workload/log.js';
import { TENANT } from './workload/mail.js';

const PER_SECOND = 2000;
const PER_APPEND = 20;
const EVERY_MS = (1000 * PER_APPEND) / PER_SECOND;
/** Batches that record at the same time. */
const AT_ONCE = 8;
const LOOK_MS = 5;
const CATCH_UP_MS = 600_000;

/** One append: the outcomes of some copies of a batch. */
interface Step {
  readonly stream: string;
  readonly batch: number;
  readonly revision: bigint;
  readonly events: readonly NewEvent[];
  /** Whose outcome is looked for. */
  readonly target: number;
}

/** Outcomes at a steady rate, some of them looked for in the log until they show. */
async function freshness({ size, target, directory }: PartInput) {
  const events = await openEventStore(target, directory);
  const views = await openReadStore(target, directory);
  const { submission, batches } = planFor('delete', movableBatches(size));
  const steps: Step[][] = [];
  for (const batch of batches) {
    const stream = batchStream(submission.planId, batch.number);
    const plan = decided(batchDecider.initial, planCommand(batch, submission), releaseCommand, claimCommand);
    await appendEvents(events, batchCodecs, stream, 'noStream', plan.events, contextOf(`plan ${stream}`));
    const context = contextOf(`record ${stream}`);
    const outcomes = decided(plan.state, movedCommand(started(plan.state))).events.map((event, index) =>
      batchCodecs.encode(event, idFrom(context.commandId, String(index)), metadataOf(context)),
    );
    steps.push(stepsOf(stream, batch.number, outcomes));
  }
  // Not approved: what stays on a server must not be run by a server of a later bench.
  const { position } = await recordSubmission(events, submission, false, contextOf('submit'));
  const keeping = await keepViews(target, directory, views);
  await untilShown(views.store, historyView, position, CATCH_UP_MS);
  const center = new ActionCenter(views.store);
  const entry = await center.entry(TENANT, submission.approvalId);
  if (entry === undefined) throw new Error('the remediation does not show');

  const delays: number[] = [];
  let looking = false;
  const look = async ({ batch, target: index }: Step): Promise<void> => {
    if (looking) return;
    looking = true;
    const began = performance.now();
    const after = [actionLogId(submission.planId, batch), index - 1];
    for (;;) {
      const { items } = await center.log(entry, {}, { limit: 1, after });
      if (items[0]?.outcome !== 'pending') break;
      await pause(LOOK_MS);
    }
    delays.push(performance.now() - began);
    looking = false;
  };

  const looks: Promise<void>[] = [];
  const seconds = await timed(async () => {
    await atSteadyRate(inTurns(steps), async (step) => {
      await events.append(step.stream, step.revision, step.events);
      looks.push(look(step));
    });
    await Promise.all(looks);
  });
  await keeping.stop();
  await views.dispose();
  await events.close();
  return {
    p50: percentile(delays, 50),
    p95: percentile(delays, 95),
    p99: percentile(delays, 99),
    looks: delays.length,
    perSecond: size / seconds,
  };
}

/** The first event of a batch after its plan, release and claim has revision 3. */
function stepsOf(stream: string, batch: number, outcomes: readonly NewEvent[]): Step[] {
  const steps: Step[] = [];
  for (let first = 0; first < outcomes.length; first += PER_APPEND) {
    const events = outcomes.slice(first, first + PER_APPEND);
    const revision = BigInt(first + 2);
    // The settlement, which comes last, is of no copy.
    const target = Math.min(first + events.length, outcomes.length - 1) - 1;
    steps.push({ stream, batch, revision, events, target });
  }
  return steps;
}

/** Some batches side by side, each in its own order. */
function* inTurns(batches: readonly (readonly Step[])[]): Generator<Step> {
  for (let first = 0; first < batches.length; first += AT_ONCE) {
    const group = batches.slice(first, first + AT_ONCE);
    const longest = Math.max(...group.map((steps) => steps.length));
    for (let index = 0; index < longest; index += 1) {
      for (const steps of group) {
        const step = steps[index];
        if (step !== undefined) yield step;
      }
    }
  }
}

/** Begins a step every so often, whether or not the earlier ones have ended; those of one stream follow each other. */
async function atSteadyRate(steps: Iterable<Step>, perform: (step: Step) => Promise<void>): Promise<void> {
  const lanes = new Map<string, Promise<void>>();
  const began = performance.now();
  let count = 0;
  for (const step of steps) {
    const due = began + count * EVERY_MS;
    count += 1;
    const early = due - performance.now();
    if (early > 0) await pause(early);
    const before = lanes.get(step.stream) ?? Promise.resolve();
    lanes.set(
      step.stream,
      before.then(() => perform(step)),
    );
  }
  await Promise.all(lanes.values());
}

export const bench: Bench = {
  title: 'an outcome appended, until a query of the log shows it, at 2,000 events a second',
  baseline: 'none',
  stores: ['sqlite', 'eventstoredb', 'mongodb', 'servers'],
  counts: 'events, 20 to an append, 8 batches side by side',
  sizes: { full: 40_000, quick: 2_000 },
  runs: 5,
  parts: { freshness },
  rows: [
    plain('visible after, median', 'ms', 'freshness', 'p50'),
    plain('visible after, p95', 'ms', 'freshness', 'p95', { aim: atMost(200) }),
    plain('visible after, p99', 'ms', 'freshness', 'p99'),
    plain('looked for', '', 'freshness', 'looks'),
    plain('events', '1/s', 'freshness', 'perSecond'),
  ],
};
