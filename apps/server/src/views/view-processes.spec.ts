import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { SubscriptionState } from '#libs/event-store';
import { pause } from '#libs/kernel';
import { createLogger, errorClass, loadConfig } from '#libs/platform';
import type { ViewState } from '#libs/read-store';
import { ViewProcesses } from './view-processes.js';
import { ACTION_CENTER, CATALOGUE, VIEWS, viewGroups } from './views.js';

/** Tells how its view is and waits to be told to stop; fails when there is a file that says so. */
const PROGRAM = `
  import { existsSync } from 'node:fs';
  process.on('message', (order) => {
    if (order === 'stop') process.exit();
    const position = BigInt(process.pid);
    const view = { view: order.keep.views[0], version: 1, build: 1, position, state: 'catchingUp' };
    const fault = { name: 'readStoreUnavailable', message: 'away' };
    process.send({ subscription: { subscription: 7, name: order.keep.name, state: 'live', position } });
    process.send({ views: [{ ...view, error: 'away', cause: fault }] });
    if (!existsSync(process.argv[1] + '.fails')) return;
    process.send({ fault: { name: 'TypeError', message: 'no' } }, () => process.exit(1));
  });
`;

describe('ViewProcesses', () => {
  let folder: string;
  let program: string;
  let processes: ViewProcesses;
  let logged: string;
  let subscriptions: SubscriptionState[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'view-processes-'));
    program = join(folder, 'program.mjs');
    await writeFile(program, PROGRAM);
    logged = '';
    subscriptions = [];
    const config = loadConfig({});
    processes = new ViewProcesses({
      config,
      instance: 'server',
      groups: viewGroups(2),
      program,
      againMs: 1,
      logger: createLogger(config, { write: (line: string) => (logged += line) }),
      listener: { onSubscription: (state) => subscriptions.push(state) },
    });
  });

  afterEach(async () => {
    await processes.stop();
    await rm(folder, { recursive: true });
  });

  async function until(holds: (states: readonly ViewState[]) => boolean): Promise<readonly ViewState[]> {
    while (!holds(processes.state())) await pause(5);
    return processes.state();
  }

  it('keep each view in one of the groups', () => {
    const views = [ACTION_CENTER, CATALOGUE].flatMap((group) => group.views);
    expect([...views].sort()).toEqual(Object.keys(VIEWS).sort());
    expect(ACTION_CENTER.views).toEqual(expect.arrayContaining(['history', 'actionLog', 'messageBatches']));
  });

  it('know of the views and subscriptions of each process, and of faults by their class', async () => {
    await processes.start();
    const states = await until(({ length }) => length === 2);
    expect(states.map(({ view, error, cause }) => [view, error, errorClass(cause)])).toEqual([
      ['actionLog', 'away', 'readStoreUnavailable'],
      ['emails', 'away', 'readStoreUnavailable'],
    ]);
    expect(new Set(states.map(({ position }) => position)).size).toBe(2);
    expect(subscriptions.map(({ name, state }) => `${String(name)} ${state}`).sort()).toEqual([
      'projector:actionCenter live',
      'projector:catalogue live',
    ]);
  });

  it('start another one for one that ends by itself, and say so', async () => {
    await processes.start();
    const before = await until(({ length }) => length === 2);
    process.kill(Number(before[0]?.position), 'SIGKILL');
    const after = await until(([first]) => first !== undefined && first.position !== before[0]?.position);
    expect(after[1]).toEqual(before[1]);
    const ended = subscriptions.filter(({ state }) => state === 'ended');
    expect(ended).toEqual([expect.objectContaining({ name: 'projector:actionCenter', subscription: 7 })]);
    expect(logged).toContain('it ended by SIGKILL');
  });

  it('say why one has ended, and show its views as held up', async () => {
    await writeFile(`${program}.fails`, '');
    await processes.start();
    const states = await until((views) => views.length === 2 && views.every(({ error }) => error !== 'away'));
    expect(states.map(({ state, error }) => [state, error])).toEqual(
      Array(2).fill(['catchingUp', 'its process has ended']),
    );
    expect(logged).toContain('"type":"TypeError"');
  });

  it('end in order when they are stopped, and tell that as no fault', async () => {
    await processes.start();
    await until(({ length }) => length === 2);
    await processes.stop();
    expect(logged).toBe('');
    expect(subscriptions.slice(2).map(({ state, lastError }) => [state, lastError])).toEqual(
      Array(2).fill(['ended', undefined]),
    );
  });

  it('can be stopped before they were started', async () => {
    await processes.stop();
    expect(processes.state()).toEqual([]);
  });
});
