import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { START, type Position } from '#libs/kernel';
import { waitForCheckpoint } from '#libs/read-store';
import type {
  Condition,
  FieldSpec,
  Page,
  Patch,
  Query,
  ReadStore,
  Rows,
  Scalar,
  Stored,
  ViewSpec,
} from '#libs/read-store';

export interface ReadStoreFixture {
  readonly store: ReadStore;
  /** Closes the store and opens the same data again. */
  reopen(): Promise<ReadStore>;
  /** Closes what is open and removes the data. */
  dispose(): Promise<void>;
}

interface Mail {
  readonly title: string | null;
  readonly size: number | null;
  readonly tags: readonly string[] | null;
  readonly more?: unknown;
}

type MailQuery = Omit<Query, 'limit'>;

/** What every read store does. Uses views of its own, so that stores with other data can be given. */
export function describeReadStoreContract(name: string, open: () => Promise<ReadStoreFixture>): void {
  describe(`read store contract: ${name}`, () => {
    let fixture: ReadStoreFixture;
    let store: ReadStore;
    let view: ViewSpec<Mail>;

    beforeEach(async () => {
      fixture = await open();
      store = fixture.store;
      view = mailView();
      await store.prepare(view);
    });

    afterEach(async () => {
      await fixture.dispose();
    });

    const put = (mails: readonly Stored<Mail>[], checkpoint: Position = 0n) =>
      store.commit(view, mails, checkpoint);

    const idsOf = async (query: MailQuery) => {
      const { items } = await store.find(view, { ...query, limit: 1000 });
      return items.map(({ id }) => id);
    };

    const matching = async (...where: Condition[]) => {
      const ids = await idsOf({ where });
      expect(await store.count(view, where)).toBe(ids.length);
      return ids;
    };

    describe('prepare', () => {
      it('does nothing the second time', async () => {
        await put([mail('a')], 7n);
        await store.prepare(view);
        expect(await store.checkpoint(view)).toBe(7n);
        expect(await idsOf({ where: [] })).toEqual(['a']);
      });

      it.each<[string, (view: ViewSpec<Mail>) => ViewSpec<Mail>]>([
        ['another field', (v) => ({ ...v, fields: { ...v.fields, extra: { type: 'text', of: () => '' } } })],
        ['another type', (v) => ({ ...v, fields: { ...v.fields, title: { type: 'tags', of: () => [] } } })],
        ['another index', (v) => ({ ...v, indexes: [['size']] })],
      ])('refuses the same version with %s', async (_, change) => {
        await expect(store.prepare(change(view))).rejects.toThrow('raise the version');
        const reopened = await fixture.reopen();
        await expect(reopened.prepare(change(view))).rejects.toThrow('raise the version');
      });

      it('gives a new version a new, empty place beside the old one', async () => {
        await put([mail('a')], 7n);
        const next = { ...view, version: 2, indexes: [['size']] };
        await store.prepare(next);
        expect(await store.checkpoint(next)).toBe(START);
        expect(await store.count(next, [])).toBe(0);
        expect(await store.count(view, [])).toBe(1);
      });

      it.each<[string, Partial<ViewSpec<Mail>>]>([
        ['a name with a space', { name: 'two words' }],
        ['version 0', { version: 0 }],
        ['a field named id', { fields: { id: textField } }],
        ['a field with a dot', { fields: { 'a.b': textField } }],
        ['an index over no field', { indexes: [['nothing']] }],
        ['an empty index', { indexes: [[]] }],
      ])('refuses %s', async (_, wrong) => {
        await expect(store.prepare({ ...mailView(), ...wrong })).rejects.toThrow(TypeError);
      });

      it('must come before any other use', async () => {
        await expect(store.count(mailView(), [])).rejects.toThrow('not prepared');
        await expect(store.commit(mailView(), [], 1n)).rejects.toThrow('not prepared');
      });
    });

    describe('documents', () => {
      const strange: Stored<Mail> = {
        id: "Ünï/cöde 'id' %_$.\\ 😀",
        position: 123456789012345n,
        doc: {
          title: 'NUL \0, half a pair \uD83D, "quotes", 日本語 👩‍👩‍👧',
          size: -0.1,
          tags: ['', 'a\u001Fb'],
          more: { deep: [{ er: [1, null, true, 'x', { $set: 1, 'a.b': 2 }] }], empty: {}, none: [] },
        },
      };

      it('come back as they were', async () => {
        await put([strange, mail('plain')], 5n);
        expect(await store.getMany(view, [strange.id])).toEqual([strange]);
        const reopened = await fixture.reopen();
        await reopened.prepare(view);
        expect(await reopened.getMany(view, [strange.id])).toEqual([strange]);
        expect(await reopened.checkpoint(view)).toBe(5n);
      });

      it('are found by every odd text in them', async () => {
        await put([strange]);
        const title = strange.doc.title ?? '';
        expect(await matching({ field: 'title', op: 'eq', value: title })).toEqual([strange.id]);
        expect(await matching({ field: 'title', op: 'contains', value: '\0' })).toEqual([strange.id]);
        expect(await matching({ field: 'tags', op: 'has', value: 'a\u001Fb' })).toEqual([strange.id]);
        expect(await matching({ field: 'tags', op: 'has', value: 'b' })).toEqual([]);
        expect(await matching({ field: 'id', op: 'eq', value: strange.id })).toEqual([strange.id]);
      });

      it('are given as far as they exist, each once, for any number of ids', async () => {
        const mails = Array.from({ length: 2500 }, (_, index) => mail(`m${String(index)}`));
        await put(mails);
        const wanted = ['m7', 'nobody', ...mails.map(({ id }) => id), 'm7'];
        const found = await store.getMany(view, wanted);
        expect(found.map(({ id }) => id).sort()).toEqual(mails.map(({ id }) => id).sort());
        expect(await store.getMany(view, [])).toEqual([]);
        const titles = await store.selectMany(view, ['title', 'id'], wanted);
        expect(titles.sort()).toEqual(mails.map(({ id, doc }) => [doc.title ?? '', id]).sort());
        expect(await store.selectMany(view, ['id'], [])).toEqual([]);
      });

      it('are replaced by a later position only', async () => {
        await put([mail('a', { title: 'first' }, 10n)]);
        await put([mail('a', { title: 'older' }, 9n)]);
        await put([mail('a', { title: 'equal' }, 10n)]);
        expect(await store.getMany(view, ['a'])).toEqual([mail('a', { title: 'first' }, 10n)]);
        await put([mail('a', { title: 'later' }, 11n)]);
        expect(await store.getMany(view, ['a'])).toEqual([mail('a', { title: 'later' }, 11n)]);
        expect(await matching({ field: 'title', op: 'eq', value: 'first' })).toEqual([]);
        expect(await matching({ field: 'title', op: 'eq', value: 'later' })).toEqual(['a']);
      });

      it('are replaced by a later position only within one commit too', async () => {
        await put([
          mail('a', { title: '5' }, 5n),
          mail('a', { title: '3' }, 3n),
          mail('a', { title: '5 again' }, 5n),
          mail('b', { title: '3' }, 3n),
          mail('b', { title: '5' }, 5n),
        ]);
        expect(byId(await store.getMany(view, ['a', 'b']))).toEqual([
          mail('a', { title: '5' }, 5n),
          mail('b', { title: '5' }, 5n),
        ]);
      });

      it('may be many in one commit', async () => {
        await put(Array.from({ length: 3000 }, (_, index) => mail(String(index))));
        expect(await store.count(view, [])).toBe(3000);
      });

      it.each<[string, Stored<Mail>]>([
        ['a field of another type', mail('x', { title: 3 as unknown as string })],
        ['a number that is none', mail('x', { size: Number.NaN })],
        ['an endless number', mail('x', { size: Number.POSITIVE_INFINITY })],
        ['tags that are no texts', mail('x', { tags: [1 as unknown as string] })],
        ['an id with NUL', mail('x\0')],
        ['an id with half a pair', mail('x\uD83D')],
      ])('are all refused, and the checkpoint with them, when one has %s', async (_, wrong) => {
        await put([mail('a')], 1n);
        await expect(put([mail('b', {}, 2n), wrong], 2n)).rejects.toThrow(TypeError);
        expect(await store.checkpoint(view)).toBe(1n);
        expect(await idsOf({ where: [] })).toEqual(['a']);
      });
    });

    describe('patches', () => {
      const patchable = (): ViewSpec<Mail> => ({ ...mailView(), indexes: [['size']], patchable: ['title'] });
      const patch = (id: string, title: string, position: Position) => ({ id, position, set: { title } });

      beforeEach(async () => {
        view = patchable();
        await store.prepare(view);
        const more = { deep: [1, 'é'] };
        await put([mail('a', { title: 'old', size: 1, more }, 5n), mail('b', { title: 'old' }, 5n)], 5n);
      });

      it('change what they name and the position, and are found by it', async () => {
        await store.commit(view, [patch('a', 'new', 6n)], 6n);
        expect(byId(await store.getMany(view, ['a', 'b']))).toEqual([
          mail('a', { title: 'new', size: 1, more: { deep: [1, 'é'] } }, 6n),
          mail('b', { title: 'old' }, 5n),
        ]);
        expect(await matching({ field: 'title', op: 'eq', value: 'new' })).toEqual(['a']);
        expect(await idsOf({ where: [], orderBy: ['title'] })).toEqual(['a', 'b']);
        expect(await store.count(view, [{ field: 'title', op: 'eq', value: 'old' }])).toBe(1);
        expect(await store.spread(view, 'title', [])).toEqual({ distinct: 2, most: 1 });
        expect(
          await store.select(view, ['title', 'id'], { where: [], orderBy: ['title'], limit: 9 }),
        ).toEqual({
          rows: [
            ['new', 'a'],
            ['old', 'b'],
          ],
        });
        expect(await store.selectMany(view, ['title'], ['a'])).toEqual([['new']]);
        expect(await store.checkpoint(view)).toBe(6n);
      });

      it('count by a later position only, and make no document', async () => {
        await store.commit(
          view,
          [patch('a', 'equal', 5n), patch('b', 'older', 4n), patch('c', 'new', 9n)],
          9n,
        );
        expect(byId(await store.getMany(view, ['a', 'b', 'c'])).map(({ doc }) => doc.title)).toEqual([
          'old',
          'old',
        ]);
      });

      it('are replaced by a later document, and not by an older one', async () => {
        await store.commit(view, [patch('a', 'patched', 8n), patch('b', 'patched', 8n)], 8n);
        await put([mail('a', { title: 'older' }, 7n), mail('b', { title: 'later' }, 9n)], 9n);
        expect(byId(await store.getMany(view, ['a', 'b'])).map(({ doc }) => doc.title)).toEqual([
          'patched',
          'later',
        ]);
        await store.commit(view, [patch('b', 'patched again', 10n)], 10n);
        expect(await matching({ field: 'title', op: 'startsWith', value: 'patched' })).toEqual(['a', 'b']);
      });

      it('stand beside documents in one commit', async () => {
        await store.commit(view, [patch('a', 'new', 6n), mail('c', { title: 'made' }, 6n)], 6n);
        expect(byId(await store.getMany(view, ['a', 'c'])).map(({ doc }) => doc.title)).toEqual([
          'new',
          'made',
        ]);
      });

      it.each<[string, Patch<Mail>]>([
        ['a member that is not patchable', { id: 'a', position: 6n, set: { size: 2 } }],
        ['null', { id: 'a', position: 6n, set: { title: null } }],
        ['a text with NUL', patch('a', 'x\0', 6n)],
        ['a text with half a pair', patch('a', 'x\uD83D', 6n)],
        ['an id with NUL', patch('a\0', 'x', 6n)],
      ])('are all refused, and the checkpoint with them, when one sets %s', async (_, wrong) => {
        await expect(store.commit(view, [patch('b', 'new', 6n), wrong], 6n)).rejects.toThrow(TypeError);
        expect(await store.checkpoint(view)).toBe(5n);
        expect(await matching({ field: 'title', op: 'eq', value: 'new' })).toEqual([]);
      });

      it('leave no document whose patchable member its field would not hold', async () => {
        await expect(put([mail('x', { title: null }, 6n)], 6n)).rejects.toThrow(TypeError);
        for (const member of ['size', 'title'])
          await expect(store.prepare({ ...mailView(), patchable: [member] })).rejects.toThrow(TypeError);
      });
    });

    describe('checkpoint', () => {
      it('is reached by those who wait for a commit, or for the end of their time', async () => {
        const reached = waitForCheckpoint(store, view, 3n, { timeoutMs: 60_000 });
        for (const position of [1n, 2n, 3n]) await put([], position);
        expect(await reached).toBe(true);
        expect(await waitForCheckpoint(store, view, 4n, { timeoutMs: 1 })).toBe(false);
      });

      it('begins at the start, moves with or without documents, and never goes back', async () => {
        expect(await store.checkpoint(view)).toBe(START);
        await put([], 0n);
        expect(await store.checkpoint(view)).toBe(0n);
        await put([mail('a')], 9007199254740990n);
        expect(await store.checkpoint(view)).toBe(9007199254740990n);
        await put([mail('b')], 8n);
        expect(await store.checkpoint(view)).toBe(9007199254740990n);
        expect(await idsOf({ where: [] })).toEqual(['a', 'b']);
      });

      it('is one per view', async () => {
        const other = mailView();
        await store.prepare(other);
        await put([], 5n);
        expect(await store.checkpoint(other)).toBe(START);
      });
    });

    describe('builds', () => {
      it('can be filled without indexes, and gets them when it is prepared again', async () => {
        const build = { ...view, build: 2 };
        await store.prepare({ ...build, unindexed: true });
        await store.commit(build, [mail('a', { size: 1 }), mail('b', { size: 2 })], 7n);
        await store.prepare(build);
        await store.prepare(build);
        expect(await store.checkpoint(build)).toBe(7n);
        const { items } = await store.find(build, {
          where: [],
          orderBy: ['size'],
          descending: true,
          limit: 9,
        });
        expect(items.map(({ id }) => id)).toEqual(['b', 'a']);
      });

      const title = (of: ViewSpec<Mail>, from: ReadStore = store) =>
        from.getMany(of, ['a']).then(([found]) => found?.doc.title);
      const build = (number: number): ViewSpec<Mail> => ({ ...view, build: number });
      const inUse = { kind: 'conflict', code: 'buildInUse' };

      /** Build 1 and 2 with a document each, and their checkpoints at 5 and 7. */
      async function twoBuilds(): Promise<void> {
        await store.prepare(build(2));
        await store.commit(build(1), [mail('a', { title: 'first' }, 5n)], 5n);
        await store.commit(build(2), [mail('a', { title: 'second' }, 7n)], 7n);
      }

      it('begin with the first, which is active', async () => {
        expect(await store.builds(view)).toEqual({ active: 1, builds: [{ build: 1, checkpoint: START }] });
        await put([mail('a', { title: 'there' })], 3n);
        expect(await store.builds(view)).toEqual({ active: 1, builds: [{ build: 1, checkpoint: 3n }] });
        expect(await title(build(1))).toBe('there');
      });

      it('stand beside each other, each with its own documents and checkpoint', async () => {
        await put([mail('a', { title: 'first' }, 5n), mail('b')], 5n);
        await store.prepare(build(2));
        expect(await store.checkpoint(build(2))).toBe(START);
        expect(await store.count(build(2), [])).toBe(0);
        await store.commit(build(2), [mail('a', { title: 'second' }, 2n)], 2n);
        await store.prepare(build(2));
        expect(await title(build(1))).toBe('first');
        expect(await title(build(2))).toBe('second');
        expect(await store.count(build(1), [])).toBe(2);
        expect(await store.count(build(2), [])).toBe(1);
        expect(await store.checkpoint(build(1))).toBe(5n);
        expect(await store.builds(view)).toEqual({
          active: 1,
          builds: [
            { build: 1, checkpoint: 5n },
            { build: 2, checkpoint: 2n },
          ],
        });
      });

      it('are queried as filters, pages and counts are: each by its own', async () => {
        await twoBuilds();
        await store.commit(build(2), [mail('b', { title: 'second' }, 8n)], 8n);
        const where: Condition[] = [{ field: 'title', op: 'eq', value: 'second' }];
        expect(await store.count(build(1), where)).toBe(0);
        expect(await store.count(build(2), where)).toBe(2);
        const pages = await pagesOf(store, build(2), { where: [], orderBy: ['title'] }, 1);
        expect(pages.flat().map(({ id }) => id)).toEqual(['a', 'b']);
      });

      it('are read without a number as the active one, before a switch, after it and after the way back', async () => {
        await twoBuilds();
        expect(await title(view)).toBe('first');
        expect(await store.checkpoint(view)).toBe(5n);
        await store.activate(view, 2, 10n);
        expect(await title(view)).toBe('second');
        expect(await store.checkpoint(view)).toBe(7n);
        expect(await matching({ field: 'title', op: 'eq', value: 'second' })).toEqual(['a']);
        expect(await store.builds(view)).toMatchObject({ active: 2 });
        await store.activate(view, 1, 11n);
        expect(await title(view)).toBe('first');
        expect(await store.checkpoint(view)).toBe(5n);
      });

      it('are written without a number as the active one', async () => {
        await twoBuilds();
        await store.activate(view, 2, 10n);
        await put([mail('a', { title: 'third' }, 12n)], 12n);
        expect([await title(build(1)), await title(build(2))]).toEqual(['first', 'third']);
        expect(await store.checkpoint(build(1))).toBe(5n);
      });

      it('are not switched by what was decided earlier, or at the same place', async () => {
        await twoBuilds();
        await store.activate(view, 2, 10n);
        await store.activate(view, 1, 9n);
        expect(await title(view)).toBe('second');
        await store.activate(view, 1, 10n);
        expect(await title(view)).toBe('second');
        await store.activate(view, 2, 100n);
        await store.activate(view, 1, 11n);
        expect(await store.builds(view)).toMatchObject({ active: 2 });
      });

      it('are switched to only when they are prepared', async () => {
        await expect(store.activate(view, 2, 1n)).rejects.toThrow('not prepared');
        expect(await store.builds(view)).toMatchObject({ active: 1 });
        await expect(store.count(build(2), [])).rejects.toThrow('not prepared');
      });

      it('outlive the store that made them, and so does the switch', async () => {
        await twoBuilds();
        await store.activate(view, 2, 10n);
        await store.discard(view, 1);
        const reopened = await fixture.reopen();
        await reopened.prepare(view);
        expect(await reopened.builds(view)).toEqual({ active: 2, builds: [{ build: 2, checkpoint: 7n }] });
        expect(await title(view, reopened)).toBe('second');
        await reopened.prepare(build(3));
        await reopened.activate(view, 3, 10n);
        expect(await title(view, reopened)).toBe('second');
        await reopened.activate(view, 3, 11n);
        expect(await title(view, reopened)).toBeUndefined();
      });

      it('are discarded with documents and checkpoint, once or twice', async () => {
        await twoBuilds();
        await store.discard(view, 2);
        await store.discard(view, 2);
        await store.discard(view, 7);
        expect(await store.builds(view)).toEqual({ active: 1, builds: [{ build: 1, checkpoint: 5n }] });
        await expect(store.getMany(build(2), ['a'])).rejects.toThrow('not prepared');
        await expect(store.commit(build(2), [], 9n)).rejects.toThrow('not prepared');
        await store.prepare(build(2));
        expect(await store.checkpoint(build(2))).toBe(START);
        expect(await store.count(build(2), [])).toBe(0);
        expect(await title(view)).toBe('first');
      });

      it('are not discarded while they are active', async () => {
        await twoBuilds();
        await expect(store.discard(view, 1)).rejects.toMatchObject(inUse);
        await store.activate(view, 2, 10n);
        await expect(store.discard(view, 2)).rejects.toMatchObject(inUse);
        await store.discard(view, 1);
        expect(await title(view)).toBe('second');
        expect(await store.builds(view)).toEqual({ active: 2, builds: [{ build: 2, checkpoint: 7n }] });
      });

      it('are listed in the order in which they were begun, and by view and version', async () => {
        for (const number of [10, 2, 9]) await store.prepare(build(number));
        await store.prepare({ ...build(4), version: 2 });
        await store.prepare({ ...build(5), version: 10 });
        await store.prepare({ ...build(6), name: `${view.name}b` });
        const { builds } = await store.builds(view);
        expect(builds.map((one) => one.build)).toEqual([1, 2, 9, 10]);
      });

      it('all have the shape of their version', async () => {
        const changed = { ...build(2), indexes: [['size']] };
        await store.prepare(build(2));
        await expect(store.prepare(changed)).rejects.toThrow('raise the version');
        await expect(store.prepare({ ...build(0) })).rejects.toThrow(TypeError);
        await expect(store.prepare({ ...build(1.5) })).rejects.toThrow(TypeError);
        const reopened = await fixture.reopen();
        await expect(reopened.prepare(changed)).rejects.toThrow('raise the version');
      });
    });

    describe('conditions', () => {
      it('compare numbers; a document without one matches none', async () => {
        await put([
          mail('none', { size: null }),
          mail('minus', { size: -2 }),
          mail('zero', { size: 0 }),
          mail('half', { size: 0.5 }),
          mail('big', { size: 1e300 }),
        ]);
        const size = (op: 'eq' | 'gt' | 'gte' | 'lt' | 'lte', value: number) =>
          matching({ field: 'size', op, value });
        expect(await size('eq', 0)).toEqual(['zero']);
        expect(await size('gt', 0)).toEqual(['big', 'half']);
        expect(await size('gte', 0)).toEqual(['big', 'half', 'zero']);
        expect(await size('lt', 0)).toEqual(['minus']);
        expect(await size('lte', 0)).toEqual(['minus', 'zero']);
        expect(await size('gt', -1e308)).toEqual(['big', 'half', 'minus', 'zero']);
        expect(await matching({ field: 'size', op: 'in', value: [0.5, 7, 1e300, 0.5] })).toEqual([
          'big',
          'half',
        ]);
        expect(await matching({ field: 'size', op: 'in', value: [] })).toEqual([]);
      });

      it('compare texts by their bytes; one that is null is the empty text', async () => {
        const titles = ['\u{10000}', '\uFFFF', 'b', 'a', 'Z', '', null];
        await put(titles.map((title, index) => mail(String(index), { title })));
        const title = (op: 'eq' | 'gt' | 'gte' | 'lt' | 'lte', value: string) =>
          matching({ field: 'title', op, value });
        expect(await title('eq', 'a')).toEqual(['3']);
        expect(await title('eq', '')).toEqual(['5', '6']);
        expect(await title('gt', 'b')).toEqual(['0', '1']);
        expect(await title('gt', '\uFFFF')).toEqual(['0']);
        expect(await title('gte', 'b')).toEqual(['0', '1', '2']);
        expect(await title('lt', 'a')).toEqual(['4', '5', '6']);
        expect(await title('lte', 'a')).toEqual(['3', '4', '5', '6']);
        expect(await matching({ field: 'title', op: 'in', value: ['a', 'Z', 'no', 'a'] })).toEqual([
          '3',
          '4',
        ]);
        expect(await matching({ field: 'title', op: 'in', value: [] })).toEqual([]);
      });

      it('take texts literally and exact about case', async () => {
        const titles = ['100% sure', '100 sure', 'a_b', 'axb', 'A_B', '.*', '^a$', 'c:\\x', "it's", '[a]'];
        await put(titles.map((title) => mail(title, { title })));
        const expectations: [string, string[]][] = [
          ['100%', ['100% sure']],
          ['100', ['100 sure', '100% sure']],
          ['a_', ['a_b']],
          ['A', ['A_B']],
          ['.*', ['.*']],
          ['.', ['.*']],
          ['^a$', ['^a$']],
          ['c:\\', ['c:\\x']],
          ["it'", ["it's"]],
          ['[a', ['[a]']],
        ];
        for (const [value, ids] of expectations) {
          expect(await matching({ field: 'title', op: 'startsWith', value })).toEqual(ids);
        }
        expect(await matching({ field: 'title', op: 'contains', value: '% ' })).toEqual(['100% sure']);
        expect(await matching({ field: 'title', op: 'contains', value: '_b' })).toEqual(['a_b']);
        expect(await matching({ field: 'title', op: 'contains', value: 'x' })).toEqual(['axb', 'c:\\x']);
        expect(await matching({ field: 'title', op: 'contains', value: '\\' })).toEqual(['c:\\x']);
        expect(await matching({ field: 'title', op: 'contains', value: '' })).toHaveLength(titles.length);
        expect(await matching({ field: 'title', op: 'startsWith', value: '' })).toHaveLength(titles.length);
      });

      it('find a text by its beginning at the edges of Unicode too', async () => {
        const last = '\u{10FFFF}';
        await put([mail('a', { title: last }), mail('b', { title: last + last }), mail('c', { title: '' })]);
        expect(await matching({ field: 'title', op: 'startsWith', value: last })).toEqual(['a', 'b']);
        expect(await matching({ field: 'title', op: 'startsWith', value: last + last })).toEqual(['b']);
        await put([mail('d', { title: '\uD7FF!' }), mail('e', { title: '\uE000' })]);
        expect(await matching({ field: 'title', op: 'startsWith', value: '\uD7FF' })).toEqual(['d']);
      });

      it('find whole tags only', async () => {
        await put([
          mail('1', { tags: ['a'] }),
          mail('2', { tags: ['ab', 'b'] }),
          mail('3', { tags: ['b', 'a', 'c'] }),
          mail('4', { tags: ['A', 'a b'] }),
          mail('5', { tags: [''] }),
          mail('6', { tags: [] }),
          mail('7', { tags: null }),
        ]);
        const has = (value: string) => matching({ field: 'tags', op: 'has', value });
        expect(await has('a')).toEqual(['1', '3']);
        expect(await has('ab')).toEqual(['2']);
        expect(await has('b')).toEqual(['2', '3']);
        expect(await has('A')).toEqual(['4']);
        expect(await has('a b')).toEqual(['4']);
        expect(await has('')).toEqual(['5']);
        expect(await has('%')).toEqual([]);
      });

      it('work on the id and hold all together', async () => {
        await put([mail('aa', { size: 1 }), mail('ab', { size: 2 }), mail('b', { size: 2 })]);
        expect(await matching({ field: 'id', op: 'startsWith', value: 'a' })).toEqual(['aa', 'ab']);
        expect(
          await matching(
            { field: 'id', op: 'startsWith', value: 'a' },
            { field: 'size', op: 'gte', value: 2 },
          ),
        ).toEqual(['ab']);
        expect(
          await matching({ field: 'size', op: 'gt', value: 1 }, { field: 'size', op: 'lt', value: 2 }),
        ).toEqual([]);
      });

      it.each<[string, Condition]>([
        ['an unknown field', { field: 'nothing', op: 'eq', value: 'x' }],
        ['a field that only objects have', { field: 'toString', op: 'eq', value: 'x' }],
        ['has on a text', { field: 'title', op: 'has', value: 'x' }],
        ['contains on a number', { field: 'size', op: 'contains', value: '1' }],
        ['startsWith on tags', { field: 'tags', op: 'startsWith', value: 'a' }],
        ['eq on tags', { field: 'tags', op: 'eq', value: 'a' }],
        ['a number for a text', { field: 'title', op: 'eq', value: 1 }],
        ['a text for a number', { field: 'size', op: 'in', value: [1, '2'] }],
        ['a number that is none', { field: 'size', op: 'lt', value: Number.NaN }],
        ['an operator hidden in a value', { field: 'title', op: 'eq', value: { $ne: '' } as never }],
      ])('refuse %s', async (_, condition) => {
        await expect(store.find(view, { where: [condition], limit: 1 })).rejects.toThrow(TypeError);
        await expect(store.count(view, [condition])).rejects.toThrow(TypeError);
      });
    });

    describe('totals', () => {
      it('count documents and add up a number, where there is one', async () => {
        await put([
          mail('a', { title: 'x', size: 1.5 }),
          mail('b', { title: 'x', size: 2 }),
          mail('c', { title: 'x', size: null }),
          mail('d', { title: 'y', size: 100 }),
        ]);
        const total = (...where: Condition[]) => store.total(view, 'size', where);
        expect(await total({ field: 'title', op: 'eq', value: 'x' })).toEqual({ count: 3, sum: 3.5 });
        expect(await total({ field: 'title', op: 'in', value: ['x', 'y'] })).toEqual({
          count: 4,
          sum: 103.5,
        });
        expect(await total({ field: 'title', op: 'eq', value: 'z' })).toEqual({ count: 0, sum: 0 });
        await expect(store.total(view, 'title', [])).rejects.toThrow(TypeError);
      });
    });

    describe('spread', () => {
      it('counts the values of a text, and the documents of the one with most', async () => {
        await put([
          mail('a', { title: 'x', size: 1 }),
          mail('b', { title: 'y', size: 1 }),
          mail('c', { title: 'x', size: 1 }),
          mail('d', { title: null, size: 1 }),
          mail('e', { title: 'x', size: 2 }),
        ]);
        const spread = (...where: Condition[]) => store.spread(view, 'title', where);
        expect(await spread()).toEqual({ distinct: 3, most: 3 });
        expect(await spread({ field: 'size', op: 'lt', value: 2 })).toEqual({ distinct: 3, most: 2 });
        expect(await spread({ field: 'size', op: 'eq', value: 2 })).toEqual({ distinct: 1, most: 1 });
        expect(await spread({ field: 'size', op: 'gt', value: 2 })).toEqual({ distinct: 0, most: 0 });
        await expect(store.spread(view, 'size', [])).rejects.toThrow(TypeError);
        await expect(store.spread(view, 'tags', [])).rejects.toThrow(TypeError);
      });
    });

    describe('order and pages', () => {
      it('sorts by id without another order, and in both directions', async () => {
        await put([mail('b'), mail('a'), mail('C'), mail('é')]);
        expect(await idsOf({ where: [] })).toEqual(['C', 'a', 'b', 'é']);
        expect(await idsOf({ where: [], descending: true })).toEqual(['é', 'b', 'a', 'C']);
        expect(await idsOf({ where: [], orderBy: ['id'], descending: true })).toEqual(['é', 'b', 'a', 'C']);
      });

      it('sorts by several fields, null first, the id last', async () => {
        await put([
          mail('e', { title: 'x', size: 1 }),
          mail('d', { title: 'x', size: 1 }),
          mail('c', { title: 'x', size: null }),
          mail('b', { title: null, size: 9 }),
          mail('a', { title: 'y', size: -5 }),
        ]);
        const order = ['b', 'c', 'd', 'e', 'a'];
        expect(await idsOf({ where: [], orderBy: ['title', 'size'] })).toEqual(order);
        expect(await idsOf({ where: [], orderBy: ['title', 'size'], descending: true })).toEqual(
          [...order].reverse(),
        );
        expect(await idsOf({ where: [], orderBy: ['size'] })).toEqual(['c', 'a', 'd', 'e', 'b']);
      });

      it.each([false, true])(
        'visits every document once with ties and nulls, descending: %s',
        async (descending) => {
          const mails = Array.from({ length: 60 }, (_, index) =>
            mail(String(index), {
              title: index % 4 === 0 ? null : `t${String(index % 3)}`,
              size: index % 5 === 0 ? null : index % 2,
            }),
          );
          await put(mails);
          const query = { where: [], orderBy: ['size', 'title'], descending };
          for (const limit of [1, 7, 20, 59, 60, 61]) {
            const pages = await pagesOf(store, view, query, limit);
            expect(pages.flat().map(({ id }) => id)).toEqual(reference(mails, query));
            expect(pages).toHaveLength(Math.ceil(mails.length / limit));
          }
        },
      );

      it('visits what was there once while other documents come', async () => {
        const mails = Array.from({ length: 40 }, (_, index) =>
          mail(`m${String(index)}`, { size: index % 4 }),
        );
        await put(mails);
        const seen: string[] = [];
        let after: readonly Scalar[] | undefined;
        let turn = 0;
        do {
          const page: Page<Mail> = await store.find(view, {
            where: [],
            orderBy: ['size'],
            ...(after && { after }),
            limit: 6,
          });
          seen.push(...page.items.map(({ id }) => id));
          after = page.next;
          turn += 1;
          if (turn < 20) {
            await put([0, 1, 2, 3].map((size) => mail(`new${String(turn)}of${String(size)}`, { size })));
          }
        } while (after);
        expect(new Set(seen).size).toBe(seen.length);
        expect(seen.filter((id) => id.startsWith('m')).sort()).toEqual(mails.map(({ id }) => id).sort());
      });

      it('names a next page only when there is one', async () => {
        await put([mail('a'), mail('b'), mail('c')]);
        expect((await store.find(view, { where: [], limit: 3 })).next).toBeUndefined();
        const { items, next } = await store.find(view, { where: [], limit: 2 });
        expect(items).toHaveLength(2);
        expect(next).toEqual(['b']);
        const last = await store.find(view, { where: [], after: next ?? [], limit: 1 });
        expect(last.items.map(({ id }) => id)).toEqual(['c']);
        expect(last.next).toBeUndefined();
        expect(await store.find(view, { where: [], after: ['c'], limit: 1 })).toEqual({ items: [] });
      });

      it('pages within a filter, with a cursor that has been JSON', async () => {
        await put(
          Array.from({ length: 30 }, (_, index) =>
            mail(String(index), {
              size: index % 3 === 0 ? null : index % 2,
              tags: [`t${String(index % 2)}`],
            }),
          ),
        );
        const where: Condition[] = [{ field: 'tags', op: 'has', value: 't1' }];
        const pages = await pagesOf(store, view, { where, orderBy: ['size'], descending: true }, 4);
        const all = await idsOf({ where, orderBy: ['size'], descending: true });
        expect(all).toHaveLength(15);
        expect(pages.flat().map(({ id }) => id)).toEqual(all);
      });

      it.each<[string, Partial<Query>]>([
        ['limit 0', { limit: 0 }],
        ['limit 10,001', { limit: 10_001 }],
        ['half a limit', { limit: 1.5 }],
        ['an order by tags', { orderBy: ['tags'] }],
        ['an order by no field', { orderBy: ['nothing'] }],
      ])('refuses %s', async (_, wrong) => {
        await expect(store.find(view, { where: [], limit: 1, ...wrong })).rejects.toThrow(TypeError);
      });

      it.each<[string, readonly Scalar[]]>([
        ['too short', [1]],
        ['too long', [1, 'a', 'b']],
        ['of other types', ['1', 'a']],
        ['of no number', [Number.NaN, 'a']],
      ])('refuses a cursor that is %s', async (_, after) => {
        await expect(
          store.find(view, { where: [], orderBy: ['size'], after, limit: 1 }),
        ).rejects.toMatchObject({ kind: 'invalid', code: 'invalidCursor' });
      });
    });

    describe('selected fields', () => {
      it('are given in the order in which they are named, with what a page is sorted by or not', async () => {
        await put([mail('b', { title: 'x', size: 2 }), mail('a', { title: null, size: 3 })]);
        const query: Query = { where: [{ field: 'size', op: 'gt', value: 1 }], orderBy: ['size'], limit: 9 };
        expect(await store.select(view, ['title'], query)).toEqual({ rows: [['x'], ['']] });
        expect(await store.select(view, ['id', 'title'], { ...query, limit: 1 })).toEqual({
          rows: [['b', 'x']],
          next: [2, 'b'],
        });
      });

      it.each([[[]], [['size']], [['tags']], [['nothing']]])('are texts: %j is refused', async (fields) => {
        await expect(store.select(view, fields, { where: [], limit: 1 })).rejects.toThrow(TypeError);
        await expect(store.selectMany(view, fields, ['a'])).rejects.toThrow(TypeError);
      });
    });

    it('answers any query as a plain evaluation does', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(anyMail, { selector: ({ id }) => id, maxLength: 30 }),
          fc.array(anyQuery, { minLength: 1, maxLength: 12 }),
          fc.integer({ min: 1, max: 8 }),
          async (mails, queries, limit) => {
            view = mailView();
            await store.prepare(view);
            await put(mails);
            for (const query of queries) {
              const expected = reference(mails, query);
              const pages = await pagesOf(store, view, query, limit);
              expect(pages.flat().map(({ id }) => id)).toEqual(expected);
              const rows = await rowPagesOf(store, view, ['title', 'id'], query, limit);
              expect(rows).toEqual(pages.map((page) => page.map(({ id, doc }) => [doc.title ?? '', id])));
              expect(await store.count(view, query.where)).toBe(expected.length);
            }
          },
        ),
        { numRuns: 60 },
      );
    });

    it('may be closed twice, and is unavailable then', async () => {
      await store.close();
      await store.close();
      await expect(store.count(view, [])).rejects.toMatchObject({ kind: 'unavailable' });
    });
  });
}

