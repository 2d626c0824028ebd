import { beforeEach, describe, expect, it } from '@jest/globals';
import {
  type AppendResult,
  type ExpectedRevision,
  type NewEvent,
  appendEvents,
  type CommandContext,
} from '#libs/event-store';
import { ClawbackError } from '#libs/kernel';
import { InMemoryEventStore, InMemoryLog } from '../../../../test/support/in-memory-event-store.js';
import { messageOf, submissionOf, tallyOf } from '../../../../test/support/examples.js';
import { batchCodecs, batchStream, remediationCodecs, remediationStream } from '../codecs.js';
import { type BatchEvent, type RemediationEvent, type Submission } from '../domain/index.js';
import {
  ActiveRemediations,
  ApprovalPolicies,
  CopyStates,
  RemediationLimits,
  type ApprovalPolicy,
} from '../ports.js';
import { RetryRemediation, RetryRemediationHandler } from './retry-remediation.handler.js';
import { approvalIdFor, recordSubmission } from './submission.js';
import { UndoRemediation, UndoRemediationHandler } from './undo-remediation.handler.js';

const TENANT = 'fabrikam';
const KEY = 'undo-1';
const undoId = approvalIdFor(TENANT, KEY);
const context: CommandContext = {
  tenant: TENANT,
  actor: 'kim@fabrikam.example',
  correlationId: 'r1',
  causationId: 'request-1',
  commandId: 'command-1',
  now: new Date('2025-03-07T08:00:00.000Z'),
};

const nothing = (): Promise<void> => Promise.resolve();

/** Lets something else happen before and after an append. */
class WatchedStore extends InMemoryEventStore {
  before: (stream: string) => Promise<void> = nothing;
  after: (stream: string) => Promise<void> = nothing;

  override async append(
    stream: string,
    expected: ExpectedRevision,
    events: readonly NewEvent[],
  ): Promise<AppendResult> {
    await this.before(stream);
    const result = await super.append(stream, expected, events);
    await this.after(stream);
    return result;
  }
}

describe('an undo between its claim and its submission', () => {
  let log: InMemoryLog;
  let store: WatchedStore;

  beforeEach(async () => {
    log = new InMemoryLog();
    store = new WatchedStore(log);
    await appendEvents(store, remediationCodecs, remediationStream('r1'), 'noStream', life, context);
    await appendEvents(store, batchCodecs, batchStream('p1', 0), 'noStream', batch, context);
  });

  const undo = (name = 'Bring it back', key = KEY) =>
    new UndoRemediationHandler(store, movedByR1, nothingActive, limits).execute(
      new UndoRemediation('r1', { all: true }, name, '', context, key),
    );

  /** The process ends right after the claim is recorded. */
  const crashAfterClaim = async (): Promise<void> => {
    store.before = (stream) =>
      stream === remediationStream(undoId)
        ? Promise.reject(new ClawbackError('unavailable', 'crashed', 'the process has ended'))
        : nothing();
    await expect(undo()).rejects.toMatchObject({ code: 'crashed' });
    store.before = nothing;
    expect(claims()).toHaveLength(1);
    expect(log.streams.has(remediationStream(undoId))).toBe(false);
  };

  const claims = (): { undo: Submission }[] =>
    log.rows
      .filter(({ type }) => type === 'RemediationUndone')
      .map(({ data }) => JSON.parse(data) as { undo: Submission });

  const submissions = (): Submission[] =>
    log.rows
      .filter(({ stream, type }) => stream === remediationStream(undoId) && type === 'RemediationSubmitted')
      .map(({ data }) => JSON.parse(data) as Submission);

  it('is finished by the same request sent again after a crash', async () => {
    await crashAfterClaim();
    const { submission, approved } = await undo();
    expect({ approvalId: submission.approvalId, approved }).toEqual({ approvalId: undoId, approved: true });
    expect(submissions()).toEqual(claims().map((claim) => claim.undo));
    expect(await undo()).toMatchObject({ submission: { planId: submission.planId }, approved: true });
    expect(submissions()).toHaveLength(1);
  });

  it('is not finished by another request under its key', async () => {
    await crashAfterClaim();
    await expect(undo('Something else')).rejects.toMatchObject({ code: 'idempotencyKeyReused' });
    expect(submissions()).toEqual([]);
  });

  it('holds back every other undo until it is submitted', async () => {
    await crashAfterClaim();
    await expect(undo('Bring it back', 'another key')).rejects.toMatchObject({ code: 'undoInProgress' });
  });

  it('is answered as usual when the executor submits it first', async () => {
    store.after = async (stream) => {
      const [claim] = claims();
      if (stream !== remediationStream('r1') || claim === undefined) return;
      await recordSubmission(store, claim.undo, true, { ...context, causationId: 'the claim' });
    };
    const { submission, approved } = await undo();
    expect({ approvalId: submission.approvalId, approved }).toEqual({ approvalId: undoId, approved: true });
    expect(submissions()).toHaveLength(1);
  });
});

