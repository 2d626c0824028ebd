import { Readable } from 'node:stream';
import { ClawbackError } from '#libs/kernel';
import type { OnModuleDestroy } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { withHeartbeat } from './event-stream.js';

const HEARTBEAT_MS = 15_000;

/**
 * A stream ends after a quarter of an hour, and the client comes again where it was: so that nobody reads on for ever
 * with a token that has expired meanwhile.
 */
const LONGEST_MS = 15 * 60_000;

/** Seconds after which a refused client may try again. */
const RETRY_AFTER = '5';

/** The event streams that are open, how many each tenant may have, and their end at a shutdown. */
export class LiveStreams implements OnModuleDestroy {
  private readonly open = new Map<string, number>();
  private readonly closing = new AbortController();

  /** @param limit streams of one tenant at a time. */
  constructor(private readonly limit: number) {}

  /** Nest calls it before it waits for the requests that are under way. */
  onModuleDestroy(): void {
    this.closing.abort();
  }

  /**
   * Answers with an event stream, until it ends by itself, the client goes away, or the process shuts down.
   * @param source the blocks; must end when the signal fires
   * @throws {ClawbackError} kind `tooMany`, `tooManyStreams`; nothing was sent.
   */
  async answer(
    tenant: string,
    reply: FastifyReply,
    source: (signal: AbortSignal) => AsyncIterable<string>,
  ): Promise<void> {
    this.enter(tenant, reply);
    const gone = new AbortController();
    reply.raw.once('close', () => {
      gone.abort();
      this.leave(tenant);
    });
    const signal = AbortSignal.any([gone.signal, this.closing.signal, AbortSignal.timeout(LONGEST_MS)]);
    await reply
      .type('text/event-stream; charset=utf-8')
      // Nginx holds answers back until they are large.
      .header('x-accel-buffering', 'no')
      .send(Readable.from(withHeartbeat(source(signal), HEARTBEAT_MS)));
  }

  private enter(tenant: string, reply: FastifyReply): void {
    const open = this.open.get(tenant) ?? 0;
    if (open >= this.limit) {
      reply.header('retry-after', RETRY_AFTER);
      throw new ClawbackError(
        'tooMany',
        'tooManyStreams',
        `${String(open)} event streams are open, the limit is ${String(this.limit)}; close one and try again`,
        { actual: open, limit: this.limit },
      );
    }
    this.open.set(tenant, open + 1);
  }

  private leave(tenant: string): void {
    const left = (this.open.get(tenant) ?? 1) - 1;
    if (left === 0) this.open.delete(tenant);
    else this.open.set(tenant, left);
  }
}