const textField: FieldSpec<Mail> = { type: 'text', of: ({ title }) => title };

const mailView = (): ViewSpec<Mail> => ({
  name: `mail${randomUUID().replaceAll('-', '')}`,
  version: 1,
  fields: {
    title: textField,
    size: { type: 'number', of: ({ size }) => size },
    tags: { type: 'tags', of: ({ tags }) => tags },
  },
  indexes: [['size'], ['size', 'title'], ['title', 'id']],
});

const mail = (id: string, doc: Partial<Mail> = {}, position: Position = 1n): Stored<Mail> => ({
  id,
  position,
  doc: { title: null, size: null, tags: null, ...doc },
});

const byId = (mails: readonly Stored<Mail>[]) => [...mails].sort((a, b) => compare(a.id, b.id));

/** All pages, following `next` as a client would: through JSON. */
async function through<P extends { readonly next?: readonly Scalar[] }>(
  ask: (place: Pick<Query, 'after'>) => Promise<P>,
): Promise<P[]> {
  const pages: P[] = [];
  let after: readonly Scalar[] | undefined;
  do {
    const page = await ask(after === undefined ? {} : { after });
    pages.push(page);
    after = page.next && (JSON.parse(JSON.stringify(page.next)) as Scalar[]);
  } while (after);
  return pages;
}

