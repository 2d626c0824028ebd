import { mkdtempSync, rmSync, mkdirSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Bench, Figures, PartInput, Target } from './harness/bench.js';
import { BENCH_NAMES, isBenchName, loadBench, type BenchName } from './harness/benches.js';
import { writeDocument } from './harness/document.js';
import { describeMachine } from './harness/machine.js';
import { summariseProfiles } from './harness/profile.js';
import { keep, resultOf } from './harness/result.js';
import { profileInto } from './harness/profiler.js';
import { endPart, runPart } from './harness/run-part.js';
import { machineText, textTable } from './harness/tables.js';
import { namedTargets, startStandIns } from './harness/targets.js';

interface Options {
  readonly quick: boolean;
  readonly runs: number | undefined;
  readonly size: number | undefined;
  readonly keep: boolean;
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

async function help(): Promise<string> {
  const titles = await Promise.all(
    BENCH_NAMES.map(async (name) => `  ${name.padEnd(4)} ${(await loadBench(name)).title}`),
  );
  return [
    'usage: npm run bench -- <name ...|all|document> [options]',
    '',
    ...titles,
    '  all  every one of them',
    '  document  only writes docs/performance.md from the kept results',
    '',
    '  --quick        small sizes, one run: shows that it runs, says nothing about speed; nothing is kept',
    '  --runs N       so many repetitions',
    '  --size N       another size than the full one; kept only with --keep, and the document then says so',
    '  --store NAME   only on sqlite, eventstoredb or mongodb',
    '  --stand-ins    also on the stand-ins of the servers (docs/servers.md), started for this run',
    '  --keep         keeps a run of another size too',
    '  --no-keep      writes neither bench/results nor docs/performance.md',
    '  --profile      prints where every process spent its time',
    '',
    'EVENTSTORE_URL and MONGODB_URL name servers to run on beside the embedded stores.',
  ].join('\n');
}

/** Runs one bench on one store: every part of a run follows the other, so that all see the same machine. */
async function runBench(
  name: BenchName,
  bench: Bench,
  target: Target,
  { quick, scratch, ...options }: Options & { readonly scratch: string },
): Promise<void> {
  const size = options.size ?? (quick ? bench.sizes.quick : bench.sizes.full);
  const times = options.runs ?? (quick ? 1 : bench.runs);
  const directory = mkdtempSync(join(scratch, `${name}-`));
  try {
    const prepared = join(directory, 'prepared');
    mkdirSync(prepared);
    const input = { size, target, prepared, run: 0 };
    const around = { ...input, directory: prepared };
    if (bench.prepare !== undefined) await runPart({ bench: name, part: 'prepare', input: around });
    const runs: Record<string, Figures>[] = [];
    for (let run = 0; run < times; run += 1) {
      runs.push(await runParts(name, bench, { ...input, run, directory: join(directory, String(run)) }));
    }
    if (bench.cleanUp !== undefined) await runPart({ bench: name, part: 'cleanUp', input: around });
    const result = resultOf(name, bench, target, size, quick, runs);
    say(`${textTable(result)}\n`);
    if (options.keep && !quick) keep(result, target);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function runParts(name: BenchName, bench: Bench, input: PartInput): Promise<Record<string, Figures>> {
  const parts = Object.keys(bench.parts);
  const figures: Record<string, Figures> = {};
  for (const part of input.run % 2 === 0 ? parts : parts.toReversed()) {
    const directory = join(input.directory, part);
    mkdirSync(directory, { recursive: true });
    figures[part] = await runPart({ bench: name, part, input: { ...input, directory } });
    rmSync(directory, { recursive: true, force: true });
  }
  return figures;
}

function count(option: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (!/^[1-9]\d{0,8}$/.test(value)) throw new Error(`--${option} must be a whole number from 1 on`);
  return Number(value);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    runs: { type: 'string' },
    size: { type: 'string' },
    keep: { type: 'boolean', default: false },
    store: { type: 'string' },
    'stand-ins': { type: 'boolean', default: false },
    'no-keep': { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

async function main(): Promise<void> {
  if (values.help || positionals.length === 0) {
    say(await help());
    return;
  }
  if (positionals.includes('document')) {
    say(writeDocument());
    return;
  }
  const unknown = positionals.filter((name) => name !== 'all' && !isBenchName(name));
  if (unknown.length > 0) {
    throw new Error(`no bench ${unknown.join(', ')}: there are ${BENCH_NAMES.join(', ')} and all`);
  }
  const names = positionals.includes('all') ? BENCH_NAMES : positionals.filter(isBenchName);
  const options: Options = {
    quick: values.quick,
    runs: count('runs', values.runs),
    size: count('size', values.size),
    keep: !values['no-keep'] && !values.profile && (values.size === undefined || values.keep),
  };
  const scratch = mkdtempSync(join(tmpdir(), 'clawback-bench-'));
  const standIns = values['stand-ins'] ? await startStandIns(scratch) : undefined;
  let leaving: Promise<void> | undefined;
  // Once: a part that a signal has ended fails, and that brings us here as well.
  const leave = () =>
    (leaving ??= (async () => {
      await standIns?.stop();
      rmSync(scratch, { recursive: true, force: true });
    })());
  leavingAlsoWhenEnded(leave);
  try {
    if (values.profile) profileInto(scratch);
    const targets = [...(await namedTargets()), ...(standIns?.targets ?? [])].filter(
      ({ store }) => values.store === undefined || store === values.store,
    );
    say(`${machineText(describeMachine())}\n`);
    for (const name of names) {
      const bench = await loadBench(name);
      const missing = bench.missing?.(options.quick);
      if (missing !== undefined) {
        say(`${name.toUpperCase()}  left out: ${missing}\n`);
        continue;
      }
      for (const target of targets.filter(({ store }) => bench.stores.includes(store))) {
        await runBench(name, bench, target, { ...options, scratch });
      }
    }
    if (options.keep && !options.quick) writeDocument();
    if (values.profile) say(summariseProfiles(scratch));
  } finally {
    await leave();
  }
}

/** The files of a part can be many gigabytes. */
function leavingAlsoWhenEnded(leave: () => Promise<void>): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      endPart();
      void leave().finally(() => {
        process.exit(128 + constants.signals[signal]);
      });
    });
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
