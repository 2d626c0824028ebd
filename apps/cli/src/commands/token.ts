import { userInfo } from 'node:os';
import type { Command } from 'commander';
import { ROLES } from '../api.js';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { localToken } from '../local-server.js';
import { choice, duration } from '../options.js';

interface TokenOptions {
  readonly role: readonly (typeof ROLES)[number][];
  readonly subject?: string;
  readonly tenant: string;
  readonly ttl: number;
  readonly data?: string;
}

const EIGHT_HOURS = 8 * 60 * 60;

export function registerToken(program: Command, shell: Shell): void {
  program
    .command('token')
    .summary('make a token for a local server')
    .description(
      'Print a token, signed with the local key of a data directory, and nothing else. A server that is given an ' +
        'issuer (CLAWBACK_ISSUER) takes only the tokens of that issuer.',
    )
    .addOption(
      choice('--role <role...>', 'what the token allows; may be repeated', ROLES).makeOptionMandatory(),
    )
    .option('--subject <name>', 'who it is for (default: your user name)')
    .option('--tenant <tenant>', 'whose data it opens', 'default')
    .option('--ttl <time>', 'how long it is valid: 90s, 15m, 8h, 7d (default: 8h)', duration, EIGHT_HOURS)
    .option('--data <directory>', 'the data directory of the server (default: CLAWBACK_DATA or .clawback)')
    .addHelpText(
      'after',
      '\nExample:\n  export CLAWBACK_TOKEN=$(clawback token --role ingest --role approver --role auditor)',
    )
    .action(
      action<TokenOptions>(shell, async ({ out, io }, { role, subject, tenant, ttl, data }) => {
        const request = { roles: role, subject: subject ?? userName(), tenant, ttlSeconds: ttl };
        const token = await localToken(io.env, data, request);
        out.result({ token }, token);
        return ExitCode.ok;
      }),
    );
}

function userName(): string {
  try {
    return userInfo().username || 'local-admin';
  } catch {
    // A user without an entry in the system's list, as in some containers.
    return 'local-admin';
  }
}
