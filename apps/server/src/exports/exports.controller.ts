import { ActionCenter, Exports, type AnyExport, type ExportFormat } from '#libs/action-center';
import { Caller, Roles, type Principal } from '#libs/platform';
import { Controller, Get, Param, Query, Req, Res, applyDecorators } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { RemediationRoutes } from '../remediations/remediation-routes.js';
import { Runtime } from '../runtime.js';
import { formatOf, manifestFor, sendExport } from './export-answer.js';
import {
  EmailsExportDto,
  HistoryExportDto,
  LogExportDto,
  ManifestBody,
  SelectionExportDto,
} from './exports.dto.js';

const Streamed = (summary: string): MethodDecorator =>
  applyDecorators(
    Roles('viewer', 'proposer', 'approver', 'auditor'),
    ApiOperation({
      summary,
      description:
        'CSV (RFC 4180, safe to open in a spreadsheet) or NDJSON, streamed. After the last byte come the trailers ' +
        '`Content-Digest` (RFC 9530) and `Clawback-Manifest`, the manifest of these very bytes as JSON. ' +
        'The header `Link` (rel=describedby) leads to the manifest for whoever cannot read trailers.',
    }),
    ApiProduces('text/csv', 'application/x-ndjson'),
    ApiOkResponse({ schema: { type: 'string' } }),
  );

const OfManifest = (summary: string): MethodDecorator =>
  applyDecorators(
    Roles('viewer', 'proposer', 'approver', 'auditor'),
    ApiOperation({
      summary,
      description:
        'Made by the same code from the view as it is now, with nothing sent. The same `sha256` as that of the bytes you ' +
        'have proves that nothing has changed in between.',
    }),
    ApiOkResponse({ type: ManifestBody }),
  );

/** What can be taken away as a file: logs, the history, selections. */
@ApiTags('exports')
@ApiBearerAuth()
@Controller('v1')
export class ExportsController extends RemediationRoutes {
  constructor(
    private readonly exports: Exports,
    actionCenter: ActionCenter,
    runtime: Runtime,
  ) {
    super(actionCenter, runtime);
  }

  @Get('remediations/:approvalId/export')
  @Streamed('The action log as a file: one row a copy')
  async log(
    @Param('approvalId') approvalId: string,
    @Query() query: LogExportDto,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
    @Caller() caller: Principal,
  ): Promise<void> {
    const format = formatOf(query.format, request);
    const made = await this.logExport(approvalId, query, format, caller);
    await sendExport(made, `action-log-${approvalId}`, format, reply);
  }

  @Get('remediations/:approvalId/export/manifest')
  @OfManifest('The manifest of the exported action log')
  async logManifest(
    @Param('approvalId') approvalId: string,
    @Query() query: LogExportDto,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Caller() caller: Principal,
  ): Promise<ManifestBody> {
    const made = await this.logExport(approvalId, query, formatOf(query.format, request), caller);
    return manifestFor(made, reply);
  }

  @Get('remediations/:approvalId/selection/export')
  @Streamed('The emails that a remediation has selected as a file: one row an email')
  async selection(
    @Param('approvalId') approvalId: string,
    @Query() query: SelectionExportDto,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
    @Caller() { tenant }: Principal,
  ): Promise<void> {
    const format = formatOf(query.format, request);
    const made = this.exports.selection(await this.find(tenant, approvalId), format);
    await sendExport(made, `selection-${approvalId}`, format, reply);
  }

  @Get('remediations/:approvalId/selection/export/manifest')
  @OfManifest('The manifest of the exported selection')
  async selectionManifest(
    @Param('approvalId') approvalId: string,
    @Query() query: SelectionExportDto,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Caller() { tenant }: Principal,
  ): Promise<ManifestBody> {
    const entry = await this.find(tenant, approvalId);
    return manifestFor(this.exports.selection(entry, formatOf(query.format, request)), reply);
  }

  @Get('remediations/export')
  @Streamed('The history as a file, newest first: one row a remediation')
  async history(
    @Query() { format: asked, ...filter }: HistoryExportDto,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
    @Caller() { tenant }: Principal,
  ): Promise<void> {
    const format = formatOf(asked, request);
    await sendExport(this.exports.history(tenant, filter, format), 'history', format, reply);
  }

  @Get('remediations/export/manifest')
  @OfManifest('The manifest of the exported history')
  historyManifest(
    @Query() { format, ...filter }: HistoryExportDto,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Caller() { tenant }: Principal,
  ): Promise<ManifestBody> {
    return manifestFor(this.exports.history(tenant, filter, formatOf(format, request)), reply);
  }

  @Get('emails/export')
  @Streamed('The emails that a query finds as a file: one row an email')
  async emails(
    @Query() { format: asked, ...filter }: EmailsExportDto,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
    @Caller() { tenant }: Principal,
  ): Promise<void> {
    const format = formatOf(asked, request);
    await sendExport(this.exports.emails(tenant, filter, format), 'emails', format, reply);
  }

  @Get('emails/export/manifest')
  @OfManifest('The manifest of the exported emails')
  emailsManifest(
    @Query() { format, ...filter }: EmailsExportDto,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Caller() { tenant }: Principal,
  ): Promise<ManifestBody> {
    return manifestFor(this.exports.emails(tenant, filter, formatOf(format, request)), reply);
  }

  private async logExport(
    approvalId: string,
    { format: _format, ...filter }: LogExportDto,
    format: ExportFormat,
    { tenant }: Principal,
  ): Promise<AnyExport> {
    return this.exports.log(await this.find(tenant, approvalId), filter, format);
  }
}
