import { createInterface } from 'node:readline/promises';
import type { Readable } from 'node:stream';
import type { Command } from 'commander';
import { Client } from './client.js';
import { ExitCode } from './exit-codes.js';
import { CliFailure, interrupted, usageError } from './failure.js';
import { Output, type Terminal } from './output.js';
import { startProgress, type Progress, type ProgressOptions } from './progress.js';

/** What a process has around it. */
export interface Io {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Terminal;
  readonly stderr: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The directory that relative files are in. */
  readonly cwd: string;
  /** Fires on Ctrl+C and on a request to end. */
  readonly signal: AbortSignal;
  readonly timing: Timing;
}

export interface Timing {
  /** How long to wait between two looks at a remediation: at first and at most. */
  readonly pollMs: readonly [first: number, most: number];
  /** Waits before each further try when the server is away for a while. */
  readonly retryDelaysMs: readonly number[];
}

export const DEFAULT_TIMING: Timing = { pollMs: [100, 1000], retryDelaysMs: [250, 500, 1000, 2000, 4000] };

export interface GlobalOptions {
  readonly json?: boolean;
  readonly url?: string;
  readonly token?: string;
}

export const DEFAULT_URL = 'http://127.0.0.1:8080';

/** What a command works with. */
export class Context {
  readonly out: Output;
  private known: Client | undefined;

  constructor(
    readonly io: Io,
    private readonly options: GlobalOptions,
  ) {
    this.out = new Output(io.stdout, io.stderr, options.json === true);
  }

  /** @throws {CliFailure} when the address is none, or there is no token */
  get client(): Client {
    this.known ??= this.clientOf(
      this.options.url ?? nonEmpty(this.io.env.CLAWBACK_URL) ?? DEFAULT_URL,
      this.options.token ?? nonEmpty(this.io.env.CLAWBACK_TOKEN),
    );
    return this.known;
  }

  clientOf(url: string, token: string | undefined): Client {
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw usageError(
        'the address of the server (--url or CLAWBACK_URL) must begin with http:// or https://',
      );
    }
    if (token === undefined) {
      throw new CliFailure(
        ExitCode.notAllowed,
        'no token: give --token or CLAWBACK_TOKEN; "clawback token --role approver" makes one for a local server',
      );
    }
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw new CliFailure(ExitCode.notAllowed, 'the token has characters that no token has');
    }
    return new Client({ url, token, signal: this.io.signal });
  }

  progress(options: ProgressOptions): Progress {
    return startProgress(this.io.stderr, options);
  }

  get interactive(): boolean {
    return this.io.stdin.isTTY === true;
  }

  /** @throws {CliFailure} when nobody is there to be asked */
  requireConsent(yes: boolean | undefined): void {
    if (yes !== true && !this.interactive) throw usageError('there is no terminal to ask on: give --yes');
  }

  /** Asks unless the user has said yes already. */
  async confirm(question: string, yes: boolean | undefined): Promise<boolean> {
    if (yes === true) return true;
    this.requireConsent(yes);
    // As no terminal: Ctrl+C stays a signal, as everywhere else.
    const lines = createInterface({ input: this.io.stdin, output: this.io.stderr, terminal: false });
    // The end of the input is a no; an answer right before it still counts.
    const closed = new Promise<string>((resolve) => {
      lines.once('close', () => setImmediate(resolve, ''));
    });
    try {
      const answer = lines.question(`${question} [y/N] `, { signal: this.io.signal });
      return /^y(es)?$/i.test((await Promise.race([answer, closed])).trim());
    } catch (error) {
      if (this.io.signal.aborted) throw interrupted();
      throw error;
    } finally {
      lines.close();
    }
  }
}

/** Holds what commands share and how the last one ended. */
export interface Shell {
  readonly io: Io;
  out: Output;
  exitCode: ExitCode;
}

/** Makes a commander action of what a command does. Its arguments come as they were written. */
export const action =
  <Options extends object>(
    shell: Shell,
    run: (context: Context, options: Options, args: readonly string[]) => Promise<ExitCode>,
  ) =>
  async (...parameters: (string | undefined | Options | Command)[]): Promise<void> => {
    // Commander gives the arguments, the options and the command itself, last.
    const command = parameters.at(-1) as Command;
    const options = command.optsWithGlobals<Options & GlobalOptions>();
    const context = new Context(shell.io, options);
    shell.out = context.out;
    shell.exitCode = await run(context, options, command.args);
  };

const nonEmpty = (value: string | undefined): string | undefined => (value === '' ? undefined : value);
