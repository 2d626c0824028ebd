import { pause } from '#libs/kernel';

/** What a question was answered with, or why it was not. */
export type Answered<T> = { readonly value: T } | { readonly failure: unknown };

/** The answer did not come in time. */
export class NoAnswerInTime extends Error {
  override readonly name = 'NoAnswerInTime';
}

/** Waits for an answer so many milliseconds at most. Never rejects; what comes later concerns nobody. */
export async function answered<T>(ms: number, asking: Promise<T>): Promise<Answered<T>> {
  const timer = new AbortController();
  const late = pause(ms, timer.signal).then(() => ({ failure: new NoAnswerInTime('no answer in time') }));
  try {
    return await Promise.race([
      asking.then(
        (value) => ({ value }),
        (failure: unknown) => ({ failure }),
      ),
      late,
    ]);
  } finally {
    timer.abort();
  }
}
