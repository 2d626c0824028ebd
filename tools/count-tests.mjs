// Adds up jest's JSON reports and prints the one line that says how the run went. A suite that was left out, silently or
// by a test that skips itself, is a failure: each spec file of the working directory has to be in a report, each report
// has to be there, and tests may be skipped only in the suites that are named. Of the kinds that run twice (on two Nodes,
// on two kinds of stores), each spec file has to be in two reports.
//
//   node tools/count-tests.mjs [--skips=SUITE,...] [--twice=KIND,...] REPORT...
//
// SUITE: the beginning of a spec file's name; KIND: what its name has before `.spec.ts`
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals: files } = parseArgs({
  allowPositionals: true,
  options: { skips: { type: 'string', default: '' }, twice: { type: 'string', default: '' } },
});
const named = (list) => list.split(',').filter((name) => name !== '');
const maySkip = named(values.skips);
const kindsThatRunTwice = named(values.twice);

const missing = files.filter((file) => !existsSync(file));
const reports = files
  .filter((file) => !missing.includes(file))
  .map((file) => JSON.parse(readFileSync(file, 'utf8')));
const suites = reports.flatMap(({ testResults }) => testResults);
const reportsWith = (path) =>
  reports.filter(({ testResults }) => testResults.some(({ name }) => relative(process.cwd(), name) === path))
    .length;

const specs = ['apps', 'libs', 'test']
  .filter((folder) => existsSync(folder))
  .flatMap((folder) => readdirSync(folder, { recursive: true }).map((path) => join(folder, path)))
  .filter((path) => path.endsWith('.spec.ts'));

const runsTwice = (path) => kindsThatRunTwice.some((kind) => path.endsWith(`.${kind}.spec.ts`));
const skipsIn = ({ assertionResults }) =>
  assertionResults.filter(({ status }) => status === 'pending' || status === 'todo').length;
const mayBeSkipped = ({ name }) => maySkip.some((start) => basename(name).startsWith(`${start}.`));

const leftOut = [
  ...missing.map((file) => `there is no report ${basename(file)}`),
  ...specs.filter((path) => reportsWith(path) === 0).map((path) => `${path} was not run`),
  ...specs
    .filter((path) => runsTwice(path) && reportsWith(path) === 1)
    .map((path) => `${path} was not run twice`),
  ...suites
    .filter((suite) => skipsIn(suite) > 0 && !mayBeSkipped(suite))
    .map((suite) => `${skipsIn(suite)} tests were skipped in ${relative(process.cwd(), suite.name)}`),
];
for (const what of new Set(leftOut)) console.log(`left out: ${what}`);

const sum = (of) => reports.reduce((total, report) => total + of(report), 0);
// A suite that could not even be loaded counts as one failed test, and so does one that was left out.
const failed = sum((report) => report.numFailedTests + report.numRuntimeErrorTestSuites) + leftOut.length;
const skipped = sum((report) => report.numPendingTests + report.numTodoTests);
const passed = sum((report) => report.numPassedTests);
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
