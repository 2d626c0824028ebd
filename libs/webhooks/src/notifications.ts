import type { Position } from '#libs/kernel';

/** One thing that webhooks may be told of. */
export interface Message {
  readonly type: string;
  /** What it is about, for instance an approval ID. */
  readonly about: string;
  readonly time: string;
  /** JSON. */
  readonly data: Readonly<Record<string, unknown>>;
}

/** A message, or only how far there was none. */
export interface MessageAt {
  readonly position: Position;
  readonly message?: Message;
}

/** The port to what happens: everything of a tenant after a position, in order, then live; may end at any time. */
export abstract class Messages {
  abstract subscribe(request: {
    readonly tenant: string;
    readonly after: Position;
    readonly signal: AbortSignal;
  }): AsyncIterable<MessageAt>;
}
