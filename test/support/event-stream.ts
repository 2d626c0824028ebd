/** One block of a `text/event-stream` that has data. */
export interface ServerSentEvent {
  /** The last event id after this block: what a client sends to go on. */
  readonly id: string;
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Reads an answer by the rules of the standard, as far as this server uses them; `id` outlives its block. */
export class EventStream {
  /** What a client would send as `Last-Event-ID`. */
  lastEventId = '';
  private readonly reader: ReadableStreamDefaultReader<string>;
  private text = '';

  constructor(readonly response: Response) {
    if (response.body === null) throw new Error('the answer has no body');
    this.reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** The next event; undefined when the stream has ended. @throws when it was cut off. */
  async next(): Promise<ServerSentEvent | undefined> {
    for (;;) {
      const block = await this.block();
      if (block === undefined) return undefined;
      let event = 'message';
      let data: string | undefined;
      for (const line of block.split('\n')) {
        const [, name, value = ''] = /^([^:]+): ?(.*)$/.exec(line) ?? [];
        if (name === 'id') this.lastEventId = value;
        if (name === 'event') event = value;
        if (name === 'data') data = value;
      }
      if (data !== undefined) {
        return { id: this.lastEventId, event, data: JSON.parse(data) as ServerSentEvent['data'] };
      }
    }
  }

  /** Resolves when the first block is there: from then on the server tells what happens. */
  async opened(): Promise<this> {
    if ((await this.block(false)) === undefined) throw new Error('the stream ended at once');
    return this;
  }

  /** Events up to and with the first one that will do. @throws when the stream ends before. */
  async until(willDo: (event: ServerSentEvent) => boolean): Promise<ServerSentEvent[]> {
    const events: ServerSentEvent[] = [];
    for (;;) {
      const event = await this.next();
      if (event === undefined) throw new Error(`ended after ${JSON.stringify(events)}`);
      events.push(event);
      if (willDo(event)) return events;
    }
  }

  /** Everything to the end. */
  async all(): Promise<ServerSentEvent[]> {
    const events: ServerSentEvent[] = [];
    for (let event = await this.next(); event !== undefined; event = await this.next()) events.push(event);
    return events;
  }

  /** Hangs up. */
  async close(): Promise<void> {
    await this.reader.cancel();
  }

  private async block(take = true): Promise<string | undefined> {
    for (;;) {
      const end = this.text.indexOf('\n\n');
      if (end >= 0) {
        const block = this.text.slice(0, end);
        if (take) this.text = this.text.slice(end + 2);
        return block;
      }
      const { done, value } = await this.reader.read();
      if (done) return undefined;
      this.text += value;
    }
  }
}
