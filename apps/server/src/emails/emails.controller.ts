import { Readable } from 'node:stream';
import { ActionCenter, type Copy } from '#libs/action-center';
import { ClawbackError, Clock } from '#libs/kernel';
import {
  ImportEmails,
  MailCatalog,
  emailKey,
  withSpooledBody,
  type EmailDoc,
  type ImportProgress,
  type ImportReport,
} from '#libs/mail-catalog';
import { Caller, Roles, problemOf, type Principal } from '#libs/platform';
import { Controller, Get, Header, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiBearerAuth, ApiConsumes, ApiBody, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Runtime } from '../runtime.js';
import { decodeCursor, encodeCursor, type PageBody } from '../http/cursor.js';
import { contextOf } from '../http/request-context.js';
import { NDJSON_TYPES, StreamedBody } from '../http/streamed-body.js';
import { panelActions, panelCopies, panelTimeline } from './email-panel.js';
import {
  EmailDetailBody,
  EmailPageBody,
  EmailPanelBody,
  EmailSearchDto,
  ImportReportBody,
  type CopyBody,
  type EmailBody,
} from './emails.dto.js';

@ApiTags('emails')
@ApiBearerAuth()
@Controller('v1/emails')
export class EmailsController {
  constructor(
    private readonly commands: CommandBus,
    private readonly catalog: MailCatalog,
    private readonly actionCenter: ActionCenter,
    private readonly runtime: Runtime,
    private readonly clock: Clock,
  ) {}

  @Post('import')
  @HttpCode(200)
  @StreamedBody(NDJSON_TYPES)
  @Roles('ingest')
  @ApiOperation({
    summary: 'Import EmailEvents records, one JSON object a line',
    description:
      'NDJSON as the Defender streaming API writes it, or bare rows; plain or gzip. Idempotent. A line that is wrong is ' +
      'reported and does not stop the others; a body that is broken or too large changes nothing. With ' +
      '`Accept: application/x-ndjson` the answer streams progress, a JSON object a line, the report last.',
  })
  @ApiConsumes('application/x-ndjson')
  @ApiBody({ schema: { type: 'string' } })
  @ApiOkResponse({ type: ImportReportBody })
  async import(
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
    @Caller() caller: Principal,
  ): Promise<void> {
    const body = request.body;
    if (!(body instanceof Readable)) {
      throw new ClawbackError('unsupported', 'ndjsonExpected', 'Content-Type: must be application/x-ndjson');
    }
    const encoding = request.headers['content-encoding'] ?? 'identity';
    if (encoding !== 'gzip' && encoding !== 'identity') {
      throw new ClawbackError(
        'unsupported',
        'encodingUnsupported',
        'Content-Encoding: must be gzip or absent',
      );
    }
    const { spoolDirectory: directory, importLimitBytes: maxBytes } = this.runtime;
    const run = (onProgress?: (progress: ImportProgress) => void): Promise<ImportReport> =>
      withSpooledBody(body, { directory, gzip: encoding === 'gzip', maxBytes }, ({ lines }) =>
        this.commands.execute(new ImportEmails(lines(), contextOf(request, caller, this.clock), onProgress)),
      );
    if (request.headers.accept?.includes('application/x-ndjson')) {
      await reply
        .type('application/x-ndjson')
        .send(Readable.from(progressLines(async (tell) => reportOf(await this.shown(run(tell))), request)));
      return;
    }
    await reply.send(reportOf(await this.shown(run())));
  }

  /** The caller may rely on seeing what it imported. */
  private async shown(importing: Promise<ImportReport>): Promise<ImportReport> {
    const report = await importing;
    await this.runtime.shown(report.position, ['emails']);
    return report;
  }

  @Get()
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({ summary: 'Search the mail catalogue, newest first' })
  @ApiOkResponse({ type: EmailPageBody })
  async search(
    @Query() { limit = 100, cursor, ...filter }: EmailSearchDto,
    @Caller() { tenant }: Principal,
  ): Promise<PageBody<EmailBody>> {
    const after = decodeCursor(filter, cursor, ['text', 'text']);
    const page = await this.catalog.search(tenant, filter, {
      limit,
      ...(after === undefined ? {} : { after }),
    });
    return {
      items: page.items.map(({ doc }) => emailBody(doc)),
      nextCursor: encodeCursor(filter, page.next),
    };
  }

