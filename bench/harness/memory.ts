import { readdirSync, readFileSync } from 'node:fs';

/** In bytes; of several processes the sum, which counts what they share more than once. */
export interface Memory {
  readonly rss: number;
  /** The sum of the highest of each, whenever that was. */
  readonly peakRss: number;
}

/** This process with the processes that it has started, where the system says which those are (Linux), else alone. */
export function memoryOfAll(): Memory {
  const own = { rss: process.memoryUsage.rss(), peakRss: process.resourceUsage().maxRSS * 1024 };
  return children().reduce(
    (sum, child) => ({ rss: sum.rss + child.rss, peakRss: sum.peakRss + child.peakRss }),
    own,
  );
}

function children(): Memory[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(statusOf)
      .filter((status) => numberIn(status, 'PPid') === process.pid)
      .map((status) => ({
        rss: numberIn(status, 'VmRSS') * 1024,
        peakRss: numberIn(status, 'VmHWM') * 1024,
      }));
  } catch {
    return [];
  }
}

/** Empty for a process that has just ended. */
function statusOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return '';
  }
}

const numberIn = (status: string, field: string): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
