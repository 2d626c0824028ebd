import type { Command } from 'commander';
import {
  ACTIONS,
  SEVERITIES,
  SURFACES,
  type Hunting,
  type Preview,
  type RemediationRequest,
  type Submitted,
} from './api.js';
import type { Client } from './client.js';
import type { Io } from './context.js';
import { usageError } from './failure.js';
import { readHuntingFile } from './hunting-file.js';
import { choice, instant, wholeNumber } from './options.js';
import { counted, formatCount } from './output.js';
import { addSelectionOptions, filterOf, selectionOf, type SelectionOptions } from './selection.js';

export interface RemediationOptions extends SelectionOptions {
  readonly name: string;
  readonly description?: string;
  readonly severity: string;
  readonly action: string;
  readonly sendersCopy?: boolean;
  readonly surface: string;
  readonly startAt?: string;
  readonly finishWithin?: number;
  readonly lateArrivals?: number;
  readonly hunting?: string;
  readonly unknownRows?: string;
}

/** The options that say what is done and to which emails. */
export const addRemediationOptions = (command: Command): Command =>
  addSelectionOptions(
    command
      .option('--description <text>', 'why it is done')
      .addOption(choice('--severity <severity>', 'how bad it is', SEVERITIES).default('medium'))
      .addOption(choice('--action <action>', 'what is done to the copies', ACTIONS).default('softDelete'))
      .option(
        '--senders-copy',
        "the sender's copy as well: delete it (softDelete) or move it back to Sent Items (moveToInbox)",
      )
      .addOption(
        choice('--surface <surface>', 'where the request comes from', SURFACES).default('threatExplorer'),
      )
      .option('--hunting <file>', 'the emails that advanced hunting has found; - for stdin')
      .addOption(
        choice('--unknown-rows <what>', 'with --hunting: rows that are no email of the catalogue', [
          'refuse',
          'leaveOut',
        ]),
      )
      .option('--start-at <time>', 'not to begin before then (ISO 8601, UTC by default)', instant)
      .option('--finish-within <minutes>', 'nothing more is begun after this', wholeNumber(1, 7 * 24 * 60))
      .option(
        '--late-arrivals <hours>',
        'for so long, mail that matches the query and arrives later is remediated too',
        wholeNumber(1, 7 * 24),
      ),
  );

/** A remediation as it was asked for, whichever way its emails are selected. */
export interface Wanted {
  readonly action: string;
  readonly sendersCopy: boolean;
  preview(client: Client): Promise<Preview & { readonly hunting?: Hunting }>;
  submit(client: Client, idempotencyKey: string): Promise<Submitted>;
}

/** @throws {CliFailure} of usage when nothing, or two things at once, are selected; or when a file is wrong */
export async function wantedRemediation(options: RemediationOptions, io: Io): Promise<Wanted> {
  const { action, sendersCopy = false, hunting } = options;
  if (hunting === undefined) {
    if (options.unknownRows !== undefined) throw usageError('--unknown-rows is for --hunting only');
    const request = await remediationRequest(options, io);
    return {
      action,
      sendersCopy,
      preview: (client) => client.preview(request),
      submit: (client, key) => client.submit(request, key),
    };
  }
  checkHuntingAlone(options);
  const { name, description, severity, unknownRows } = options;
  const request = {
    ...{ name, severity, action, sendersCopy },
    ...(description === undefined ? {} : { description }),
    ...(unknownRows === undefined ? {} : { unknownRows }),
  };
  const rows = await readHuntingFile(hunting, io);
  return {
    action,
    sendersCopy,
    preview: (client) => client.previewHunting(request, rows),
    submit: (client, key) => client.submitHunting(request, rows, key),
  };
}

function checkHuntingAlone(options: RemediationOptions): void {
  const { all, emails, excluding, startAt, finishWithin, lateArrivals } = options;
  const others = [all, emails, excluding, ...Object.values(filterOf(options))];
  if (others.some((other) => other !== undefined)) {
    throw usageError('--hunting and --all, filters, --emails and --excluding exclude each other');
  }
  if ([startAt, finishWithin, lateArrivals].some((other) => other !== undefined)) {
    throw usageError('--start-at, --finish-within and --late-arrivals are not possible with --hunting');
  }
}

export const huntingText = ({ rows, emails, duplicates, leftOut }: Hunting): string =>
  `${counted(rows, 'row', 'rows')} of ${counted(emails, 'email', 'emails')}: ${formatCount(duplicates)} named again, ` +
  `${formatCount(leftOut)} left out`;

async function remediationRequest(options: RemediationOptions, io: Io): Promise<RemediationRequest> {
  const { name, description, severity, action, sendersCopy, surface } = options;
  const { startAt, finishWithin, lateArrivals } = options;
  return {
    name,
    ...(description === undefined ? {} : { description }),
    ...{ severity, action, surface },
    sendersCopy: sendersCopy === true,
    selection: await selectionOf(options, io),
    ...(startAt === undefined ? {} : { startAt }),
    ...(finishWithin === undefined ? {} : { finishWithinMinutes: finishWithin }),
    ...(lateArrivals === undefined ? {} : { lateArrivalsHours: lateArrivals }),
  };
}
