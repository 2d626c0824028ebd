import { atMost, figure, MIB, plain, type Bench } from './harness/bench.js';
import { remediateAndUndo } from './workload/remediate.js';

export const bench: Bench = {
  title: 'peak memory of the server while it imports, remediates and undoes, at ten times the size',
  baseline: 'the same at a tenth of the size',
  stores: ['sqlite', 'servers'],
  counts: 'emails, and a tenth of them',
  sizes: { full: 1_000_000, quick: 1_000 },
  runs: 1,
  parts: {
    small: (input) => remediateAndUndo(input, input.size / 10),
    large: (input) => remediateAndUndo(input, input.size),
  },
  rows: [
    plain('peak at a tenth', 'MiB', 'small', 'serverPeakRss', { per: MIB }),
    plain('peak at all', 'MiB', 'large', 'serverPeakRss', { per: MIB }),
    plain('idle', 'MiB', 'small', 'serverIdleRss', { per: MIB }),
    {
      label: 'peak at all ÷ at a tenth',
      unit: '×',
      of: (parts) => figure(parts, 'large', 'serverPeakRss') / figure(parts, 'small', 'serverPeakRss'),
      aim: () => atMost(1.2),
    },
  ],
};
