import { resolve } from 'node:path';
import type { Command } from 'commander';
import { ACTIONS, STATUSES, SURFACES, type Manifest, type Query } from '../api.js';
import { exportPath, type ExportDownload } from '../client.js';
import { action, type Context, type Shell } from '../context.js';
import { writeWhole } from '../csv-file.js';
import { ExitCode } from '../exit-codes.js';
import { CliFailure, usageError } from '../failure.js';
import { addLogOptions, logFilterOf, type LogOptions } from '../log-options.js';
import { choice } from '../options.js';
import { counted } from '../output.js';
import { ExportWitness, saveExport, type Format, type Seen } from '../saved-export.js';
import { addFilterOptions, filterOf, type FilterOptions } from '../selection.js';

const KINDS = ['log', 'selection', 'history', 'emails'] as const;
type Kind = (typeof KINDS)[number];

interface HistoryOptions {
  readonly status?: string;
  readonly action?: string;
  readonly surface?: string;
  readonly name?: string;
  readonly approver?: string;
  readonly start?: string;
  readonly end?: string;
}

interface ExportOptions extends LogOptions, FilterOptions, HistoryOptions {
  readonly of: Kind;
  readonly format: Format;
  readonly output?: string;
  readonly manifest?: string;
}

export function registerExport(program: Command, shell: Shell): void {
  const command = program
    .command('export')
    .summary('a log, a selection, the history or emails as CSV or NDJSON')
    .description(
      'Write the action log of a remediation, or the emails that it has selected, or the history, or emails of the ' +
        'catalogue. The file appears under its name only when it is complete. With --manifest a second file says what it ' +
        'holds: rows, query, positions, time and SHA-256, compared with what has arrived.',
    )
    .argument('[approvalId]', 'which remediation; for log and selection')
    .addOption(choice('--of <what>', 'what is exported', KINDS).default('log'))
    .addOption(choice('--format <format>', 'the form of the file', ['csv', 'ndjson']).default('csv'))
    .option('--output <file>', 'the file (default: clawback-<what>.csv here); - for stdout')
    .option('--manifest <file>', 'where to write the manifest')
    .addOption(choice('--status <status>', 'history: of this status', STATUSES))
    .addOption(choice('--action <action>', 'history: of this action', [...ACTIONS, 'undo']))
    .addOption(choice('--surface <surface>', 'history: from this surface', SURFACES))
    .option('--name <text>', 'history: a part of the name; case does not matter')
    .option('--approver <who>', 'history: approved or rejected by')
    .addHelpText(
      'after',
      '\nOptions that filter belong to one kind of export: --outcome, --senders-copy and --mailbox to a log, those of\n' +
        '"clawback search" to emails; --start and --end to emails and the history.\n' +
        '\nExamples:\n  clawback export ID --output log.csv --manifest log.json\n  clawback export ID --output - | wc -l\n' +
        '  clawback export --of history --status completed --format ndjson',
    );
  addFilterOptions(addLogOptions(command)).action(
    action<ExportOptions>(shell, async (context, options, [approvalId]) => {
      const { of, format } = options;
      const download = context.client.export(pathOf(of, approvalId), {
        ...queryOf(of, options),
        // The form that every server gives by itself needs no word.
        format: format === 'csv' ? undefined : format,
      });
      return options.output === '-'
        ? toStdout(context, download, options)
        : toFile(context, download, options, approvalId);
    }),
  );
}

async function toStdout(
  context: Context,
  download: ExportDownload,
  options: ExportOptions,
): Promise<ExitCode> {
  if (context.out.json) throw usageError('stdout cannot hold both an export and JSON: give --output a file');
  const witness = new ExportWitness(options.format);
  for await (const chunk of witness.through(download.chunks())) await context.out.raw(chunk);
  if (options.manifest !== undefined) await saveManifest(context, download, witness.seen, options.manifest);
  return ExitCode.ok;
}

async function toFile(
  context: Context,
  download: ExportDownload,
  { of, format, output, manifest: wanted }: ExportOptions,
  approvalId: string | undefined,
): Promise<ExitCode> {
  const { out, io } = context;
  const file = resolve(io.cwd, output ?? exportNameOf(of, approvalId, format));
  let manifest: Manifest | undefined;
  const { rows } = await saveExport(file, format, download.chunks(), async (seen) => {
    if (wanted !== undefined) manifest = await saveManifest(context, download, seen, wanted);
  });
  const entry = approvalId === undefined ? {} : { approvalId };
  const more = manifest === undefined ? {} : { manifest };
  out.result({ ...entry, file, rows, ...more }, `${counted(rows, 'row', 'rows')} in ${file}`);
  if (manifest?.consistent === false) {
    out.note('it changed while it was read: its rows are of different times; the manifest says which');
  } else if (of === 'log' && manifest?.final === false) {
    out.note('the remediation has not finished: a later export will differ');
  }
  return ExitCode.ok;
}

/** @throws {CliFailure} when the manifest does not fit what has arrived */
async function saveManifest(
  { io }: Context,
  download: ExportDownload,
  seen: Seen,
  file: string,
): Promise<Manifest> {
  const manifest = await download.manifest();
  for (const fact of ['sha256', 'rows', 'bytes'] as const) {
    if (manifest[fact] !== seen[fact]) {
      throw new CliFailure(
        ExitCode.unavailable,
        `the export does not fit its manifest: ${fact} is ${seen[fact]}, not ${manifest[fact]}; export it again`,
        [],
        'manifestDiffers',
      );
    }
  }
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  await writeWhole(resolve(io.cwd, file), inOnePiece(Buffer.from(text)));
  return manifest;
}

async function* inOnePiece(bytes: Buffer): AsyncGenerator<Buffer> {
  yield await Promise.resolve(bytes);
}

function pathOf(of: Kind, approvalId: string | undefined): string {
  const needsId = of === 'log' || of === 'selection';
  if (needsId && approvalId === undefined) throw usageError(`to export a ${of}, say of which approval ID`);
  if (!needsId && approvalId !== undefined) throw usageError(`--of ${of} takes no approval ID`);
  return exportPath(of, approvalId ?? '');
}

function queryOf(of: Kind, options: ExportOptions): Query {
  const { status, action: what, surface, name, approver, start, end } = options;
  const { startTime: _start, endTime: _end, ...emails } = filterOf(options);
  const times = { startTime: start, endTime: end };
  const parts: Readonly<Record<string, Query>> = {
    log: { ...logFilterOf(options) },
    history: { status, action: what, surface, name, approver },
    emails: { ...emails },
    times,
  };
  const allowed = { log: ['log'], selection: [], history: ['history', 'times'], emails: ['emails', 'times'] };
  for (const [part, query] of Object.entries(parts)) {
    const given = Object.entries(query).find(([, value]) => value !== undefined);
    if (given !== undefined && !(allowed[of] as string[]).includes(part)) {
      throw usageError(`${given[0]} does not filter an export of ${of}: see --help`);
    }
  }
  return Object.assign({}, ...allowed[of].map((part) => parts[part])) as Query;
}

/** An approval ID from the command line may hold anything; a file name may not. */
export const exportNameOf = (of: Kind, approvalId: string | undefined, format: Format): string => {
  const parts = [
    'clawback',
    ...(of === 'log' ? [] : [of]),
    ...(approvalId === undefined ? [] : [approvalId]),
  ];
  return `${parts.join('-').replace(/[^\w.-]/g, '_')}.${format}`;
};

export const csvNameOf = (approvalId: string): string => exportNameOf('log', approvalId, 'csv');