describe('an undo and a retry that would be too much at once', () => {
  let log: InMemoryLog;
  let store: InMemoryEventStore;
  beforeEach(async () => {
    log = new InMemoryLog();
    store = new InMemoryEventStore(log);
    await appendEvents(store, remediationCodecs, remediationStream('r1'), 'noStream', life, context);
    await appendEvents(store, batchCodecs, batchStream('p1', 0), 'noStream', batch, context);
  });

  const undo = (active: ActiveRemediations) =>
    new UndoRemediationHandler(store, movedByR1, active, limits).execute(
      new UndoRemediation('r1', { all: true }, undefined, '', context, KEY),
    );
  const retry = (active: ActiveRemediations) =>
    new RetryRemediationHandler(store, active, limits, noPolicy).execute(
      new RetryRemediation('r1', ['failed'], undefined, '', context, true, KEY),
    );

  it.each([
    ['emails', 'an undo', undo, { remediations: 0, emails: 1_000_000 }, 'activeEmailsOverLimit'],
    ['remediations', 'an undo', undo, { remediations: 50, emails: 0 }, 'activeRemediationsOverLimit'],
    ['remediations', 'a retry', retry, { remediations: 50, emails: 0 }, 'activeRemediationsOverLimit'],
  ])(
    'because of the %s are refused before a batch is written: %s',
    async (_what, _which, ask, active, code) => {
      const before = log.rows.length;
      await expect(ask(busyWith(active))).rejects.toMatchObject({ code });
      expect(log.rows).toHaveLength(before);
    },
  );

  it('are counted by what they would touch, not by what was touched once', async () => {
    // Nothing has failed, so that a retry would touch nothing.
    const full = busyWith({ remediations: 0, emails: 1_000_000 });
    await expect(retry(full)).rejects.toMatchObject({ code: 'nothingToRetry' });
    const { submission } = await undo(busyWith({ remediations: 0, emails: 999_999 }));
    expect(submission.plan).toMatchObject({ emails: 1 });
  });
});

const DELETIONS = 'Recoverable Items/Deletions';
const message = messageOf({ networkMessageId: 'm1' });
const copyOf = { approvalId: 'r1', planId: 'p1', batch: 0 };
const tally = tallyOf({ recipient: { succeeded: 1 } });

const batch: BatchEvent[] = [
  {
    type: 'BatchPlanned',
    data: {
      ...copyOf,
      action: 'softDelete',
      messages: [message],
      targets: [{ message: 0, kind: 'recipient', mailbox: 'lee@fabrikam.example', to: DELETIONS }],
    },
  },
  {
    type: 'RecipientCopySoftDeleted',
    data: {
      ...copyOf,
      target: 0,
      networkMessageId: 'm1',
      mailbox: 'lee@fabrikam.example',
      from: 'Inbox',
      to: DELETIONS,
    },
  },
  { type: 'BatchSettled', data: { ...copyOf, tally } },
];

const submitted = submissionOf({
  name: 'Payroll phish',
  sendersCopy: false,
  selectionHash: 'hash',
  tally: tallyOf({ recipient: { pending: 1 } }),
  requestHash: 'request',
});

const life: RemediationEvent[] = [
  { type: 'RemediationSubmitted', data: submitted },
  { type: 'RemediationApproved', data: { approvalId: 'r1', selectionHash: 'hash' } },
  { type: 'RemediationStarted', data: { approvalId: 'r1' } },
  { type: 'RemediationCompleted', data: { approvalId: 'r1', tally } },
];

const movedByR1 = new (class extends CopyStates {
  ready(): Promise<void> {
    return Promise.resolve();
  }

  stillMovedBy<Copy>(_tenant: string, _approvalId: string, moved: readonly Copy[]): Promise<readonly Copy[]> {
    return Promise.resolve(moved);
  }

  touchedBy(): Promise<ReadonlySet<string>> {
    throw new Error('an undo does not ask this');
  }
})();

const busyWith = (active: { remediations: number; emails: number }): ActiveRemediations =>
  new (class extends ActiveRemediations {
    active(): Promise<{ remediations: number; emails: number }> {
      return Promise.resolve(active);
    }
  })();
const nothingActive = busyWith({ remediations: 0, emails: 0 });

const noPolicy = new (class extends ApprovalPolicies {
  of(): ApprovalPolicy {
    return { fourEyesFrom: undefined, fourEyesForHardDelete: false, expireAfterMs: 1 };
  }
})();

const limits = new RemediationLimits(100, 1000, 100, 50, 1_000_000, 1000, 0.4, 1000);
