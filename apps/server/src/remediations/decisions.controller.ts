import { ClawbackError, invalidInput } from '#libs/kernel';
import { Caller, Roles, type Principal } from '#libs/platform';
import {
  ApproveRemediation,
  CancelRemediation,
  RejectRemediation,
  RetryRemediation,
  StopLateArrivals,
  UndoRemediation,
  type UndoScope,
} from '#libs/remediation';
import { Body, Controller, Headers, HttpCode, Param, Post, Req, Res } from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiBearerAuth,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { contextOf } from '../http/request-context.js';
import {
  IDEMPOTENCY_KEY,
  SubmissionRoutes,
  checkActionRole,
  emailRefOf,
  entryBody,
  idempotencyKey,
  mayApprove,
} from './remediation-routes.js';
import {
  ApprovalDto,
  CancellationDto,
  EntryBody,
  RejectionDto,
  RetryDto,
  SubmittedBody,
  UndoDto,
} from './remediations.dto.js';

/** What is decided about a remediation that exists. */
@ApiTags('remediations')
@ApiBearerAuth()
@Controller('v1/remediations')
export class DecisionsController extends SubmissionRoutes {
  @Post(':approvalId/approve')
  @HttpCode(202)
  @Roles('approver')
  @ApiOperation({
    summary: 'Approve a pending remediation that somebody else has proposed, or its first emails',
  })
  @ApiAcceptedResponse({ type: EntryBody })
  async approve(
    @Param('approvalId') approvalId: string,
    @Body() { selectionHash, firstEmails }: ApprovalDto,
    @Req() request: FastifyRequest,
    @Caller() caller: Principal,
  ): Promise<EntryBody> {
    const { action } = await this.find(caller.tenant, approvalId);
    checkActionRole(caller, action);
    const context = contextOf(request, caller, this.clock);
    const position = await this.commands.execute(
      new ApproveRemediation(approvalId, selectionHash, context, firstEmails),
    );
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

  @Post(':approvalId/cancel')
  @HttpCode(202)
  @Roles('proposer', 'approver')
  @ApiOperation({
    summary: 'Cancel a remediation: what is under way ends, the rest is not begun; proposers only their own',
  })
  @ApiAcceptedResponse({ type: EntryBody })
  async cancel(
    @Param('approvalId') approvalId: string,
    @Body() { reason }: CancellationDto,
    @Req() request: FastifyRequest,
    @Caller() caller: Principal,
  ): Promise<EntryBody> {
    const entry = await this.find(caller.tenant, approvalId);
    if (!mayApprove(caller) && entry.submittedBy !== caller.subject) {
      throw new ClawbackError(
        'forbidden',
        'roleMissing',
        'to cancel what somebody else has submitted needs the role approver',
        { needed: ['approver'] },
      );
    }
    const context = contextOf(request, caller, this.clock);
    const position = await this.commands.execute(new CancelRemediation(approvalId, reason, context));
    await this.runtime.shown(position, ['history']);
    return entryBody(await this.find(caller.tenant, approvalId));
  }

  @Post(':approvalId/retry')
  @HttpCode(202)
  @Roles('proposer', 'approver')
  @ApiOperation({
    summary:
      'Try again what failed, timed out or was cancelled; a remediation of its own with only those copies',
  })
  @ApiHeader(IDEMPOTENCY_KEY)
  @ApiAcceptedResponse({ type: SubmittedBody, headers: { Location: { schema: { type: 'string' } } } })
  async retry(
    @Param('approvalId') approvalId: string,
    @Body() { outcomes = ['failed', 'timedOut'], name, description = '' }: RetryDto,
    @Headers('idempotency-key') key: string | undefined,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Caller() caller: Principal,
  ): Promise<SubmittedBody> {
    const { action } = await this.find(caller.tenant, approvalId);
    checkActionRole(caller, action);
    const context = contextOf(request, caller, this.clock);
    const submitted = await this.commands.execute(
      new RetryRemediation(
        approvalId,
        outcomes,
        name,
        description,
        context,
        mayApprove(caller),
        idempotencyKey(key),
      ),
    );
    return this.accepted(submitted, reply);
  }

  @Post(':approvalId/late-arrivals/stop')
  @HttpCode(200)
  @Roles('approver')
  @ApiOperation({ summary: 'Leave mail alone that arrives from now on' })
  @ApiOkResponse({ type: EntryBody })
  async stopLateArrivals(
    @Param('approvalId') approvalId: string,
    @Req() request: FastifyRequest,
    @Caller() caller: Principal,
  ): Promise<EntryBody> {
    await this.find(caller.tenant, approvalId);
    const context = contextOf(request, caller, this.clock);
    const position = await this.commands.execute(new StopLateArrivals(approvalId, context));
    await this.runtime.shown(position, ['history']);
    return entryBody(await this.find(caller.tenant, approvalId));
  }
}

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
