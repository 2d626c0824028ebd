import { getEventListeners } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { isClawbackError, START } from '#libs/kernel';
import { SqliteFile } from '#libs/sqlite';
import { Folders, isMailboxError, type MoveRequest } from '../mailbox-gateway.js';
import { hostSandbox } from './host-sandbox.js';
import { RemoteSandbox } from './remote-sandbox.js';
import type { Answered, Message } from './sandbox-messages.js';
import { SandboxTenant } from './sandbox-tenant.js';

const TENANT = 'contoso';
const ALICE = 'alice@contoso.example';
const BOB = 'bob@contoso.example';
const MOVED = { kind: 'moved', from: Folders.inbox, to: Folders.recoverableDeletions };

describe('RemoteSandbox', () => {
  let folder: string;
  let sandbox: RemoteSandbox;
  /** What went over to the other side, and what came back. */
  let sent: Message[];
  let answered: (readonly Answered[])[];
  let begun: number;
  /** Ends the other side, as a thread that fails does. */
  let fail: (error: Error) => void;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawback-sandbox-'));
    sent = [];
    answered = [];
    begun = 0;
    sandbox = new RemoteSandbox(({ onAnswers, onEnd }) => {
      begun += 1;
      const tenant = new SandboxTenant(join(folder, 'sandbox.db'));
      let isThere = true;
      fail = (error) => {
        isThere = false;
        void tenant.close();
        onEnd(error);
      };
      const take = hostSandbox(
        () => tenant,
        (answers) => {
          answered.push(answers);
          // As far as it can be copied, as between threads.
          if (isThere) onAnswers(structuredClone(answers));
        },
        onEnd,
      );
      return {
        post: (message) => {
          sent.push(message);
          take(structuredClone(message));
        },
      };
    });
  });

  afterEach(async () => {
    await sandbox.close();
    await rm(folder, { recursive: true });
  });

  const live = new AbortController().signal;
  const aCopy = (networkMessageId: string, mailbox = ALICE) => ({
    tenant: TENANT,
    mailbox,
    networkMessageId,
    internetMessageId: `<${networkMessageId}@contoso.example>`,
    copyKind: 'recipient' as const,
    folder: Folders.inbox,
  });
  const moving = (id: string, mailbox = ALICE): MoveRequest => {
    const { folder: _folder, ...copy } = aCopy(id, mailbox);
    return { ...copy, operationId: `op-${id}`, to: Folders.recoverableDeletions };
  };
  const errorOf = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);

  it('is not begun before something is asked, and closes all the same', async () => {
    await sandbox.close();
    expect(begun).toBe(0);
  });

  it('delivers, says how far, and keeps faults', async () => {
    expect(await sandbox.deliveredTo()).toBe(START);
    const wait = sandbox.whenDelivered(2n ** 62n);
    await sandbox.deliver([aCopy('m1')], 2n ** 62n);
    await wait;
    expect(await sandbox.deliveredTo()).toBe(2n ** 62n);

    await sandbox.setFault(TENANT, ALICE, { kind: 'missingMailbox' });
    expect(await sandbox.faults(TENANT)).toEqual([{ mailbox: ALICE, fault: { kind: 'missingMailbox' } }]);
    expect(await sandbox.move(moving('m1'), live)).toEqual({ kind: 'mailboxNotFound' });
    await sandbox.clearFault(TENANT, ALICE);
    expect(await sandbox.move(moving('m1'), live)).toEqual(MOVED);
  });

  it('takes the calls of a turn in one message, and the answers of a commit too', async () => {
    const ids = Array.from({ length: 100 }, (_, index) => `m${String(index)}`);
    await sandbox.deliver(
      ids.map((id) => aCopy(id)),
      1n,
    );
    sent = [];
    answered = [];

    const results = await Promise.all(ids.map((id) => sandbox.move(moving(id), live)));

    expect(results).toEqual(ids.map(() => MOVED));
    expect(sent).toHaveLength(1);
    expect(answered).toHaveLength(1);
  });

  it('tells the other side of a signal, for the calls that share it and no others', async () => {
    await sandbox.deliver([aCopy('m1'), aCopy('m2'), aCopy('m3', BOB)], 1n);
    await sandbox.setFault(TENANT, ALICE, { kind: 'hang' });
    const [first, second] = [new AbortController(), new AbortController()];
    const given = ['m1', 'm2'].map((id) => errorOf(sandbox.move(moving(id), first.signal)));
    const other = errorOf(sandbox.move(moving('m1'), second.signal));
    expect(await sandbox.move(moving('m3', BOB), first.signal)).toEqual(MOVED);

    first.abort();

    for (const error of await Promise.all(given)) {
      expect(isMailboxError(error)).toBe(true);
      expect(error).toMatchObject({ code: 'timeout', retryable: true });
    }
    expect(getEventListeners(first.signal, 'abort')).toEqual([]);
    expect(await Promise.race([other, Promise.resolve('still waits')])).toBe('still waits');
    second.abort();
    expect(await other).toMatchObject({ code: 'timeout' });
  });

  it('asks nothing when the signal has fired, and posts a call before the signal that ends it', async () => {
    await sandbox.deliver([aCopy('m1')], 1n);
    sent = [];
    expect(await errorOf(sandbox.move(moving('m1'), AbortSignal.abort()))).toMatchObject({ code: 'timeout' });
    expect(sent).toEqual([]);

    const controller = new AbortController();
    const move = errorOf(sandbox.move(moving('m1'), controller.signal));
    controller.abort();
    expect(await move).toMatchObject({ code: 'timeout' });
    expect(sent.map((message) => 'fired' in message)).toEqual([false, true]);
  });

  describe('errors', () => {
    it('arrive as what the mailbox said', async () => {
      await sandbox.deliver([aCopy('m1')], 1n);
      const fault = { kind: 'error', code: 'throttled', retryable: true, retryAfterMs: 70 } as const;
      await sandbox.setFault(TENANT, ALICE, fault);
      const error = await errorOf(sandbox.move(moving('m1'), live));
      expect(isMailboxError(error)).toBe(true);
      expect(error).toMatchObject({ code: 'throttled', retryable: true, retryAfterMs: 70 });
    });

    it('arrive as faults of the file', async () => {
      await sandbox.deliver([aCopy('m1')], 1n);
      const intruder = new SqliteFile(join(folder, 'sandbox.db'), { durability: 'normal' });
      intruder.exec('DROP TABLE copies');
      intruder.close();
      const error = await errorOf(sandbox.move(moving('m1'), live));
      expect(isClawbackError(error)).toBe(true);
      expect(error).toMatchObject({ kind: 'unavailable', code: 'sandboxUnavailable' });
      expect(error).toHaveProperty('cause.message', expect.stringContaining('copies'));
    });

    it('arrive as defects', async () => {
      const error = await errorOf(sandbox.move({ ...moving('m1'), mailbox: 'a\0b' }, live));
      expect(error).toMatchObject({ name: 'TypeError', message: 'cannot bind a text with NUL' });
    });
  });

  it('finishes the moves that are under way when it is closed, and answers nothing more', async () => {
    await sandbox.deliver([aCopy('m1'), aCopy('m2')], 1n);
    await sandbox.setFault(TENANT, ALICE, { kind: 'hang', times: 1 });
    const hangs = errorOf(sandbox.move(moving('m1'), live));
    const moves = sandbox.move(moving('m2'), live);

    await Promise.all([sandbox.close(), sandbox.close()]);

    expect(await moves).toEqual(MOVED);
    expect(await hangs).toMatchObject({ kind: 'unavailable', code: 'sandboxClosed' });
    const calls: (() => Promise<unknown>)[] = [
      () => sandbox.move(moving('m1'), live),
      () => sandbox.deliver([], 2n),
      () => sandbox.deliveredTo(),
      () => sandbox.whenDelivered(START),
      () => sandbox.setFault(TENANT, ALICE, { kind: 'hang' }),
      () => sandbox.clearFault(TENANT, ALICE),
      () => sandbox.faults(TENANT),
    ];
    for (const call of calls) {
      const error = await errorOf(call());
      expect(isClawbackError(error)).toBe(true);
      expect(error).toMatchObject({ kind: 'unavailable', code: 'sandboxClosed' });
    }
    expect(begun).toBe(1);
  });

  it('says so when the other side ends before it answers, and begins it again', async () => {
    await sandbox.deliver([aCopy('m1')], 1n);
    await sandbox.setFault(TENANT, ALICE, { kind: 'hang', times: 1 });
    const move = errorOf(sandbox.move(moving('m1'), live));
    const wait = errorOf(sandbox.whenDelivered(9n));
    await sandbox.faults(TENANT);

    fail(new RangeError('out of memory'));

    for (const error of await Promise.all([move, wait])) {
      expect(isClawbackError(error)).toBe(true);
      expect(error).toMatchObject({ kind: 'unavailable', code: 'sandboxUnavailable' });
      expect(error).toHaveProperty('cause.message', 'out of memory');
    }
    expect(await sandbox.move(moving('m1'), live)).toEqual(MOVED);
    expect(begun).toBe(2);
  });
});
