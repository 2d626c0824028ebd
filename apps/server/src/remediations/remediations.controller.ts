import { ActionCenter } from '#libs/action-center';
import { EventStore, type RecordedEvent } from '#libs/event-store';
import { Clock, invalidInput } from '#libs/kernel';
import { Caller, Roles, type Principal } from '#libs/platform';
import {
  PreviewRemediation,
  batchStream,
  isUndoable,
  remediationStream,
  type RemediationRequest,
  type Selection,
} from '#libs/remediation';
import { Body, Controller, Get, Headers, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import {
  ApiAcceptedResponse,
  ApiBearerAuth,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { decodeCursor, encodeCursor, type PageBody } from '../http/cursor.js';
import { Runtime } from '../runtime.js';
import { IDEMPOTENCY_KEY, SubmissionRoutes, emailRefOf, entryBody } from './remediation-routes.js';
import {
  EntryBody,
  EventBody,
  EventPageBody,
  EventsQueryDto,
  HistoryPageBody,
  HistoryQueryDto,
  LogPageBody,
  LogQueryDto,
  PreviewBody,
  RemediationRequestDto,
  SubmittedBody,
  type LogRowBody,
  type SelectionDto,
} from './remediations.dto.js';

@ApiTags('remediations')
@ApiBearerAuth()
@Controller('v1/remediations')
export class RemediationsController extends SubmissionRoutes {
  constructor(
    private readonly events: EventStore,
    commands: CommandBus,
    clock: Clock,
    actionCenter: ActionCenter,
    runtime: Runtime,
  ) {
    super(commands, clock, actionCenter, runtime);
  }

  @Post('preview')
  @HttpCode(200)
  @Roles('proposer', 'approver')
  @ApiOperation({ summary: 'What a remediation would touch; changes nothing' })
  @ApiOkResponse({ type: PreviewBody })
  async preview(@Body() body: RemediationRequestDto, @Caller() { tenant }: Principal): Promise<PreviewBody> {
    const planned = await this.commands.execute(
      new PreviewRemediation(requestOf(body, this.clock.now()), tenant),
    );
    return {
      selectionHash: planned.selectionHash,
      plan: planned.totals,
      undoable: isUndoable(body.action),
    };
  }

  @Post()
  @HttpCode(202)
  @Roles('proposer', 'approver')
  @ApiOperation({
    summary: 'Submit a remediation: approved at once by an approver, else it waits in Pending',
  })
  @ApiHeader(IDEMPOTENCY_KEY)
  @ApiAcceptedResponse({ type: SubmittedBody, headers: { Location: { schema: { type: 'string' } } } })
  async submit(
    @Body() body: RemediationRequestDto,
    @Headers('idempotency-key') key: string | undefined,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Caller() caller: Principal,
  ): Promise<SubmittedBody> {
    const wanted = requestOf(body, this.clock.now());
    return this.accepted(await this.submitted(wanted, caller, request, key), reply);
  }

  @Get()
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({ summary: 'The history: every remediation, newest first' })
  @ApiOkResponse({ type: HistoryPageBody })
  async history(
    @Query() { limit = 50, cursor, sort = 'submittedAt', order = 'desc', ...filter }: HistoryQueryDto,
    @Caller() { tenant }: Principal,
  ): Promise<PageBody<EntryBody>> {
    const bound = { ...filter, sort, order };
    const after = decodeCursor(bound, cursor, [sort === 'emails' ? 'integer' : 'text', 'text']);
    const page = await this.actionCenter.history(tenant, filter, {
      limit,
      sort,
      descending: order === 'desc',
      ...(after === undefined ? {} : { after }),
    });
    return { items: page.items.map(({ doc }) => entryBody(doc)), nextCursor: encodeCursor(bound, page.next) };
  }

  @Get(':approvalId')
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({ summary: 'One remediation: status, who and when, counts' })
  @ApiOkResponse({ type: EntryBody })
  async entry(@Param('approvalId') approvalId: string, @Caller() { tenant }: Principal): Promise<EntryBody> {
    return entryBody(await this.find(tenant, approvalId));
  }

  @Get(':approvalId/log')
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({ summary: 'The action log: what happened to every copy' })
  @ApiOkResponse({ type: LogPageBody })
  async log(
    @Param('approvalId') approvalId: string,
    @Query() { limit = 100, cursor, ...filter }: LogQueryDto,
    @Caller() { tenant }: Principal,
  ): Promise<PageBody<LogRowBody>> {
    const entry = await this.find(tenant, approvalId);
    const bound = { ...filter, approvalId };
    const after = decodeCursor(bound, cursor, ['text', 'integer']);
    const page = await this.actionCenter.log(entry, filter, {
      limit,
      ...(after === undefined ? {} : { after }),
    });
    return { items: page.items, nextCursor: encodeCursor(bound, page.next) };
  }

  @Get(':approvalId/events')
  @Roles('auditor', 'approver')
  @ApiOperation({ summary: 'The raw history from the event store: the remediation, then its batches' })
  @ApiOkResponse({ type: EventPageBody })
  async rawEvents(
    @Param('approvalId') approvalId: string,
    @Query() { limit = 100, cursor }: EventsQueryDto,
    @Caller() { tenant }: Principal,
  ): Promise<PageBody<EventBody>> {
    const entry = await this.find(tenant, approvalId);
    const [first = -1, from = '0'] = decodeCursor({ approvalId }, cursor, ['integer', 'digits']) ?? [];
    const items: EventBody[] = [];
    for (let batch = Number(first); batch < entry.batches; batch += 1) {
      const stream = batch < 0 ? remediationStream(approvalId) : batchStream(entry.planId, batch);
      const start = batch === Number(first) ? BigInt(from) : 0n;
      for await (const event of this.events.readStream(stream, {
        from: start,
        maxCount: limit + 1 - items.length,
      })) {
        if (items.length === limit) {
          return { items, nextCursor: encodeCursor({ approvalId }, [batch, String(event.revision)]) };
        }
        items.push(eventBody(event));
      }
    }
    return { items, nextCursor: null };
  }
}

const MINUTE_MS = 60_000;
const LATEST_START_MS = 7 * 24 * 60 * MINUTE_MS;

function startOf(startAt: string, now: Date): { startAt: string } {
  if (Date.parse(startAt) - now.getTime() > LATEST_START_MS) {
    throw invalidInput([{ field: 'startAt', problem: 'must be at most 7 days from now' }]);
  }
  return { startAt };
}

const requestOf = (
  {
    description = '',
    selection,
    startAt,
    finishWithinMinutes,
    lateArrivalsHours,
    ...rest
  }: RemediationRequestDto,
  now: Date,
): RemediationRequest => ({
  name: rest.name,
  description,
  severity: rest.severity,
  action: rest.action,
  sendersCopy: rest.sendersCopy,
  surface: rest.surface,
  selection: selectionOf(selection),
  ...(startAt === undefined ? {} : startOf(startAt, now)),
  ...(finishWithinMinutes === undefined ? {} : { finishWithinMs: finishWithinMinutes * MINUTE_MS }),
  ...(lateArrivalsHours === undefined ? {} : { lateArrivalsMs: lateArrivalsHours * 60 * MINUTE_MS }),
});

function selectionOf({ emails, query, excluding }: SelectionDto): Selection {
  if (emails !== undefined && query === undefined && excluding === undefined) {
    return { emails: emails.map(emailRefOf) };
  }
  if (query !== undefined && emails === undefined) {
    const { ...filter } = query;
    return {
      query: filter,
      ...(excluding === undefined || excluding.length === 0 ? {} : { excluding: excluding.map(emailRefOf) }),
    };
  }
  const problem =
    emails === undefined
      ? 'must have either emails or query'
      : 'must not have emails together with query or excluding';
  throw invalidInput([{ field: 'selection', problem }]);
}

const eventBody = (event: RecordedEvent): EventBody => ({
  id: event.id,
  type: event.type,
  stream: event.stream,
  revision: String(event.revision),
  position: String(event.position),
  data: event.data,
  metadata: event.metadata,
});
