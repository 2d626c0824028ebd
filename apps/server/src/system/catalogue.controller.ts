import { Roles } from '#libs/platform';
import { CATALOGUE } from '#libs/remediation';
import { Controller, Get } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';

const MEANINGS = { type: 'object', additionalProperties: { type: 'string' } } as const;

class CatalogueBody {
  @ApiProperty(MEANINGS) declare actions: Readonly<Record<string, string>>;
  @ApiProperty(MEANINGS) declare statuses: Readonly<Record<string, string>>;
  @ApiProperty(MEANINGS) declare outcomes: Readonly<Record<string, string>>;
  @ApiProperty(MEANINGS) declare reasons: Readonly<Record<string, string>>;
  @ApiProperty(MEANINGS) declare obstacles: Readonly<Record<string, string>>;
}

@ApiTags('system')
@ApiBearerAuth()
@Controller('v1/catalogue')
export class CatalogueController {
  @Get()
  @Roles('viewer', 'proposer', 'approver', 'purger', 'auditor', 'ingest')
  @ApiOperation({ summary: 'Every code of actions, statuses, outcomes and reasons, with its meaning' })
  @ApiOkResponse({ type: CatalogueBody })
  catalogue(): CatalogueBody {
    return CATALOGUE;
  }
}
