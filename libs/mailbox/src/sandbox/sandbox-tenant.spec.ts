import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { Clock, isClawbackError, START } from '#libs/kernel';
import { SqliteFile } from '#libs/sqlite';
import { Folders, isMailboxError, type Folder, type MoveRequest } from '../mailbox-gateway.js';
import { parseFault } from './parse-fault.js';
import { SandboxTenant } from './sandbox-tenant.js';
import type { Fault, SandboxCopy } from './sandbox.js';

const TENANT = 'contoso';
const ALICE = 'alice@contoso.example';
const BOB = 'bob@contoso.example';
const MOVED = { kind: 'moved', from: Folders.inbox, to: Folders.recoverableDeletions };

class StoppedClock extends Clock {
  now(): Date {
    return new Date('2026-03-01T12:00:00Z');
  }
}

describe('SandboxTenant', () => {
  let folder: string;
  let tenant: SandboxTenant;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawback-sandbox-'));
    tenant = new SandboxTenant(pathOf('sandbox.db'));
  });

  afterEach(async () => {
    await tenant.close();
    await rm(folder, { recursive: true });
  });

  const pathOf = (name: string) => join(folder, name);
  const reopen = async () => {
    await tenant.close();
    tenant = new SandboxTenant(pathOf('sandbox.db'));
  };
  const live = new AbortController().signal;
  const move = (copy: SandboxCopy, operationId: string, to: Folder = Folders.recoverableDeletions) =>
    tenant.move(moving(copy, operationId, to), live);
  const folderOf = (copy: SandboxCopy) => placeOf(copy)?.folder;
  const placeOf = (copy: SandboxCopy) =>
    tenant.locate(copy.tenant, copy.mailbox, copy.networkMessageId, copy.copyKind);
  const journal = (prefix?: string) => [...tenant.journal(TENANT, prefix)];

  describe('delivery', () => {
    it('places copies and moves the checkpoint with them', async () => {
      expect(tenant.deliveredTo()).toBe(START);

      await tenant.deliver([aCopy('m1'), aCopy('m2', { folder: Folders.junk })], 7n);

      expect(tenant.deliveredTo()).toBe(7n);
      expect(placeOf(aCopy('m1'))).toEqual({ folder: Folders.inbox, previousFolder: undefined });
      expect(tenant.countByFolder(TENANT)).toEqual({ [Folders.inbox]: 1, [Folders.junk]: 1 });
    });

    it('never moves a copy that is there, nor the checkpoint back', async () => {
      await tenant.deliver([aCopy('m1')], 12n);
      await move(aCopy('m1'), 'op');

      await tenant.deliver([aCopy('m1'), aCopy('m2')], 3n);

      expect(tenant.deliveredTo()).toBe(12n);
      expect(folderOf(aCopy('m1'))).toBe(Folders.recoverableDeletions);
      expect(folderOf(aCopy('m2'))).toBe(Folders.inbox);
    });

    it('compares checkpoints as numbers, up to the largest', async () => {
      const largest = 2n ** 64n - 1n;
      await tenant.deliver([aCopy('m1')], 9n);
      await tenant.deliver([aCopy('m2')], 10n);
      await reopen();
      expect(tenant.deliveredTo()).toBe(10n);

      await tenant.deliver([aCopy('m3')], largest);
      await tenant.deliver([aCopy('m4')], START);
      await reopen();
      expect(tenant.deliveredTo()).toBe(largest);
    });

    it('knows at once how far it was with nothing to place, and after a restart at least how far it was with something', async () => {
      await tenant.deliver([aCopy('m1')], 5n);
      for (const position of [6n, 7n, 8n]) {
        await tenant.deliver([], position);
        expect(tenant.deliveredTo()).toBe(position);
      }
      await tenant.deliver([], 3n);
      expect(tenant.deliveredTo()).toBe(8n);

      await reopen();
      expect(tenant.deliveredTo()).toBeGreaterThanOrEqual(5n);
      expect(tenant.deliveredTo()).toBeLessThanOrEqual(8n);
    });

    it('places nothing and moves no checkpoint when one copy cannot be placed', async () => {
      await expect(tenant.deliver([aCopy('m1'), aCopy('m\0')], 5n)).rejects.toThrow('NUL');

      expect(folderOf(aCopy('m1'))).toBeUndefined();
      expect(tenant.deliveredTo()).toBe(START);
    });

    it('outlives a restart', async () => {
      await tenant.deliver([aCopy('m1')], 5n);
      await reopen();

      expect(tenant.deliveredTo()).toBe(5n);
      expect(folderOf(aCopy('m1'))).toBe(Folders.inbox);
    });
  });

  it('knows the mailboxes of a file that has no list of them yet', async () => {
    await tenant.deliver([aCopy('m1')], 1n);
    await tenant.close();
    const file = new SqliteFile(pathOf('sandbox.db'), { durability: 'full' });
    file.exec('DROP TABLE mailboxes');
    file.close();
    tenant = new SandboxTenant(pathOf('sandbox.db'));

    expect(await move(aCopy('m2'), 'op-1')).toEqual({ kind: 'notFound' });
  });

  describe('whenDelivered', () => {
    it('resolves at once for what is delivered, and for the start', async () => {
      await tenant.whenDelivered(START);
      await tenant.deliver([], 5n);

      await expect(tenant.whenDelivered(5n)).resolves.toBeUndefined();
    });

    it('wakes when the position is reached, not before', async () => {
      const woken: string[] = [];
      const waits = [6n, 10n].map((position) =>
        tenant.whenDelivered(position).then(() => woken.push(String(position))),
      );

      await tenant.deliver([], 5n);
      await tenant.deliver([], 7n);
      await waits[0];
      expect(woken).toEqual(['6']);

      await tenant.deliver([], 10n);
      await Promise.all(waits);
      expect(woken).toEqual(['6', '10']);
    });

    it('gives up when the signal fires, before or while waiting', async () => {
      const controller = new AbortController();
      const wait = tenant.whenDelivered(1n, controller.signal);

      controller.abort();

      await expect(wait).rejects.toMatchObject({ name: 'MailboxError', code: 'timeout' });
      await expect(tenant.whenDelivered(1n, controller.signal)).rejects.toMatchObject({ code: 'timeout' });
    });

    it('is told when the tenant closes', async () => {
      const wait = tenant.whenDelivered(1n);

      await tenant.close();

      await expect(wait).rejects.toMatchObject({ kind: 'unavailable' });
    });
  });

  describe('moves', () => {
    it('remembers the folder that a soft deleted copy came from', async () => {
      await tenant.deliver([aCopy('m1', { folder: 'Inbox/Suppliers' })], 0n);

      await move(aCopy('m1'), 'op');

      expect(placeOf(aCopy('m1'))).toEqual({
        folder: Folders.recoverableDeletions,
        previousFolder: 'Inbox/Suppliers',
      });
    });

    it('writes one row of the journal for a move and none for a repeat or a refusal', async () => {
      await tenant.close();
      tenant = new SandboxTenant(pathOf('sandbox.db'), { clock: new StoppedClock() });
      await tenant.deliver([aCopy('m1')], 0n);

      await Promise.all(Array.from({ length: 50 }, () => move(aCopy('m1'), 'op-1')));
      await move(aCopy('m1'), 'op-2');
      await move(aCopy('unknown'), 'op-3');

      expect(journal()).toEqual([
        {
          operationId: 'op-1',
          tenant: TENANT,
          mailbox: ALICE,
          networkMessageId: 'm1',
          copyKind: 'recipient',
          from: Folders.inbox,
          to: Folders.recoverableDeletions,
          at: '2026-03-01T12:00:00.000Z',
        },
      ]);
    });

    it('does not repeat an operation that is late, after others have moved the copy again', async () => {
      await tenant.deliver([aCopy('m1')], 0n);
      await move(aCopy('m1'), 'delete');
      await move(aCopy('m1'), 'undo', Folders.inbox);

      expect(await move(aCopy('m1'), 'delete')).toEqual(MOVED);

      expect(folderOf(aCopy('m1'))).toBe(Folders.inbox);
      expect(journal().map((entry) => entry.operationId)).toEqual(['delete', 'undo']);
    });

    it('gives the journal of a tenant in order, of some operations when asked, over many pages', async () => {
      const copies = Array.from({ length: 1001 }, (_, index) => aCopy(`m${String(index)}`));
      const stranger = aCopy('m0', { tenant: 'fabrikam' });
      await tenant.deliver([...copies, stranger], 0n);
      const ids = copies.map((copy, index) => `${index % 2 === 0 ? 'a' : 'b'}%-${copy.networkMessageId}`);

      await Promise.all([
        move(stranger, 'a%-stranger'),
        ...copies.map((copy, index) => move(copy, ids[index] ?? '')),
      ]);

      expect(journal().map((entry) => entry.operationId)).toEqual(ids);
      expect(journal('a%').map((entry) => entry.operationId)).toEqual(ids.filter((id) => id.startsWith('a')));
      expect(journal('%')).toEqual([]);
    });

    it('moves nothing when the signal fires before the transaction begins', async () => {
      await tenant.deliver([aCopy('m1')], 0n);
      const controller = new AbortController();
      const call = tenant.move(moving(aCopy('m1'), 'op'), controller.signal);

      controller.abort();

      await expect(call).rejects.toMatchObject({ code: 'timeout', retryable: true });
      expect(folderOf(aCopy('m1'))).toBe(Folders.inbox);
    });

    it('carries out the others of a turn when one of them cannot be', async () => {
      const copies = [aCopy('m1'), aCopy('m2'), aCopy('m3')] as const;
      await tenant.deliver(copies, 1n);

      const [first, broken, last] = await Promise.allSettled([
        move(copies[0], 'op-1'),
        move({ ...copies[1], mailbox: 'a\0b' }, 'op-2'),
        move(copies[2], 'op-3'),
      ]);

      expect(first).toEqual({ status: 'fulfilled', value: MOVED });
      expect(broken.status).toBe('rejected');
      expect(last).toEqual({ status: 'fulfilled', value: MOVED });
      expect(journal().map(({ operationId }) => operationId)).toEqual(['op-1', 'op-3']);
    });

    it('counts the copies of one tenant only', async () => {
      await tenant.deliver([aCopy('m1'), aCopy('m2'), aCopy('m1', { tenant: 'fabrikam' })], 0n);
      await move(aCopy('m1'), 'op');

      expect(tenant.countByFolder(TENANT)).toEqual({
        [Folders.inbox]: 1,
        [Folders.recoverableDeletions]: 1,
      });
      expect(tenant.countByFolder('unknown')).toEqual({});
    });
  });

  describe('faults', () => {
    const atAlice = aCopy('m1');
    const atBob = aCopy('m1', { mailbox: BOB });

    beforeEach(async () => {
      await tenant.deliver([atAlice, atBob], 0n);
    });

    /** Commits after every call made so far, so that what has not answered by then is being held. */
    const othersAreServed = async (operationId: string) => {
      expect(await move(atBob, operationId)).toEqual(MOVED);
    };

    it('missingMailbox: the mailbox is not found until it is cleared', async () => {
      await tenant.setFault(TENANT, 'Alice@Contoso.example', { kind: 'missingMailbox' });

      expect(await move(atAlice, 'op')).toEqual({ kind: 'mailboxNotFound' });
      expect(await move(atBob, 'op')).toEqual(MOVED);

      await tenant.clearFault(TENANT, 'ALICE@contoso.example');
      expect(await move(atAlice, 'op')).toEqual(MOVED);
    });

    it('movedByUser: moves what is there now, not what comes later, and clearing moves nothing back', async () => {
      await tenant.setFault(TENANT, ALICE, { kind: 'movedByUser', folder: 'Inbox/Private' });
      await tenant.deliver([aCopy('m2')], 1n);

      expect(placeOf(atAlice)).toEqual({ folder: 'Inbox/Private', previousFolder: Folders.inbox });
      expect(folderOf(aCopy('m2'))).toBe(Folders.inbox);
      expect(folderOf(atBob)).toBe(Folders.inbox);
      expect(journal()).toEqual([]);

      const undo = { ...moving(atAlice, 'op', Folders.inbox), onlyFrom: Folders.recoverableDeletions };
      expect(await tenant.move(undo, live)).toEqual({ kind: 'movedSince', folder: 'Inbox/Private' });

      await tenant.clearFault(TENANT, ALICE);
      expect(folderOf(atAlice)).toBe('Inbox/Private');
      expect(await move(atAlice, 'op')).toMatchObject({ kind: 'moved', from: 'Inbox/Private' });
    });

    it('deletedByUser: purges what is there now, for ever, and the mailbox remains', async () => {
      await tenant.setFault(TENANT, ALICE, { kind: 'deletedByUser' });
      await tenant.deliver([atAlice, aCopy('m2')], 1n);

      expect(await move(atAlice, 'op')).toEqual({ kind: 'notFound' });
      expect(placeOf(atAlice)).toBeUndefined();
      expect(folderOf(aCopy('m2'))).toBe(Folders.inbox);
      expect(tenant.countByFolder(TENANT)).toEqual({ [Folders.inbox]: 2 });

      await tenant.clearFault(TENANT, ALICE);
      await tenant.setFault(TENANT, ALICE, { kind: 'movedByUser', folder: Folders.junk });
      expect(await move(atAlice, 'op')).toEqual({ kind: 'notFound' });
      expect(placeOf(atAlice)).toBeUndefined();
    });

    it('deletedByUser: a mailbox with nothing left in it still exists', async () => {
      await tenant.setFault(TENANT, ALICE, { kind: 'deletedByUser' });
      await tenant.clearFault(TENANT, ALICE);

      expect(await move(atAlice, 'op')).toEqual({ kind: 'notFound' });
    });

    it('error: throws what it is told to, so many times, restarts included, and then works', async () => {
      const fault: Fault = {
        kind: 'error',
        code: 'tooManyRequests',
        retryable: true,
        times: 2,
        retryAfterMs: 1500,
      };
      await tenant.setFault(TENANT, ALICE, fault);

      const error: unknown = await move(atAlice, 'op').catch((e: unknown) => e);
      expect(isMailboxError(error)).toBe(true);
      expect(error).toMatchObject({ code: 'tooManyRequests', retryable: true, retryAfterMs: 1500 });
      await reopen();
      expect(tenant.faults(TENANT)).toEqual([{ mailbox: ALICE, fault: { ...fault, times: 1 } }]);
      await expect(move(atAlice, 'op')).rejects.toMatchObject({ code: 'tooManyRequests' });
      await reopen();

      expect(tenant.faults(TENANT)).toEqual([{ mailbox: ALICE, fault: { ...fault, times: 0 } }]);
      expect(folderOf(atAlice)).toBe(Folders.inbox);
      expect(await move(atAlice, 'op')).toEqual(MOVED);
    });

    it('error: hits as many of the calls made at once as it is told to', async () => {
      await tenant.setFault(TENANT, ALICE, { kind: 'error', code: 'busy', retryable: true, times: 3 });

      const calls = await Promise.allSettled(Array.from({ length: 8 }, () => move(atAlice, 'op')));

      expect(calls.map((call) => call.status)).toEqual([
        ...Array.from({ length: 3 }, () => 'rejected'),
        ...Array.from({ length: 5 }, () => 'fulfilled'),
      ]);
      expect(journal()).toHaveLength(1);
    });

    it('error: without times, throws until it is cleared', async () => {
      await tenant.setFault(TENANT, ALICE, { kind: 'error', code: 'accessDenied', retryable: false });

      for (let call = 0; call < 5; call += 1) {
        await expect(move(atAlice, 'op')).rejects.toMatchObject({ code: 'accessDenied', retryable: false });
      }
      await tenant.clearFault(TENANT, ALICE);

      expect(await move(atAlice, 'op')).toEqual(MOVED);
    });

    it('hang: answers nothing until the signal fires, moves nothing, and passes after its times', async () => {
      await tenant.setFault(TENANT, ALICE, { kind: 'hang', times: 1 });
      const controller = new AbortController();
      let answered = false;
      const call = tenant.move(moving(atAlice, 'op'), controller.signal).finally(() => {
        answered = true;
      });

      await othersAreServed('other');
      await tenant.deliver([], 1n);
      expect(answered).toBe(false);
      controller.abort();

      await expect(call).rejects.toMatchObject({ name: 'MailboxError', code: 'timeout', retryable: true });
      expect(folderOf(atAlice)).toBe(Folders.inbox);
      expect(await move(atAlice, 'op')).toEqual(MOVED);
    });

    it('hang: is told when the tenant closes', async () => {
      await tenant.setFault(TENANT, ALICE, { kind: 'hang' });
      const call = move(atAlice, 'op');
      await othersAreServed('other');

      await tenant.close();

      await expect(call).rejects.toMatchObject({ kind: 'unavailable' });
    });

    describe('slow', () => {
      beforeEach(async () => {
        jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
        await tenant.setFault(TENANT, ALICE, { kind: 'slow', delayMs: 60_000 });
      });

      afterEach(() => {
        jest.useRealTimers();
      });

      it('answers after the delay and not before', async () => {
        let answered = false;
        const call = move(atAlice, 'op').finally(() => {
          answered = true;
        });

        await othersAreServed('first');
        jest.advanceTimersByTime(59_999);
        await tenant.deliver([], 1n);
        expect(answered).toBe(false);
        expect(folderOf(atAlice)).toBe(Folders.inbox);

        jest.advanceTimersByTime(1);
        expect(await call).toEqual(MOVED);
        expect(folderOf(atAlice)).toBe(Folders.recoverableDeletions);
      });

      it('gives up when the signal fires, with nothing moved and no timer left', async () => {
        const controller = new AbortController();
        const call = tenant.move(moving(atAlice, 'op'), controller.signal);
        await othersAreServed('other');
        expect(jest.getTimerCount()).toBe(1);

        controller.abort();

        await expect(call).rejects.toMatchObject({ code: 'timeout', retryable: true });
        expect(folderOf(atAlice)).toBe(Folders.inbox);
        expect(jest.getTimerCount()).toBe(0);
      });
    });

    it('are kept one a mailbox, over restarts, by tenant', async () => {
      await tenant.setFault(TENANT, BOB, { kind: 'hang' });
      await tenant.setFault(TENANT, ALICE, { kind: 'missingMailbox' });
      await tenant.setFault(TENANT, ALICE, { kind: 'slow', delayMs: 5 });
      await tenant.setFault('fabrikam', ALICE, { kind: 'missingMailbox' });
      await reopen();

      expect(tenant.faults(TENANT)).toEqual([
        { mailbox: ALICE, fault: { kind: 'slow', delayMs: 5 } },
        { mailbox: BOB, fault: { kind: 'hang' } },
      ]);
      await tenant.clearFault(TENANT, BOB);
      await tenant.clearFault(TENANT, 'never-had-one@contoso.example');
      expect(tenant.faults(TENANT)).toHaveLength(1);
      expect(tenant.faults('fabrikam')).toHaveLength(1);
    });

    it('make a mailbox known that nothing was delivered to', async () => {
      const atCarol = aCopy('m1', { mailbox: 'carol@contoso.example' });
      expect(await move(atCarol, 'op')).toEqual({ kind: 'mailboxNotFound' });

      await tenant.setFault(TENANT, 'carol@contoso.example', { kind: 'deletedByUser' });

      expect(await move(atCarol, 'op')).toEqual({ kind: 'notFound' });
    });
  });

  describe('closing and broken files', () => {
    it('closes more than once, finishing what was begun, and then answers nothing', async () => {
      await tenant.deliver([aCopy('m1')], 1n);
      const begun = move(aCopy('m1'), 'op');

      await tenant.close();
      await tenant.close();

      expect(await begun).toEqual(MOVED);
      const calls: (() => unknown)[] = [
        () => move(aCopy('m1'), 'op'),
        () => tenant.deliver([], 2n),
        () => tenant.deliveredTo(),
        () => tenant.whenDelivered(START),
        () => placeOf(aCopy('m1')),
        () => journal(),
        () => tenant.countByFolder(TENANT),
        () => tenant.setFault(TENANT, ALICE, { kind: 'hang' }),
        () => tenant.clearFault(TENANT, ALICE),
        () => tenant.faults(TENANT),
      ];
      for (const call of calls) {
        // Async, so that a throw and a rejection are seen alike.
        const error: unknown = await (async () => await call())().catch((e: unknown) => e);
        expect(isClawbackError(error)).toBe(true);
        expect(error).toMatchObject({ kind: 'unavailable', code: 'sandboxClosed' });
      }
    });

    it('is unavailable when its file can no longer be used, and names the cause', async () => {
      await tenant.deliver([aCopy('m1')], 1n);
      const intruder = new SqliteFile(pathOf('sandbox.db'), { durability: 'normal' });
      intruder.exec('DROP TABLE copies');
      intruder.close();

      const unavailable = { kind: 'unavailable', code: 'sandboxUnavailable' };
      await expect(move(aCopy('m1'), 'op')).rejects.toMatchObject(unavailable);
      await expect(move(aCopy('m1'), 'op')).rejects.toHaveProperty('cause.code', 'ERR_SQLITE_ERROR');
      expect(() => placeOf(aCopy('m1'))).toThrow(expect.objectContaining(unavailable));
    });

    it('is unavailable when its file is something else', async () => {
      await writeFile(pathOf('letter.txt'), 'Dear Sir or Madam, '.repeat(500));

      expect(() => new SandboxTenant(pathOf('letter.txt'))).toThrow(
        expect.objectContaining({ kind: 'unavailable' }),
      );
    });
  });

  describe('laws', () => {
    const KINDS = ['recipient', 'sender'] as const;
    const FOLDERS = [Folders.inbox, Folders.junk, Folders.sentItems, Folders.recoverableDeletions];
    const copyArbitrary = fc.record({
      mailbox: fc.constantFrom(ALICE, BOB),
      networkMessageId: fc.constantFrom('m1', 'm2'),
      copyKind: fc.constantFrom(...KINDS),
    });
    const folderArbitrary = fc.constantFrom(...FOLDERS);
    const stepArbitrary = fc.oneof(
      fc.record({ step: fc.constant('deliver' as const), copy: copyArbitrary, folder: folderArbitrary }),
      fc.record({
        step: fc.constant('move' as const),
        copy: copyArbitrary,
        operation: fc.integer({ min: 1, max: 6 }),
        to: folderArbitrary,
        onlyFrom: fc.option(folderArbitrary, { nil: undefined }),
      }),
    );
    type Step = typeof stepArbitrary extends fc.Arbitrary<infer S> ? S : never;
    let runs = 0;

    const perform = (law: string, { copy, ...step }: Step) => {
      const target = aCopy(copy.networkMessageId, { ...copy, tenant: law });
      if (step.step === 'deliver') return tenant.deliver([{ ...target, folder: step.folder }], 0n);
      const operationId = `${keyOf(target)}-${String(step.operation)}`;
      const { to, onlyFrom } = step;
      return tenant.move(
        { ...moving(target, operationId, to), ...(onlyFrom === undefined ? {} : { onlyFrom }) },
        live,
      );
    };

    /** The first folder that each copy was delivered to. */
    const firstFolders = (steps: readonly Step[]) => {
      const first = new Map<string, Folder>();
      for (const step of steps) {
        if (step.step !== 'deliver') continue;
        const key = keyOf(step.copy);
        if (!first.has(key)) first.set(key, step.folder);
      }
      return first;
    };

    const foldersNow = (law: string) => {
      const now = new Map<string, Folder>();
      for (const mailbox of [ALICE, BOB]) {
        for (const networkMessageId of ['m1', 'm2']) {
          for (const copyKind of KINDS) {
            const place = tenant.locate(law, mailbox, networkMessageId, copyKind);
            if (place) now.set(keyOf({ mailbox, networkMessageId, copyKind }), place.folder);
          }
        }
      }
      return now;
    };

    it('keeps every copy in one folder, moves it once an operation, and undoes to where it began', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(stepArbitrary, { minLength: 1, maxLength: 40 }),
          fc.boolean(),
          async (steps, atOnce) => {
            runs += 1;
            const law = `law-${String(runs)}`;
            if (atOnce) await Promise.all(steps.map((step) => perform(law, step)));
            else for (const step of steps) await perform(law, step);

            const began = firstFolders(steps);
            const moves = [...tenant.journal(law)];
            const operations = moves.map((entry) => entry.operationId);
            expect(new Set(operations).size).toBe(operations.length);

            const expected = new Map(began);
            for (const entry of moves) {
              expect(expected.get(keyOf(entry))).toBe(entry.from);
              expect(entry.to).not.toBe(entry.from);
              expected.set(keyOf(entry), entry.to);
            }
            expect(foldersNow(law)).toEqual(expected);
            const counted = Object.values(tenant.countByFolder(law)).reduce((sum, count) => sum + count, 0);
            expect(counted).toBe(began.size);

            for (const { operationId, from, to, ...copy } of moves.reverse()) {
              const undo = {
                ...moving(aCopy(copy.networkMessageId, copy), `undo-${operationId}`, from),
                onlyFrom: to,
              };
              expect(await tenant.move(undo, live)).toEqual({ kind: 'moved', from: to, to: from });
            }
            expect(foldersNow(law)).toEqual(began);
          },
        ),
        { numRuns: 60 },
      );
    });
  });
});

