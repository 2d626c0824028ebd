import { Dashboard, type TimeRange } from '#libs/action-center';
import { Clock, invalidInput } from '#libs/kernel';
import { Caller, Roles, type Principal } from '#libs/platform';
import { Controller, Get, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { DashboardBody, DashboardQueryDto } from './dashboard.dto.js';

const DAY_MS = 24 * 60 * 60_000;
const DEFAULT_DAYS = 30;
const MAX_DAYS = 366;

@ApiTags('dashboard')
@ApiBearerAuth()
@Controller('v1/dashboard')
export class DashboardController {
  constructor(
    private readonly dashboard: Dashboard,
    private readonly clock: Clock,
  ) {}

  @Get()
  @Roles('viewer', 'proposer', 'approver', 'auditor')
  @ApiOperation({ summary: 'Volumes, outcomes, times to remediate, top senders and mailboxes of a range' })
  @ApiOkResponse({ type: DashboardBody })
  async read(
    @Query() { groupBy, top = 10, ...times }: DashboardQueryDto,
    @Caller() { tenant }: Principal,
  ): Promise<DashboardBody> {
    const range = rangeOf(times, this.clock.now());
    const positions = await this.dashboard.positions();
    const { totals, groups } = await this.dashboard.figures(tenant, range, groupBy);
    const { senders, mailboxes } = await this.dashboard.top(tenant, range, top);
    return {
      ...range,
      groupBy: groupBy ?? null,
      totals,
      groups,
      topSenders: senders,
      topMailboxes: mailboxes,
      positions,
    };
  }
}

function rangeOf(asked: Partial<TimeRange>, now: Date): TimeRange {
  // What happens in this very millisecond belongs to it.
  const end = asked.endTime === undefined ? now.getTime() + 1 : Date.parse(asked.endTime);
  const start = asked.startTime === undefined ? end - DEFAULT_DAYS * DAY_MS : Date.parse(asked.startTime);
  if (start >= end) throw invalidInput([{ field: 'endTime', problem: 'must be after startTime' }]);
  if (end - start > MAX_DAYS * DAY_MS) {
    throw invalidInput([{ field: 'startTime', problem: `must be at most ${MAX_DAYS} days before endTime` }]);
  }
  return { startTime: new Date(start).toISOString(), endTime: new Date(end).toISOString() };
}
