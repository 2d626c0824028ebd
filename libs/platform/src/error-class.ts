import { isClawbackError } from '#libs/kernel';
import { isError } from './is-error.js';

/**
 * What kind of fault this is, in one word: the code of an error of ours, else the name of its class. Says nothing of
 * hosts, files or people, so that it may be shown to anybody, and there are few of them.
 */
export function errorClass(error: unknown): string {
  if (isClawbackError(error)) return error.code;
  // An aborted wait ends by the latter, which is no error of this realm under every runner.
  if (!isError(error) && !(error instanceof DOMException)) return typeof error;
  // Clients of servers tell their errors apart by class, and not always by name.
  return error.name === 'Error' ? error.constructor.name : error.name;
}
