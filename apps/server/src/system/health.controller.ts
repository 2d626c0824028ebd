import { ClawbackError } from '#libs/kernel';
import { answerProblem, problemOf, Public } from '#libs/platform';
import { Controller, Get, Req, Res } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Runtime } from '../runtime.js';
import { healthOf, type Check, type Health } from './health.js';

/** Positions are texts, as everywhere; null where no store tells at the moment. */
interface HealthBody {
  /** Position of the last event there is. */
  readonly head: string | null;
  readonly checks: readonly Check[];
  readonly views: readonly {
    readonly view: string;
    readonly state: string;
    readonly position: string | null;
    readonly lagPositions: string | null;
    readonly lagSeconds: number | null;
  }[];
}

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
  @ApiOperation({
    summary: 'Every check by name: both stores, the views and their lag, subscriptions, the executor',
    description:
      '503 when a check has failed: a store does not answer, a view of this process has stopped, or its executor is ' +
      'held up by an event. The problem has the same `checks`.',
  })
  async ready(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const health = await healthOf(this.runtime);
    const failed = health.checks.filter(({ state }) => state === 'failed');
    if (failed.length === 0) {
      await reply.send({ status: 'ready', ...bodyOf(health) });
      return;
    }
    const why = failed.map(({ name, detail }) => `${name}: ${detail}`).join('; ');
    const problem = problemOf(new ClawbackError('unavailable', 'notReady', `not ready: ${why}`), {
      path: request.url,
      requestId: request.id,
    });
    answerProblem(reply, { ...bodyOf(health), ...problem });
  }
}

const bodyOf = ({ head, checks, views }: Health): HealthBody => ({
  head: textOf(head),
  checks,
  views: views.map(({ view, state, position, lag }) => ({
    view,
    state,
    position: textOf(position),
    lagPositions: textOf(lag?.positions),
    lagSeconds: lag?.seconds ?? null,
  })),
});

const textOf = (number: bigint | undefined): string | null => (number === undefined ? null : String(number));
