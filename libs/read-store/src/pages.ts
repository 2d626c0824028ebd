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
  for await (const { items } of allOf(query, (page) => store.find(view, page))) yield items;
}

/** The values of some fields of everything that a query finds, as {@link pagesOf}. */
export async function* rowPagesOf(
  store: ReadStore,
  view: ViewSpec<never>,
  fields: readonly string[],
  query: Omit<Query, 'after'>,
): AsyncGenerator<readonly (readonly string[])[]> {
  for await (const { rows } of allOf(query, (page) => store.select(view, fields, page))) yield rows;
}

async function* allOf<Page extends { readonly next?: readonly Scalar[] }>(
  query: Omit<Query, 'after'>,
  ask: (query: Query) => Promise<Page>,
): AsyncGenerator<Page> {
  let after: readonly Scalar[] | undefined;
  do {
    const page = await ask({ ...query, ...(after === undefined ? {} : { after }) });
    yield page;
    after = page.next;
    // An embedded store answers without a pause: others get their turn.
    await nextTurn();
  } while (after !== undefined);
}
