import type { Command } from 'commander';
import type { Faults } from '../api.js';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { choice, trueOrFalse, wholeNumber } from '../options.js';
import { Table, counted, printable } from '../output.js';

export const FAULT_KINDS = [
  'missingMailbox',
  'movedByUser',
  'deletedByUser',
  'error',
  'hang',
  'slow',
] as const;

interface FaultOptions {
  readonly kind: string;
  readonly folder?: string;
  readonly code?: string;
  readonly retryable?: boolean;
  readonly times?: number;
  readonly retryAfterMs?: number;
  readonly delayMs?: number;
}

const HOUR_MS = 3_600_000;

export function registerFault(program: Command, shell: Shell): void {
  const fault = program
    .command('fault')
    .summary("make the sandbox's mailboxes faulty, to see what a remediation does")
    .description("Set, list and clear faults of the sandbox's mailboxes. Needs the role admin.");
  registerSet(fault, shell);
  registerList(fault, shell);
  registerClear(fault, shell);
}

function registerSet(fault: Command, shell: Shell): void {
  fault
    .command('set')
    .summary('make a mailbox faulty')
    .argument('<mailbox>', 'an address')
    .addOption(choice('--kind <kind>', 'what goes wrong', FAULT_KINDS).makeOptionMandatory())
    .option('--folder <folder>', 'movedByUser: where the user moves every copy')
    .option('--code <code>', 'error: the code of the mailbox')
    .option('--retryable <flag>', 'error: whether trying again may help', trueOrFalse)
    .option(
      '--times <n>',
      'error, hang: how many calls it hits (default: every call)',
      wholeNumber(1, 1_000_000),
    )
    .option('--retry-after-ms <ms>', 'error: when to come back', wholeNumber(0, HOUR_MS))
    .option('--delay-ms <ms>', 'slow: how long a call takes', wholeNumber(0, HOUR_MS))
    .addHelpText(
      'after',
      '\nExamples:\n  clawback fault set ada.abels@fabrikam.example --kind missingMailbox\n' +
        '  clawback fault set ada.abels@fabrikam.example --kind error --code throttled --retryable true --times 2',
    )
    .action(
      action<FaultOptions>(shell, async ({ client, out }, options, [mailbox = '']) => {
        const set = await client.setFault(mailbox, faultOf(options));
        out.result(set ?? { mailbox, fault: faultOf(options) }, `${options.kind} in ${printable(mailbox)}`);
        return ExitCode.ok;
      }),
    );
}

/** The server checks which fields go with which kind, and names the wrong ones. */
export function faultOf({
  kind,
  folder,
  code,
  retryable,
  times,
  retryAfterMs,
  delayMs,
}: FaultOptions): object {
  const fields = {
    ...{ kind, folder, code, times, retryAfterMs, delayMs },
    retryable: retryable ?? (kind === 'error' ? false : undefined),
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function registerList(fault: Command, shell: Shell): void {
  fault
    .command('list')
    .summary('the faults that are set')
    .action(
      action(shell, async ({ client, out }) => {
        const faults = await client.faults();
        const table = new Table<Faults['items'][number]>([
          { title: 'mailbox', of: ({ mailbox }) => mailbox },
          { title: 'fault', of: ({ fault: { kind } }) => kind },
          {
            title: 'details',
            of: ({ fault: { kind: _kind, ...rest } }) =>
              Object.entries(rest)
                .map(([name, value]) => `${name} ${String(value)}`)
                .join(', '),
          },
        ]);
        out.result(faults, faults.items.length === 0 ? 'no faults' : table.add(faults.items));
        return ExitCode.ok;
      }),
    );
}

function registerClear(fault: Command, shell: Shell): void {
  fault
    .command('clear')
    .summary('end the fault of a mailbox, or all')
    .argument('[mailbox]', 'an address; without it, every mailbox')
    .action(
      action(shell, async ({ client, out }, _options, [mailbox]) => {
        const mailboxes =
          mailbox === undefined ? (await client.faults()).items.map((item) => item.mailbox) : [mailbox];
        for (const each of mailboxes) await client.clearFault(each);
        out.result(
          { cleared: mailboxes },
          `${counted(mailboxes.length, 'mailbox', 'mailboxes')} without fault`,
        );
        return ExitCode.ok;
      }),
    );
}
