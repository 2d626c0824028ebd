import { pause } from '#libs/kernel';
import type { Command } from 'commander';
import type { View } from '../api.js';
import { action, type Context, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { CliFailure, interrupted, usageError } from '../failure.js';
import { counted, formatCount, printable } from '../output.js';

interface RebuildOptions {
  readonly acceptDifferences?: boolean;
  readonly back?: boolean;
  readonly discard?: boolean;
}

export function registerRebuild(program: Command, shell: Shell): void {
  program
    .command('rebuild')
    .summary('build views anew from the log, without downtime')
    .description(
      'Build a view anew beside the one that queries are answered from, compare the two, and switch when they are the ' +
        'same. Reads go on all the time. The build before is kept up to date, for the way back, until it is discarded ' +
        'or the view is built anew again. Needs the role admin.',
    )
    .argument('<view>', 'a view as "clawback views" lists it, or all')
    .option('--accept-differences', 'switch even if the documents differ, as after a change of the program')
    .option('--back', 'build nothing: switch to the other build')
    .option('--discard', 'build nothing: give up the other build, or the one that is being made')
    .addHelpText(
      'after',
      '\nExamples:\n  clawback rebuild history\n  clawback rebuild all\n  clawback rebuild history --back',
    )
    .action(
      action<RebuildOptions>(shell, async (context, options, [name = '']) => {
        if (options.back === true && options.discard === true) {
          throw usageError('--back and --discard cannot be given together');
        }
        const { client, out } = context;
        const names = name === 'all' ? (await client.views()).items.map((view) => view.name) : [name];
        const views: View[] = [];
        for (const one of names) views.push(await change(context, one, options));
        out.result({ items: views }, views.map(textOf(options)).join('\n'));
        return ExitCode.ok;
      }),
    );
}

function change(context: Context, name: string, options: RebuildOptions): Promise<View> {
  if (options.back === true) return goBack(context, name);
  if (options.discard === true) return discard(context, name);
  return rebuild(context, name, options.acceptDifferences ?? false);
}

async function rebuild(context: Context, name: string, acceptDifferences: boolean): Promise<View> {
  const begun = await context.client.changeView(name, 'rebuild', { acceptDifferences });
  // Made already, if it is small.
  const expected = begun.building ?? begun.active;
  const progress = context.progress({ label: name, total: 100 });
  try {
    return await until(context, name, (view) => {
      progress.update(progressOf(view, expected));
      if (view.lastFailure?.build === expected) {
        throw refused('rebuildFailed', `${name}: the new build failed: ${view.lastFailure.problem}`);
      }
      if (view.lastComparison?.built.build !== expected) return false;
      if (view.active === expected) return true;
      if (view.lastComparison.differing > 0 && !acceptDifferences) throw differs(view);
      return false;
    });
  } finally {
    progress.stop();
  }
}

const progressOf = ({ builds }: View, build: number): number =>
  Math.floor(100 * (builds.find((one) => one.build === build)?.progress ?? 0));

async function goBack(context: Context, name: string): Promise<View> {
  const before = await context.client.view(name);
  await context.client.changeView(name, 'switch');
  return until(context, name, (view) => view.active !== before.active);
}

async function discard(context: Context, name: string): Promise<View> {
  await context.client.changeView(name, 'discard');
  return until(context, name, (view) => view.builds.length === 1);
}

/** Asks until the view is as it should be. */
async function until({ client, io }: Context, name: string, isDone: (view: View) => boolean): Promise<View> {
  const patient = client.patient(io.timing.retryDelaysMs);
  let [waitMs] = io.timing.pollMs;
  for (;;) {
    const view = await patient.view(name);
    if (isDone(view)) return view;
    await pause(waitMs, io.signal);
    if (io.signal.aborted) throw interrupted();
    waitMs = Math.min(waitMs * 1.5, io.timing.pollMs[1]);
  }
}

function differs({ name, lastComparison }: View): CliFailure {
  const { differing = 0, examples = [] } = lastComparison ?? {};
  return refused(
    'buildDiffers',
    `${name}: the new build differs in ${counted(differing, 'document', 'documents')} (for instance ` +
      `${examples.map(printable).join(', ')}), and was not switched to. If that is what was wanted: ` +
      `clawback rebuild ${name} --back; else give it up: clawback rebuild ${name} --discard`,
  );
}

const refused = (code: string, message: string): CliFailure =>
  new CliFailure(ExitCode.refused, message, [], code);

const textOf =
  ({ back }: RebuildOptions) =>
  ({ name, active, builds, lastComparison }: View): string => {
    const now = `${name}: build ${formatCount(active)} is read`;
    const other = builds.find(({ build }) => build !== active);
    const rest =
      other === undefined
        ? 'there is no other'
        : `build ${formatCount(other.build)} stands by (--back switches to it, --discard lets go of it)`;
    if (back === true || lastComparison?.built.build !== active) return `${now}; ${rest}`;
    const { built, differing } = lastComparison;
    const same = differing === 0 ? 'the same as before' : `${formatCount(differing)} other than before`;
    const content = `${counted(built.documents, 'document', 'documents')}, ${same}, checksum ${built.checksum.slice(0, 16)}`;
    return `${now}: ${content}; ${rest}`;
  };
