import { actionLogId } from '#libs/action-center';
import { MAX_BATCH_COPIES } from '#libs/remediation';
import { atMost, figure, plain, type Bench, type PartInput } from './harness/bench.js';
import { percentile } from './harness/statistics.js';
import { dropLongLog, prepareLongLog, readLongLog } from './workload/long-log.js';

const LIMIT = 100;
const PAGES = 2000;

/** Pages near the end of the log in turn with the first page, so that both see the same machine. */
async function pages(input: PartInput) {
  const { center, entry, log, close } = await readLongLog(input);
  const first: number[] = [];
  const deep: number[] = [];
  // Far from the end of a batch, as the first page is: both read as many documents.
  const near = Math.max(0, log.batches - 3);
  const after = [actionLogId(log.planId, near), MAX_BATCH_COPIES / 5];
  const times = Math.min(PAGES, input.size / 5);
  const look = async (into: number[], place: Parameters<typeof center.log>[2]): Promise<void> => {
    const began = performance.now();
    const { items } = await center.log(entry, {}, place);
    into.push(performance.now() - began);
    if (items.length !== LIMIT) throw new Error(`a page of ${String(items.length)} rows`);
  };
  for (let turn = 0; turn < times; turn += 1) {
    await look(first, { limit: LIMIT });
    await look(deep, { limit: LIMIT, after });
  }
  await close();
  // The first ones are taken while everything is still cold.
  const warm = (values: readonly number[]): readonly number[] => values.slice(values.length / 20);
  return {
    firstP50: percentile(warm(first), 50),
    firstP99: percentile(warm(first), 99),
    deepP50: percentile(warm(deep), 50),
    deepP99: percentile(warm(deep), 99),
  };
}

export const bench: Bench = {
  title: 'a page of the log near its end',
  baseline: 'the first page',
  stores: ['sqlite', 'mongodb'],
  counts: 'rows in the log',
  sizes: { full: 1_000_000, quick: 2_000 },
  runs: 5,
  prepare: prepareLongLog,
  cleanUp: dropLongLog,
  parts: { pages },
  rows: [
    plain('first page, median', 'ms', 'pages', 'firstP50'),
    plain('deep page, median', 'ms', 'pages', 'deepP50'),
    plain('first page, p99', 'ms', 'pages', 'firstP99'),
    plain('deep page, p99', 'ms', 'pages', 'deepP99'),
    {
      label: 'deep ÷ first, p99',
      unit: '×',
      of: (parts) => figure(parts, 'pages', 'deepP99') / figure(parts, 'pages', 'firstP99'),
      aim: () => atMost(1.5),
    },
  ],
};
