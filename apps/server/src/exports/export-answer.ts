import { Readable } from 'node:stream';
import type { AnyExport, ExportFormat, Manifest } from '#libs/action-center';
import type { FastifyReply, FastifyRequest } from 'fastify';

const TYPES: Readonly<Record<ExportFormat, string>> = {
  csv: 'text/csv; charset=utf-8',
  ndjson: 'application/x-ndjson; charset=utf-8',
};

/** How much is written ahead of a slow reader, in bytes, and beyond that one group of rows. */
const AHEAD = 64 * 1024;

/** The trailer that has the manifest, as JSON in ASCII. */
export const MANIFEST_TRAILER = 'clawback-manifest';

/** What the query asks for; without, what the header `Accept` does; else CSV. */
export const formatOf = (format: ExportFormat | undefined, { headers }: FastifyRequest): ExportFormat =>
  format ?? (headers.accept?.includes('application/x-ndjson') === true ? 'ndjson' : 'csv');

/**
 * Streams an export. What is known only when the last byte is sent follows it as trailers: the digest of RFC 9530 and the
 * manifest. A failure midway cuts the connection, so that half an export cannot pass for a whole one.
 * @param name of the file, without its extension
 */
export async function sendExport(
  made: AnyExport,
  name: string,
  format: ExportFormat,
  reply: FastifyReply,
): Promise<void> {
  const [path = '', query = ''] = reply.request.url.split('?');
  reply
    .type(TYPES[format])
    .header('content-disposition', `attachment; filename="${name}.${format}"`)
    .header('link', `<${path}/manifest?${withFormat(query, format)}>; rel="describedby"`);
  if (reply.request.method === 'HEAD') {
    // Without a body there is nothing that trailers could follow.
    await reply.send(Readable.from([]));
    return;
  }
  await reply
    .trailer('content-digest', (_reply, _payload, done) => {
      done(null, `sha-256=:${Buffer.from(made.manifest.sha256, 'hex').toString('base64')}:`);
    })
    .trailer(MANIFEST_TRAILER, (_reply, _payload, done) => {
      done(null, asciiJson(made.manifest));
    })
    .send(Readable.from(made.bytes(), { objectMode: false, highWaterMark: AHEAD }));
}

/** Works a manifest out, and gives up when nobody waits for it any more. */
export async function manifestFor(made: AnyExport, reply: FastifyReply): Promise<Manifest> {
  const left = new AbortController();
  const leave = (): void => {
    left.abort();
  };
  reply.raw.once('close', leave);
  try {
    return await made.run(left.signal);
  } finally {
    reply.raw.off('close', leave);
  }
}

/** The format may have come from `Accept`: the link says it in any case. */
function withFormat(query: string, format: ExportFormat): string {
  const search = new URLSearchParams(query);
  search.set('format', format);
  return search.toString();
}

const asciiJson = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
