/**
 * The log of the EventStoreDB stand-in: one append-only file, one line of JSON per atomic write, on the disk (fsync)
 * before it is answered or shown to any reader. Everything else (streams, deletions, groups and their checkpoints) is
 * derived from the events, so that a restart finds what there was. A line cut off by a kill was never answered and is
 * dropped.
 */
import { closeSync, fsync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { EventEmitter } from 'node:events';
import { randomUUID } from 'node:crypto';

/** Bytes of one append, all events together. */
export const MAX_APPEND_SIZE = 1024 * 1024;
/** The revision of a tombstone, and the truncation mark of a deleted stream. */
const LONGEST = 9223372036854775807n;
/** The revision before the first event of a stream. */
const BEFORE_FIRST = -1n;
/** What one record takes in the file of a real server besides its texts; only the look of the positions hangs on it. */
const RECORD_OVERHEAD = 87n;

/** A refusal; `kind` decides how each service says it. */
export class Refused extends Error {
  constructor(kind, details = {}) {
    super(kind);
    this.kind = kind;
    this.details = details;
  }
}

export const isSystem = ({ stream, type }) => stream.startsWith('$') || type.startsWith('$');

/** Emits `grown` after every write that readers may see. */
export class StandInLog extends EventEmitter {
  /** `$all`, in order. Only the first `visible` of them are on the disk. */
  events = [];
  visible = 0;
  #streams = new Map();
  #next = RECORD_OVERHEAD;
  #waiting = [];
  #flushing = false;
  #file;

  constructor(path) {
    super();
    this.setMaxListeners(0);
    this.#file = openSync(path, 'a+');
    this.#load(readFileSync(path));
  }

  static async open(path) {
    const log = new StandInLog(path);
    if (log.events.length === 0) await log.#begin();
    return log;
  }

  close() {
    closeSync(this.#file);
  }

  /**
   * Appends to one stream.
   * @param expected 'any', 'streamExists', 'noStream' or a revision
   * @returns {Promise<{revision: bigint | undefined, position: bigint | undefined}>} of the last event given
   * @throws {Refused} wrongExpectedVersion, streamDeleted, maxAppendSize
   */
  append(stream, expected, events) {
    const size = events.reduce((sum, e) => sum + e.data.length + e.metadata.length + 2 * e.type.length, 0);
    if (size > MAX_APPEND_SIZE) return Promise.reject(new Refused('maxAppendSize'));
    return this.#commit(() => this.#decide(stream, expected, events));
  }

  /** Hides all events of a stream; the next ones go on counting. */
  softDelete(stream, expected) {
    return this.#commit(() => {
      this.#checkDeletable(stream, expected);
      return { writes: [truncation(stream, LONGEST)] };
    });
  }

  /** Ends a stream for good. */
  tombstone(stream, expected) {
    return this.#commit(() => {
      this.#checkDeletable(stream, expected);
      return { writes: [systemEvent(stream, '$streamDeleted', {})] };
    });
  }

  /** An event of the server itself. */
  appendSystem(stream, type, data) {
    return this.#commit(() => ({ writes: [systemEvent(stream, type, data)] }));
  }

  /**
   * The events of a stream that a reader sees.
   * @returns {Array | undefined} undefined: no such stream
   * @throws {Refused} streamDeleted
   */
  streamEvents(name) {
    const stream = this.#streams.get(name);
    if (stream?.tombstoned) throw new Refused('streamDeleted', { stream: name });
    const limit = this.visible === 0 ? -1n : this.events[this.visible - 1].position;
    const seen = (stream?.events ?? []).filter((e) => e.revision >= stream.from && e.position <= limit);
    return seen.length === 0 ? undefined : seen;
  }

  /** The index in `$all` of the first event at this position or after it. */
  indexAt(position) {
    let [low, high] = [0, this.events.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.events[middle].position < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Every real log begins with such events. */
  #begin() {
    const acl = { $acl: { $r: '$all', $w: '$admins', $d: '$admins' } };
    return this.#commit(() => ({
      writes: [
        systemEvent('$$$scavenges', '$metadata', acl),
        systemEvent('$$$settings', '$metadata', acl),
        systemEvent('$users', '$UserCreated', { loginName: 'admin' }),
      ],
    }));
  }

  #decide(name, expected, events) {
    const stream = this.#streams.get(name);
    if (stream?.tombstoned) throw new Refused('streamDeleted', { stream: name });
    const last = stream?.last ?? BEFORE_FIRST;
    const deleted = stream !== undefined && stream.from > last;
    if (events.length === 0) return { writes: [], answer: {} };
    const wrong = () =>
      new Refused('wrongExpectedVersion', { stream: name, expected, actual: last < 0n ? undefined : last });

    if (expected === 'streamExists' && (last < 0n || deleted)) throw wrong();
    if (expected === 'any' || expected === 'streamExists') {
      const known = stream?.revisions.get(events[0].id);
      return (
        (known === undefined ? undefined : repeated(stream, known, events)) ??
        written(name, events, deleted, last)
      );
    }
    const before = expected === 'noStream' ? BEFORE_FIRST : expected;
    if (before === last || (deleted && expected === 'noStream')) return written(name, events, deleted, last);
    const again = before < last ? repeated(stream, before + 1n, events) : undefined;
    if (again === undefined) throw wrong();
    return again;
  }

  #checkDeletable(name, expected) {
    const stream = this.#streams.get(name);
    if (stream?.tombstoned) throw new Refused('streamDeleted', { stream: name });
    const last = stream?.last ?? BEFORE_FIRST;
    const fits =
      expected === 'any' ||
      (expected === 'streamExists'
        ? last >= 0n
        : last === (expected === 'noStream' ? BEFORE_FIRST : expected));
    if (!fits) {
      throw new Refused('wrongExpectedVersion', {
        stream: name,
        expected,
        actual: last < 0n ? undefined : last,
      });
    }
  }

  /** Decides in the order of arrival; all that arrived while the disk was busy share the next fsync. */
  #commit(decide) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ decide, resolve, reject });
      if (!this.#flushing) this.#flush();
    });
  }

  #flush() {
    this.#flushing = true;
    const answers = [];
    let lines = '';
    for (const { decide, resolve, reject } of this.#waiting.splice(0)) {
      try {
        const { writes, answer } = decide();
        const added = writes.map((event) => this.#add(event));
        if (added.length > 0) lines += `${JSON.stringify(added.map(toLine))}\n`;
        const lastAdded = added.filter(({ stream }) => stream === writes[0].stream).at(-1);
        answers.push(() => resolve(answer ?? { revision: lastAdded.revision, position: lastAdded.position }));
      } catch (error) {
        answers.push(() => reject(error));
      }
    }
    const durable = this.events.length;
    const done = (error) => {
      if (error) throw error;
      this.visible = durable;
      for (const answer of answers) answer();
      this.emit('grown');
      if (this.#waiting.length > 0) this.#flush();
      else this.#flushing = false;
    };
    if (lines === '') {
      setImmediate(done);
      return;
    }
    writeSync(this.#file, lines);
    fsync(this.#file, done);
  }

  #load(bytes) {
    const whole = bytes.lastIndexOf(0x0a) + 1;
    if (whole < bytes.length) ftruncateSync(this.#file, whole);
    for (const line of bytes.subarray(0, whole).toString('utf8').split('\n')) {
      if (line !== '') for (const event of JSON.parse(line)) this.#add(fromLine(event));
    }
    this.visible = this.events.length;
  }

  /** Puts an event at the end of the log, and draws the consequences. */
  #add(event) {
    const stream = this.#stream(event.stream);
    const tombstone = event.type === '$streamDeleted';
    const revision = tombstone ? LONGEST : stream.last + 1n;
    const added = { ...event, revision, position: this.#next };
    this.#next += RECORD_OVERHEAD + BigInt(event.stream.length + event.type.length + event.data.length);
    this.#next += BigInt(event.metadata.length);
    this.events.push(added);
    if (tombstone) {
      stream.tombstoned = true;
    } else {
      stream.last = revision;
      stream.events.push(added);
      stream.revisions.set(added.id, revision);
    }
    if (event.type === '$metadata' && event.stream.startsWith('$$')) {
      const { $tb } = JSON.parse(event.data.toString('utf8'), (key, value) =>
        key === '$tb' ? BigInt(value) : value,
      );
      if ($tb !== undefined) this.#stream(event.stream.slice(2)).from = $tb;
    }
    return added;
  }

  #stream(name) {
    let stream = this.#streams.get(name);
    if (stream === undefined) {
      stream = { events: [], revisions: new Map(), last: BEFORE_FIRST, from: 0n, tombstoned: false };
      this.#streams.set(name, stream);
    }
    return stream;
  }
}

/** What the first append answered, when the stream holds exactly these ids from this revision on. */
function repeated(stream, first, events) {
  const there = events.map((_, index) => stream.events[Number(first) + index]);
  if (!events.every(({ id }, index) => there[index]?.id === id)) return undefined;
  const { revision, position } = there.at(-1);
  return { writes: [], answer: { revision, position } };
}

/** A deleted stream that is written to again shows only what comes from now on. */
function written(name, events, deleted, last) {
  const writes = events.map((event) => ({ ...event, stream: name, created: Date.now() }));
  if (deleted) writes.push(truncation(name, last + 1n));
  return { writes };
}

const systemEvent = (stream, type, data) => ({
  stream,
  type,
  id: randomUUID(),
  contentType: 'application/json',
  data: Buffer.from(JSON.stringify(data)),
  metadata: Buffer.alloc(0),
  created: Date.now(),
});

/** JSON has no bigint, and a truncation mark does not fit a number. */
const truncation = (stream, before) => ({
  ...systemEvent(`$$${stream}`, '$metadata', {}),
  data: Buffer.from(`{"$tb":"${before}"}`),
});

const toLine = ({ stream, type, id, contentType, data, metadata, created }) => ({
  stream,
  type,
  id,
  contentType,
  data: data.toString('base64'),
  metadata: metadata.toString('base64'),
  created,
});

const fromLine = (line) => ({
  ...line,
  data: Buffer.from(line.data, 'base64'),
  metadata: Buffer.from(line.metadata, 'base64'),
});
