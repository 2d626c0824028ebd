import type { SqliteFile } from './sqlite-file.js';

export interface Waiting {
  /** In milliseconds; for ever without it. */
  readonly withinMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * From one look to the next the wait grows by a quarter, from the first to the longest: a commit is seen at the latest after
 * a quarter of the time that it was waited for. A look costs some 10 µs.
 */
const FIRST_LOOK_MS = 1;
const GROWTH = 1.25;
const LONGEST_MS = 16;

/**
 * Wakes those who wait for a commit to a file: at once for one through this object, and for one of another connection or
 * process by looking, at first after a millisecond and then less and less often. Looks only while somebody waits, once for
 * all of them.
 */
export class FileChanges {
  private readonly sleepers = new Set<() => void>();
  private looking: NodeJS.Timeout | undefined;
  /** When the next look is, by `performance.now()`. */
  private due = Infinity;
  private seen: number | undefined;

  /** @param onChange called before anybody is woken. */
  constructor(
    private readonly file: SqliteFile,
    private readonly onChange: () => void = () => undefined,
  ) {}

  /** To be called after a commit through this object, and after closing the file. */
  wakeAll(): void {
    this.onChange();
    for (const wake of [...this.sleepers]) wake();
  }

  /** Resolves after a commit, when the time is over or when the signal fires. */
  next({ withinMs, signal }: Waiting): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', wake);
        this.sleepers.delete(wake);
        if (this.sleepers.size === 0) this.stopLooking();
        resolve();
      };
      const timer = withinMs === undefined ? undefined : setTimeout(wake, withinMs);
      signal?.addEventListener('abort', wake, { once: true });
      this.sleepers.add(wake);
      // Others who come meanwhile do not put the look off.
      if (this.due > performance.now() + FIRST_LOOK_MS) this.lookIn(FIRST_LOOK_MS);
    });
  }

  private lookIn(ms: number): void {
    clearTimeout(this.looking);
    this.due = performance.now() + ms;
    this.looking = setTimeout(() => {
      this.look(ms);
    }, ms);
  }

  private stopLooking(): void {
    clearTimeout(this.looking);
    this.due = Infinity;
  }

  /** Whoever waits has looked at the file after the version was read here last, or is woken for nothing once. */
  private look(waited: number): void {
    const version = this.version();
    if (version === this.seen && version !== undefined) {
      this.lookIn(Math.min(GROWTH * waited, LONGEST_MS));
      return;
    }
    this.seen = version;
    this.wakeAll();
  }

  /** Changes with every commit of another connection. Undefined where the file cannot say: whoever waits finds out why. */
  private version(): number | undefined {
    try {
      return Number(this.file.get('PRAGMA data_version')?.data_version);
    } catch {
      return undefined;
    }
  }
}
