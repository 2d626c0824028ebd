import { Readable } from 'node:stream';
import { ActionCenter, countsOf, logCsv, type HistoryDoc } from '#libs/action-center';
import { EventStore, type RecordedEvent } from '#libs/event-store';
import { ClawbackError, invalidInput, Clock } from '#libs/kernel';
import { Caller, Roles, type Principal } from '#libs/platform';
import {
  ApproveRemediation,
  PreviewRemediation,
  RejectRemediation,
  SubmitRemediation,
  UndoRemediation,
  batchStream,
  remediationStream,
  type EmailRef,
  type RemediationRequest,
  type Selection,
  type Submitted,
  type UndoScope,
} from '#libs/remediation';
import { Body, Controller, Get, Headers, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import {
  ApiAcceptedResponse,
  ApiBearerAuth,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiProduces,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { decodeCursor, encodeCursor, type PageBody } from '../http/cursor.js';
import { contextOf, correlate } from '../http/request-context.js';
import { Runtime } from '../runtime.js';
import {
  ApprovalDto,
  EntryBody,
  EventBody,
  EventPageBody,
  EventsQueryDto,
  HistoryPageBody,
  HistoryQueryDto,
  LogFilterDto,
  LogPageBody,
  LogQueryDto,
  PreviewBody,
  RejectionDto,
  RemediationRequestDto,
  SubmittedBody,
  UndoDto,
  type LogRowBody,
  type SelectionDto,
} from './remediations.dto.js';

const IDEMPOTENCY_KEY = {
  name: 'Idempotency-Key',
  required: false,
  description: 'The same key gives the same remediation, for ever.',
  schema: { type: 'string', minLength: 1, maxLength: 255 },
};

@ApiTags('remediations')
@ApiBearerAuth()
@Controller('v1/remediations')
export class RemediationsController {
  constructor(
    private readonly commands: CommandBus,
    private readonly actionCenter: ActionCenter,
    private readonly events: EventStore,
    private readonly runtime: Runtime,
    private readonly clock: Clock,
  ) {}

  @Post('preview')
  @HttpCode(200)
  @Roles('proposer', 'approver')
  @ApiOperation({ summary: 'What a remediation would touch; changes nothing' })
  @ApiOkResponse({ type: PreviewBody })
  async preview(@Body() body: RemediationRequestDto, @Caller() { tenant }: Principal): Promise<PreviewBody> {
    const planned = await this.commands.execute(new PreviewRemediation(requestOf(body), tenant));
    return { selectionHash: planned.selectionHash, plan: planned.totals };
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
    const context = contextOf(request, caller, this.clock);
    const submitted = await this.commands.execute(
      new SubmitRemediation(requestOf(body), context, mayApprove(caller), idempotencyKey(key)),
    );
    return this.accepted(submitted, reply);
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

  @Get(':approvalId/export')
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({ summary: 'The action log as CSV, streamed: one row a copy' })
  @ApiProduces('text/csv')
  @ApiOkResponse({ schema: { type: 'string' } })
  async export(
    @Param('approvalId') approvalId: string,
    @Query() filter: LogFilterDto,
    @Caller() { tenant }: Principal,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const entry = await this.find(tenant, approvalId);
    await reply
      .type('text/csv; charset=utf-8')
      .header('content-disposition', `attachment; filename="action-log-${entry.approvalId}.csv"`)
      .send(Readable.from(logCsv(this.actionCenter.rows(entry, filter))));
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

  @Post(':approvalId/approve')
  @HttpCode(202)
  @Roles('approver')
  @ApiOperation({ summary: 'Approve a pending remediation' })
  @ApiAcceptedResponse({ type: EntryBody })
  async approve(
    @Param('approvalId') approvalId: string,
    @Body() { selectionHash }: ApprovalDto,
    @Req() request: FastifyRequest,
    @Caller() caller: Principal,
  ): Promise<EntryBody> {
    await this.find(caller.tenant, approvalId);
    const context = contextOf(request, caller, this.clock);
    const position = await this.commands.execute(new ApproveRemediation(approvalId, selectionHash, context));
    await this.runtime.shown(position, ['history']);
    return entryBody(await this.find(caller.tenant, approvalId));
  }

  @Post(':approvalId/reject')
  @HttpCode(200)
  @Roles('approver')
  @ApiOperation({ summary: 'Reject a pending remediation; none of its copies is touched' })
  @ApiOkResponse({ type: EntryBody })
  async reject(
    @Param('approvalId') approvalId: string,
    @Body() { reason }: RejectionDto,
    @Req() request: FastifyRequest,
    @Caller() caller: Principal,
  ): Promise<EntryBody> {
    await this.find(caller.tenant, approvalId);
    const context = contextOf(request, caller, this.clock);
    const position = await this.commands.execute(new RejectRemediation(approvalId, reason, context));
    await this.runtime.shown(position, ['history']);
    return entryBody(await this.find(caller.tenant, approvalId));
  }

  @Post(':approvalId/undo')
  @HttpCode(202)
  @Roles('approver')
  @ApiOperation({
    summary: 'Bring back what a remediation moved, whole or in part; a remediation of its own',
  })
  @ApiHeader(IDEMPOTENCY_KEY)
  @ApiAcceptedResponse({ type: SubmittedBody, headers: { Location: { schema: { type: 'string' } } } })
  async undo(
    @Param('approvalId') approvalId: string,
    @Body() body: UndoDto,
    @Headers('idempotency-key') key: string | undefined,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Caller() caller: Principal,
  ): Promise<SubmittedBody> {
    await this.find(caller.tenant, approvalId);
    const submitted = await this.commands.execute(
      new UndoRemediation(
        approvalId,
        scopeOf(body),
        body.name,
        body.description ?? '',
        contextOf(request, caller, this.clock),
        idempotencyKey(key),
      ),
    );
    return this.accepted(submitted, reply);
  }

  /** Every route by approval ID goes through here: no tenant sees another's. */
  private async find(tenant: string, approvalId: string): Promise<HistoryDoc> {
    const entry = await this.actionCenter.entry(tenant, approvalId);
    if (entry !== undefined) return entry;
    throw new ClawbackError(
      'notFound',
      'remediationNotFound',
      'there is no remediation with this approval ID',
    );
  }

  private async accepted(
    { submission, approved, position }: Submitted,
    reply: FastifyReply,
  ): Promise<SubmittedBody> {
    correlate(reply.request, submission.approvalId);
    await this.runtime.shown(position, ['history', 'actionLog']);
    const { approvalId, selectionHash, plan, undoOf } = submission;
    reply.header('location', `/v1/remediations/${approvalId}`);
    return {
      approvalId,
      status: approved ? 'queued' : 'pending',
      selectionHash,
      plan,
      undoOf: undoOf ?? null,
    };
  }
}

const mayApprove = ({ roles }: Principal): boolean => roles.includes('approver') || roles.includes('admin');

function idempotencyKey(key: string | undefined): string | undefined {
  if (key === undefined || /^[\x21-\x7e]{1,255}$/.test(key)) return key;
  throw invalidInput([{ field: 'Idempotency-Key', problem: 'must be 1 to 255 visible ASCII characters' }]);
}

const requestOf = ({ description = '', selection, ...rest }: RemediationRequestDto): RemediationRequest => ({
  name: rest.name,
  description,
  severity: rest.severity,
  action: rest.action,
  sendersCopy: rest.sendersCopy,
  surface: rest.surface,
  selection: selectionOf(selection),
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

const emailRefOf = ({ networkMessageId, recipientEmailAddress }: EmailRef): EmailRef => ({
  networkMessageId,
  recipientEmailAddress,
});

function scopeOf({ emails, copies }: UndoDto): UndoScope {
  if (emails !== undefined && copies !== undefined) {
    throw invalidInput([{ field: 'copies', problem: 'must not be given together with emails' }]);
  }
  if (emails !== undefined) return { emails: emails.map(emailRefOf) };
  if (copies !== undefined) {
    return {
      copies: copies.map(({ networkMessageId, mailbox, isSendersCopy }) => ({
        networkMessageId,
        mailbox,
        isSendersCopy,
      })),
    };
  }
  return { all: true };
}

const entryBody = (doc: HistoryDoc): EntryBody => {
  const self = `/v1/remediations/${doc.approvalId}`;
  return {
    approvalId: doc.approvalId,
    name: doc.name,
    description: doc.description,
    severity: doc.severity,
    action: doc.action,
    sendersCopy: doc.sendersCopy,
    surface: doc.surface,
    status: doc.status,
    selection: doc.selection,
    selectionHash: doc.selectionHash,
    plan: doc.plan,
    counts: countsOf(doc.tally),
    submittedBy: doc.submittedBy,
    submittedAt: doc.submittedAt,
    decidedBy: doc.decidedBy ?? null,
    decidedAt: doc.decidedAt ?? null,
    rejectionReason: doc.rejectionReason ?? null,
    startedAt: doc.startedAt ?? null,
    finishedAt: doc.finishedAt ?? null,
    undoOf: doc.undoOf ?? null,
    undoneBy: doc.undoneBy,
    links: {
      self,
      log: `${self}/log`,
      export: `${self}/export`,
      events: `${self}/events`,
      undo: `${self}/undo`,
      ...(doc.undoOf === undefined ? {} : { undoOf: `/v1/remediations/${doc.undoOf}` }),
    },
  };
};

const eventBody = (event: RecordedEvent): EventBody => ({
  id: event.id,
  type: event.type,
  stream: event.stream,
  revision: String(event.revision),
  position: String(event.position),
  data: event.data,
  metadata: event.metadata,
});