async function pagesOf(
  store: ReadStore,
  view: ViewSpec<Mail>,
  query: MailQuery,
  limit: number,
): Promise<(readonly Stored<Mail>[])[]> {
  const pages = await through<Page<Mail>>((place) => store.find(view, { ...query, ...place, limit }));
  return pages.map(({ items }) => items);
}

async function rowPagesOf(
  store: ReadStore,
  view: ViewSpec<Mail>,
  fields: readonly string[],
  query: MailQuery,
  limit: number,
): Promise<(readonly (readonly string[])[])[]> {
  const pages = await through<Rows>((place) => store.select(view, fields, { ...query, ...place, limit }));
  return pages.map(({ rows }) => rows);
}

/** The ids that a query gives, worked out the slow and obvious way. */
function reference(mails: readonly Stored<Mail>[], query: MailQuery): string[] {
  const keys = [...(query.orderBy ?? []), 'id'];
  const sign = query.descending ? -1 : 1;
  return mails
    .filter((one) => query.where.every((condition) => holds(one, condition)))
    .sort((a, b) => {
      const differing = keys.find((key) => compare(sortValue(a, key), sortValue(b, key)) !== 0) ?? 'id';
      return sign * compare(sortValue(a, differing), sortValue(b, differing));
    })
    .map(({ id }) => id);
}

