import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Query, ReadStore, Scalar, Stored, ViewSpec } from './read-store.js';

/**
 * Everything that a query finds, a page of `limit` at a time; never empty but when nothing is found.
 * @throws {ClawbackError} kind `unavailable`: the store cannot answer.
 */
export async function* pagesOf<Doc>(
  store: ReadStore,
  view: ViewSpec<Doc>,
  query: Omit<Query, 'after'>,
): AsyncGenerator<readonly Stored<Doc>[]> {
  let after: readonly Scalar[] | undefined;
  do {
    const page = await store.find(view, { ...query, ...(after === undefined ? {} : { after }) });
    yield page.items;
    after = page.next;
    // An embedded store answers without a pause: others get their turn.
    await nextTurn();
  } while (after !== undefined);
}
