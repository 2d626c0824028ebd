import type { ViewStatus } from '#libs/rebuild';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean } from 'class-validator';
import { Optional } from '../http/fields.js';

export class RebuildDto {
  @ApiPropertyOptional({
    description: 'Switch to the new build even if its documents differ from those of the active one.',
    default: false,
  })
  @Optional()
  @IsBoolean()
  readonly acceptDifferences?: boolean;
}

export class BuildBody {
  @ApiProperty() readonly build!: number;

  @ApiProperty({ enum: ['active', 'standby', 'building', 'discarding'] })
  readonly state!: string;

  @ApiProperty({ description: 'Position of the last event in it.' })
  readonly position!: string;

  @ApiProperty({ description: 'Part of the log that is in it, from 0 to 1.' })
  readonly progress!: number;
}

export class BuildSummaryBody {
  @ApiProperty() readonly build!: number;
  @ApiProperty() readonly documents!: number;
  @ApiProperty({ description: '64 hexadecimal digits over all documents.' }) readonly checksum!: string;
}

export class ComparisonBody {
  @ApiProperty() readonly built!: BuildSummaryBody;
  @ApiProperty() readonly active!: BuildSummaryBody;
  @ApiProperty({ description: 'How many documents are in one of them only, or differ.' })
  readonly differing!: number;

  @ApiProperty({ type: [String], description: 'Ids of some of those.' })
  readonly examples!: readonly string[];
}

export class RebuildFailureBody {
  @ApiProperty() readonly build!: number;
  @ApiProperty() readonly problem!: string;
}

export class ViewBody {
  @ApiProperty() readonly name!: string;
  @ApiProperty() readonly version!: number;
  @ApiProperty({ description: 'The build that queries are answered from.' }) readonly active!: number;
  @ApiProperty({ description: 'Position of the last event of the log.' }) readonly head!: string;
  @ApiProperty({ type: [BuildBody] }) readonly builds!: readonly BuildBody[];
  @ApiPropertyOptional({ description: 'The number of the build that is being made.' })
  readonly building?: number;

  @ApiPropertyOptional() readonly lastComparison?: ComparisonBody;
  @ApiPropertyOptional() readonly lastFailure?: RebuildFailureBody;
}

export class ViewListBody {
  @ApiProperty({ type: [ViewBody] }) readonly items!: readonly ViewBody[];
}

/** How the interface shows a view. */
export const viewBody = ({ head, builds, ...view }: ViewStatus): ViewBody => ({
  ...view,
  head: String(head),
  builds: builds.map(({ build, state, position }) => ({
    build,
    state,
    position: String(position),
    progress: position >= head ? 1 : Number(position) / Number(head),
  })),
});
