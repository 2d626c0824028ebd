import cliProgress from 'cli-progress';
import { formatCount, printable, type Terminal } from './output.js';

/** Shows how far something is, on stderr: a bar on a terminal, else a plain line now and then. */
export interface Progress {
  /** @param label what is going on, when it is not what it was */
  update(value: number, label?: string): void;
  /** The last word; shows the end state. */
  stop(): void;
}

export interface ProgressOptions {
  readonly label: string;
  /** Undefined when it is not known how much there is; then only the value is shown. */
  readonly total: number | undefined;
  /** How to write values; plain numbers by default. */
  readonly format?: (value: number) => string;
  /** Milliseconds of a clock that never goes back; for tests. */
  readonly now?: () => number;
}

export function startProgress(stream: Terminal, options: ProgressOptions): Progress {
  return stream.isTTY === true ? bar(stream, options) : plainLines(stream, options);
}

function bar(stream: Terminal, { label, total, format = formatCount }: ProgressOptions): Progress {
  const single = new cliProgress.SingleBar({
    stream,
    format:
      total === undefined
        ? '{label} {value}'
        : '{label} [{bar}] {percentage} % | {value} of {total} | {eta_formatted}',
    formatValue: (value, _options, type) =>
      type === 'value' || type === 'total' ? format(value) : String(value),
    formatTime: timeLeft,
    barsize: 30,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    // Nothing to do at all is done.
    emptyOnZero: false,
    gracefulExit: false,
  });
  single.start(total ?? Number.MAX_SAFE_INTEGER, 0, { label: padded(label) });
  return {
    update(value, next) {
      single.update(value, next === undefined ? {} : { label: padded(next) });
    },
    stop() {
      single.stop();
    },
  };
}

const padded = (label: string): string => printable(label).padEnd(12);

/** `75` gives `1m 15s`; empty while nobody can know. */
function timeLeft(seconds: number): string {
  // Until it knows, the library gives a text.
  if (!Number.isFinite(seconds)) return '';
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole}s` : `${Math.floor(whole / 60)}m ${whole % 60}s`;
}

const LINE_EVERY_PERCENT = 10;
const LINE_EVERY_MS = 5000;

function plainLines(
  stream: Terminal,
  { label: first, total, format = formatCount, now = () => performance.now() }: ProgressOptions,
): Progress {
  let label = first;
  let value = 0;
  let told: { readonly label: string; readonly value: number; readonly step: number } | undefined;
  let toldAt = now();

  const stepOf = (of: number): number =>
    total === undefined || total === 0 ? 0 : Math.floor((100 * of) / total / LINE_EVERY_PERCENT);

  const tell = (): void => {
    const amount =
      total === undefined
        ? format(value)
        : `${format(value)} of ${format(total)} (${percent(value, total)} %)`;
    stream.write(`${printable(label)}: ${amount}\n`);
    told = { label, value, step: stepOf(value) };
    toldAt = now();
  };

  return {
    update(next, nextLabel) {
      value = next;
      label = nextLabel ?? label;
      const due = now() - toldAt >= LINE_EVERY_MS;
      if (stepOf(value) > (told?.step ?? 0) || (due && (told?.value !== value || told.label !== label)))
        tell();
    },
    stop() {
      if (told?.value !== value || told.label !== label) tell();
    },
  };
}

const percent = (value: number, total: number): number =>
  total === 0 ? 100 : Math.min(100, Math.floor((100 * value) / total));
