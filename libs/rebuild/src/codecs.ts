import { EventCodecs, type Decider } from '#libs/event-store';
import type { ViewSpec } from '#libs/read-store';
import { z } from 'zod';
import {
  decideViewBuilds,
  evolveViewBuilds,
  initialViewBuilds,
  type ViewBuilds,
  type ViewBuildsCommand,
  type ViewBuildsEvent,
} from './domain/index.js';

const count = z.number().int().nonnegative();
const build = z.number().int().positive();
const ref = { view: z.string().min(1), version: z.number().int().positive() };
const summary = z.strictObject({ build, documents: count, checksum: z.string() });

export const viewBuildsCodecs = new EventCodecs<ViewBuildsEvent>({
  ViewRebuildRequested: { schema: z.strictObject({ ...ref, build, acceptDifferences: z.boolean() }) },
  ViewBuildCompared: {
    schema: z.strictObject({
      ...ref,
      built: summary,
      active: summary,
      differing: count,
      examples: z.array(z.string()),
    }),
  },
  ViewBuildActivated: { schema: z.strictObject({ ...ref, build, previous: build }) },
  ViewBuildDiscarded: { schema: z.strictObject({ ...ref, build }) },
  ViewRebuildFailed: { schema: z.strictObject({ ...ref, build, problem: z.string() }) },
});

/** The stream of the builds of one version of a view. */
export const viewBuildsStream = ({ name, version }: ViewSpec<never>): string =>
  `viewBuilds-${name}_v${String(version)}`;

export const viewBuildsDecider = ({
  name,
  version,
}: ViewSpec<never>): Decider<ViewBuilds, ViewBuildsCommand, ViewBuildsEvent> => ({
  initial: initialViewBuilds({ view: name, version }),
  decide: decideViewBuilds,
  evolve: evolveViewBuilds,
});
