/**
 * The `PersistentSubscriptions` service of the EventStoreDB stand-in: competing consumers over `$all`. Groups, their
 * checkpoints and their parked messages are system events of the log, as on a real server.
 */
import grpc from '@grpc/grpc-js';
import messages from '@eventstore/db-client/generated/persistent_pb.js';
import { endWith, failure, matcher, readEvent } from './stand-in-protocol.mjs';

const CONFIG_STREAM = '$persistentSubscriptionConfig';
const { Action } = messages.ReadReq.Nack;

export class GroupsService {
  #log;
  #groups = new Map();

  constructor(log) {
    this.#log = log;
    this.#restore();
    log.on('grown', () => {
      for (const group of this.#groups.values()) group.deliver();
    });
  }

  /** Ends the calls of all consumers, as when the server drops them. */
  dropConsumers() {
    for (const group of this.#groups.values()) group.dropAll();
  }

  /** Knows of no consumer any more, and leaves their calls open. */
  forgetConsumers() {
    for (const group of this.#groups.values()) group.takeAllBack();
  }

  get methods() {
    return {
      create: (call, callback) => void this.#create(call.request.getOptions(), callback),
      delete: (call, callback) => void this.#delete(call.request.getOptions(), callback),
      getInfo: (call, callback) => this.#getInfo(call.request.getOptions(), callback),
      read: (call) => this.#read(call),
    };
  }

  async #create(options, callback) {
    const name = options.getGroupName();
    const settings = options.getSettings();
    if (this.#groups.has(name)) {
      callback(groupError(grpc.status.ALREADY_EXISTS, 'persistent-subscription-exists', name));
    } else if (settings.getReadBatchSize() >= settings.getHistoryBufferSize()) {
      callback(failure(grpc.status.INTERNAL, 'readBatchSize may not be greater than or equal to bufferSize'));
    } else {
      const config = {
        name,
        filter: Buffer.from(options.getAll().getFilter()?.serializeBinary() ?? []).toString('base64'),
        startAfter: this.#startOf(options.getAll()).toString(),
        bufferSize: settings.getHistoryBufferSize(),
        readBatchSize: settings.getReadBatchSize(),
        messageTimeoutMs: settings.getMessageTimeoutMs(),
        maxRetryCount: settings.getMaxRetryCount(),
        checkpointAfterMs: settings.getCheckpointAfterMs(),
        minCheckpointCount: settings.getMinCheckpointCount(),
        maxCheckpointCount: settings.getMaxCheckpointCount(),
      };
      this.#groups.set(name, new Group(this.#log, config));
      await this.#saveConfig();
      callback(null, new messages.CreateResp());
    }
  }

  async #delete(options, callback) {
    const name = options.getGroupName();
    const group = this.#groups.get(name);
    if (group === undefined) {
      callback(groupError(grpc.status.NOT_FOUND, 'persistent-subscription-does-not-exist', name));
      return;
    }
    this.#groups.delete(name);
    group.dropAll();
    group.stop();
    await this.#saveConfig();
    callback(null, new messages.DeleteResp());
  }

  #getInfo(options, callback) {
    const name = options.getGroupName();
    const group = this.#groups.get(name);
    if (group === undefined) {
      callback(groupError(grpc.status.NOT_FOUND, 'persistent-subscription-does-not-exist', name));
    } else {
      callback(null, new messages.GetInfoResp().setSubscriptionInfo(group.info()));
    }
  }

  #read(call) {
    let consumer;
    call.on('data', (request) => {
      if (consumer !== undefined) {
        consumer.settle(request);
        return;
      }
      const options = request.getOptions();
      const group = this.#groups.get(options.getGroupName());
      if (group === undefined) {
        const name = options.getGroupName();
        endWith(call, groupError(grpc.status.NOT_FOUND, 'persistent-subscription-does-not-exist', name));
      } else {
        consumer = group.join(call, options.getBufferSize());
      }
    });
    call.on('end', () => call.end());
    for (const event of ['cancelled', 'close', 'error']) call.once(event, () => consumer?.leave());
  }

  #startOf(all) {
    if (all.hasStart()) return -1n;
    if (all.hasPosition()) return BigInt(all.getPosition().getCommitPosition());
    return this.#log.events[this.#log.visible - 1]?.position ?? -1n;
  }

  #saveConfig() {
    const groups = [...this.#groups.values()].map(({ config }) => config);
    return this.#log.appendSystem(CONFIG_STREAM, '$PersistentConfig', { groups });
  }

  #restore() {
    const saved = this.#log.streamEvents(CONFIG_STREAM)?.at(-1);
    if (saved === undefined) return;
    for (const config of JSON.parse(saved.data.toString('utf8')).groups) {
      this.#groups.set(config.name, new Group(this.#log, config));
    }
  }
}

