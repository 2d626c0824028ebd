/** The `Streams` service of the EventStoreDB stand-in. */
import grpc from '@grpc/grpc-js';
import anyMessages from 'google-protobuf/google/protobuf/any_pb.js';
import emptyMessages from 'google-protobuf/google/protobuf/empty_pb.js';
import shared from '@eventstore/db-client/generated/shared_pb.js';
import status from '@eventstore/db-client/generated/status_pb.js';
import messages from '@eventstore/db-client/generated/streams_pb.js';
import { MAX_APPEND_SIZE, Refused } from './stand-in-log.mjs';
import {
  callError,
  empty,
  endWith,
  eventResponse,
  failure,
  isOver,
  matcher,
  nameOf,
  proposed,
  send,
  streamIdentifier,
} from './stand-in-protocol.mjs';

/** So many events of `$all` are looked at for one checkpoint, times the interval the caller asked for. */
const DEFAULT_SEARCH_WINDOW = 32;

export class StreamsService {
  #log;
  #subscriptions = new Set();
  #muted = new WeakSet();
  #answersToLose = 0;

  constructor(log) {
    this.#log = log;
  }

  /** Ends every catch-up subscription as a server does that wants to be rid of it. */
  dropSubscriptions() {
    for (const call of this.#subscriptions)
      endWith(call, failure(grpc.status.CANCELLED, 'Subscription dropped.'));
  }

  /** The subscriptions open now stay open and are sent nothing more. */
  muteSubscriptions() {
    for (const call of this.#subscriptions) this.#muted.add(call);
  }

  /** The next appends, each a call of its own, are written and never answered. */
  loseAnswers(count) {
    this.#answersToLose = count;
  }

  get methods() {
    return {
      append: (call, callback) => this.#append(call, callback),
      batchAppend: (call) => this.#batchAppend(call),
      read: (call) => void this.#read(call),
      delete: (call, callback) =>
        void this.#remove(call, callback, messages.DeleteResp, (...args) => this.#log.softDelete(...args)),
      tombstone: (call, callback) =>
        void this.#remove(call, callback, messages.TombstoneResp, (...args) => this.#log.tombstone(...args)),
    };
  }

  #append(call, callback) {
    let options;
    const events = [];
    call.on('data', (request) => {
      if (request.hasOptions()) options = request.getOptions();
      else events.push(proposed(request.getProposedMessage()));
    });
    call.on('end', async () => {
      if (await wasCutOff(call)) return;
      const stream = nameOf(options.getStreamIdentifier());
      this.#log.append(stream, expectedOf(options, 'Revision'), events).then(
        (result) => {
          if (this.#answersToLose > 0) this.#answersToLose -= 1;
          else callback(null, new messages.AppendResp().setSuccess(appendSuccess(result)));
        },
        (error) => {
          if (error.kind !== 'wrongExpectedVersion') callback(callError(error));
          else callback(null, new messages.AppendResp().setWrongExpectedVersion(wrongVersion(error.details)));
        },
      );
    });
  }

  #batchAppend(call) {
    const open = new Map();
    call.on('data', (request) => {
      const id = request.getCorrelationId().getString();
      const batch = open.get(id) ?? { options: request.getOptions(), events: [] };
      open.set(id, batch);
      batch.events.push(...request.getProposedMessagesList().map(proposed));
      if (!request.getIsFinal()) return;
      open.delete(id);
      const stream = nameOf(batch.options.getStreamIdentifier());
      const response = new messages.BatchAppendResp()
        .setCorrelationId(request.getCorrelationId())
        .setStreamIdentifier(streamIdentifier(stream));
      this.#log.append(stream, expectedOf(batch.options, 'StreamPosition'), batch.events).then(
        (result) => call.write(response.setSuccess(batchSuccess(result))),
        (error) => call.write(response.setError(batchError(error))),
      );
    });
    call.on('end', () => call.end());
  }

  async #remove(call, callback, Response, remove) {
    const options = call.request.getOptions();
    try {
      const { position } = await remove(
        nameOf(options.getStreamIdentifier()),
        expectedOf(options, 'Revision'),
      );
      const at = new Response.Position()
        .setCommitPosition(position.toString())
        .setPreparePosition(position.toString());
      callback(null, new Response().setPosition(at));
    } catch (error) {
      callback(callError(error));
    }
  }

  async #read(call) {
    const options = call.request.getOptions();
    try {
      if (options.hasSubscription()) await this.#subscribe(call, options);
      else if (options.hasAll()) await sendAll(call, this.#allEvents(options), options);
      else await this.#readStream(call, options);
      if (!isOver(call)) call.end();
    } catch (error) {
      endWith(call, callError(error));
    }
  }

  async #readStream(call, options) {
    const from = options.getStream();
    const events = this.#log.streamEvents(nameOf(from.getStreamIdentifier()));
    if (events === undefined) {
      const missing = new messages.ReadResp.StreamNotFound().setStreamIdentifier(from.getStreamIdentifier());
      await send(call, new messages.ReadResp().setStreamNotFound(missing));
      return;
    }
    const revision = from.hasRevision() ? BigInt(from.getRevision()) : undefined;
    if (isBackwards(options)) {
      const upTo = from.hasStart() ? 0n : (revision ?? events.at(-1).revision);
      await sendAll(call, events.filter((e) => e.revision <= upTo).reverse(), options);
    } else if (!from.hasEnd()) {
      await sendAll(
        call,
        events.filter((e) => e.revision >= (revision ?? 0n)),
        options,
      );
    }
  }

  /** Forwards from a position means from that event on, backwards means the events before it. */
  #allEvents(options) {
    const all = options.getAll();
    const { events, visible } = this.#log;
    const at = all.hasPosition()
      ? this.#log.indexAt(BigInt(all.getPosition().getCommitPosition()))
      : undefined;
    if (isBackwards(options)) {
      const end = all.hasStart() ? 0 : Math.min(at ?? visible, visible);
      return backwards(events, end);
    }
    return all.hasEnd() ? [] : events.slice(at ?? 0, visible);
  }

  /** Confirmation, the old events with a checkpoint now and then, caughtUp, then whatever comes. */
  async #subscribe(call, options) {
    const { wants, index: start } = options.hasAll() ? this.#allSource(options) : this.#streamSource(options);
    const filter = options.getFilter();
    const window = filter?.hasMax() ? filter.getMax() : DEFAULT_SEARCH_WINDOW;
    const checkpointEvery =
      filter === undefined ? Infinity : window * filter.getCheckpointintervalmultiplier();
    this.#subscriptions.add(call);
    const gone = new Promise((resolve) => {
      for (const event of ['cancelled', 'close', 'error']) call.once(event, resolve);
    }).then(() => this.#subscriptions.delete(call));

    const confirmation = new messages.ReadResp.SubscriptionConfirmation().setSubscriptionId(
      crypto.randomUUID(),
    );
    await send(call, new messages.ReadResp().setConfirmation(confirmation));
    let caughtUp = false;
    for (let [index, looked] = [start, 0]; ;) {
      while (index < this.#log.visible && !this.#muted.has(call)) {
        const event = this.#log.events[index++];
        if (wants(event) && !(await send(call, eventResponse(event)))) return;
        looked += 1;
        if (looked % checkpointEvery === 0 && !(await send(call, checkpoint(event)))) return;
      }
      if (!caughtUp) {
        caughtUp = true;
        await send(call, new messages.ReadResp().setCaughtUp(new messages.ReadResp.CaughtUp()));
        continue;
      }
      if (isOver(call)) return;
      let wake;
      const grown = new Promise((resolve) => {
        wake = resolve;
        this.#log.once('grown', wake);
      });
      await Promise.race([grown, gone]);
      this.#log.off('grown', wake);
    }
  }

  /** A subscription begins after the position given. */
  #allSource(options) {
    const all = options.getAll();
    const index = all.hasEnd()
      ? this.#log.visible
      : all.hasPosition()
        ? this.#log.indexAt(BigInt(all.getPosition().getCommitPosition()) + 1n)
        : 0;
    return { wants: matcher(options.getFilter()), index };
  }

  #streamSource(options) {
    const from = options.getStream();
    const name = nameOf(from.getStreamIdentifier());
    const after = from.hasRevision() ? BigInt(from.getRevision()) : -1n;
    const wants = (event) => event.stream === name && event.revision > after;
    return { wants, index: from.hasEnd() ? this.#log.visible : 0 };
  }
}

