import { Command, CommanderError } from 'commander';
import { registerApprove } from './commands/approve.js';
import { registerCancel } from './commands/cancel.js';
import { registerDashboard } from './commands/dashboard.js';
import { registerDemo } from './commands/demo.js';
import { registerEvents } from './commands/events.js';
import { registerExport } from './commands/export.js';
import { registerFault } from './commands/fault.js';
import { registerHistory } from './commands/history.js';
import { registerImport } from './commands/import.js';
import { registerLog } from './commands/log.js';
import { registerPreview } from './commands/preview.js';
import { registerRebuild } from './commands/rebuild.js';
import { registerReject } from './commands/reject.js';
import { registerRemediate } from './commands/remediate.js';
import { registerRetry } from './commands/retry.js';
import { registerSearch } from './commands/search.js';
import { registerServe } from './commands/serve.js';
import { registerStatus } from './commands/status.js';
import { registerToken } from './commands/token.js';
import { registerUndo } from './commands/undo.js';
import { registerViews } from './commands/views.js';
import { registerWebhooks } from './commands/webhooks.js';
import { registerWatch } from './commands/watch.js';
import { DEFAULT_URL, type Io, type Shell } from './context.js';
import { ExitCode, exitCodeHelp } from './exit-codes.js';
import { expectedFailure, isError, usageError, ServerProblem } from './failure.js';
import { Output, printable } from './output.js';
import { packageVersion } from './package-root.js';

export { DEFAULT_TIMING, type Io } from './context.js';
export { ExitCode } from './exit-codes.js';

const COMMANDS = [
  registerServe,
  registerToken,
  registerDemo,
  registerImport,
  registerSearch,
  registerPreview,
  registerRemediate,
  registerWatch,
  registerStatus,
  registerHistory,
  registerLog,
  registerExport,
  registerDashboard,
  registerUndo,
  registerRetry,
  registerCancel,
  registerApprove,
  registerReject,
  registerEvents,
  registerFault,
  registerWebhooks,
  registerViews,
  registerRebuild,
];

/**
 * Runs one command line. Never throws: every failure is told on stderr, and with `--json` as a document on stdout too.
 * @param argv the arguments without the program
 */
export async function run(argv: readonly string[], io: Io): Promise<ExitCode> {
  // Until the command line is read, asking for --json is guessed.
  const out = new Output(io.stdout, io.stderr, argv.includes('--json'));
  const shell: Shell = { io, out, exitCode: ExitCode.ok };
  try {
    await programFor(shell).parseAsync([...argv], { from: 'user' });
    return shell.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return usageOutcome(error, shell.out);
    return report(error, shell.out);
  }
}

function programFor(shell: Shell): Command {
  const { stdout, stderr } = shell.io;
  const program = new Command('clawback')
    .description(
      "Post-delivery email remediation: take harmful mail back out of mailboxes, the sender's own copy included, " +
        'follow what happens to every copy, and put every copy back.',
    )
    .version(packageVersion())
    .option('--json', 'for programs: one JSON document (or one a line) on stdout, all else on stderr')
    .option('--url <url>', `where the server is (default: CLAWBACK_URL or ${DEFAULT_URL})`)
    .option('--token <token>', 'who you are (default: CLAWBACK_TOKEN, which other users cannot see)')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      // Told in our own way, like every other failure.
      outputError: () => undefined,
    })
    .exitOverride()
    .addHelpText(
      'after',
      `\nExamples:\n  clawback demo\n  clawback serve\n  clawback COMMAND --help\n\nExit codes:\n${exitCodeHelp()}`,
    );
  for (const register of COMMANDS) register(program, shell);
  return program;
}

/** Help and version are no failure; help that nobody asked for is, since there was nothing to do. */
function usageOutcome(error: CommanderError, out: Output): ExitCode {
  if (error.exitCode === 0) return ExitCode.ok;
  if (error.code === 'commander.help') return ExitCode.usage;
  return report(usageError(error.message.replace(/^error: /, '')), out);
}

function report(error: unknown, out: Output): ExitCode {
  const failure = expectedFailure(error);
  if (failure === undefined) {
    out.note(`clawback: internal error: ${isError(error) ? (error.stack ?? error.message) : String(error)}`);
    tell(out, { code: 'internal', message: 'internal error', exitCode: ExitCode.internal });
    return ExitCode.internal;
  }
  const { message, problems, code, exitCode } = failure;
  const requestId = failure instanceof ServerProblem ? failure.requestId : undefined;
  out.note(
    `clawback: ${printable(message)}${requestId === undefined ? '' : ` (request ${printable(requestId)})`}`,
  );
  for (const { field, problem } of problems) out.note(`  ${printable(field)}: ${printable(problem)}`);
  tell(out, { code, message, exitCode, errors: problems, requestId });
  return exitCode;
}

/** For programs, unless they were told something already: a part of a stream is followed by no other document. */
function tell(out: Output, error: object): void {
  if (!out.hasDocument) out.document({ error });
}
