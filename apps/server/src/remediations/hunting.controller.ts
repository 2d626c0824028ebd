import { ActionCenter } from '#libs/action-center';
import { Clock, invalidInput } from '#libs/kernel';
import { HUNTING_PROBLEMS_SHOWN, MailCatalog, type HuntedEmail } from '#libs/mail-catalog';
import { Caller, Roles, type Principal } from '#libs/platform';
import {
  PreviewRemediation,
  RemediationLimits,
  emailKeyOf,
  isUndoable,
  type RemediationRequest,
} from '#libs/remediation';
import { Controller, Headers, HttpCode, Post, Query, Req, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import {
  ApiAcceptedResponse,
  ApiBearerAuth,
  ApiBody,
  ApiConsumes,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CSV_TYPES, StreamedBody } from '../http/streamed-body.js';
import { Runtime } from '../runtime.js';
import { readHunting } from './hunting-body.js';
import { IDEMPOTENCY_KEY, SubmissionRoutes, checkActionRole, emailRefOf } from './remediation-routes.js';
import {
  HuntingPreviewBody,
  HuntingQueryDto,
  HuntingSubmittedBody,
  type HuntingBody,
  type UnknownRows,
} from './remediations.dto.js';

/** Emails that are looked up at once. */
const LOOKED_UP_AT_ONCE = 1000;

const LIST = { type: 'array', items: { type: 'object', additionalProperties: true } };

const ROWS = {
  schema: {
    oneOf: [LIST, { type: 'object', required: ['results'], properties: { schema: LIST, results: LIST } }],
  },
};

interface Hunted {
  readonly request: RemediationRequest;
  readonly hunting: HuntingBody;
}

/** Remediations of what advanced hunting has found. The body is the result; the rest is in the query string. */
@ApiTags('remediations')
@ApiBearerAuth()
@Controller('v1/remediations/from-hunting')
export class HuntingController extends SubmissionRoutes {
  constructor(
    private readonly catalog: MailCatalog,
    private readonly limits: RemediationLimits,
    commands: CommandBus,
    clock: Clock,
    actionCenter: ActionCenter,
    runtime: Runtime,
  ) {
    super(commands, clock, actionCenter, runtime);
  }

  @Post('preview')
  @HttpCode(200)
  @StreamedBody(CSV_TYPES)
  @Roles('proposer', 'approver')
  @ApiOperation({ summary: 'What a remediation of hunted emails would touch; changes nothing' })
  @ApiConsumes('application/json', 'text/csv')
  @ApiBody(ROWS)
  @ApiOkResponse({ type: HuntingPreviewBody })
  async preview(
    @Query() query: HuntingQueryDto,
    @Req() { body }: FastifyRequest,
    @Caller() { tenant }: Principal,
  ): Promise<HuntingPreviewBody> {
    const { request, hunting } = await this.hunted(tenant, query, body);
    const planned = await this.commands.execute(new PreviewRemediation(request, tenant));
    return {
      selectionHash: planned.selectionHash,
      plan: planned.totals,
      undoable: isUndoable(request.action),
      hunting,
    };
  }

  @Post()
  @HttpCode(202)
  @StreamedBody(CSV_TYPES)
  @Roles('proposer', 'approver')
  @ApiOperation({
    summary: 'Submit a remediation of what advanced hunting has found',
    description:
      "The rows of Graph's `runHuntingQuery`, with its schema or without, or CSV. Needed columns: NetworkMessageId, " +
      "RecipientEmailAddress; with the sender's copy option EmailDirection and SenderFromAddress too. Rows that name an " +
      'email again are folded; a wrong row, or one that is no email of the catalogue, is named by its number.',
  })
  @ApiConsumes('application/json', 'text/csv')
  @ApiBody(ROWS)
  @ApiHeader(IDEMPOTENCY_KEY)
  @ApiAcceptedResponse({
    type: HuntingSubmittedBody,
    headers: { Location: { schema: { type: 'string' } } },
  })
  async submit(
    @Query() query: HuntingQueryDto,
    @Headers('idempotency-key') key: string | undefined,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Caller() caller: Principal,
  ): Promise<HuntingSubmittedBody> {
    // Before the rows are read.
    checkActionRole(caller, query.action);
    const wanted = await this.hunted(caller.tenant, query, request.body);
    const submitted = await this.submitted(wanted.request, caller, request, key);
    const { ...answer } = await this.accepted(submitted, reply);
    return { ...answer, hunting: wanted.hunting };
  }

  private async hunted(
    tenant: string,
    {
      name,
      description = '',
      severity,
      action,
      sendersCopy = false,
      unknownRows = 'refuse',
    }: HuntingQueryDto,
    body: unknown,
  ): Promise<Hunted> {
    const found = await readHunting(body, {
      sendersCopy,
      limit: this.limits.hunting,
      maxBytes: this.runtime.huntingLimitBytes,
    });
    await this.catalog.ready();
    const unknown = await this.unknownAmong(tenant, found.emails);
    checkUnknown(found.emails.length, unknown, unknownRows);
    const left = new Set(unknown.map(({ row }) => row));
    const emails = found.emails.filter(({ row }) => !left.has(row)).map(emailRefOf);
    return {
      request: {
        name,
        description,
        severity,
        action,
        sendersCopy,
        surface: 'advancedHunting',
        selection: { emails, foundBy: 'hunting' },
      },
      hunting: {
        rows: found.rows,
        emails: emails.length,
        duplicates: found.duplicates,
        leftOut: unknown.length,
        leftOutRows: unknown.slice(0, HUNTING_PROBLEMS_SHOWN).map(({ row }) => row),
      },
    };
  }

  private async unknownAmong(tenant: string, emails: readonly HuntedEmail[]): Promise<HuntedEmail[]> {
    const unknown: HuntedEmail[] = [];
    for (let at = 0; at < emails.length; at += LOOKED_UP_AT_ONCE) {
      const part = emails.slice(at, at + LOOKED_UP_AT_ONCE);
      const found = await this.catalog.getMany(tenant, part.map(emailKeyOf));
      const known = new Set(found.map(emailKeyOf));
      unknown.push(...part.filter((email) => !known.has(emailKeyOf(email))));
    }
    return unknown;
  }
}

/** Nothing that was found is left out unless that is wanted; and something has to remain. */
function checkUnknown(emails: number, unknown: readonly HuntedEmail[], wanted: UnknownRows): void {
  if (unknown.length === 0 || (wanted === 'leaveOut' && unknown.length < emails)) return;
  throw invalidInput(
    unknown.slice(0, HUNTING_PROBLEMS_SHOWN).map(({ row }) => ({
      field: `rows[${String(row)}]`,
      problem: 'is not an email of the catalogue',
    })),
    'emailUnknown',
  );
}