/**
 * A caller that gives up in the middle ends the stream of its messages just like one that has sent them all; that it
 * has gone is known a turn later. Half an append must never be written.
 */
async function wasCutOff(call) {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  return isOver(call);
}

const isBackwards = (options) =>
  options.getReadDirection() === messages.ReadReq.Options.ReadDirection.BACKWARDS;

function* backwards(events, end) {
  for (let index = end - 1; index >= 0; index--) yield events[index];
}

async function sendAll(call, events, options) {
  let left = BigInt(options.getCount());
  for (const event of events) {
    if (left-- <= 0n) return;
    if (!(await send(call, eventResponse(event)))) return;
  }
}

/** What the caller expects the stream to be; the field of a revision has a name of its own in each request. */
function expectedOf(options, revision) {
  if (options.hasNoStream()) return 'noStream';
  if (options.hasAny()) return 'any';
  if (options.hasStreamExists()) return 'streamExists';
  return BigInt(options[`get${revision}`]());
}

function appendSuccess({ revision, position }) {
  const success = new messages.AppendResp.Success();
  if (revision === undefined) return success.setNoStream(empty()).setNoPosition(empty());
  const at = new messages.AppendResp.Position()
    .setCommitPosition(position.toString())
    .setPreparePosition(position.toString());
  return success.setCurrentRevision(revision.toString()).setPosition(at);
}

