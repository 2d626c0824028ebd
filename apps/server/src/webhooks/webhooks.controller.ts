import { EventStore } from '#libs/event-store';
import {
  ClawbackError,
  Clock,
  formatPosition,
  idFrom,
  invalidInput,
  newId,
  parsePosition,
} from '#libs/kernel';
import { Caller, Roles, type Config, type Principal } from '#libs/platform';
import {
  OnWebhook,
  Targets,
  WebhookKeys,
  WebhookQueries,
  WebhookSender,
  loadWebhook,
  secretsAt,
  signedHeaders,
  webhookNotFound,
  type DeliveryDoc,
  type KnownWebhook,
  type WebhookCommand,
  type WebhookDoc,
} from '#libs/webhooks';
import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query, Req, Res } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import {
  ApiAcceptedResponse,
  ApiBearerAuth,
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { decodeCursor, encodeCursor, type PageBody } from '../http/cursor.js';
import { contextOf } from '../http/request-context.js';
import { Runtime } from '../runtime.js';
import {
  DEFAULT_TYPES,
  DeliveryBody,
  DeliveryListDto,
  DeliveryPageBody,
  PingBody,
  ReplayDto,
  WebhookBody,
  WebhookChangeDto,
  WebhookDto,
  WebhookListDto,
  WebhookPageBody,
  WebhookWithSecretBody,
} from './webhooks.dto.js';

/** After a rotation the secret before signs as well for so long. */
const BOTH_SIGN_MS = 24 * 3_600_000;

/** The setting that the controller needs, as an injection token. */
export class WebhookLimits {
  constructor(readonly perTenant: Config['webhooks']['perTenant']) {}
}

@ApiTags('webhooks')
@ApiBearerAuth()
@Roles('admin')
@Controller('v1/webhooks')
export class WebhooksController {
  constructor(
    private readonly commands: CommandBus,
    private readonly queries: WebhookQueries,
    private readonly events: EventStore,
    private readonly runtime: Runtime,
    private readonly clock: Clock,
    private readonly keys: WebhookKeys,
    private readonly targets: Targets,
    private readonly sender: WebhookSender,
    private readonly limits: WebhookLimits,
  ) {}

  @Post()
  @HttpCode(201)
  @ApiOperation({
    summary: 'Register a webhook; sends what happens from now on. The answer alone has its secret',
  })
  @ApiCreatedResponse({ type: WebhookWithSecretBody, headers: { Location: { schema: { type: 'string' } } } })
  async register(
    @Body() { url, types = DEFAULT_TYPES, description = '' }: WebhookDto,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Caller() caller: Principal,
  ): Promise<WebhookWithSecretBody> {
    this.targets.check(url);
    await this.checkNumber(caller.tenant);
    const webhookId = newId();
    const command: WebhookCommand = {
      type: 'Register',
      webhookId,
      tenant: caller.tenant,
      settings: { url, types, description },
      keyId: this.keys.id,
      begin: { after: formatPosition(await this.events.head()) },
    };
    const webhook = await this.decide(webhookId, command, request, caller);
    reply.header('location', `/v1/webhooks/${webhookId}`);
    return this.withSecret(webhook);
  }

  @Get()
  @ApiOperation({ summary: 'All webhooks, the oldest first' })
  @ApiOkResponse({ type: WebhookPageBody })
  async list(
    @Query() { limit = 100, cursor }: WebhookListDto,
    @Caller() { tenant }: Principal,
  ): Promise<PageBody<WebhookBody>> {
    const after = decodeCursor({}, cursor, ['text', 'text']);
    const page = await this.queries.webhooks(tenant, { limit, ...(after === undefined ? {} : { after }) });
    return { items: page.items.map(({ doc }) => webhookBody(doc)), nextCursor: encodeCursor({}, page.next) };
  }

  @Get(':webhookId')
  @ApiOperation({ summary: 'One webhook, and how it fares' })
  @ApiOkResponse({ type: WebhookBody })
  async read(@Param('webhookId') webhookId: string, @Caller() { tenant }: Principal): Promise<WebhookBody> {
    return webhookBody(await this.find(tenant, webhookId));
  }

  @Patch(':webhookId')
  @ApiOperation({ summary: 'Change where or what it sends; what had failed is tried again at once' })
  @ApiOkResponse({ type: WebhookBody })
  async change(
    @Param('webhookId') webhookId: string,
    @Body() { ...change }: WebhookChangeDto,
    @Req() request: FastifyRequest,
    @Caller() caller: Principal,
  ): Promise<WebhookBody> {
    if (change.url !== undefined) this.targets.check(change.url);
    return this.apply(webhookId, { type: 'Change', change }, request, caller);
  }

  @Delete(':webhookId')
  @HttpCode(204)
  @ApiOperation({ summary: 'Remove a webhook, for good' })
  @ApiNoContentResponse()
  async remove(
    @Param('webhookId') webhookId: string,
    @Req() request: FastifyRequest,
    @Caller() caller: Principal,
  ): Promise<void> {
    await this.find(caller.tenant, webhookId);
    await this.decide(webhookId, { type: 'Remove' }, request, caller);
  }

  @Post(':webhookId/pause')
  @HttpCode(200)
  @ApiOperation({ summary: 'Send nothing until it is resumed; nothing is lost meanwhile' })
  @ApiOkResponse({ type: WebhookBody })
  pause(
    @Param('webhookId') webhookId: string,
    @Req() request: FastifyRequest,
    @Caller() caller: Principal,
  ): Promise<WebhookBody> {
    return this.apply(webhookId, { type: 'Pause', because: 'byHand', detail: '' }, request, caller);
  }

  @Post(':webhookId/resume')
  @HttpCode(200)
  @ApiOperation({ summary: 'Go on where it was paused' })
  @ApiOkResponse({ type: WebhookBody })
  resume(
    @Param('webhookId') webhookId: string,
    @Req() request: FastifyRequest,
    @Caller() caller: Principal,
  ): Promise<WebhookBody> {
    return this.apply(webhookId, { type: 'Resume' }, request, caller);
  }

  @Post(':webhookId/secret')
  @HttpCode(200)
  @ApiOperation({ summary: 'A new secret; for a day the one before signs as well' })
  @ApiOkResponse({ type: WebhookWithSecretBody })
  async rotate(
    @Param('webhookId') webhookId: string,
    @Req() request: FastifyRequest,
    @Caller() caller: Principal,
  ): Promise<WebhookWithSecretBody> {
    await this.find(caller.tenant, webhookId);
    const previousUntil = new Date(this.clock.now().getTime() + BOTH_SIGN_MS).toISOString();
    const command: WebhookCommand = { type: 'RotateSecret', keyId: this.keys.id, previousUntil };
    return this.withSecret(await this.decide(webhookId, command, request, caller));
  }

  @Post(':webhookId/replay')
  @HttpCode(202)
  @ApiOperation({ summary: 'Send everything again from a position or a time on, with the ids it had' })
  @ApiAcceptedResponse({ type: WebhookBody })
  replay(
    @Param('webhookId') webhookId: string,
    @Body() { fromPosition, fromTime }: ReplayDto,
    @Req() request: FastifyRequest,
    @Caller() caller: Principal,
  ): Promise<WebhookBody> {
    if ((fromPosition === undefined) === (fromTime === undefined)) {
      throw invalidInput([
        { field: 'fromPosition', problem: 'exactly one of fromPosition and fromTime must be given' },
      ]);
    }
    const begin =
      fromPosition === undefined
        ? { after: '', notBefore: fromTime }
        : { after: formatPosition(parsePosition(fromPosition) - 1n) };
    return this.apply(webhookId, { type: 'Replay', begin }, request, caller);
  }

  @Post(':webhookId/ping')
  @HttpCode(200)
  @ApiOperation({ summary: 'Send a message of type webhook.ping now, once, and say what came of it' })
  @ApiOkResponse({ type: PingBody })
  async ping(
    @Param('webhookId') webhookId: string,
    @Req() request: FastifyRequest,
    @Caller() { tenant }: Principal,
  ): Promise<PingBody> {
    await this.find(tenant, webhookId);
    const webhook = await this.known(webhookId);
    const now = this.clock.now();
    const secrets = secretsAt(webhook, this.keys, now);
    if (secrets.length === 0) {
      throw new ClawbackError(
        'conflict',
        'signingKeyChanged',
        'the secret was derived from another key of the server; make a new one',
      );
    }
    const body = JSON.stringify({ type: 'webhook.ping', timestamp: now.toISOString(), data: { webhookId } });
    const headers = signedHeaders(secrets, `msg_${idFrom(webhookId, 'ping', request.id)}`, now, body);
    const attempt = await this.sender.post(webhook.settings.url, headers, body, new AbortController().signal);
    return {
      delivered: attempt.error === undefined,
      status: attempt.status ?? null,
      durationMs: attempt.durationMs,
      error: attempt.error ?? null,
    };
  }

  @Get(':webhookId/deliveries')
  @ApiOperation({ summary: 'What was sent, the newest first: attempts, status, next attempt' })
  @ApiOkResponse({ type: DeliveryPageBody })
  async deliveries(
    @Param('webhookId') webhookId: string,
    @Query() { limit = 100, cursor, ...filter }: DeliveryListDto,
    @Caller() { tenant }: Principal,
  ): Promise<PageBody<DeliveryBody>> {
    const webhook = await this.find(tenant, webhookId);
    const bound = { ...filter, webhookId };
    const after = decodeCursor(bound, cursor, ['text', 'text']);
    const page = await this.queries.deliveries(webhook, filter.state, {
      limit,
      ...(after === undefined ? {} : { after }),
    });
    return {
      items: page.items.map(({ doc }) => deliveryBody(doc)),
      nextCursor: encodeCursor(bound, page.next),
    };
  }

  /** Every route by id goes through here: no tenant sees another's. */
  private async find(tenant: string, webhookId: string): Promise<WebhookDoc> {
    const doc = await this.queries.webhook(tenant, webhookId);
    if (doc === undefined) throw webhookNotFound();
    return doc;
  }

  private async apply(
    webhookId: string,
    command: WebhookCommand,
    request: FastifyRequest,
    caller: Principal,
  ): Promise<WebhookBody> {
    await this.find(caller.tenant, webhookId);
    await this.decide(webhookId, command, request, caller);
    return webhookBody(await this.find(caller.tenant, webhookId));
  }

  /** Answers when the list shows it. */
  private async decide(
    webhookId: string,
    command: WebhookCommand,
    request: FastifyRequest,
    caller: Principal,
  ): Promise<KnownWebhook> {
    const decided = await this.commands.execute(
      new OnWebhook(webhookId, command, contextOf(request, caller, this.clock)),
    );
    if (decided.state.status === 'none') throw webhookNotFound();
    if (decided.position !== undefined) await this.runtime.shown(decided.position, ['webhooks']);
    return decided.state;
  }

  /** As the log has it, and not as a view may show it a moment later. */
  private async known(webhookId: string): Promise<KnownWebhook> {
    const state = await loadWebhook(this.events, webhookId);
    if (state.status === 'none' || state.status === 'removed') throw webhookNotFound();
    return state;
  }

  private async withSecret(webhook: KnownWebhook): Promise<WebhookWithSecretBody> {
    const secret = this.keys.secret(webhook.webhookId, webhook.secret);
    if (secret === undefined) throw new Error('a secret that was just made is of this key');
    return { ...webhookBody(await this.find(webhook.tenant, webhook.webhookId)), secret };
  }

  private async checkNumber(tenant: string): Promise<void> {
    const actual = await this.queries.count(tenant);
    const { perTenant: limit } = this.limits;
    if (actual < limit) return;
    throw new ClawbackError(
      'limit',
      'webhooksOverLimit',
      `there are ${String(actual)} webhooks, the limit is ${String(limit)}; remove one first`,
      { actual, limit },
    );
  }
}

const webhookBody = (doc: WebhookDoc) => ({
  webhookId: doc.webhookId,
  url: doc.url,
  types: doc.types,
  description: doc.description,
  status: doc.status,
  pausedBecause: doc.pausedBecause ?? null,
  pauseDetail: doc.pauseDetail ?? null,
  secretVersion: doc.secretVersion,
  createdBy: doc.createdBy,
  createdAt: doc.createdAt,
  deliveredUpTo: doc.deliveredUpTo ?? null,
  deliveredAt: doc.deliveredAt ?? null,
  failing:
    doc.failing === undefined ? null : { ...doc.failing, nextAttemptAt: doc.failing.nextAttemptAt ?? null },
});

const deliveryBody = (doc: DeliveryDoc): DeliveryBody => ({
  messageId: doc.messageId,
  position: doc.position,
  type: doc.type,
  approvalId: doc.about,
  state: doc.state,
  nextAttemptAt: doc.nextAttemptAt ?? null,
  attempts: doc.attempts,
  lastAttempts: doc.lastAttempts.map(({ at, status, durationMs, error }) => ({
    at,
    status: status ?? null,
    durationMs,
    error: error ?? null,
  })),
});
