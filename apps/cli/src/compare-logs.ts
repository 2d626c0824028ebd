import type { LogRow } from './api.js';

export interface Difference {
  readonly networkMessageId: string;
  readonly mailbox: string;
  readonly isSendersCopy: boolean;
  readonly problem: string;
}

export interface Comparison {
  /** Copies that the first remediation moved. */
  readonly moved: number;
  /** Those of them that the undo put back into the folder that they came from. */
  readonly back: number;
  /** The others, and copies that the undo touched without a reason; the first {@link MAX_DIFFERENCES}. */
  readonly differences: readonly Difference[];
}

export const MAX_DIFFERENCES = 20;

/**
 * Whether every copy that one remediation moved is back where it was, going by its log and that of its undo, row by
 * row. Both are read in step: memory holds only what one of them is ahead of the other.
 * @param moves the rows of copies that the first one moved
 * @param undos all rows of the undo
 */
export async function compareLogs(
  moves: AsyncIterable<LogRow>,
  undos: AsyncIterable<LogRow>,
): Promise<Comparison> {
  const pairs = new Pairs();
  const left = moves[Symbol.asyncIterator]();
  const right = undos[Symbol.asyncIterator]();
  let leftDone = false;
  let rightDone = false;
  while (!leftDone || !rightDone) {
    if (!leftDone && (rightDone || pairs.leftAhead <= pairs.rightAhead)) {
      const next = await left.next();
      if (next.done === true) leftDone = true;
      else pairs.addMove(next.value);
    } else {
      const next = await right.next();
      if (next.done === true) rightDone = true;
      else pairs.addUndo(next.value);
    }
  }
  return pairs.result();
}

class Pairs {
  private readonly moves = new Map<string, LogRow>();
  private readonly undos = new Map<string, LogRow>();
  private readonly differences: Difference[] = [];
  private moved = 0;
  private back = 0;

  get leftAhead(): number {
    return this.moves.size;
  }

  get rightAhead(): number {
    return this.undos.size;
  }

  addMove(move: LogRow): void {
    this.moved += 1;
    const undo = this.undos.get(keyOf(move));
    if (undo === undefined) {
      this.moves.set(keyOf(move), move);
      return;
    }
    this.undos.delete(keyOf(move));
    this.judge(move, undo);
  }

  addUndo(undo: LogRow): void {
    const move = this.moves.get(keyOf(undo));
    if (move === undefined) {
      this.undos.set(keyOf(undo), undo);
      return;
    }
    this.moves.delete(keyOf(undo));
    this.judge(move, undo);
  }

  result(): Comparison {
    for (const move of this.moves.values()) this.differ(move, 'was moved, and the undo left it out');
    for (const undo of this.undos.values()) this.differ(undo, 'is in the undo, and was not moved');
    return { moved: this.moved, back: this.back, differences: this.differences };
  }

  private judge(move: LogRow, undo: LogRow): void {
    const problem = problemOf(move, undo);
    if (problem === undefined) this.back += 1;
    else this.differ(undo, problem);
  }

  private differ({ networkMessageId, mailbox, isSendersCopy }: LogRow, problem: string): void {
    if (this.differences.length < MAX_DIFFERENCES) {
      this.differences.push({ networkMessageId, mailbox, isSendersCopy, problem });
    }
  }
}

function problemOf(move: LogRow, undo: LogRow): string | undefined {
  if (undo.outcome !== 'succeeded') return `the undo ended with ${undo.outcome}`;
  if (!move.fromFolder || !move.toFolder) return 'the log does not say where it was moved';
  if (undo.fromFolder !== move.toFolder)
    return `was taken from ${undo.fromFolder ?? 'nowhere'}, not ${move.toFolder}`;
  if (undo.toFolder !== move.fromFolder)
    return `is in ${undo.toFolder ?? 'no folder'}, not ${move.fromFolder}`;
  return undefined;
}

const keyOf = ({ networkMessageId, mailbox, isSendersCopy }: LogRow): string =>
  JSON.stringify([networkMessageId, mailbox, isSendersCopy]);
