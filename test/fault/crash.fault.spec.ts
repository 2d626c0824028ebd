import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  Copies,
  actionLogView,
  countsOf as countsOfTally,
  historyView,
  messageBatchesView,
  placeAfter,
} from '#libs/action-center';
import { pause } from '#libs/kernel';
import { Folders } from '#libs/mailbox';
import { DEFAULT_TENANT } from '#libs/platform';
import { type Projection } from '#libs/read-store';
import { SqliteReadStore } from '#libs/read-store/sqlite';
import { approvalIdFor, copyKeyOf } from '#libs/remediation';
import {
  CrashLab,
  Dice,
  afterCommits,
  afterMs,
  once,
  type Kill,
  type Trigger,
} from '../support/crash-lab.js';
import { buildProject } from '../support/crash-server.js';
import { Evidence, foldersOf, repeated } from '../support/evidence.js';
import { MailInput, hasRealInput } from '../support/mail-input.js';
import {
  allPages,
  bodyOf,
  countsOf,
  csvTable,
  request,
  type EntryBody,
  type LogRowBody,
  type PreviewBody,
  type SubmittedBody,
} from '../support/server.js';
import { SEED } from '../support/seed.js';

const dice = new Dice(SEED);
const MINUTES = 60_000;

/** One remediation of the journey. Its approval ID follows from its key. */
interface Step {
  readonly name: 'soft delete' | 'undo' | 'undo of the undo';
  readonly key: string;
  readonly approvalId: string;
  readonly path: string;
  readonly body: Record<string, unknown>;
}

const stepOf = (name: Step['name'], path: string, body: Record<string, unknown>): Step => {
  const key = name.replaceAll(' ', '-');
  return { name, key, approvalId: approvalIdFor(DEFAULT_TENANT, key), path, body };
};

const undoOf = (name: Step['name'], { approvalId }: Step): Step =>
  stepOf(name, `/v1/remediations/${approvalId}/undo`, { name });

const softDelete = stepOf('soft delete', '/v1/remediations', request());
const undo = undoOf('undo', softDelete);
const redo = undoOf('undo of the undo', undo);
const STEPS = [softDelete, undo, redo];

/** What was going on in a process that has left this. */
const phaseOf =
  ({ name, approvalId }: Step) =>
  ({ lives }: Evidence): string => {
    const types = lives.get(approvalId)?.map(({ type }) => type) ?? [];
    if (types.length === 0) return `${name}: planning`;
    return types.includes('RemediationCompleted') ? `${name}: projection` : `${name}: execution`;
  };

const atStart = (low: number, high: number): Kill => ({ during: 'start', afterMs: dice.between(low, high) });

/** After the request was sent: before anything is written, and in the midst of the batches. */
const planning = (): Kill[] => [
  { during: 'work', when: afterMs(dice.between(0, 60)) },
  { during: 'work', when: afterCommits('events', 1, dice.between(0, 10)) },
  { during: 'work', when: afterCommits('events', Math.floor(dice.between(2, 4)), dice.between(0, 10)) },
];

/** While mailboxes are moving copies, and while the views show it. */
const execution = ({ approvalId }: Step): Kill[] => {
  const submitted = once((lab) => lab.lookout.entry(approvalId) !== undefined, 0);
  const moving = (): Trigger => {
    const moved = afterCommits('sandbox', Math.floor(dice.between(1, 4)), dice.between(0, 30));
    return async (lab, signal) => {
      await submitted(lab, signal);
      await moved(lab, signal);
    };
  };
  const succeeded = (lab: CrashLab): number => lab.lookout.entry(approvalId)?.counts.succeeded ?? 0;
  const part = dice.between(0.2, 0.9);
  const shown = once(
    (lab) => succeeded(lab) >= part * (lab.lookout.entry(approvalId)?.plan.remediable ?? Infinity),
    dice.between(0, 60),
  );
  return [
    { during: 'work', when: moving() },
    { during: 'stop', when: moving(), afterMs: dice.between(0, 40) },
    { during: 'work', when: moving() },
    { during: 'work', when: shown },
  ];
};

