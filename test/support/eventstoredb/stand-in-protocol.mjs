/** How the EventStoreDB stand-in says things on the wire: messages, positions, filters and errors. */
import grpc from '@grpc/grpc-js';
import shared from '@eventstore/db-client/generated/shared_pb.js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import { MAX_APPEND_SIZE, Refused } from './stand-in-log.mjs';

const TICKS_PER_MILLISECOND = 10_000n;

export const empty = () => new shared.Empty();

export const uuid = (text) => new shared.UUID().setString(text);

export const streamIdentifier = (name) =>
  new shared.StreamIdentifier().setStreamName(Uint8Array.from(Buffer.from(name, 'utf8')));

export const nameOf = (identifier) => Buffer.from(identifier.getStreamName_asU8()).toString('utf8');

/** One proposed event, of either append call. */
export const proposed = (message) => ({
  id: message.getId().getString(),
  type: message.getMetadataMap().get('type'),
  contentType: message.getMetadataMap().get('content-type'),
  data: Buffer.from(message.getData_asU8()),
  metadata: Buffer.from(message.getCustomMetadata_asU8()),
});

/** Which events of `$all` a caller wants: a pattern or prefixes, on the stream's name or the type. */
export function matcher(options) {
  if (options === undefined) return () => true;
  const field = options.hasStreamIdentifier() ? 'stream' : 'type';
  const expression = field === 'stream' ? options.getStreamIdentifier() : options.getEventType();
  const prefixes = expression.getPrefixList();
  const pattern = expression.getRegex();
  if (prefixes.length > 0) return (event) => prefixes.some((prefix) => event[field].startsWith(prefix));
  const compiled = new RegExp(pattern);
  return (event) => compiled.test(event[field]);
}

/** Fills a ReadEvent of streams or of persistent subscriptions: both have the same shape. */
export function readEvent(messages, event) {
  const position = event.position.toString();
  const recorded = new messages.ReadResp.ReadEvent.RecordedEvent()
    .setId(uuid(event.id))
    .setStreamIdentifier(streamIdentifier(event.stream))
    .setStreamRevision(event.revision.toString())
    .setCommitPosition(position)
    .setPreparePosition(position)
    .setCustomMetadata(Uint8Array.from(event.metadata))
    .setData(Uint8Array.from(event.data));
  recorded
    .getMetadataMap()
    .set('type', event.type)
    .set('content-type', event.contentType)
    .set('created', (BigInt(event.created) * TICKS_PER_MILLISECOND).toString());
  return new messages.ReadResp.ReadEvent().setEvent(recorded).setCommitPosition(position);
}

export const eventResponse = (event) => new streams.ReadResp().setEvent(readEvent(streams, event));

/** A failed call: the client tells the errors apart by the metadata `exception`. */
export function failure(code, details, metadata = {}) {
  const trailer = new grpc.Metadata();
  for (const [key, value] of Object.entries(metadata)) trailer.set(key, value);
  return Object.assign(new Error(details), { code, details, metadata: trailer });
}

/** A refusal of the log as the error of a call. */
export function callError(error) {
  if (!(error instanceof Refused)) return error;
  const { stream, expected, actual } = error.details;
  switch (error.kind) {
    case 'streamDeleted':
      return failure(grpc.status.FAILED_PRECONDITION, `Event stream '${stream}' is deleted.`, {
        exception: 'stream-deleted',
        'stream-name': stream,
      });
    case 'maxAppendSize':
      return failure(grpc.status.INVALID_ARGUMENT, `Maximum Append Size of ${MAX_APPEND_SIZE} Exceeded.`, {
        exception: 'maximum-append-size-exceeded',
        'maximum-append-size': String(MAX_APPEND_SIZE),
      });
    default:
      return failure(grpc.status.FAILED_PRECONDITION, 'Wrong expected version.', {
        exception: 'wrong-expected-version',
        'stream-name': stream,
        'expected-version': String(typeof expected === 'bigint' ? expected : -1),
        ...(actual === undefined ? {} : { 'actual-version': String(actual) }),
      });
  }
}

/** Ends a call whose answer is a stream by an error. */
export const endWith = (call, error) => void call.emit('error', error);

export const isOver = (call) => call.cancelled || call.destroyed || call.writableEnded;

/** Sends one message of a stream of answers, at the pace of the reader. @returns false when the reader has gone. */
export async function send(call, message) {
  if (isOver(call)) return false;
  if (!call.write(message)) {
    await new Promise((resolve) => {
      const done = () => {
        for (const event of ['drain', 'cancelled', 'close', 'error']) call.off(event, done);
        resolve();
      };
      for (const event of ['drain', 'cancelled', 'close', 'error']) call.on(event, done);
    });
  }
  return !isOver(call);
}