class Group {
  #log;
  #wants;
  /** Next event of the log to look at. */
  #index;
  /** Deliveries to be made again, before any new one. */
  #retries = [];
  /** Deliveries under way, by event id. */
  #outstanding = new Map();
  #consumers = [];
  #checkpoint;
  #lastKnown;
  #sinceCheckpoint = 0;
  #timer;
  #totalItems = 0;

  constructor(log, config) {
    this.#log = log;
    this.config = config;
    const bytes = Buffer.from(config.filter, 'base64');
    this.#wants = matcher(
      bytes.length === 0
        ? undefined
        : messages.CreateReq.AllOptions.FilterOptions.deserializeBinary(Uint8Array.from(bytes)),
    );
    const saved = log.streamEvents(this.#streamOf('checkpoint'))?.at(-1);
    const { position, group } = saved === undefined ? {} : JSON.parse(saved.data.toString('utf8'));
    // A group of the same name that was deleted has left its checkpoint behind.
    const own = group === this.#identity;
    this.#checkpoint = BigInt(own ? position : config.startAfter);
    this.#index = log.indexAt(this.#checkpoint + 1n);
  }

  stop() {
    clearTimeout(this.#timer);
    for (const { timer } of this.#outstanding.values()) clearTimeout(timer);
  }

  join(call, bufferSize) {
    const consumer = {
      call,
      bufferSize,
      name: String(call.metadata.get('connection-name')[0] ?? ''),
      inFlight: 0,
      settle: (request) => this.#settle(request),
      leave: () => this.#leave(consumer),
    };
    const confirmation = new messages.ReadResp.SubscriptionConfirmation().setSubscriptionId(
      crypto.randomUUID(),
    );
    call.write(new messages.ReadResp().setSubscriptionConfirmation(confirmation));
    this.#consumers.push(consumer);
    this.deliver();
    return consumer;
  }

  /** Hands out what there is, in turn, each consumer never more than it has room for. */
  deliver() {
    for (;;) {
      const turn = this.#consumers.findIndex((consumer) => consumer.inFlight < consumer.bufferSize);
      if (turn < 0) return;
      const next = this.#retries.shift() ?? this.#nextEvent();
      if (next === undefined) return;
      const [consumer] = this.#consumers.splice(turn, 1);
      this.#consumers.push(consumer);
      this.#hand(next, consumer);
    }
  }

  dropAll() {
    for (const { call } of this.takeAllBack()) {
      endWith(call, groupError(grpc.status.CANCELLED, 'persistent-subscription-dropped', this.config.name));
    }
  }

  /** What was under way is for the next consumer. @returns the consumers that there were */
  takeAllBack() {
    const consumers = this.#consumers;
    this.#consumers = [];
    for (const id of [...this.#outstanding.keys()]) this.#takeBack(id);
    return consumers;
  }

  info() {
    const { config } = this;
    const connections = this.#consumers.map((consumer) =>
      new messages.SubscriptionInfo.ConnectionInfo()
        .setFrom(consumer.call.getPeer())
        .setConnectionName(consumer.name)
        .setTotalItems('0')
        .setCountSinceLastMeasurement('0')
        .setAvailableSlots(consumer.bufferSize - consumer.inFlight)
        .setInFlightMessages(consumer.inFlight),
    );
    const at = (position) => (position < 0n ? '' : `C:${position}/P:${position}`);
    return new messages.SubscriptionInfo()
      .setEventSource('$all')
      .setGroupName(config.name)
      .setStatus('Live')
      .setConnectionsList(connections)
      .setTotalItems(String(this.#totalItems))
      .setCountSinceLastMeasurement('0')
      .setLastCheckpointedEventPosition(at(this.#checkpoint))
      .setLastKnownEventPosition(at(this.#lastKnown ?? -1n))
      .setStartFrom(config.startAfter === '-1' ? 'C:0/P:0' : at(BigInt(config.startAfter)))
      .setMessageTimeoutMilliseconds(config.messageTimeoutMs)
      .setMaxRetryCount(config.maxRetryCount)
      .setBufferSize(config.bufferSize)
      .setReadBatchSize(config.readBatchSize)
      .setCheckPointAfterMilliseconds(config.checkpointAfterMs)
      .setMinCheckPointCount(config.minCheckpointCount)
      .setMaxCheckPointCount(config.maxCheckpointCount)
      .setLiveBufferCount('0')
      .setRetryBufferCount(this.#retries.length)
      .setTotalInFlightMessages(this.#outstanding.size)
      .setOutstandingMessagesCount(this.#outstanding.size)
      .setNamedConsumerStrategy('RoundRobin')
      .setParkedMessageCount(String(this.#log.streamEvents(this.#streamOf('parked'))?.length ?? 0));
  }

  get #identity() {
    return `${this.config.name} from ${this.config.startAfter}`;
  }

  #streamOf(what) {
    return `$persistentsubscription-$all::${this.config.name}-${what}`;
  }

  #nextEvent() {
    while (this.#index < this.#log.visible) {
      const event = this.#log.events[this.#index++];
      if (this.#wants(event)) return { event, retryCount: 0 };
    }
    return undefined;
  }

  #hand({ event, retryCount }, consumer) {
    consumer.inFlight += 1;
    this.#totalItems += 1;
    this.#lastKnown = event.position;
    const timer = setTimeout(() => this.#takeBack(event.id), this.config.messageTimeoutMs);
    this.#outstanding.set(event.id, { event, retryCount, consumer, timer });
    const message = readEvent(messages, event).setRetryCount(retryCount);
    consumer.call.write(new messages.ReadResp().setEvent(message));
  }

  #settle(request) {
    if (request.hasAck()) {
      for (const id of request.getAck().getIdsList()) this.#finish(id.getString());
    } else {
      const nack = request.getNack();
      for (const id of nack.getIdsList().map((each) => each.getString())) {
        if (nack.getAction() === Action.RETRY) this.#takeBack(id);
        else this.#finish(id, nack.getAction() === Action.PARK);
      }
    }
    this.deliver();
  }

  #finish(id, park = false) {
    const delivery = this.#end(id);
    if (delivery === undefined) return;
    if (park) this.#park(delivery.event);
    this.#sinceCheckpoint += 1;
    if (this.#sinceCheckpoint >= this.config.maxCheckpointCount) this.#saveCheckpoint();
    else if (this.#sinceCheckpoint >= this.config.minCheckpointCount) {
      this.#timer ??= setTimeout(() => this.#saveCheckpoint(), this.config.checkpointAfterMs);
    }
  }

  /** To be delivered again, unless that has happened too often. */
  #takeBack(id) {
    const delivery = this.#end(id);
    if (delivery === undefined) return;
    const retryCount = delivery.retryCount + 1;
    if (retryCount > this.config.maxRetryCount) this.#park(delivery.event);
    else this.#retries.push({ event: delivery.event, retryCount });
    this.deliver();
  }

  #end(id) {
    const delivery = this.#outstanding.get(id);
    if (delivery === undefined) return undefined;
    clearTimeout(delivery.timer);
    this.#outstanding.delete(id);
    delivery.consumer.inFlight -= 1;
    return delivery;
  }

  #leave(consumer) {
    if (!this.#consumers.includes(consumer)) return;
    this.#consumers = this.#consumers.filter((each) => each !== consumer);
    for (const [id, delivery] of [...this.#outstanding]) {
      if (delivery.consumer === consumer) this.#takeBack(id);
    }
  }

  #park({ revision, stream }) {
    void this.#log.appendSystem(this.#streamOf('parked'), '$>', `${revision}@${stream}`);
  }

  /** Just before the first event that is still under way. */
  #saveCheckpoint() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sinceCheckpoint = 0;
    const open = [...this.#outstanding.values(), ...this.#retries].map(({ event }) => event.position);
    const looked = this.#log.events[this.#index - 1]?.position ?? -1n;
    this.#checkpoint = open.reduce(
      (lowest, position) => (position <= lowest ? position - 1n : lowest),
      looked,
    );
    void this.#log.appendSystem(this.#streamOf('checkpoint'), '$SubscriptionCheckpoint', {
      group: this.#identity,
      position: this.#checkpoint.toString(),
    });
  }
}

const groupError = (code, exception, name) =>
  failure(code, `Subscription group ${name} on stream $all: ${exception}`, {
    exception,
    'stream-name': '$all',
    'group-name': name,
  });
