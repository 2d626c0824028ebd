/**
 * The workload of F6 as emmett has it: a decider command handler over an event store of its own, and a projection that
 * writes the rows. The rules and the rows are the product's own functions.
 */
import { DeciderCommandHandler, getInMemoryEventStore } from '@event-driven-io/emmett';
import { getSQLiteEventStore } from '@event-driven-io/emmett-sqlite';

/**
 * @typedef {object} Work
 * @property {Iterable<{stream: string, decider: object, commands: readonly object[]}>} streams
 * @property {Record<string, string>} metadata of every event.
 * @property {(events: readonly object[], query: (sql: string, values: unknown[]) => Promise<object[]>) =>
 *   AsyncIterable<{sql: string, values: unknown[]}>} upserts the writes that some events make, one a row.
 */

/**
 * On its SQLite store, by an inline projection: events and rows in one transaction.
 * @param {Work & {fileName: string, types: readonly string[]}} work the database, with the tables of the rows in it, and
 * the types of the events that they are made of.
 * @returns {Promise<number>} seconds.
 */
export async function runOnSqlite({ fileName, types, upserts, ...work }) {
  const projection = {
    canHandle: types,
    async handle(events, { connection }) {
      for await (const { sql, values } of upserts(events, connection.query)) {
        await connection.command(sql, values);
      }
    },
  };
  const store = getSQLiteEventStore({ fileName, projections: [{ type: 'inline', projection }] });
  return await carryOut(store, work, () => undefined);
}

/**
 * On its store in memory, which flatters it: no event is ever written to a disk, only the rows are.
 * @param {Work & {query: Function, write: (upserts: readonly {sql: string, values: unknown[]}[]) => void}} work
 * @returns {Promise<number>} seconds.
 */
export async function runInMemory({ query, write, upserts, ...work }) {
  return await carryOut(getInMemoryEventStore(), work, async (events) => {
    const writes = [];
    for await (const upsert of upserts(events, query)) writes.push(upsert);
    write(writes);
  });
}

async function carryOut(store, { streams, metadata }, project) {
  const began = performance.now();
  for (const { stream, decider, commands } of streams) {
    const handle = DeciderCommandHandler({
      decide: (command, state) => decider.decide(state, command).map((event) => ({ ...event, metadata })),
      evolve: decider.evolve,
      initialState: () => decider.initial,
    });
    for (const command of commands) {
      const { newEvents } = await handle(store, stream, command);
      await project(newEvents);
    }
  }
  return (performance.now() - began) / 1000;
}