  @Get(':networkMessageId/:recipient')
  @Header('cache-control', 'no-store')
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({ summary: 'One email: where each copy is, and which remediations touched it' })
  @ApiOkResponse({ type: EmailDetailBody })
  async email(
    @Param('networkMessageId') networkMessageId: string,
    @Param('recipient') recipient: string,
    @Caller() { tenant }: Principal,
  ): Promise<EmailDetailBody> {
    const doc = await this.find(tenant, networkMessageId, recipient);
    const copies = await this.actionCenter.copiesOfEmail(tenant, doc);
    return { ...emailBody(doc), copies: copies.map(copyBody) };
  }

  @Get(':networkMessageId/:recipient/panel')
  @Header('cache-control', 'no-store')
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({
    summary: 'Everything about one email: its copies, what happened to it, and what can be done with it now',
  })
  @ApiOkResponse({ type: EmailPanelBody })
  async panel(
    @Param('networkMessageId') networkMessageId: string,
    @Param('recipient') recipient: string,
    @Caller() caller: Principal,
  ): Promise<EmailPanelBody> {
    const doc = await this.find(caller.tenant, networkMessageId, recipient);
    const copies = await this.actionCenter.copiesOfEmail(caller.tenant, doc);
    const touchedBy = new Set(copies.flatMap(({ touches }) => touches.map(({ approvalId }) => approvalId)));
    const remediations = await this.actionCenter.entries(caller.tenant, [...touchedBy]);
    return {
      email: emailBody(doc),
      copies: panelCopies(doc, copies),
      timeline: panelTimeline(doc, copies, remediations),
      actions: panelActions(doc, copies, remediations, caller),
    };
  }

  private async find(tenant: string, networkMessageId: string, recipient: string): Promise<EmailDoc> {
    const key = emailKey(networkMessageId.toLowerCase(), recipient.toLowerCase());
    const [doc] = await this.catalog.docs(tenant, [key]);
    if (doc === undefined) {
      throw new ClawbackError(
        'notFound',
        'emailNotFound',
        'the catalogue has no email of this message and recipient',
      );
    }
    return doc;
  }
}

/** A file of which no line could be used is refused as a whole; it changed nothing. */
function reportOf({ accepted, unchanged, rejected, rejections }: ImportReport): ImportReportBody {
  if (accepted + unchanged === 0) {
    const [first] = rejections;
    throw new ClawbackError(
      'invalid',
      'nothingImported',
      first === undefined
        ? 'body: holds no line'
        : `body: none of its ${String(rejected)} lines is an EmailEvents record; line ${String(first.line)}: ${first.reason}`,
      { accepted, unchanged, rejected, rejections: rejections.slice(0, 100) },
    );
  }
  return { accepted, unchanged, rejected, rejections };
}

/** Progress as it comes, then the report or the problem, each a line. */
async function* progressLines(
  run: (tell: (progress: ImportProgress) => void) => Promise<ImportReportBody>,
  request: FastifyRequest,
): AsyncGenerator<string> {
  let latest: ImportProgress | undefined;
  let wake: () => void = () => undefined;
  let end: { report: ImportReportBody } | { problem: unknown } | undefined;
  run((progress) => {
    latest = progress;
    wake();
  }).then(
    (report) => {
      end = { report };
      wake();
    },
    (error: unknown) => {
      end = { problem: problemOf(error, { path: request.url, requestId: request.id }) };
      wake();
    },
  );
  while (end === undefined) {
    await new Promise<void>((resolve) => {
      wake = resolve;
      if (latest !== undefined || end !== undefined) resolve();
    });
    if (latest !== undefined) yield `${JSON.stringify({ progress: latest })}\n`;
    latest = undefined;
  }
  yield `${JSON.stringify(end)}\n`;
}

const emailBody = ({ record, location }: EmailDoc) => ({
  networkMessageId: record.networkMessageId,
  internetMessageId: record.internetMessageId,
  recipientEmailAddress: record.recipientEmailAddress,
  senderFromAddress: record.senderFromAddress,
  senderDisplayName: record.senderDisplayName,
  subject: record.subject,
  direction: record.direction,
  deliveryLocation: record.deliveryLocation,
  location,
  receivedAt: record.receivedAt,
  threatTypes: record.threatTypes,
  clusterId: record.emailClusterId,
});

const copyBody = (copy: Copy): CopyBody => ({
  mailbox: copy.mailbox,
  isSendersCopy: copy.kind === 'sender',
  folder: copy.folder,
  lastMovedBy: copy.lastMovedBy ?? null,
  remediations: copy.touches.map((touch) => ({
    approvalId: touch.approvalId,
    outcome: touch.outcome,
    reason: touch.reason ?? null,
    fromFolder: touch.from ?? null,
    toFolder: touch.to ?? null,
    time: touch.at,
  })),
});
