import { Caller, Roles, type Principal } from '#libs/platform';
import { Body, Controller, HttpCode, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { RemediationRequestDto, SubmittedBody } from '../../apps/server/src/remediations/remediations.dto.js';

const ANSWER: SubmittedBody = {
  approvalId: '0199d5f0-7d1c-7000-8000-000000000001',
  status: 'started',
  selectionHash: '0'.repeat(64),
  plan: {
    emails: 10,
    copies: 10,
    recipientCopies: 10,
    sendersCopies: 0,
    remediable: 10,
    nonRemediable: 0,
    reasons: {},
  },
  undoable: true,
  undoOf: null,
  retryOf: null,
};

/** The route of a submission, with its body checked and its caller known, that does nothing and answers the same. */
@Controller('v1/remediations')
export class ConstantController {
  @Post()
  @HttpCode(202)
  @Roles('proposer', 'approver')
  submit(
    @Body() { name }: RemediationRequestDto,
    @Caller() { tenant }: Principal,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): SubmittedBody {
    if (name === '' || tenant === '') throw new Error('a request without a name or a tenant');
    reply.header('location', `/v1/remediations/${ANSWER.approvalId}`);
    return ANSWER;
  }
}
