/** Where a bench keeps its data; `servers` is the events on EventStoreDB and the views on MongoDB. */
export type StoreName = 'sqlite' | 'eventstoredb' | 'mongodb' | 'servers';

/** A store to run on. */
export interface Target {
  readonly store: StoreName;
  /** What it really is, for the table: a stand-in is never called by the name of what it stands in for. */
  readonly label: string;
  /** Connection strings; none for what is embedded. */
  readonly eventStoreUrl?: string;
  readonly mongoUrl?: string;
}

/** What one part measured, by name. Times are in seconds, sizes in bytes unless the name says otherwise. */
export type Figures = Readonly<Record<string, number>>;

/** What a part is given; it travels as JSON into a process of its own. */
export interface PartInput {
  /** How much; what of is said by the bench. */
  readonly size: number;
  readonly target: Target;
  /** An empty directory for this part alone. */
  readonly directory: string;
  /** What {@link Bench.prepare} has made. Other parts read it too: do not write there. */
  readonly prepared: string;
  /** Which repetition this is, from 0. */
  readonly run: number;
}

/** Runs in a process of its own, so that neither memory nor compiled code of one part is that of another. */
export type Part = (input: PartInput) => Promise<Figures>;

export interface Aim {
  readonly op: '≥' | '≤';
  readonly value: number;
}

/** One line of the table, computed from what the parts of one run measured. */
export interface Row {
  readonly label: string;
  readonly unit: string;
  readonly of: (parts: Readonly<Record<string, Figures>>) => number;
  /** Absent where nothing is aimed at on this store. */
  readonly aim?: (target: Target) => Aim | undefined;
}

export interface Bench {
  readonly title: string;
  /** What the ratio is against, in the same run. */
  readonly baseline: string;
  readonly stores: readonly StoreName[];
  /** What `size` counts. */
  readonly counts: string;
  readonly sizes: { readonly full: number; readonly quick: number };
  /** Repetitions of a full run, unless `--runs` says otherwise. */
  readonly runs: number;
  /** Why it cannot run here, after it has tried to get what it needs; a quick run does not fetch anything. */
  readonly missing?: (quick: boolean) => string | undefined;
  /** Makes what all parts read, once. */
  readonly prepare?: Part;
  /** Takes away what {@link Bench.prepare} made elsewhere than in its directory. */
  readonly cleanUp?: Part;
  /** In this order in even runs, in the opposite one in odd runs. */
  readonly parts: Readonly<Record<string, Part>>;
  /** Processes that a part starts beside itself; see `runPart`. */
  readonly helpers?: Readonly<Record<string, Part>>;
  readonly rows: readonly Row[];
}

/** A figure that has to be there. @throws {Error} the part did not measure it. */
export function figure(parts: Readonly<Record<string, Figures>>, part: string, name: string): number {
  const value = parts[part]?.[name];
  if (value === undefined) throw new Error(`the part ${part} has no figure ${name}`);
  return value;
}

/** A row that shows one figure of one part as it is. */
export const plain = (
  label: string,
  unit: string,
  part: string,
  name: string,
  { per = 1, aim }: { readonly per?: number; readonly aim?: Aim } = {},
): Row => ({
  label,
  unit,
  of: (parts) => figure(parts, part, name) / per,
  ...(aim === undefined ? {} : { aim: () => aim }),
});

export const atLeast = (value: number): Aim => ({ op: '≥', value });
export const atMost = (value: number): Aim => ({ op: '≤', value });

export const MIB = 1024 * 1024;
