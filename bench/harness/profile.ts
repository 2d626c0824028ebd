import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from './machine.js';

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const SHOWN = 15;
const CALLERS_SHOWN = 4;

/** Where the processes of a run spent their time: by file group, and the functions with the most time of their own. */
export function summariseProfiles(directory: string): string {
  return readdirSync(directory)
    .filter((file) => file.endsWith('.cpuprofile'))
    .sort()
    .map((file) => summary(file, JSON.parse(readFileSync(join(directory, file), 'utf8')) as Profile))
    .join('\n\n');
}

function summary(name: string, { nodes, samples, timeDeltas }: Profile): string {
  const micros = new Map<number, number>();
  samples.forEach((id, index) => micros.set(id, (micros.get(id) ?? 0) + (timeDeltas[index] ?? 0)));
  const byFunction = new Map<string, number>();
  const byCaller = new Map<string, number>();
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const callersOf = (id: number): string => {
    const names: string[] = [];
    for (let at = parents.get(id); at !== undefined && names.length < CALLERS_SHOWN; at = parents.get(at)) {
      const { functionName = '', url = '' } = frames.get(at) ?? {};
      if (placeOf(url).startsWith('libs/')) names.push(functionName || '(anonymous)');
    }
    return names.length === 0 ? 'no code of ours' : names.join(' < ');
  };
  const byGroup = new Map<string, number>();
  let busy = 0;
  for (const { id, callFrame } of nodes) {
    const time = micros.get(id) ?? 0;
    if (callFrame.functionName === '(idle)' || time === 0) continue;
    busy += time;
    const place = placeOf(callFrame.url);
    const line = callFrame.url === '' ? '' : `:${String(callFrame.lineNumber + 1)}`;
    add(byFunction, `${callFrame.functionName || '(anonymous)'}  ${place}${line}`, time);
    add(byGroup, groupOf(place, callFrame.functionName), time);
    // The native calls of the SQLite driver all bear the name of one or another of its functions.
    if (place === '' && !callFrame.functionName.startsWith('(')) add(byCaller, callersOf(id), time);
  }
  const lines = (times: Map<string, number>): string[] =>
    [...times]
      .sort(([, a], [, b]) => b - a)
      .slice(0, SHOWN)
      .map(([what, time]) => `  ${((100 * time) / busy).toFixed(1).padStart(5)} %  ${what}`);
  return [
    `${name}: ${(busy / 1e6).toFixed(1)} s of work`,
    ' by group',
    ...lines(byGroup),
    ' by function, time of its own',
    ...lines(byFunction),
    ' native calls (the driver of a store above all), by who calls them',
    ...lines(byCaller),
  ].join('\n');
}

const add = (times: Map<string, number>, key: string, time: number): void => {
  times.set(key, (times.get(key) ?? 0) + time);
};

function placeOf(url: string): string {
  if (!url.startsWith('file:')) return url;
  return relative(ROOT, fileURLToPath(url))
    .replace(/^dist\//, '')
    .replace(/^.*node_modules\//, 'npm ');
}

/** A lib, a package, or a part of Node. Native code without a file counts for the driver's calls and the engine. */
function groupOf(place: string, functionName: string): string {
  if (place === '') return functionName.startsWith('(') ? functionName : `native ${functionName}`;
  if (place.startsWith('npm @')) return place.split('/').slice(0, 2).join('/');
  if (place.startsWith('npm ') || place.startsWith('node:')) return place.split('/')[0] ?? place;
  return place.split('/').slice(0, 2).join('/');
}