function sortValue({ id, doc }: Stored<Mail>, field: string): Scalar {
  if (field === 'id') return id;
  return field === 'size' ? (doc.size ?? Number.NEGATIVE_INFINITY) : (doc.title ?? '');
}

const compare = (a: Scalar, b: Scalar): number =>
  typeof a === 'number'
    ? Math.sign(a - Number(b)) || 0
    : Buffer.compare(Buffer.from(a), Buffer.from(String(b)));

function holds(one: Stored<Mail>, condition: Condition): boolean {
  if (condition.op === 'has') return (one.doc.tags ?? []).includes(condition.value);
  if (condition.field === 'size' && one.doc.size === null) return false;
  const value = sortValue(one, condition.field);
  switch (condition.op) {
    case 'eq':
      return compare(value, condition.value) === 0;
    case 'gt':
      return compare(value, condition.value) > 0;
    case 'gte':
      return compare(value, condition.value) >= 0;
    case 'lt':
      return compare(value, condition.value) < 0;
    case 'lte':
      return compare(value, condition.value) <= 0;
    case 'in':
      return condition.value.some((allowed) => compare(value, allowed) === 0);
    case 'startsWith':
      return String(value).startsWith(condition.value);
    case 'contains':
      return String(value).includes(condition.value);
  }
}

