/**
 * The workload of F6 as emmett has it: a decider command handler over its SQLite event store, and an inline projection
 * that writes the rows in the transaction of the append. The rules and the rows are the product's own functions.
 */
import { DeciderCommandHandler } from '@event-driven-io/emmett';
import { getSQLiteEventStore } from '@event-driven-io/emmett-sqlite';

/**
 * @param {object} work
 * @param {string} work.fileName the database, with the tables of the rows in it.
 * @param {readonly string[]} work.types of the events that the rows are made of.
 * @param {Iterable<{stream: string, decider: object, commands: readonly object[]}>} work.streams
 * @param {Record<string, string>} work.metadata of every event.
 * @param {(events: readonly object[], query: (sql: string, values: unknown[]) => Promise<object[]>) =>
 *   AsyncIterable<{sql: string, values: unknown[]}>} work.upserts the writes that some events make, one a row.
 * @returns {Promise<number>} seconds.
 */
export async function run({ fileName, types, streams, metadata, upserts }) {
  const projection = {
    canHandle: types,
    async handle(events, { connection }) {
      for await (const { sql, values } of upserts(events, connection.query)) {
        await connection.command(sql, values);
      }
    },
  };
  const store = getSQLiteEventStore({ fileName, projections: [{ type: 'inline', projection }] });
  const began = performance.now();
  for (const { stream, decider, commands } of streams) {
    const handle = DeciderCommandHandler({
      decide: (command, state) => decider.decide(state, command).map((event) => ({ ...event, metadata })),
      evolve: decider.evolve,
      initialState: () => decider.initial,
    });
    for (const command of commands) await handle(store, stream, command);
  }
  return (performance.now() - began) / 1000;
}
