import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { RecordedEvent } from '#libs/event-store';
import { remediationCodecs, type RemediationEvent } from '#libs/remediation';
import { submissionOf, tallyOf } from '../../../../test/support/examples.js';
import { countsOf } from '../counts.js';
import {
  LAST_NOTIFICATIONS,
  NOTHING_WAITS,
  digest,
  publicBody,
  released,
  type Notification,
} from './notification.js';

const metadata = (approvalId: string) => ({
  tenant: 'fabrikam',
  actor: 'kim@ops.example',
  correlationId: approvalId,
  occurredAt: '2026-03-02T08:00:00.000Z',
});

const life = (position: number, event: RemediationEvent): RecordedEvent => ({
  ...remediationCodecs.encode(event, `e${position}`, metadata(event.data.approvalId)),
  stream: `remediation-${event.data.approvalId}`,
  revision: 0n,
  position: BigInt(position),
});

const copy = (position: number, approvalId: string, type = 'RecipientCopySoftDeleted'): RecordedEvent => ({
  id: `e${position}`,
  type,
  data: {},
  metadata: metadata(approvalId),
  stream: 'remediationBatch-p1-0',
  revision: 0n,
  position: BigInt(position),
});

const started = (position: number, approvalId: string) =>
  life(position, { type: 'RemediationStarted', data: { approvalId } });
const completed = (position: number, approvalId: string) =>
  life(position, {
    type: 'RemediationCompleted',
    data: { approvalId, tally: tallyOf({ recipient: { succeeded: 1 } }) },
  });

const said = (notifications: readonly Notification[]): string[] =>
  notifications.map(
    ({ type, approvalId, position }) => `${type.slice(12)} ${approvalId} @${String(position)}`,
  );

describe('what events are to the outside', () => {
  it('is one notification for each event of a life, with who, when and what', () => {
    const submission = submissionOf({ name: 'Invoice fraud' });
    const events: RemediationEvent[] = [
      { type: 'RemediationSubmitted', data: submission },
      { type: 'RemediationApproved', data: { approvalId: 'r1', selectionHash: 'h' } },
      { type: 'RemediationRejected', data: { approvalId: 'r1', reason: 'no harm' } },
      { type: 'RemediationStarted', data: { approvalId: 'r1' } },
      { type: 'RemediationCompleted', data: { approvalId: 'r1', tally: submission.tally } },
      { type: 'RemediationFailed', data: { approvalId: 'r1', tally: submission.tally } },
      { type: 'RemediationUndone', data: { approvalId: 'r1', undo: submissionOf({ approvalId: 'r2' }) } },
    ];
    const { told, waiting } = digest(
      NOTHING_WAITS,
      events.map((event, index) => life(index, event)),
    );
    expect(waiting.size).toBe(0);
    const counts = countsOf(submission.tally);
    const by = 'kim@ops.example';
    expect(told.map(publicBody)).toEqual(
      [
        {
          type: 'remediation.submitted',
          by,
          name: 'Invoice fraud',
          action: 'softDelete',
          severity: 'high',
          surface: 'threatExplorer',
          sendersCopy: true,
          undoOf: null,
          counts,
        },
        { type: 'remediation.approved', by },
        { type: 'remediation.rejected', by, reason: 'no harm' },
        { type: 'remediation.started' },
        { type: 'remediation.completed', counts },
        { type: 'remediation.failed', counts },
        { type: 'remediation.undone', by, undoneBy: 'r2' },
      ].map((body, index) => ({
        ...body,
        approvalId: 'r1',
        position: String(index).padStart(20, '0'),
        time: '2026-03-02T08:00:00.000Z',
      })),
    );
  });

  it('leaves out what is no news: plans, releases, claims, and events of others', () => {
    const types = [
      'BatchPlanned',
      'BatchReleased',
      'BatchAttemptStarted',
      'BatchSettled',
      'EmailsImported',
      'New',
    ];
    const { told, waiting } = digest(
      NOTHING_WAITS,
      types.map((type, index) => copy(index, 'r1', type)),
    );
    expect([told, waiting.size]).toEqual([[], 0]);
  });

  it('makes one progress of many copies, at the place of the last', () => {
    const { told, waiting } = digest(NOTHING_WAITS, [copy(1, 'a'), copy(2, 'b'), copy(3, 'a')]);
    expect(told).toEqual([]);
    expect(said(released(waiting))).toEqual(['progress b @2', 'progress a @3']);
  });

  it('tells what waits before anything that comes later, and not at all when the end says more', () => {
    const { told, waiting } = digest(NOTHING_WAITS, [
      copy(1, 'a'),
      copy(2, 'b'),
      completed(3, 'a'),
      copy(4, 'b'),
    ]);
    expect(said(told)).toEqual(['progress b @2', 'completed a @3']);
    expect(said(released(waiting))).toEqual(['progress b @4']);
  });

  it('is the same however the events are cut into deliveries, and always in order', () => {
    const ids = fc.constantFrom('a', 'b', 'c');
    const event = fc.tuple(fc.constantFrom('copy', 'started', 'completed'), ids);
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), fc.array(fc.nat(40)), (made, cuts) => {
        const events = made.map(([what, id], index) =>
          what === 'copy' ? copy(index, id) : what === 'started' ? started(index, id) : completed(index, id),
        );
        const whole = digest(NOTHING_WAITS, events);
        let waiting = NOTHING_WAITS;
        const told: Notification[] = [];
        const places = [0, ...[...cuts].sort((a, b) => a - b), events.length];
        for (const [index, from] of places.entries()) {
          const part = digest(waiting, events.slice(from, places[index + 1] ?? from));
          told.push(...part.told);
          waiting = part.waiting;
        }
        expect(said(told)).toEqual(said(whole.told));
        expect(said(released(waiting))).toEqual(said(released(whole.waiting)));
        const positions = [...told, ...released(waiting)].map(({ position }) => position);
        expect(positions).toEqual([...new Set(positions)].sort((a, b) => Number(a - b)));
        // No event of a life is lost, and every remediation that moved is heard of after it moved.
        expect(told.filter(({ type }) => type !== 'remediation.progress')).toHaveLength(
          made.filter(([what]) => what !== 'copy').length,
        );
        for (const id of new Set(made.filter(([what]) => what === 'copy').map(([, of]) => of))) {
          const lastMove = made.findLastIndex(([what, of]) => what === 'copy' && of === id);
          const heard = [...told, ...released(waiting)].filter(
            ({ approvalId, type }) =>
              approvalId === id && (type === 'remediation.progress' || LAST_NOTIFICATIONS.has(type)),
          );
          expect(Number(heard.at(-1)?.position)).toBeGreaterThanOrEqual(lastMove);
        }
      }),
    );
  });
});
