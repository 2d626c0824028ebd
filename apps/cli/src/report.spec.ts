import { describe, expect, it } from '@jest/globals';
import { addsUp, countsText, planText, remediationText, resultText } from './report.js';
import { PLAN, countsOf, remediation } from './testing/fakes.js';

describe('reports', () => {
  const counts = countsOf({ succeeded: 5, nonRemediable: 2, failed: 1 }, { succeeded: 3 });

  it('show the plan with its reasons', () => {
    expect(planText(PLAN)).toBe(
      'Emails          2\nCopies          3 (2 of recipients, 1 of senders)\nRemediable      2\n' +
        'Not remediable  1\n  deliveryFailed: 1',
    );
  });

  it('show the counts, and that they add up', () => {
    expect(countsText(counts).split('\n')).toEqual([
      "outcome        total  recipients'  senders'",
      'succeeded          8            5         3',
      'nonRemediable      2            2         0',
      'failed             1            1         0',
      'submitted         11            8         3',
      'submitted = sum of outcomes: OK',
    ]);
  });

  it.each([
    ['in all', { ...counts, submitted: 12 }],
    ['an outcome', { ...counts, succeeded: 7, pending: 1 }],
    ["of the senders' copies", { ...counts, sendersCopies: { ...counts.sendersCopies, submitted: 4 } }],
  ])('notice counts that are wrong %s', (_name, wrong) => {
    expect(addsUp(wrong)).toBe(false);
    expect(countsText(wrong)).toContain('submitted = sum of outcomes: WRONG');
  });

  it('show a remediation with what is known, safe for a terminal', () => {
    const text = remediationText(remediation({ name: 'a\u001b[2J', decidedAt: 'then', decidedBy: 'kim' }));
    expect(text).toContain('a\\x1b[2J');
    expect(text).toMatch(/^Decided +then by kim$/m);
    expect(text).not.toContain('Finished');
  });

  it('say in a line how it ended', () => {
    expect(resultText(remediation({ counts }))).toBe('completed: 8 copies moved, 1 failed');
  });
});