describe('parseFault', () => {
  it.each<Fault>([
    { kind: 'missingMailbox' },
    { kind: 'movedByUser', folder: 'Inbox/Private' },
    { kind: 'deletedByUser' },
    { kind: 'error', code: 'busy', retryable: true },
    { kind: 'error', code: 'busy', retryable: false, times: 3, retryAfterMs: 0 },
    { kind: 'hang' },
    { kind: 'hang', times: 1 },
    { kind: 'slow', delayMs: 250 },
  ])('accepts %j', (fault) => {
    expect(parseFault(structuredClone(fault))).toEqual(fault);
  });

  it.each<[unknown, string[]]>([
    [undefined, ['fault']],
    [null, ['fault']],
    ['hang', ['fault']],
    [[], ['fault']],
    [{}, ['kind']],
    [{ kind: 'asleep' }, ['kind']],
    [{ kind: 'movedByUser' }, ['folder']],
    [{ kind: 'movedByUser', folder: '' }, ['folder']],
    [{ kind: 'movedByUser', folder: 'a\0b' }, ['folder']],
    [{ kind: 'movedByUser', folder: 'x'.repeat(256) }, ['folder']],
    [{ kind: 'error' }, ['code', 'retryable']],
    [{ kind: 'error', code: 7, retryable: 'yes' }, ['code', 'retryable']],
    [{ kind: 'error', code: 'busy', retryable: true, times: 0, retryAfterMs: -1 }, ['times', 'retryAfterMs']],
    [{ kind: 'hang', times: 1.5 }, ['times']],
    [{ kind: 'hang', times: null }, ['times']],
    [{ kind: 'hang', times: 1_000_001 }, ['times']],
    [{ kind: 'slow' }, ['delayMs']],
    [{ kind: 'slow', delayMs: 3_600_001 }, ['delayMs']],
    [{ kind: 'missingMailbox', folder: 'Inbox', times: 2 }, ['folder', 'times']],
  ])('refuses %j, naming the fields', (input, fields) => {
    const error = caught(() => parseFault(input));

    expect(isClawbackError(error)).toBe(true);
    expect(error).toMatchObject({
      kind: 'invalid',
      code: 'invalidFault',
      details: { errors: fields.map((field) => expect.objectContaining({ field }) as unknown) },
    });
  });

  it('says what kinds there are', () => {
    expect(() => parseFault({ kind: 'asleep' })).toThrow(/^kind: .*missingMailbox.*slow$/);
  });
});

const keyOf = (copy: Pick<SandboxCopy, 'mailbox' | 'networkMessageId' | 'copyKind'>) =>
  `${copy.mailbox}-${copy.networkMessageId}-${copy.copyKind}`;

function aCopy(networkMessageId: string, more: Partial<SandboxCopy> = {}): SandboxCopy {
  return {
    tenant: TENANT,
    mailbox: ALICE,
    networkMessageId,
    internetMessageId: `<${networkMessageId}@contoso.example>`,
    copyKind: 'recipient',
    folder: Folders.inbox,
    ...more,
  };
}

function moving(
  copy: SandboxCopy,
  operationId: string,
  to: Folder = Folders.recoverableDeletions,
): MoveRequest {
  const { tenant, mailbox, networkMessageId, internetMessageId, copyKind } = copy;
  return { tenant, mailbox, networkMessageId, internetMessageId, copyKind, operationId, to };
}

function caught(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('expected an error');
}
