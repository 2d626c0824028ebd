import { ClawbackError, pause } from '#libs/kernel';
import { Public } from '#libs/platform';
import { Controller, Get } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { Runtime, VIEWS } from '../runtime.js';

interface Readiness {
  readonly status: 'ready';
  /** Position of the last event there is. */
  readonly head: string;
  readonly views: readonly { readonly view: string; readonly state: string; readonly position: string }[];
}

/** A store that does not answer within so many milliseconds is not ready. */
const PATIENCE_MS = 2000;

@ApiTags('system')
@Controller('health')
export class HealthController {
  constructor(private readonly runtime: Runtime) {}

  @Get('live')
  @Public()
  @ApiOperation({ summary: 'The process answers' })
  live(): { status: 'live' } {
    return { status: 'live' };
  }

  @Get('ready')
  @Public()
  @ApiOperation({ summary: 'Both stores answer, and no view of this process has stopped; else 503' })
  async ready(): Promise<Readiness> {
    const { events, readStore } = this.runtime;
    const head = await answerOf('the event store', events.head());
    const kept = new Map(this.runtime.views().map((state) => [state.view, state]));
    const views = await Promise.all(
      Object.values(VIEWS).map(async (view) => ({
        view: view.name,
        state: kept.get(view.name)?.state ?? 'elsewhere',
        position: String(await answerOf('the read store', readStore.checkpoint(view))),
      })),
    );
    const failed = views.filter(({ state }) => state === 'failed').map(({ view }) => view);
    if (failed.length > 0) throw notReady(`these views have stopped: ${failed.join(', ')}`);
    return { status: 'ready', head: String(head), views };
  }
}

async function answerOf<T>(store: string, asking: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const late = pause(PATIENCE_MS, timer.signal).then(() => {
    throw notReady(`${store} does not answer`);
  });
  try {
    return await Promise.race([asking, late]);
  } finally {
    late.catch(() => undefined);
    timer.abort();
  }
}

const notReady = (why: string): ClawbackError => new ClawbackError('unavailable', 'notReady', why);
