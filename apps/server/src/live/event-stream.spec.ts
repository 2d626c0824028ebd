import { describe, expect, it } from '@jest/globals';
import { START } from '#libs/kernel';
import { HEARTBEAT, block, opening, withHeartbeat } from './event-stream.js';

describe('a block of an event stream', () => {
  it('has an id, the type, and the notification as one line of JSON', () => {
    const text = block({
      position: 42n,
      notification: {
        type: 'remediation.rejected',
        tenant: 'fabrikam',
        approvalId: 'r1',
        position: 42n,
        time: '2026-03-02T08:00:00.000Z',
        facts: { by: 'kim', reason: 'two\nlines\r\n\u2028' },
      },
    });
    const [id, event, data = '', ...end] = text.split('\n');
    expect([id, event, end]).toEqual(['id: 00000000000000000042', 'event: remediation.rejected', ['', '']]);
    expect(JSON.parse(data.slice('data: '.length))).toEqual({
      type: 'remediation.rejected',
      approvalId: 'r1',
      position: '00000000000000000042',
      time: '2026-03-02T08:00:00.000Z',
      by: 'kim',
      reason: 'two\nlines\r\n\u2028',
    });
  });

  it('without a notification only moves the id', () => {
    expect(block({ position: 7n })).toBe('id: 00000000000000000007\n\n');
  });

  it('opens with how soon to come again, and with an id when there is one', () => {
    expect(opening(7n)).toBe('retry: 2000\nid: 00000000000000000007\n\n');
    expect(opening(START)).toBe('retry: 2000\n\n');
  });
});

describe('heartbeats', () => {
  it('come while nothing else does, and the blocks as they are', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    async function* blocks() {
      yield 'one';
      await held;
      yield 'two';
    }
    const stream = withHeartbeat(blocks(), 1);
    expect((await stream.next()).value).toBe('one');
    expect((await stream.next()).value).toBe(HEARTBEAT);
    expect((await stream.next()).value).toBe(HEARTBEAT);
    release();
    const rest: string[] = [];
    for await (const text of stream) if (text !== HEARTBEAT) rest.push(text);
    expect(rest).toEqual(['two']);
  });

  it('end with the source, whose failure is theirs, and end the source when nobody reads on', async () => {
    async function* failing() {
      yield 'one';
      await Promise.resolve();
      throw new Error('cut off');
    }
    const stream = withHeartbeat(failing(), 1_000_000);
    await stream.next();
    await expect(stream.next()).rejects.toThrow('cut off');

    let ended = false;
    async function* endless() {
      try {
        for (;;) {
          await Promise.resolve();
          yield 'more';
        }
      } finally {
        ended = true;
      }
    }
    const left = withHeartbeat(endless(), 1_000_000);
    await left.next();
    await left.return(undefined);
    expect(ended).toBe(true);
  });
});
