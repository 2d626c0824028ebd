import {
  ActionCenter,
  countsOf,
  LAST_NOTIFICATIONS,
  LiveFeed,
  notificationOf,
  type HistoryDoc,
  type LiveItem,
} from '#libs/action-center';
import { EventStore } from '#libs/event-store';
import { ClawbackError, formatPosition, invalidInput, parsePosition, type Position } from '#libs/kernel';
import { Caller, Roles, type Principal } from '#libs/platform';
import { remediationStream } from '#libs/remediation';
import { Controller, Get, Headers, Param, Query, Res } from '@nestjs/common';
import {
  ApiBearerAuth,
  ApiHeader,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiProduces,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { block, eventBlock, opening } from './event-stream.js';
import { LiveQueryDto } from './live.dto.js';
import { LiveStreams } from './live-streams.js';

const LAST_EVENT_ID = {
  name: 'Last-Event-ID',
  required: false,
  description: 'The id of the last event that was received: goes on after it.',
  schema: { type: 'string', maxLength: 20 },
};

/**
 * What happens to remediations, as server-sent events. An id is a position in the log; an event is sent when the views
 * show what it tells.
 */
@ApiTags('live')
@ApiBearerAuth()
@Controller('v1/remediations')
export class LiveController {
  constructor(
    private readonly feed: LiveFeed,
    private readonly streams: LiveStreams,
    private readonly actionCenter: ActionCenter,
    private readonly events: EventStore,
  ) {}

  @Get('live')
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({
    summary: 'What happens to all remediations, from now on or after an event, as server-sent events',
  })
  @ApiHeader(LAST_EVENT_ID)
  @ApiProduces('text/event-stream')
  @ApiOkResponse({ schema: { type: 'string' } })
  async history(
    @Query() { after }: LiveQueryDto,
    @Headers('last-event-id') lastEventId: string | undefined,
    @Caller() { tenant }: Principal,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const place = await this.placeOf(lastEventId, after);
    await this.streams.answer(tenant, reply, (signal) =>
      blocksOf(
        this.feed.subscribe({
          tenant,
          signal,
          ...(place === undefined ? {} : { after: place }),
          onLetGo: () => reply.raw.destroy(),
        }),
      ),
    );
  }

  @Get(':approvalId/live')
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({
    summary: 'What happens to one remediation, until it has finished, as server-sent events',
    description:
      'Begins with `remediation.snapshot`, or after an event. Ends with the event that finishes the remediation; to who ' +
      'has received that one already, the answer is 204.',
  })
  @ApiHeader(LAST_EVENT_ID)
  @ApiProduces('text/event-stream')
  @ApiOkResponse({ schema: { type: 'string' } })
  @ApiNoContentResponse({ description: 'It has finished, and everything was received.' })
  async one(
    @Param('approvalId') approvalId: string,
    @Query() { after }: LiveQueryDto,
    @Headers('last-event-id') lastEventId: string | undefined,
    @Caller() { tenant }: Principal,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const place = await this.placeOf(lastEventId, after);
    // Read before the entry, which therefore shows at least everything up to here.
    const shown = await this.actionCenter.shownUpTo();
    const entry = await this.actionCenter.entry(tenant, approvalId);
    if (entry === undefined) {
      throw new ClawbackError(
        'notFound',
        'remediationNotFound',
        'there is no remediation with this approval ID',
      );
    }
    if (place !== undefined && (await this.hasFinishedBy(approvalId, place))) {
      await reply.code(204).send();
      return;
    }
    const begin = place ?? shown;
    await this.streams.answer(tenant, reply, (signal) => {
      const items = (): AsyncGenerator<LiveItem> =>
        this.feed.subscribe({
          tenant,
          approvalId,
          after: begin,
          signal,
          onLetGo: () => reply.raw.destroy(),
        });
      return place === undefined ? snapshotFirst(entry, begin, items) : blocksOf(untilFinished(items()));
    });
  }

  /** @throws {ClawbackError} `invalidInput`, `positionUnknown` */
  private async placeOf(
    lastEventId: string | undefined,
    after: string | undefined,
  ): Promise<Position | undefined> {
    const [field, text] = lastEventId ? ['Last-Event-ID', lastEventId] : ['after', after];
    if (text === undefined) return undefined;
    if (!/^\d{1,20}$/.test(text)) throw invalidInput([{ field, problem: 'must be the id of an event' }]);
    const place = parsePosition(text);
    if (place <= (await this.events.head())) return place;
    throw invalidInput([{ field, problem: 'lies after everything that has happened' }], 'positionUnknown');
  }

  private async hasFinishedBy(approvalId: string, place: Position): Promise<boolean> {
    for await (const event of this.events.readStream(remediationStream(approvalId))) {
      if (event.position > place) return false;
      const type = notificationOf(event)?.type;
      if (type !== undefined && LAST_NOTIFICATIONS.has(type)) return true;
    }
    return false;
  }
}

async function* blocksOf(items: AsyncIterable<LiveItem>): AsyncGenerator<string> {
  let isFirst = true;
  for await (const item of items) {
    yield isFirst ? opening(item.position) : block(item);
    isFirst = false;
  }
}

async function* snapshotFirst(
  entry: HistoryDoc,
  position: Position,
  items: () => AsyncIterable<LiveItem>,
): AsyncGenerator<string> {
  yield opening(position);
  yield eventBlock(position, 'remediation.snapshot', snapshotOf(entry, position));
  if (entry.finishedAt !== undefined) return;
  let isFirst = true;
  for await (const item of untilFinished(items())) {
    if (!isFirst) yield block(item);
    isFirst = false;
  }
}

async function* untilFinished(items: AsyncIterable<LiveItem>): AsyncGenerator<LiveItem> {
  for await (const item of items) {
    yield item;
    if (item.notification !== undefined && LAST_NOTIFICATIONS.has(item.notification.type)) return;
  }
}

const snapshotOf = (entry: HistoryDoc, position: Position): object => ({
  type: 'remediation.snapshot',
  approvalId: entry.approvalId,
  position: formatPosition(position),
  status: entry.status,
  name: entry.name,
  action: entry.action,
  counts: countsOf(entry.tally),
});
