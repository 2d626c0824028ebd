import { writeFile } from 'node:fs/promises';
import { Session } from 'node:inspector/promises';
import { join } from 'node:path';

/** Names the directory for CPU profiles to every process of a run; set by `--profile`. */
const VARIABLE = 'BENCH_PROFILE_DIRECTORY';

/** Also the beginning of the names of this process's profiles. */
const NAME_VARIABLE = 'BENCH_PROFILE_NAME';

let profiles = 0;

export const profileInto = (directory: string): void => {
  process.env[VARIABLE] = directory;
};

/** The environment of a process of a run. */
export const profiledEnvironment = (name: string): NodeJS.ProcessEnv => ({
  ...process.env,
  [NAME_VARIABLE]: name,
});

/** Begins to profile this process, if asked for; the answer ends it and writes the profile. */
export async function beginProfile(): Promise<() => Promise<void>> {
  const directory = process.env[VARIABLE];
  if (directory === undefined) return () => Promise.resolve();
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.start');
  return async () => {
    const { profile } = await session.post('Profiler.stop');
    session.disconnect();
    profiles += 1;
    const name = `${process.env[NAME_VARIABLE] ?? 'process'}-${String(process.pid)}-${String(profiles)}`;
    await writeFile(join(directory, `${name}.cpuprofile`), JSON.stringify(profile));
  };
}

export async function profiled<T>(work: () => Promise<T>): Promise<T> {
  const end = await beginProfile();
  try {
    return await work();
  } finally {
    await end();
  }
}