function batchSuccess({ revision, position }) {
  const success = new messages.BatchAppendResp.Success();
  const none = () => new emptyMessages.Empty();
  if (revision === undefined) return success.setNoStream(none()).setNoPosition(none());
  const at = new shared.AllStreamPosition()
    .setCommitPosition(position.toString())
    .setPreparePosition(position.toString());
  return success.setCurrentRevision(revision.toString()).setPosition(at);
}

/** In an append call of its own a wrong version is a field of the answer. */
function wrongVersion({ expected, actual }) {
  const wrong = new messages.AppendResp.WrongExpectedVersion();
  if (actual === undefined) wrong.setCurrentNoStream(empty());
  else wrong.setCurrentRevision(actual.toString());
  if (expected === 'noStream') wrong.setExpectedNoStream(empty());
  else if (expected === 'streamExists') wrong.setExpectedStreamExists(empty());
  else wrong.setExpectedRevision(expected.toString());
  return wrong;
}

/** On the shared call every refusal is a status with a packed detail. */
function batchError(error) {
  if (!(error instanceof Refused)) throw error;
  const { stream, expected, actual } = error.details;
  const none = () => new emptyMessages.Empty();
  const packed = (message, name) => {
    const any = new anyMessages.Any();
    any.pack(message.serializeBinary(), `event_store.client.${name}`);
    return any;
  };
  const said = (code, text, details) =>
    new status.Status().setCode(code).setMessage(text).setDetails(details);
  switch (error.kind) {
    case 'streamDeleted': {
      const detail = new shared.StreamDeleted().setStreamIdentifier(streamIdentifier(stream));
      return said(grpc.status.FAILED_PRECONDITION, 'StreamDeleted', packed(detail, 'StreamDeleted'));
    }
    case 'maxAppendSize': {
      const detail = new shared.MaximumAppendSizeExceeded().setMaxappendsize(MAX_APPEND_SIZE);
      return said(
        grpc.status.INVALID_ARGUMENT,
        'MaximumAppendSizeExceeded',
        packed(detail, 'MaximumAppendSizeExceeded'),
      );
    }
    default: {
      const detail = new shared.WrongExpectedVersion();
      if (actual === undefined) detail.setCurrentNoStream(none());
      else detail.setCurrentStreamRevision(actual.toString());
      if (expected === 'noStream') detail.setExpectedNoStream(none());
      else if (expected === 'streamExists') detail.setExpectedStreamExists(none());
      else detail.setExpectedStreamPosition(expected.toString());
      return said(
        grpc.status.FAILED_PRECONDITION,
        'WrongExpectedVersion',
        packed(detail, 'WrongExpectedVersion'),
      );
    }
  }
}

function checkpoint({ position }) {
  const at = new messages.ReadResp.Checkpoint()
    .setCommitPosition(position.toString())
    .setPreparePosition(position.toString());
  return new messages.ReadResp().setCheckpoint(at);
}
