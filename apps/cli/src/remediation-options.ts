import type { Command } from 'commander';
import { ACTIONS, SEVERITIES, SURFACES, type RemediationRequest } from './api.js';
import type { Io } from './context.js';
import { choice, instant, wholeNumber } from './options.js';
import { addSelectionOptions, selectionOf, type SelectionOptions } from './selection.js';

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
      .option('--start-at <time>', 'not to begin before then (ISO 8601, UTC by default)', instant)
      .option('--finish-within <minutes>', 'nothing more is begun after this', wholeNumber(1, 7 * 24 * 60))
      .option(
        '--late-arrivals <hours>',
        'for so long, mail that matches the query and arrives later is remediated too',
        wholeNumber(1, 7 * 24),
      ),
  );

export async function remediationRequest(options: RemediationOptions, io: Io): Promise<RemediationRequest> {
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