/** Few different characters, so that texts meet; each of them is a trap somewhere. */
const anyText = fc.string({
  unit: fc.constantFrom(
    ...['a', 'A', 'b', ' ', '%', '_', '*', '.', '$', '^', '\\', "'", '"', '\u0001', 'é', '\uD7FF', '\uE000'],
    ...['\uFFFF', '😀', '\u{10FFFF}'],
  ),
  maxLength: 3,
});

const anyNumber = fc
  .oneof(
    fc.constantFrom(0, -0, 1, -1, 0.1, 2.5, 1e300, Number.MAX_SAFE_INTEGER, 1e-9),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  )
  // Not what stands for "no number", and nothing so small that a driver may bind it as 0.
  .filter((value) => value === 0 || (Math.abs(value) > 1e-15 && value !== -Number.MAX_VALUE));

const anyMail: fc.Arbitrary<Stored<Mail>> = fc.record({
  id: anyText,
  position: fc.bigInt({ min: 0n, max: 1000n }),
  doc: fc.record({
    title: fc.option(anyText),
    size: fc.option(anyNumber),
    tags: fc.option(fc.array(anyText, { maxLength: 3 })),
  }),
});

const comparison = fc.constantFrom('eq', 'gt', 'gte', 'lt', 'lte');
const textName = fc.constantFrom('title', 'id');

const anyCondition: fc.Arbitrary<Condition> = fc.oneof(
  fc.record({ field: textName, op: comparison, value: anyText }),
  fc.record({ field: fc.constant('size'), op: comparison, value: anyNumber }),
  fc.record({ field: textName, op: fc.constant('in'), value: fc.array(anyText, { maxLength: 20 }) }),
  fc.record({
    field: fc.constant('size'),
    op: fc.constant('in'),
    value: fc.array(anyNumber, { maxLength: 9 }),
  }),
  fc.record({ field: textName, op: fc.constantFrom('startsWith', 'contains'), value: anyText }),
  fc.record({ field: fc.constant('tags'), op: fc.constant('has'), value: anyText }),
);

const anyQuery: fc.Arbitrary<MailQuery> = fc.record({
  where: fc.array(anyCondition, { maxLength: 2 }),
  orderBy: fc.uniqueArray(fc.constantFrom('title', 'size', 'id'), { maxLength: 3 }),
  descending: fc.boolean(),
});
