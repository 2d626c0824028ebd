import { describe, expect, it } from '@jest/globals';
import { gate } from '../../../test/support/scripted-gateway.js';
import { Workers, type DueBatch } from './workers.js';

const dueBatch = (batch: number, planId = 'p1'): DueBatch => ({
  planId,
  batch,
  context: { tenant: 'fabrikam', actor: 'kim', correlationId: 'r1', causationId: 'approval-1' },
  after: 0n,
});

/** Workers whose batches each end when the test says so. */
class Bench {
  readonly begun: string[] = [];
  readonly workers: Workers;
  private readonly gates = new Map<string, ReturnType<typeof gate>>();

  constructor(places: number) {
    this.workers = new Workers(places, async ({ planId, batch }) => {
      const key = `${planId}/${String(batch)}`;
      this.begun.push(key);
      const ends = gate();
      this.gates.set(key, ends);
      await ends.opened;
    });
  }

  end(key: string): void {
    this.gates.get(key)?.open();
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Whether the promise has been settled, told a turn later. */
async function isDone(work: Promise<void>): Promise<boolean> {
  let done = false;
  void work.then(() => {
    done = true;
  });
  await turn();
  return done;
}

describe('workers', () => {
  it('run so many batches at once, and the others in the order in which they came', async () => {
    const bench = new Bench(2);
    for (const batch of [3, 1, 2, 0]) void bench.workers.take(dueBatch(batch));
    expect(bench.begun).toEqual(['p1/3', 'p1/1']);

    bench.end('p1/1');
    await turn();
    expect(bench.begun).toEqual(['p1/3', 'p1/1', 'p1/2']);
    bench.end('p1/2');
    bench.end('p1/3');
    await turn();
    expect(bench.begun).toEqual(['p1/3', 'p1/1', 'p1/2', 'p1/0']);
  });

  it('tell the taker when its batch was run, and not before', async () => {
    const bench = new Bench(1);
    const [first, second] = [bench.workers.take(dueBatch(0)), bench.workers.take(dueBatch(1))];
    const have = () => [0, 1].map((batch) => bench.workers.have('p1', batch));
    expect([await isDone(first), await isDone(second)]).toEqual([false, false]);
    expect(have()).toEqual([true, true]);
    bench.end('p1/0');
    expect([await isDone(first), await isDone(second)]).toEqual([true, false]);
    expect(have()).toEqual([false, true]);
    bench.end('p1/1');
    expect(await isDone(second)).toBe(true);
  });

  it('do not take a batch twice that waits or is under way; another plan has batches of its own', async () => {
    const bench = new Bench(1);
    const running = bench.workers.take(dueBatch(0));
    const waiting = bench.workers.take(dueBatch(1));
    expect(bench.workers.take(dueBatch(0))).toBe(running);
    expect(bench.workers.take(dueBatch(1))).toBe(waiting);
    void bench.workers.take(dueBatch(0, 'p2'));

    for (const key of ['p1/0', 'p1/1', 'p2/0']) {
      bench.end(key);
      await turn();
    }
    expect(bench.begun).toEqual(['p1/0', 'p1/1', 'p2/0']);
  });

  it('take a batch again that was run: it may have been left to another worker then', async () => {
    const bench = new Bench(1);
    const first = bench.workers.take(dueBatch(0));
    bench.end('p1/0');
    await first;
    const second = bench.workers.take(dueBatch(0));
    bench.end('p1/0');
    await second;
    expect(bench.begun).toEqual(['p1/0', 'p1/0']);
  });

  it('that are stopped end what is under way, begin nothing more, and let nobody wait', async () => {
    const bench = new Bench(1);
    const running = bench.workers.take(dueBatch(0));
    const waiting = bench.workers.take(dueBatch(1));
    const stopped = bench.workers.stop();

    expect(await isDone(waiting)).toBe(true);
    expect(await isDone(bench.workers.take(dueBatch(2)))).toBe(true);
    expect([await isDone(running), await isDone(stopped)]).toEqual([false, false]);
    bench.end('p1/0');
    expect([await isDone(running), await isDone(stopped)]).toEqual([true, true]);
    expect(bench.begun).toEqual(['p1/0']);
  });
});
