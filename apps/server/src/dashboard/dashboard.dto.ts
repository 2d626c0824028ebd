import { GROUPINGS, type Grouping } from '#libs/action-center';
import { STATUSES } from '#libs/remediation';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, Max, Min } from 'class-validator';
import { Optional, OptionalInstant, OptionalOneOf } from '../http/fields.js';
import { CountsBody } from '../remediations/remediations.dto.js';

export class DashboardQueryDto {
  @OptionalInstant('From then on; default 30 days before `endTime`.')
  declare startTime?: string;

  @OptionalInstant('Before then; default now. At most 366 days after `startTime`.')
  declare endTime?: string;

  @OptionalOneOf(GROUPINGS, 'The figures of each group as well.')
  declare groupBy?: Grouping;

  @ApiPropertyOptional({
    type: 'integer',
    minimum: 1,
    maximum: 100,
    default: 10,
    description: 'How many senders and mailboxes.',
  })
  @Optional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(100)
  declare top?: number;
}

export class DurationsBody {
  @ApiProperty()
  declare count: number;

  @ApiProperty({ type: Number, nullable: true, description: 'Milliseconds; null when there is none.' })
  declare p50Ms: number | null;

  @ApiProperty({ type: Number, nullable: true })
  declare p95Ms: number | null;
}

export class TimeToRemediateBody {
  @ApiProperty({ type: DurationsBody })
  declare sinceSubmission: DurationsBody;

  @ApiProperty({ type: DurationsBody })
  declare sinceApproval: DurationsBody;
}

export class FiguresBody {
  @ApiProperty({ description: 'Submitted in the range.' })
  declare remediations: number;

  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'integer' },
    description: `How many of them have which status by now: ${STATUSES.join(', ')}.`,
  })
  declare statuses: Readonly<Record<string, number>>;

  @ApiProperty()
  declare emails: number;

  @ApiProperty({ type: CountsBody, description: 'Their copies, by outcome by now.' })
  declare copies: CountsBody;

  @ApiProperty({ type: TimeToRemediateBody, description: 'Of those that have completed; exact.' })
  declare timeToRemediate: TimeToRemediateBody;
}

export class GroupBody extends FiguresBody {
  @ApiProperty({ description: 'The day (UTC), action, surface or severity.' })
  declare key: string;
}

export class TopAddressBody {
  @ApiProperty()
  declare address: string;

  @ApiProperty()
  declare copies: number;
}

export class TopBody {
  @ApiProperty({ type: [TopAddressBody] })
  declare items: readonly TopAddressBody[];

  @ApiProperty({
    description:
      'Nought: exact. Else counts may be too low by so much (more than 10,000 addresses in the range).',
  })
  declare error: number;
}

export class DashboardBody {
  @ApiProperty({ format: 'date-time' })
  declare startTime: string;

  @ApiProperty({ format: 'date-time' })
  declare endTime: string;

  @ApiProperty({ enum: GROUPINGS, nullable: true })
  declare groupBy: Grouping | null;

  @ApiProperty({ type: FiguresBody })
  declare totals: FiguresBody;

  @ApiProperty({ type: [GroupBody], description: 'Those that have a remediation.' })
  declare groups: readonly GroupBody[];

  @ApiProperty({
    type: TopBody,
    description: 'By copies moved, undos left out; a batch counts when it settles.',
  })
  declare topSenders: TopBody;

  @ApiProperty({ type: TopBody })
  declare topMailboxes: TopBody;

  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'string' },
    description: 'How far the views were before they were read.',
  })
  declare positions: Readonly<Record<string, string>>;
}
