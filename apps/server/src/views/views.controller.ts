import { EventStore } from '#libs/event-store';
import { Caller, Roles, type Principal } from '#libs/platform';
import { ReadStore, type ViewSpec } from '#libs/read-store';
import { ChangeViewBuilds, KnownViews, viewStatus } from '#libs/rebuild';
import { Body, Controller, Get, HttpCode, Param, Post, Req } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiAcceptedResponse, ApiBearerAuth, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { RebuildDto, ViewBody, ViewListBody, viewBody } from './views.dto.js';

/** The views of the read side: how far they are, and building them anew. They belong to all tenants. */
@ApiTags('views')
@ApiBearerAuth()
@Controller('v1/views')
export class ViewsController {
  constructor(
    private readonly commands: CommandBus,
    private readonly events: EventStore,
    private readonly store: ReadStore,
    private readonly views: KnownViews,
  ) {}

  @Get()
  @Roles('admin')
  @ApiOperation({ summary: 'Every view with its builds' })
  @ApiOkResponse({ type: ViewListBody })
  async list(): Promise<ViewListBody> {
    return { items: await Promise.all(this.views.views.map((view) => this.body(view))) };
  }

  @Get(':view')
  @Roles('admin')
  @ApiOperation({ summary: 'One view with its builds' })
  @ApiOkResponse({ type: ViewBody })
  one(@Param('view') name: string): Promise<ViewBody> {
    return this.body(this.views.byName(name));
  }

  @Post(':view/rebuild')
  @HttpCode(202)
  @Roles('admin')
  @ApiOperation({
    summary: 'Build a view anew beside the active build',
    description:
      'Reads go on. When the new build has come as far as the active one, both are compared; if they are the same, ' +
      'queries are answered from the new one. The one before is kept up to date, for the way back.',
  })
  @ApiAcceptedResponse({ type: ViewBody })
  rebuild(
    @Param('view') name: string,
    @Body() { acceptDifferences = false }: RebuildDto,
    @Caller() caller: Principal,
    @Req() request: FastifyRequest,
  ): Promise<ViewBody> {
    return this.change(name, { type: 'RequestRebuild', acceptDifferences }, caller, request);
  }

  @Post(':view/switch')
  @HttpCode(202)
  @Roles('admin')
  @ApiOperation({
    summary: 'Switch to the build that stands by: back to the one before, or on to one that differs',
  })
  @ApiAcceptedResponse({ type: ViewBody })
  switch(
    @Param('view') name: string,
    @Caller() caller: Principal,
    @Req() request: FastifyRequest,
  ): Promise<ViewBody> {
    return this.change(name, { type: 'Switch' }, caller, request);
  }

  @Post(':view/discard')
  @HttpCode(202)
  @Roles('admin')
  @ApiOperation({ summary: 'Give up the build that stands by, or the one that is being made' })
  @ApiAcceptedResponse({ type: ViewBody })
  discard(
    @Param('view') name: string,
    @Caller() caller: Principal,
    @Req() request: FastifyRequest,
  ): Promise<ViewBody> {
    return this.change(name, { type: 'Discard' }, caller, request);
  }

  private async change(
    name: string,
    change: ChangeViewBuilds['change'],
    { tenant, subject }: Principal,
    { id }: FastifyRequest,
  ): Promise<ViewBody> {
    await this.commands.execute(
      new ChangeViewBuilds(name, change, { tenant, actor: subject, causationId: id }),
    );
    return this.body(this.views.byName(name));
  }

  private async body(view: ViewSpec<never>): Promise<ViewBody> {
    return viewBody(await viewStatus(this.events, this.store, view));
  }
}
