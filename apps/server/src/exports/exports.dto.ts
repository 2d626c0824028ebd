import {
  EXPORT_FORMATS,
  EXPORT_KINDS,
  HISTORY_COLUMNS,
  LOG_COLUMNS,
  SELECTION_COLUMNS,
  type ExportFormat,
  type HistoryFilter,
  type Manifest,
} from '#libs/action-center';
import { ApiProperty, OmitType } from '@nestjs/swagger';
import { EmailFilterDto } from '../emails/emails.dto.js';
import { OptionalOneOf } from '../http/fields.js';
import { HistoryQueryDto, LogFilterDto } from '../remediations/remediations.dto.js';

const Format = (): PropertyDecorator =>
  OptionalOneOf(EXPORT_FORMATS, 'Default: ndjson when `Accept` asks for it, else csv.');

export class SelectionExportDto {
  @Format()
  declare format?: ExportFormat;
}

export class LogExportDto extends LogFilterDto {
  @Format()
  declare format?: ExportFormat;
}

export class EmailsExportDto extends EmailFilterDto {
  @Format()
  declare format?: ExportFormat;
}

/** The filters of the history, which is exported whole and in its own order. */
export class HistoryExportDto
  extends OmitType(HistoryQueryDto, ['sort', 'order', 'limit', 'cursor'])
  implements HistoryFilter
{
  @Format()
  declare format?: ExportFormat;
}

const columnsDescription = [
  `log: ${LOG_COLUMNS.join(', ')}.`,
  `history: ${HISTORY_COLUMNS.join(', ')}.`,
  `selection: ${SELECTION_COLUMNS.join(', ')}.`,
].join(' ');

export class ManifestBody implements Manifest {
  @ApiProperty({ enum: EXPORT_KINDS })
  declare kind: Manifest['kind'];

  @ApiProperty({ type: String, nullable: true })
  declare approvalId: string | null;

  @ApiProperty({ type: 'object', additionalProperties: true, description: 'The filters, as understood.' })
  declare query: object;

  @ApiProperty({ enum: EXPORT_FORMATS })
  declare format: ExportFormat;

  @ApiProperty({ type: [String], description: columnsDescription })
  declare columns: readonly string[];

  @ApiProperty({ description: 'Without the header line of CSV.' })
  declare rows: number;

  @ApiProperty()
  declare bytes: number;

  @ApiProperty({ description: 'Of the bytes: 64 hexadecimal digits.' })
  declare sha256: string;

  @ApiProperty({ description: 'Position of the view when the first row was read; 20 digits.' })
  declare firstPosition: string;

  @ApiProperty({ description: 'Position of the view when the last row had been read; 20 digits.' })
  declare lastPosition: string;

  @ApiProperty({
    description: 'Whether the rows are for sure exactly what the view held at `firstPosition`.',
  })
  declare consistent: boolean;

  @ApiProperty({
    description: 'Nothing that it shows will change: the same export later has the same bytes.',
  })
  declare final: boolean;

  @ApiProperty({ format: 'date-time' })
  declare createdAt: string;
}
