import { ClawbackError } from '#libs/kernel';
import { Public } from '#libs/platform';
import { Controller, Get } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { Runtime } from '../runtime.js';

interface Readiness {
  readonly status: 'ready';
  readonly views: readonly { readonly view: string; readonly state: string; readonly position: string }[];
}

@ApiTags('system')
@Controller('health')
export class HealthController {
  constructor(private readonly runtime: Runtime) {}

  @Get('live')
  @Public()
  @ApiOperation({ summary: 'The process answers' })
  live(): { status: 'live' } {
    return { status: 'live' };
  }

  @Get('ready')
  @Public()
  @ApiOperation({ summary: 'Every view follows the events; 503 when one has stopped' })
  ready(): Readiness {
    const views = this.runtime.views();
    const failed = views.filter(({ state }) => state === 'failed');
    if (failed.length > 0) {
      const names = failed.map(({ view }) => view).join(', ');
      throw new ClawbackError('unavailable', 'viewFailed', `these views have stopped: ${names}`);
    }
    return {
      status: 'ready',
      views: views.map(({ view, state, position }) => ({ view, state, position: String(position) })),
    };
  }
}
