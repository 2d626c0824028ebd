import type { Command } from 'commander';
import { OUTCOMES } from './api.js';
import type { LogFilter } from './client.js';
import { choice, trueOrFalse } from './options.js';

export interface LogOptions {
  readonly outcome?: string;
  readonly sendersCopy?: boolean;
  readonly mailbox?: string;
}

/** The options that choose a part of a log. */
export const addLogOptions = (command: Command): Command =>
  command
    .addOption(choice('--outcome <outcome>', 'only copies with this outcome', OUTCOMES))
    .option('--senders-copy <flag>', "true: only senders' copies; false: only recipients'", trueOrFalse)
    .option('--mailbox <address>', 'only the copies in this mailbox');

export const logFilterOf = ({ outcome, sendersCopy, mailbox }: LogOptions): LogFilter => ({
  outcome,
  isSendersCopy: sendersCopy,
  mailbox,
});