describe(`the journey, its process killed again and again (seed ${dice.seed})`, () => {
  let input: MailInput;
  let lab: CrashLab;
  beforeAll(async () => {
    lab = new CrashLab(await mkdtemp(join(tmpdir(), 'clawback-crash-')));
    await buildProject();
    input = hasRealInput()
      ? await MailInput.real()
      : MailInput.generated({ messages: 2500, seed: 'crash suite' });
    process.stdout.write(`crash suite: seed ${dice.seed}, ${input.emails.size} emails of ${input.name}\n`);
  }, 3 * MINUTES);

  afterAll(async () => {
    await lab.dispose();
    await rm(lab.dataDirectory, { recursive: true, force: true });
  });

  /** Sends the request, a repeated one under the same key, and waits until the history says that it is done. */
  const carriedOut = async ({ path, body, key, approvalId }: Step): Promise<SubmittedBody> => {
    const answer = await lab.api.post(path, body, { 'idempotency-key': key });
    const submitted = bodyOf(answer, 202) as SubmittedBody;
    expect(submitted.approvalId).toBe(approvalId);
    const finished: readonly (string | undefined)[] = ['completed', 'failed', 'rejected'];
    await lab.untilSeen(() => finished.includes(lab.lookout.entry(approvalId)?.status));
    return submitted;
  };

  const killedThrough = (step: Step, more: readonly Kill[] = []): Promise<SubmittedBody> =>
    lab.through(phaseOf(step), () => carriedOut(step), [...planning(), ...more, ...execution(step)]);

  const succeeded = (): number =>
    (input.softDeleted().recipientCopies.succeeded ?? 0) + (input.softDeleted().sendersCopies.succeeded ?? 0);

  it(
    'imports every email once',
    async () => {
      const inQuarter = (quarter: number): Kill => {
        const lines = dice.between(quarter / 4, (quarter + 0.8) / 4) * input.emails.size;
        return { during: 'work', when: once(() => lab.lines >= lines, dice.between(0, 60)) };
      };
      const kills = [
        atStart(100, 900),
        ...[0, 1].map(inQuarter),
        atStart(300, 1500),
        ...[2, 3].map(inQuarter),
      ];
      const report = await lab.through(
        () => 'import',
        () => lab.import(input.gzip),
        kills,
      );
      expect(report).toMatchObject({ rejected: 0, rejections: [] });
      expect(report.accepted + report.unchanged).toBe(input.emails.size);

      await lab.stop();
      const { emails, records } = await Evidence.of(lab.dataDirectory);
      expect(emails).toEqual(new Set(input.emails.keys()));
      expect(records).toBe(input.emails.size);
    },
    2 * MINUTES,
  );

  it(
    'soft deletes every copy once',
    async () => {
      const expected = countsOf(...partsOf(input));
      await lab.start();
      const preview = bodyOf(await lab.api.post('/v1/remediations/preview', request()), 200) as PreviewBody;
      await lab.stop();

      const { plan, selectionHash, undoable } = await killedThrough(softDelete, [atStart(300, 1500)]);
      expect({ plan, selectionHash, undoable }).toEqual(preview);
      expect(plan).toMatchObject({
        emails: input.emails.size,
        recipientCopies: expected.recipientCopies.submitted,
        sendersCopies: expected.sendersCopies.submitted,
        nonRemediable: expected.nonRemediable,
      });
      expect(lab.lookout.entry(softDelete.approvalId)).toMatchObject({
        status: 'completed',
        counts: expected,
      });

      await lab.stop();
      const folders = await foldersOf(lab.dataDirectory, input.copies);
      expect([...folders.keys()]).toEqual([...input.copies.keys()]);
      expect(new Set(folders.values())).toEqual(new Set([Folders.recoverableDeletions]));
    },
    2 * MINUTES,
  );

  it(
    'brings every copy back to where it was',
    async () => {
      await killedThrough(undo);
      expect(lab.lookout.entry(undo.approvalId)).toMatchObject({
        status: 'completed',
        counts: { submitted: succeeded(), succeeded: succeeded() },
      });
      await lab.stop();
      expect(await foldersOf(lab.dataDirectory, input.copies)).toEqual(input.delivered());
    },
    2 * MINUTES,
  );

  it(
    'undoes the undo',
    async () => {
      await killedThrough(redo);
      expect(lab.lookout.entry(redo.approvalId)).toMatchObject({
        status: 'completed',
        counts: { submitted: succeeded(), succeeded: succeeded() },
      });
      await lab.stop();
      const folders = await foldersOf(lab.dataDirectory, input.copies);
      expect(folders.size).toBe(input.copies.size);
      expect(new Set(folders.values())).toEqual(new Set([Folders.recoverableDeletions]));
    },
    2 * MINUTES,
  );

  it(
    'has recorded what was done, once, and shows it in every view',
    async () => {
      const evidence = await Evidence.of(lab.dataDirectory);
      expect(evidence.contradictions()).toEqual([]);
      expect(evidence.inDoubt()).toBe(0);
      expect([...evidence.lives.keys()].sort()).toEqual(STEPS.map(({ approvalId }) => approvalId).sort());
      expect(evidence.journal).toHaveLength(3 * succeeded());

      await lab.start();
      for (const step of STEPS) {
        const submission = evidence.submission(step.approvalId);
        if (submission === undefined) throw new Error(`${step.name} was not submitted`);
        const { planId, batches, plan } = submission;
        expect({ [step.name]: evidence.lives.get(step.approvalId)?.map(({ type }) => type) }).toEqual({
          [step.name]: [
            'RemediationSubmitted',
            'RemediationApproved',
            'RemediationQueued',
            'RemediationStarted',
            'RemediationCompleted',
            ...(step === redo ? [] : ['RemediationUndone']),
          ],
        });

        const planned = evidence.batches(planId);
        expect(planned).toHaveLength(batches);
        for (const { planned: batch, outcomes, settled } of planned) {
          const due = batch?.targets.flatMap(({ notRemediable }, target) =>
            notRemediable === undefined ? [target] : [],
          );
          expect(outcomes.map(({ data }) => data.target).sort((a, b) => a - b)).toEqual(due);
          expect(settled).toHaveLength(1);
        }
        const { made, recorded } = evidence.moves(planId);
        expect(recorded.sort()).toEqual(made.sort());

        const entry = bodyOf(await lab.api.get(`/v1/remediations/${step.approvalId}`), 200) as EntryBody;
        expect(entry.counts).toEqual(countsOfTally(evidence.tally(planId)));

        const log = await logOf(step);
        expect(log).toHaveLength(plan.copies);
        expect(repeated(log.map(copyKeyOfRow))).toEqual([]);
        expect(countsOfLog(log)).toEqual(entry.counts);
        const moved = log.filter(({ outcome }) => outcome === 'succeeded').map(moveOfRow);
        const journal = evidence.journal.filter(({ operationId }) => operationId.startsWith(`${planId}/`));
        expect(moved.sort()).toEqual(
          journal.map((move) => moveText({ ...move, kind: move.copyKind }, move.from, move.to)).sort(),
        );

        const { rows } = csvTable(await exportOf(step));
        expect(rows.map(exportedCopy)).toEqual(log.map(copyKeyOfRow));
      }
      await lab.stop();
    },
    2 * MINUTES,
  );

  it(
    'builds the same views again from nothing',
    async () => {
      const { head } = await Evidence.of(lab.dataDirectory);
      await lab.start();
      const shown = await everythingShown();
      await lab.stop();
      const stored = await storedViews();
      expect(stored.folders).toEqual(await foldersOf(lab.dataDirectory, input.copies));

      await rm(join(lab.dataDirectory, 'views'), { recursive: true });
      lab.lookout.forget();
      const views = async (): Promise<readonly { state: string; position: string }[]> =>
        (bodyOf(await lab.api.get('/health/ready'), 200) as { views: { state: string; position: string }[] })
          .views;
      const rebuilt = async (): Promise<void> => {
        while ((await views()).some(({ state, position }) => state !== 'live' || BigInt(position) < head)) {
          await pause(20);
        }
      };
      const rebuilding = (): Kill => ({ during: 'work', when: afterMs(dice.between(50, 900)) });
      await lab.through(() => 'rebuild of the views', rebuilt, [rebuilding(), rebuilding()]);
      expect(await everythingShown()).toEqual(shown);
      await lab.stop();
      expect(await storedViews()).toEqual(stored);
      expect((await Evidence.of(lab.dataDirectory)).head).toBe(head);
    },
    2 * MINUTES,
  );

  it('was killed at least 20 times, in every phase', () => {
    const phases = new Map<string, number>();
    for (const { phase } of lab.crashes) phases.set(phase, (phases.get(phase) ?? 0) + 1);
    const inDoubt = lab.crashes.reduce((sum, crash) => sum + crash.inDoubt, 0);
    process.stdout.write(
      [
        `crash suite: ${lab.crashes.length} kills, ${lab.lookout.looks} looks at the history, ` +
          `${inDoubt} moves made and not yet recorded when the process died`,
        ...[...phases].map(([phase, count]) => `  ${String(count).padStart(2)} in ${phase}`),
        '',
      ].join('\n'),
    );
    expect(lab.crashes.length).toBeGreaterThanOrEqual(20);
    expect([...phases.keys()]).toEqual(
      expect.arrayContaining([
        'start',
        'import',
        ...STEPS.flatMap(({ name }) => [`${name}: planning`, `${name}: execution`]),
        'shutdown',
        'rebuild of the views',
      ]),
    );
    expect(lab.errors).toBe('');
  });

  const logOf = async ({ approvalId }: Step): Promise<LogRowBody[]> =>
    (await allPages(lab.api, `/v1/remediations/${approvalId}/log`, {})) as LogRowBody[];

  const exportOf = async ({ approvalId }: Step): Promise<string> => {
    const { status, text } = await lab.api.get(`/v1/remediations/${approvalId}/export`);
    expect(status).toBe(200);
    return text;
  };

  /** What a reader of the interface sees: the history, and every log. */
  const everythingShown = async (): Promise<unknown> => ({
    history: await allPages(lab.api, '/v1/remediations', {}),
    logs: await Promise.all(STEPS.map(logOf)),
  });

  /** The documents of the views themselves, each with the position of its last event. */
  const storedViews = async () => {
    const store = new SqliteReadStore(join(lab.dataDirectory, 'views'));
    try {
      const all = async <Doc>(view: Projection<Doc>, ids: readonly string[]) => {
        await store.prepare(view);
        return (await store.getMany(view, ids)).sort((a, b) => (a.id < b.id ? -1 : 1));
      };
      const ids = STEPS.map(({ approvalId }) => approvalId);
      for (const view of [actionLogView, messageBatchesView]) await store.prepare(view);
      const found = await new Copies(store).touches(DEFAULT_TENANT, [...input.copies.values()]);
      const touches = found.byCopy();
      return {
        history: await all(historyView, ids),
        touches,
        folders: new Map(
          Array.from(input.copies, ([key, { folder }]) => [
            key,
            placeAfter(touches.get(key) ?? [], folder).folder,
          ]),
        ),
        actionLogs: await store.count(actionLogView, []),
      };
    } finally {
      await store.close();
    }
  };
});

