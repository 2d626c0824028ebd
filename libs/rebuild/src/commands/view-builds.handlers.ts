import { decideAndAppend, EventStore } from '#libs/event-store';
import { ClawbackError, Clock, idFrom, type Position } from '#libs/kernel';
import type { ViewSpec } from '#libs/read-store';
import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { viewBuildsCodecs, viewBuildsDecider, viewBuildsStream } from '../codecs.js';
import type { ViewBuildsCommand } from '../domain/index.js';

/** The views that can be built anew. */
export class KnownViews {
  constructor(readonly views: readonly ViewSpec<never>[]) {}

  /** @throws {ClawbackError} `viewNotFound`, which names those that there are. */
  byName(name: string): ViewSpec<never> {
    const view = this.views.find((one) => one.name === name);
    if (view !== undefined) return view;
    const names = this.views.map((one) => one.name);
    throw new ClawbackError(
      'notFound',
      'viewNotFound',
      `there is no view ${name}; there are ${names.join(', ')}`,
      {
        views: names,
      },
    );
  }
}

/** Who asks, and by which request. */
export interface OperatorContext {
  readonly tenant: string;
  readonly actor: string;
  readonly causationId: string;
}

/** Build a view anew, or switch between its builds, or give the other one up. Resolves to where that was recorded. */
export class ChangeViewBuilds extends Command<Position> {
  constructor(
    readonly view: string,
    readonly change: Extract<ViewBuildsCommand, { type: 'RequestRebuild' | 'Switch' | 'Discard' }>,
    readonly context: OperatorContext,
  ) {
    super();
  }
}

@CommandHandler(ChangeViewBuilds)
export class ChangeViewBuildsHandler implements ICommandHandler<ChangeViewBuilds> {
  constructor(
    private readonly store: EventStore,
    private readonly views: KnownViews,
    private readonly clock: Clock,
  ) {}

  async execute({ view: name, change, context }: ChangeViewBuilds): Promise<Position> {
    const view = this.views.byName(name);
    const stream = viewBuildsStream(view);
    const { position } = await decideAndAppend(
      this.store,
      viewBuildsCodecs,
      viewBuildsDecider(view),
      stream,
      change,
      {
        ...context,
        correlationId: context.causationId,
        commandId: idFrom(change.type, stream, context.causationId),
        now: this.clock.now(),
      },
    );
    if (position === undefined)
      throw new ClawbackError('unavailable', 'nothingRecorded', 'nothing was recorded');
    return position;
  }
}
