/** What the process says when it ends. Stable: scripts depend on it. */
export enum ExitCode {
  ok = 0,
  incomplete = 1,
  usage = 2,
  linesRejected = 3,
  remediationFailed = 4,
  refused = 5,
  notAllowed = 6,
  unavailable = 7,
  internal = 70,
  interrupted = 130,
}

export const EXIT_CODE_MEANINGS: Readonly<Record<ExitCode, string>> = {
  [ExitCode.ok]: 'done',
  [ExitCode.incomplete]: 'the remediation finished, but some copies failed or timed out',
  [ExitCode.usage]: 'the command line, a setting or a local file is wrong',
  [ExitCode.linesRejected]: 'imported, but some lines were rejected',
  [ExitCode.remediationFailed]: 'the remediation failed as a whole, or was rejected',
  [ExitCode.refused]: 'the server refused the request',
  [ExitCode.notAllowed]: 'no token, a wrong one, or one without the role',
  [ExitCode.unavailable]: 'the server cannot be reached or cannot answer now',
  [ExitCode.internal]: 'an error in Clawback itself',
  [ExitCode.interrupted]: 'interrupted by Ctrl+C or a signal, or not confirmed',
};

/** The table for `--help`. */
export const exitCodeHelp = (): string =>
  Object.entries(EXIT_CODE_MEANINGS)
    .map(([code, meaning]) => `  ${code.padStart(3)}  ${meaning}`)
    .join('\n');

/** Of an answer that is not a success. */
export function exitCodeOfStatus(status: number): ExitCode {
  if (status === 401 || status === 403) return ExitCode.notAllowed;
  return status >= 400 && status < 500 ? ExitCode.refused : ExitCode.unavailable;
}

/**
 * Of a remediation that has finished. A copy that is no longer in its mailbox is what a soft delete wants, and a loss
 * when copies were to be brought back.
 */
export function exitCodeOfResult(remediation: {
  readonly status: string;
  readonly action: string;
  readonly counts: { readonly failed: number; readonly timedOut: number; readonly notFound: number };
}): ExitCode {
  const { status, action, counts } = remediation;
  if (status !== 'completed') return ExitCode.remediationFailed;
  const lost =
    counts.failed +
    counts.timedOut +
    (action === 'softDelete' || action === 'hardDelete' ? 0 : counts.notFound);
  return lost > 0 ? ExitCode.incomplete : ExitCode.ok;
}
