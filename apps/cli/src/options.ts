import { InvalidArgumentError, Option } from 'commander';

/** Readers of option values. They throw commander's error, which names the option. */

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

const SECONDS_IN: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** `90s`, `15m`, `8h` or `7d`, in seconds. */
export function duration(text: string): number {
  const [, amount = '', unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const seconds = Number(amount) * (SECONDS_IN[unit] ?? 0);
  if (seconds === 0)
    throw new InvalidArgumentError('It must be a length of time such as 90s, 15m, 8h or 7d.');
  return seconds;
}

const INSTANT = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?)?$/;

/** A date, or a date and time, in ISO 8601; in UTC unless it says another zone. Gives it in UTC with milliseconds. */
export function instant(text: string): string {
  const zoned = text.includes('T') && !/(Z|[+-]\d{2}:\d{2})$/.test(text) ? `${text}Z` : text;
  const time = new Date(zoned);
  if (!INSTANT.test(text) || Number.isNaN(time.getTime())) {
    throw new InvalidArgumentError('It must be a date or a time such as 2026-11-02 or 2026-11-02T08:15:00Z.');
  }
  return time.toISOString();
}

export function trueOrFalse(text: string): boolean {
  if (text !== 'true' && text !== 'false') throw new InvalidArgumentError('It must be true or false.');
  return text === 'true';
}

/** An option that takes one of these values. */
export const choice = (flags: string, description: string, values: readonly string[]): Option =>
  new Option(flags, description).choices(values);