const partsOf = (input: MailInput): Parameters<typeof countsOf> => {
  const { recipientCopies, sendersCopies } = input.softDeleted();
  return [recipientCopies, sendersCopies];
};

const countsOfLog = (log: readonly LogRowBody[]): ReturnType<typeof countsOf> => {
  const part = (isSendersCopy: boolean): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const row of log) {
      if (row.isSendersCopy === isSendersCopy) counts[row.outcome] = (counts[row.outcome] ?? 0) + 1;
    }
    return counts;
  };
  return countsOf(part(false), part(true));
};

const kindOf = (isSendersCopy: boolean) => (isSendersCopy ? ('sender' as const) : ('recipient' as const));

const copyOfRow = ({ networkMessageId, mailbox, isSendersCopy }: LogRowBody) => ({
  networkMessageId,
  mailbox,
  kind: kindOf(isSendersCopy),
});

const copyKeyOfRow = (row: LogRowBody): string => copyKeyOf(copyOfRow(row));

const moveText = (copy: Parameters<typeof copyKeyOf>[0], from: string, to: string): string =>
  `${copyKeyOf(copy)}: ${from} > ${to}`;

const moveOfRow = (row: LogRowBody): string =>
  moveText(copyOfRow(row), row.fromFolder ?? '', row.toFolder ?? '');

const exportedCopy = (row: Readonly<Record<string, string>>): string =>
  copyKeyOf({
    networkMessageId: row.NetworkMessageId ?? '',
    mailbox: row.Mailbox ?? '',
    kind: kindOf(row.IsSendersCopy === 'true'),
  });
