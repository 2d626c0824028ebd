import { REMEDIATION_ACTIONS, SEVERITIES, STATUSES } from '#libs/remediation';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { OptionalFlag, OptionalInstant, OptionalText, PageLimit } from '../http/fields.js';
import { CountsBody } from '../remediations/remediations.dto.js';
import { GRAPH_ACTIONS } from './enums.js';

export class AnalyzedEmailsQueryDto {
  @OptionalInstant('Received at or after this instant.')
  declare startTime?: string;

  @OptionalInstant('Received before this instant.')
  declare endTime?: string;

  @OptionalText({
    max: 2000,
    description:
      "`networkMessageId eq '…'`, `recipientEmailAddress eq '…'`, or both with `and` between them.",
    example: "networkMessageId eq '73ca4154-58d8-43d0-a890-08dc18c52e6d'",
  })
  declare $filter?: string;

  @PageLimit(1000, 100)
  declare $top?: number;

  @OptionalFlag('Whether to say how many there are in all.')
  declare $count?: boolean;

  @OptionalText({ max: 2048, description: 'Where to go on; a part of `@odata.nextLink`.' })
  declare $skiptoken?: string;
}

// Bodies are read by functions of their own, since clients may write more into them than is said here; the classes are
// for the document.

class AnalyzedEmailRefBody {
  @ApiPropertyOptional({ description: 'Instead of the other two: the id that this interface gives.' })
  declare id?: string;

  @ApiPropertyOptional({ type: String })
  declare networkMessageId?: string;

  @ApiPropertyOptional({ type: String })
  declare recipientEmailAddress?: string;
}

export class RemediateBody {
  @ApiProperty({ example: 'Clean up Phish email', maxLength: 200 })
  declare displayName: string;

  @ApiPropertyOptional({ type: String, nullable: true, maxLength: 1024 })
  declare description?: string | null;

  @ApiPropertyOptional({ enum: SEVERITIES, nullable: true, default: 'medium' })
  declare severity?: string | null;

  @ApiProperty({ enum: GRAPH_ACTIONS })
  declare action: string;

  @ApiPropertyOptional({
    type: Boolean,
    nullable: true,
    default: false,
    description: 'May also be the text "true" or "false".',
  })
  declare remediateSendersCopy?: boolean | null;

  @ApiProperty({ type: [AnalyzedEmailRefBody] })
  declare analyzedEmails: AnalyzedEmailRefBody[];
}

export class AnalyzedEmailsBody {
  @ApiProperty()
  declare '@odata.context': string;

  @ApiPropertyOptional({ description: 'Only with `$count=true`.' })
  declare '@odata.count'?: number;

  @ApiPropertyOptional({ description: 'Absent on the last page.' })
  declare '@odata.nextLink'?: string;

  @ApiProperty({ type: 'array', items: { type: 'object', additionalProperties: true } })
  declare value: readonly object[];
}

export class RemediationStatusBody {
  @ApiProperty()
  declare '@odata.context': string;

  @ApiProperty({ description: 'The approval ID.' })
  declare id: string;

  @ApiProperty()
  declare displayName: string;

  @ApiProperty()
  declare description: string;

  @ApiProperty({ enum: SEVERITIES })
  declare severity: string;

  @ApiProperty({ enum: [...REMEDIATION_ACTIONS, 'unknownFutureValue'] })
  declare action: string;

  @ApiProperty()
  declare remediateSendersCopy: boolean;

  @ApiProperty({ enum: STATUSES })
  declare status: string;

  @ApiProperty({ description: 'Emails selected.' })
  declare emailCount: number;

  @ApiProperty({ type: CountsBody })
  declare counts: CountsBody;

  @ApiProperty()
  declare createdBy: string;

  @ApiProperty({ format: 'date-time' })
  declare createdDateTime: string;

  @ApiProperty({ type: String, nullable: true })
  declare decidedBy: string | null;

  @ApiProperty({ type: String, nullable: true, format: 'date-time' })
  declare decidedDateTime: string | null;

  @ApiProperty({ type: String, nullable: true, format: 'date-time' })
  declare completedDateTime: string | null;
}

class BatchRequestBody {
  @ApiProperty()
  declare id: string;

  @ApiProperty({ enum: ['GET', 'POST'] })
  declare method: string;

  @ApiProperty({ description: 'Relative to the version.', example: '/security/collaboration/analyzedEmails' })
  declare url: string;

  @ApiPropertyOptional({ type: 'object', additionalProperties: { type: 'string' } })
  declare headers?: Readonly<Record<string, string>>;

  @ApiPropertyOptional({ type: 'object', additionalProperties: true })
  declare body?: unknown;

  @ApiPropertyOptional({ type: [String], description: 'Ids of requests that have to succeed before.' })
  declare dependsOn?: string[];
}

export class BatchBody {
  @ApiProperty({ type: [BatchRequestBody] })
  declare requests: BatchRequestBody[];
}

class BatchResponseBody {
  @ApiProperty()
  declare id: string;

  @ApiProperty()
  declare status: number;

  @ApiProperty({ type: 'object', additionalProperties: { type: 'string' } })
  declare headers: Readonly<Record<string, string>>;

  @ApiPropertyOptional({ type: 'object', additionalProperties: true })
  declare body?: unknown;
}

export class BatchAnswerBody {
  @ApiProperty({ type: [BatchResponseBody] })
  declare responses: readonly BatchResponseBody[];
}
