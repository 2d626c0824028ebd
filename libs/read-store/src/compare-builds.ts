import { createHash } from 'node:crypto';
import { canonicalJson, inGroups, pause, START, type Position } from '#libs/kernel';
import { pagesOf } from './pages.js';
import type { ReadStore, Stored, ViewSpec } from './read-store.js';

/** What is in one build of a view. */
export interface BuildContent {
  readonly build: number;
  readonly documents: number;
  /** 64 hexadecimal digits over ids, positions and documents, whatever their order. */
  readonly checksum: string;
}

export interface Comparison {
  readonly first: BuildContent;
  readonly second: BuildContent;
  /** How many documents are in one only, or differ. */
  readonly differing: number;
  /** Ids of some of them. */
  readonly examples: readonly string[];
}

export interface CompareOptions {
  /** Ends the comparison by a throw. */
  readonly signal: AbortSignal;
  /**
   * How far a build will come by itself: to the head of the log, or no further than where it has stopped. What it cannot
   * reach is not waited for.
   */
  readonly reachOf: (build: number) => Promise<Position>;
}

const PAGE = 100;
const IDS_PER_LOOK = 500;
const EXAMPLES = 5;
/** How soon documents that one build may not have yet are looked at again. */
const LOOK_AGAIN_MS = 20;

type Documents = ReadonlyMap<string, Stored<unknown>>;

/**
 * Compares two builds of a view, document by document, while both follow the events. A document that differs counts only
 * once both builds have come as far as the later of its two states; it is looked at again until then.
 * @throws {ClawbackError} kind `unavailable`: the store cannot answer.
 */
export async function compareBuilds(
  store: ReadStore,
  view: ViewSpec<never>,
  [first, second]: readonly [number, number],
  options: CompareOptions,
): Promise<Comparison> {
  const one = new Side(store, view, first);
  const other = new Side(store, view, second);
  const examples: string[] = [];
  let differing = 0;
  for await (const ids of inGroups(unequal(one, other, options.signal), IDS_PER_LOOK)) {
    const found = await settle(one, other, ids, options);
    differing += found.length;
    examples.push(...found.slice(0, EXAMPLES - examples.length));
  }
  return { first: one.content(), second: other.content(), differing, examples };
}

/** One of the two builds, and the sum over what was found in it. */
class Side {
  private readonly spec: ViewSpec<unknown>;
  private documents = 0;
  private sum = 0n;

  constructor(
    private readonly store: ReadStore,
    view: ViewSpec<never>,
    readonly build: number,
  ) {
    this.spec = { ...view, build } as ViewSpec<unknown>;
  }

  checkpoint(): Promise<Position> {
    return this.store.checkpoint(this.spec);
  }

  async byId(ids: readonly string[]): Promise<Documents> {
    const found = await this.store.getMany(this.spec, ids);
    return new Map(found.map((document) => [document.id, document]));
  }

  /** All documents by id. */
  async *all(): AsyncGenerator<Stored<unknown>> {
    for await (const items of pagesOf(this.store, this.spec, { where: [], limit: PAGE })) yield* items;
  }

  /** Order does not matter for a sum, and no document is in it twice. */
  count(document: Stored<unknown> | undefined): void {
    if (document === undefined) return;
    const { id, position, doc } = document;
    const hash = createHash('sha256').update(JSON.stringify([id, String(position), canonicalJson(doc)]));
    this.documents += 1;
    this.sum = BigInt.asUintN(256, this.sum + BigInt(`0x${hash.digest('hex')}`));
  }

  content(): BuildContent {
    const checksum = this.sum.toString(16).padStart(64, '0');
    return { build: this.build, documents: this.documents, checksum };
  }
}

/** Walks through both in the order of their ids; counts what is equal and gives the ids of what is not. */
async function* unequal(one: Side, other: Side, signal: AbortSignal): AsyncGenerator<string> {
  const left = one.all();
  const right = other.all();
  let a = await left.next();
  let b = await right.next();
  while (a.done !== true || b.done !== true) {
    signal.throwIfAborted();
    const order = byteOrder(
      a.done === true ? undefined : a.value.id,
      b.done === true ? undefined : b.value.id,
    );
    if (order === 0 && isEqual(a.value as Stored<unknown>, b.value as Stored<unknown>)) {
      one.count(a.value as Stored<unknown>);
      other.count(b.value as Stored<unknown>);
    } else {
      yield ((order <= 0 ? a.value : b.value) as Stored<unknown>).id;
    }
    if (order <= 0) a = await left.next();
    if (order >= 0) b = await right.next();
  }
}

/** Looks at these documents until it is clear which differ, counts all of them, and gives the ids of those. */
async function settle(
  one: Side,
  other: Side,
  ids: readonly string[],
  { signal, reachOf }: CompareOptions,
): Promise<string[]> {
  const differing: string[] = [];
  let open = ids;
  for (;;) {
    // Before the documents: what a build had taken in then is in the documents read after it.
    const reached = [await one.checkpoint(), await other.checkpoint()] as const;
    const [left, right] = [await one.byId(open), await other.byId(open)];
    // After the documents: none of them is of a later event.
    const reach = [await reachOf(one.build), await reachOf(other.build)] as const;
    const unclear: string[] = [];
    for (const id of open) {
      const [a, b] = [left.get(id), right.get(id)];
      if (a !== undefined && b !== undefined && isEqual(a, b)) {
        one.count(a);
        other.count(b);
      } else if (isBehind(a, b, reached[0], reach[0]) || isBehind(b, a, reached[1], reach[1])) {
        unclear.push(id);
      } else {
        one.count(a);
        other.count(b);
        differing.push(id);
      }
    }
    if (unclear.length === 0) return differing;
    open = unclear;
    await pause(LOOK_AGAIN_MS, signal);
    signal.throwIfAborted();
  }
}

/** Whether a build may lack the other's state of a document only because it has not come so far. */
const isBehind = (
  own: Stored<unknown> | undefined,
  other: Stored<unknown> | undefined,
  reached: Position,
  reach: Position,
): boolean =>
  other !== undefined &&
  other.position > (own?.position ?? START) &&
  other.position > reached &&
  other.position <= reach;

const isEqual = (a: Stored<unknown>, b: Stored<unknown>): boolean =>
  a.position === b.position && canonicalJson(a.doc) === canonicalJson(b.doc);

/** As the stores sort ids: by their bytes. What is undefined comes last. */
function byteOrder(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
