/** When a message is tried again, and when it is given up. Times in milliseconds. */
export interface RetryPolicy {
  /** After the first failure; doubles from one to the next. */
  readonly firstMs: number;
  readonly longestMs: number;
  /** A message that has failed for so long is given up: the webhook is paused. */
  readonly giveUpMs: number;
}

/** However long a receiver asks us to wait. */
const LONGEST_ASKED_MS = 3_600_000;

/**
 * How long to wait after so many failures: doubling up to a cap, the last half of it random, and never sooner than the
 * receiver asked (within an hour).
 * @param random from 0 to 1
 */
export function retryDelayMs(
  { firstMs, longestMs }: RetryPolicy,
  failures: number,
  askedMs: number | undefined,
  random: number,
): number {
  const full = Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 40));
  return Math.round(Math.max((full * (1 + random)) / 2, Math.min(askedMs ?? 0, LONGEST_ASKED_MS)));
}

/** `Retry-After` in milliseconds from now: seconds or a date; undefined when it is neither. */
export function retryAfterMs(header: string | undefined, now: Date): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now.getTime());
}
