import { ActionCenter, countsOf, type HistoryDoc } from '#libs/action-center';
import { Clock, ClawbackError } from '#libs/kernel';
import { MailCatalog, type EmailDoc } from '#libs/mail-catalog';
import { Caller, Roles, TakesAppRoles, type Principal } from '#libs/platform';
import { emailKeyOf } from '#libs/remediation';
import { Body, Controller, Get, Headers, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import {
  ApiAcceptedResponse,
  ApiBearerAuth,
  ApiBody,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { decodeCursor, encodeCursor } from '../http/cursor.js';
import { IDEMPOTENCY_KEY, SubmissionRoutes } from '../remediations/remediation-routes.js';
import { Runtime } from '../runtime.js';
import { analyzedEmailOf, timelineEventsOf } from './analyzed-email.js';
import { parseEmailId } from './email-id.js';
import { PREFERENCE_APPLIED, actionShown, prefersUnknownMembers } from './enums.js';
import { parseFilter } from './filter.js';
import {
  AnalyzedEmailsBody,
  AnalyzedEmailsQueryDto,
  RemediateBody,
  RemediationStatusBody,
} from './graph.dto.js';
import { COLLABORATION, baseOf } from './paths.js';
import { remediationRequestOf } from './remediate-body.js';

const ACCEPTED = { headers: { Location: { schema: { type: 'string' as const } } } };

const PREFER = {
  name: 'Prefer',
  required: false,
  description: '`include-unknown-enum-members` shows the enum members that came after `unknownFutureValue`.',
  schema: { type: 'string' },
};

/** Emails and their remediation in the shape of Microsoft Graph; its versions are stripped from the path before. */
@ApiTags('graph')
@ApiBearerAuth()
@TakesAppRoles()
@Controller(COLLABORATION)
export class AnalyzedEmailsController extends SubmissionRoutes {
  constructor(
    private readonly catalog: MailCatalog,
    commands: CommandBus,
    clock: Clock,
    actionCenter: ActionCenter,
    runtime: Runtime,
  ) {
    super(commands, clock, actionCenter, runtime);
  }

  @Get('analyzedEmails')
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({ summary: 'Graph: emails, newest first; with /v1.0 or /beta before the path, or without' })
  @ApiHeader(PREFER)
  @ApiOkResponse({ type: AnalyzedEmailsBody })
  async list(
    @Query() query: AnalyzedEmailsQueryDto,
    @Headers('prefer') prefer: string | undefined,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Caller() { tenant }: Principal,
  ): Promise<AnalyzedEmailsBody> {
    const { startTime, endTime, $filter, $top = 100, $count, $skiptoken } = query;
    const filter = {
      ...($filter === undefined ? {} : parseFilter($filter)),
      ...(startTime === undefined ? {} : { startTime }),
      ...(endTime === undefined ? {} : { endTime }),
    };
    const after = decodeCursor(filter, $skiptoken, ['text', 'text'], '$skiptoken');
    const page = await this.catalog.search(tenant, filter, {
      limit: $top,
      ...(after === undefined ? {} : { after }),
    });
    const all = applied(prefer, reply);
    const base = baseOf(request, this.runtime.publicUrl);
    const next = encodeCursor(filter, page.next);
    return {
      '@odata.context': contextUrl(base, 'analyzedEmails'),
      ...($count === true ? { '@odata.count': await this.catalog.count(tenant, filter) } : {}),
      ...(next === null ? {} : { '@odata.nextLink': nextLink(base, query, next) }),
      value: page.items.map(({ doc }) => analyzedEmailOf(doc, all)),
    };
  }

  @Get('analyzedEmails/:analyzedEmailId')
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({ summary: 'Graph: one email' })
  @ApiHeader(PREFER)
  @ApiOkResponse({ schema: { type: 'object', additionalProperties: true } })
  async email(
    @Param('analyzedEmailId') id: string,
    @Headers('prefer') prefer: string | undefined,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Caller() { tenant }: Principal,
  ): Promise<object> {
    const doc = await this.emailOfId(tenant, id);
    const copies = await this.actionCenter.copiesOfEmail(tenant, doc);
    const context = contextUrl(baseOf(request, this.runtime.publicUrl), 'analyzedEmails/$entity');
    return {
      '@odata.context': context,
      ...analyzedEmailOf(doc, applied(prefer, reply)),
      timelineEvents: timelineEventsOf(doc, copies),
    };
  }

  @Post('analyzedEmails/remediate')
  @HttpCode(202)
  @Roles('proposer', 'approver')
  @ApiOperation({ summary: 'Graph: remediate emails; `Location` tells how it goes on' })
  @ApiHeader(IDEMPOTENCY_KEY)
  @ApiBody({ type: RemediateBody })
  @ApiAcceptedResponse(ACCEPTED)
  async remediate(
    @Body() body: unknown,
    @Headers('idempotency-key') key: string | undefined,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
    @Caller() caller: Principal,
  ): Promise<void> {
    const submitted = await this.submitted(remediationRequestOf(body), caller, request, key);
    const { approvalId } = await this.accepted(submitted, reply);
    const base = baseOf(request, this.runtime.publicUrl);
    await reply.code(202).header('location', `${base}${COLLABORATION}/remediations/${approvalId}`).send();
  }

  @Post('analyzedEmails/microsoft.graph.security.remediate')
  @HttpCode(202)
  @Roles('proposer', 'approver')
  @ApiOperation({ summary: 'Graph: the same by its qualified name' })
  @ApiHeader(IDEMPOTENCY_KEY)
  @ApiBody({ type: RemediateBody })
  @ApiAcceptedResponse(ACCEPTED)
  remediateQualified(
    @Body() body: unknown,
    @Headers('idempotency-key') key: string | undefined,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
    @Caller() caller: Principal,
  ): Promise<void> {
    return this.remediate(body, key, request, reply, caller);
  }

  @Get('remediations/:approvalId')
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({ summary: 'Graph: how a remediation goes on; where `Location` points' })
  @ApiHeader(PREFER)
  @ApiOkResponse({ type: RemediationStatusBody })
  async status(
    @Param('approvalId') approvalId: string,
    @Headers('prefer') prefer: string | undefined,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Caller() { tenant }: Principal,
  ): Promise<RemediationStatusBody> {
    const context = contextUrl(baseOf(request, this.runtime.publicUrl), 'remediations/$entity');
    return statusBody(context, await this.find(tenant, approvalId), applied(prefer, reply));
  }

  private async emailOfId(tenant: string, id: string): Promise<EmailDoc> {
    const email = parseEmailId(id);
    const [doc] = email === undefined ? [] : await this.catalog.docs(tenant, [emailKeyOf(email)]);
    if (doc !== undefined) return doc;
    throw new ClawbackError('notFound', 'emailNotFound', 'the catalogue has no email of this id');
  }
}

const contextUrl = (base: string, what: string): string => `${base}/$metadata#security/collaboration/${what}`;

/** The same request, going on. */
function nextLink(base: string, query: AnalyzedEmailsQueryDto, token: string): string {
  const { ...given } = query;
  const options = Object.entries<unknown>({ ...given, $skiptoken: token })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`);
  return `${base}${COLLABORATION}/analyzedEmails?${options.join('&')}`;
}

/** Whether all enum members are shown; the answer says so. */
function applied(prefer: string | undefined, reply: FastifyReply): boolean {
  const all = prefersUnknownMembers(prefer);
  if (all) reply.headers(PREFERENCE_APPLIED);
  return all;
}

const statusBody = (context: string, doc: HistoryDoc, all: boolean): RemediationStatusBody => ({
  '@odata.context': context,
  id: doc.approvalId,
  displayName: doc.name,
  description: doc.description,
  severity: doc.severity,
  action: actionShown(doc.action, all),
  remediateSendersCopy: doc.sendersCopy,
  status: doc.status,
  emailCount: doc.plan.emails,
  counts: countsOf(doc.tally),
  createdBy: doc.submittedBy,
  createdDateTime: doc.submittedAt,
  decidedBy: doc.decidedBy ?? null,
  decidedDateTime: doc.decidedAt ?? null,
  completedDateTime: doc.finishedAt ?? null,
});
