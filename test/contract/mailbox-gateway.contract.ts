import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { newId } from '#libs/kernel';
import { Folders, isMailboxError, type Folder, type MailboxGateway, type MoveRequest } from '#libs/mailbox';

/** A copy that a test puts into a mailbox. */
export type PlacedCopy = Omit<MoveRequest, 'operationId' | 'to' | 'onlyFrom'> & { readonly folder: Folder };

/** A gateway over mailboxes that begin empty, and the means to look behind its back. */
export interface MailboxGatewayFixture {
  /** The gateway now: another object after {@link reopen}. */
  readonly gateway: MailboxGateway;
  /** Delivers copies (making their mailboxes); a mailbox in which nothing was placed does not exist. */
  place(copies: readonly PlacedCopy[]): Promise<void>;
  /** The folder a copy is in; undefined when it is in none. */
  locate(copy: PlacedCopy): Promise<Folder | undefined>;
  /** Closes the gateway and opens it again over the same mailboxes, as after a restart. */
  reopen(): Promise<void>;
  dispose(): Promise<void>;
}

const TENANT = 'contoso';
const ALICE = 'alice@contoso.example';
const BOB = 'bob@contoso.example';

/** What every adapter of {@link MailboxGateway} promises. */
export function describeMailboxGatewayContract(
  name: string,
  open: () => Promise<MailboxGatewayFixture>,
): void {
  describe(`mailbox gateway contract: ${name}`, () => {
    let mail: MailboxGatewayFixture;
    const live = new AbortController().signal;

    beforeEach(async () => {
      mail = await open();
    });

    afterEach(async () => {
      await mail.dispose();
    });

    const moving = (copy: PlacedCopy, to: Folder, more: Partial<MoveRequest> = {}): MoveRequest => {
      const { tenant, mailbox, networkMessageId, internetMessageId, copyKind } = copy;
      const key = { tenant, mailbox, networkMessageId, internetMessageId, copyKind };
      return { ...key, operationId: newId(), to, ...more };
    };
    const move = (request: MoveRequest) => mail.gateway.move(request, live);
    const placed = async (more: Partial<PlacedCopy> = {}): Promise<PlacedCopy> => {
      const copy = aCopy(more);
      await mail.place([copy]);
      return copy;
    };

    describe('moves', () => {
      it('soft deletes a copy and says where it came from', async () => {
        const copy = await placed();

        expect(await move(moving(copy, Folders.recoverableDeletions))).toEqual({
          kind: 'moved',
          from: Folders.inbox,
          to: Folders.recoverableDeletions,
        });
        expect(await mail.locate(copy)).toBe(Folders.recoverableDeletions);
      });

      it('restores a soft deleted copy to the folder of the user it came from', async () => {
        const copy = await placed({ folder: 'Inbox/Suppliers' });
        const deleted = await move(moving(copy, Folders.recoverableDeletions));
        expect(deleted).toMatchObject({ kind: 'moved', from: 'Inbox/Suppliers' });

        const restored = await move(
          moving(copy, 'Inbox/Suppliers', { onlyFrom: Folders.recoverableDeletions }),
        );

        expect(restored).toEqual({
          kind: 'moved',
          from: Folders.recoverableDeletions,
          to: 'Inbox/Suppliers',
        });
        expect(await mail.locate(copy)).toBe('Inbox/Suppliers');
      });

      it.each([Folders.inbox, Folders.junk, Folders.deletedItems, Folders.recoverableDeletions])(
        'moves to %s',
        async (to) => {
          const copy = await placed({ folder: Folders.sentItems, copyKind: 'sender' });

          expect(await move(moving(copy, to))).toEqual({ kind: 'moved', from: Folders.sentItems, to });
          expect(await mail.locate(copy)).toBe(to);
        },
      );

      it('can delete, restore and delete again by operations of their own', async () => {
        const copy = await placed();
        const path = [Folders.recoverableDeletions, Folders.inbox, Folders.recoverableDeletions];

        for (const to of path) expect(await move(moving(copy, to))).toMatchObject({ kind: 'moved', to });

        expect(await mail.locate(copy)).toBe(Folders.recoverableDeletions);
      });

      it('finds the mailbox whatever the case of its address', async () => {
        const copy = await placed({ mailbox: 'Alice@Contoso.example' });

        const result = await move(
          moving(copy, Folders.recoverableDeletions, { mailbox: 'ALICE@contoso.EXAMPLE' }),
        );

        expect(result).toMatchObject({ kind: 'moved' });
        expect(await mail.locate(copy)).toBe(Folders.recoverableDeletions);
      });
    });

    describe('refusals', () => {
      it('says when the copy is in the destination already', async () => {
        const copy = await placed({ folder: Folders.recoverableDeletions });

        expect(await move(moving(copy, Folders.recoverableDeletions))).toEqual({
          kind: 'alreadyInDestination',
          folder: Folders.recoverableDeletions,
        });
      });

      it('says when another operation moved it there before', async () => {
        const copy = await placed();
        await move(moving(copy, Folders.recoverableDeletions));

        expect(await move(moving(copy, Folders.recoverableDeletions))).toEqual({
          kind: 'alreadyInDestination',
          folder: Folders.recoverableDeletions,
        });
      });

      it('does not find a copy that is not in the mailbox', async () => {
        await placed();

        expect(await move(moving(aCopy(), Folders.recoverableDeletions))).toEqual({ kind: 'notFound' });
      });

      it('does not find a copy that was hard deleted, wherever it should go', async () => {
        const copy = await placed();
        const purge = moving(copy, Folders.recoverablePurges);
        expect(await move(purge)).toMatchObject({ kind: 'moved', to: Folders.recoverablePurges });

        for (const to of [Folders.inbox, Folders.recoverableDeletions, Folders.recoverablePurges]) {
          expect(await move(moving(copy, to))).toEqual({ kind: 'notFound' });
        }
        expect(await move(purge)).toMatchObject({ kind: 'moved' });
      });

      it('does not find a mailbox that does not exist', async () => {
        await placed();

        const elsewhere = aCopy({ mailbox: 'nobody@contoso.example' });

        expect(await move(moving(elsewhere, Folders.recoverableDeletions))).toEqual({
          kind: 'mailboxNotFound',
        });
      });

      it('leaves a copy that is no longer where it must be', async () => {
        const copy = await placed({ folder: Folders.deletedItems });

        const result = await move(moving(copy, Folders.inbox, { onlyFrom: Folders.recoverableDeletions }));

        expect(result).toEqual({ kind: 'movedSince', folder: Folders.deletedItems });
        expect(await mail.locate(copy)).toBe(Folders.deletedItems);
      });

      it('moves a copy that is where it must be', async () => {
        const copy = await placed({ folder: Folders.junk });

        const result = await move(moving(copy, Folders.inbox, { onlyFrom: Folders.junk }));

        expect(result).toEqual({ kind: 'moved', from: Folders.junk, to: Folders.inbox });
      });

      it('calls a copy in the destination "already there", whatever folder it had to come from', async () => {
        const copy = await placed();

        const result = await move(moving(copy, Folders.inbox, { onlyFrom: Folders.recoverableDeletions }));

        expect(result).toEqual({ kind: 'alreadyInDestination', folder: Folders.inbox });
      });
    });

    describe('one copy at a time', () => {
      it("tells the sender's copy from the copy that the sender received", async () => {
        const received = aCopy();
        const sent: PlacedCopy = { ...received, copyKind: 'sender', folder: Folders.sentItems };
        await mail.place([received, sent]);

        expect(await move(moving(sent, Folders.recoverableDeletions))).toMatchObject({
          kind: 'moved',
          from: Folders.sentItems,
        });
        expect(await mail.locate(received)).toBe(Folders.inbox);
        expect(await move(moving(received, Folders.recoverableDeletions))).toMatchObject({
          kind: 'moved',
          from: Folders.inbox,
        });

        await move(moving(sent, Folders.sentItems));

        expect(await mail.locate(sent)).toBe(Folders.sentItems);
        expect(await mail.locate(received)).toBe(Folders.recoverableDeletions);
      });

      it("does not take the recipient's copy for the sender's", async () => {
        const received = await placed();

        const result = await move(moving({ ...received, copyKind: 'sender' }, Folders.recoverableDeletions));

        expect(result).toEqual({ kind: 'notFound' });
        expect(await mail.locate(received)).toBe(Folders.inbox);
      });

      it('leaves other recipients, other messages and other tenants alone', async () => {
        const copy = aCopy();
        const others = [{ ...copy, mailbox: BOB }, { ...copy, tenant: 'fabrikam' }, aCopy()];
        await mail.place([copy, ...others]);

        await move(moving(copy, Folders.recoverableDeletions));

        expect(await mail.locate(copy)).toBe(Folders.recoverableDeletions);
        for (const other of others) expect(await mail.locate(other)).toBe(Folders.inbox);
      });
    });

    describe('repeats', () => {
      it('answers a repeated operation with what the first one did', async () => {
        const copy = await placed();
        const request = moving(copy, Folders.recoverableDeletions);
        const first = await move(request);

        expect(first).toMatchObject({ kind: 'moved', from: Folders.inbox });
        expect(await move(request)).toEqual(first);
        expect(await move(request)).toEqual(first);
      });

      it('answers it the same after a restart', async () => {
        const copy = await placed();
        const request = moving(copy, Folders.recoverableDeletions);
        const first = await move(request);

        await mail.reopen();

        expect(first).toMatchObject({ kind: 'moved', from: Folders.inbox });
        expect(await move(request)).toEqual(first);
        expect(await mail.locate(copy)).toBe(Folders.recoverableDeletions);
      });

      it('answers a repeated undo that was bound to a folder with what the first one did', async () => {
        const copy = await placed({ folder: Folders.recoverableDeletions });
        const undo = moving(copy, Folders.inbox, { onlyFrom: Folders.recoverableDeletions });
        const first = await move(undo);

        expect(first).toMatchObject({ kind: 'moved', to: Folders.inbox });
        expect(await move(undo)).toEqual(first);
      });

      it('repeats a refusal', async () => {
        const copy = await placed();
        const requests = [
          moving(copy, Folders.inbox),
          moving(copy, Folders.junk, { onlyFrom: Folders.recoverableDeletions }),
          moving(aCopy(), Folders.recoverableDeletions),
          moving(aCopy({ mailbox: 'nobody@contoso.example' }), Folders.recoverableDeletions),
        ];
        const kinds = ['alreadyInDestination', 'movedSince', 'notFound', 'mailboxNotFound'];

        for (const [index, request] of requests.entries()) {
          const first = await move(request);
          expect(first.kind).toBe(kinds[index]);
          expect(await move(request)).toEqual(first);
        }
      });
    });

    describe('many at once', () => {
      it('moves 500 distinct copies at once, each from its own folder', async () => {
        const copies = Array.from({ length: 500 }, (_, index) =>
          aCopy({ mailbox: index % 2 === 0 ? ALICE : BOB, folder: `Inbox/${String(index % 7)}` }),
        );
        await mail.place(copies);

        const results = await Promise.all(
          copies.map((copy) => move(moving(copy, Folders.recoverableDeletions))),
        );

        expect(results).toEqual(
          copies.map((copy) => ({ kind: 'moved', from: copy.folder, to: Folders.recoverableDeletions })),
        );
        const folders = new Set(await Promise.all(copies.map((copy) => mail.locate(copy))));
        expect(folders).toEqual(new Set([Folders.recoverableDeletions]));
      });

      it('moves once when one operation is called 50 times at once', async () => {
        const copy = await placed();
        const request = moving(copy, Folders.recoverableDeletions);

        const results = await Promise.all(Array.from({ length: 50 }, () => move(request)));

        const moved = { kind: 'moved', from: Folders.inbox, to: Folders.recoverableDeletions };
        expect(results).toEqual(Array.from({ length: 50 }, () => moved));
        expect(await mail.locate(copy)).toBe(Folders.recoverableDeletions);
      });

      it('lets one of 20 competing operations move a copy', async () => {
        const copy = await placed();

        const results = await Promise.all(
          Array.from({ length: 20 }, () => move(moving(copy, Folders.recoverableDeletions))),
        );

        const kinds = results.map((result) => result.kind).sort();
        expect(kinds).toEqual([...Array.from({ length: 19 }, () => 'alreadyInDestination'), 'moved']);
      });
    });

    it('refuses a call whose signal has fired already, and moves nothing', async () => {
      const copy = await placed();
      const request = moving(copy, Folders.recoverableDeletions);

      const error: unknown = await mail.gateway.move(request, AbortSignal.abort()).catch((e: unknown) => e);

      expect(isMailboxError(error)).toBe(true);
      expect(error).toMatchObject({ code: 'timeout', retryable: true });
      expect(await mail.locate(copy)).toBe(Folders.inbox);
      expect(await move(request)).toMatchObject({ kind: 'moved', from: Folders.inbox });
    });

    it('keeps what was moved over a restart', async () => {
      const copy = await placed();
      await move(moving(copy, Folders.junk));

      await mail.reopen();

      expect(await mail.locate(copy)).toBe(Folders.junk);
      expect(await move(moving(copy, Folders.inbox))).toMatchObject({ kind: 'moved', from: Folders.junk });
    });
  });
}

function aCopy(more: Partial<PlacedCopy> = {}): PlacedCopy {
  const networkMessageId = newId();
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
