import type { Position } from '#libs/kernel';

/** The index of the first item that lies behind a position, among items in order. */
export function firstBehind<T>(
  items: readonly T[],
  positionOf: (item: T) => Position,
  position: Position,
): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (positionOf(items[middle] as T) <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}
