import { atLeast, plain, type Bench } from './harness/bench.js';
import { remediateAndUndo } from './workload/remediate.js';

const FLOOR = 200_000;

export const bench: Bench = {
  title: 'one remediation, submitted to visible in the log, and its undo; sandbox without latency',
  baseline: 'none',
  stores: ['sqlite', 'servers'],
  counts: 'emails, and a fifth of them',
  sizes: { full: 1_000_000, quick: 1_000 },
  runs: 1,
  parts: {
    small: (input) => remediateAndUndo(input, input.size / 5),
    large: (input) => remediateAndUndo(input, input.size),
  },
  rows: (['small', 'large'] as const)
    .flatMap((part) => {
      const which = part === 'small' ? 'a fifth' : 'all';
      const aim = part === 'large' ? { aim: atLeast(1_000_000) } : {};
      return [
        plain(`${which}: copies moved`, '', part, 'copies'),
        plain(`${which}: moved and visible`, 'copies/min', part, 'copiesPerMinute', aim),
        plain(`${which}: brought back and visible`, 'copies/min', part, 'undonePerMinute', aim),
        plain(`${which}: import`, 'emails/min', part, 'importPerMinute'),
        plain(`${which}: submit`, 's', part, 'submitSeconds'),
        plain(`${which}: run`, 's', part, 'runSeconds'),
        plain(`${which}: undo, submit`, 's', part, 'undoSubmitSeconds'),
        plain(`${which}: undo, run`, 's', part, 'undoRunSeconds'),
      ];
    })
    .map((row) => ({
      ...row,
      ...(row.aim === undefined
        ? {}
        : { aim: ({ store }) => (store === 'servers' ? atLeast(FLOOR) : row.aim?.({ store, label: '' })) }),
    })),
};
