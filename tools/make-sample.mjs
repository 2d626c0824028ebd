/**
 * Writes sample mail to the standard output, one email a line. Needs a build.
 * usage: node tools/make-sample.mjs [messages = 60] [seed = fabrikam] > samples/fabrikam.ndjson
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { sampleLines } from '#libs/mail-catalog';

const [messages = '60', seed = 'fabrikam'] = process.argv.slice(2);
if (!/^\d{1,9}$/.test(messages)) {
  process.stderr.write('messages: must be a whole number\n');
  process.exit(2);
}
try {
  await pipeline(Readable.from(sampleLines({ messages: Number(messages), seed })), process.stdout);
} catch (error) {
  // The reader has seen enough, for instance `head`.
  if (error.code !== 'EPIPE') throw error;
}
