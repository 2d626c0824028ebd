/** Says, once a run, what the suites of the project `e2e-on-servers` run on. */
export default function sayServers() {
  const { EVENTSTORE_URL, MONGODB_URL } = process.env;
  const events =
    EVENTSTORE_URL === undefined ? 'the EventStoreDB stand-in' : 'EventStoreDB at EVENTSTORE_URL';
  const views = MONGODB_URL === undefined ? 'FerretDB (MongoDB-compatible)' : 'MongoDB at MONGODB_URL';
  process.stderr.write(`e2e-on-servers: events in ${events}, views in ${views}\n`);
}
