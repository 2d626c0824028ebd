import {
  ActionCenter,
  ActiveRemediationsOfView,
  CopyStatesOfViews,
  Dashboard,
  Exports,
  LiveFeed,
} from '#libs/action-center';
import { EventStore } from '#libs/event-store';
import { Clock } from '#libs/kernel';
import { ImportEmailsHandler, MailCatalog } from '#libs/mail-catalog';
import { Sandbox } from '#libs/mailbox/sandbox';
import { ProblemFilter, RolesGuard, TokenVerifier, validationPipe, type Config } from '#libs/platform';
import { ReadStore } from '#libs/read-store';
import { ChangeViewBuildsHandler, KnownViews } from '#libs/rebuild';
import {
  ActiveRemediations,
  ApprovalPolicies,
  ApproveRemediationHandler,
  CancelRemediationHandler,
  CopyStates,
  ExpireRemediationHandler,
  PreviewRemediationHandler,
  RejectRemediationHandler,
  RemediationLimits,
  RetryRemediationHandler,
  SelectionSource,
  StopLateArrivalsHandler,
  SubmitRemediationHandler,
  UndoRemediationHandler,
} from '#libs/remediation';
import {
  HttpSender,
  OnWebhookHandler,
  Targets,
  WebhookKeys,
  WebhookQueries,
  WebhookSender,
} from '#libs/webhooks';
import { Module, type DynamicModule } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_PIPE } from '@nestjs/core';
import { CqrsModule } from '@nestjs/cqrs';
import { DashboardController } from './dashboard/dashboard.controller.js';
import { EmailsController } from './emails/emails.controller.js';
import { LiveController } from './live/live.controller.js';
import { LiveStreams } from './live/live-streams.js';
import { DecisionsController } from './remediations/decisions.controller.js';
import { ExportsController } from './exports/exports.controller.js';
import { AnalyzedEmailsController } from './graph/analyzed-emails.controller.js';
import { BatchController } from './graph/batch.controller.js';
import { HuntingController } from './remediations/hunting.controller.js';
import { RemediationsController } from './remediations/remediations.controller.js';
import { limitsOf, policiesOf } from './policies.js';
import { Runtime } from './runtime.js';
import { VIEWS } from './views/views.js';
import { SandboxController } from './sandbox/sandbox.controller.js';
import { CatalogueController } from './system/catalogue.controller.js';
import { HealthController } from './system/health.controller.js';
import { MetricsController } from './system/metrics.controller.js';
import { Metrics } from './system/metrics.js';
import { ViewsController } from './views/views.controller.js';
import { targetsOf } from './webhooks/dispatch.js';
import { WebhookLimits, WebhooksController } from './webhooks/webhooks.controller.js';

/** The HTTP side: routes, the command handlers behind them, and which adapter stands for which port. */
@Module({})
export class AppModule {
  static of(runtime: Runtime, metrics: Metrics, config: Config, verifier: TokenVerifier): DynamicModule {
    const { limits, webhooks } = config;
    const targets = targetsOf(config);
    const catalog = new MailCatalog(runtime.events, runtime.readStore);
    const actionCenter = new ActionCenter(runtime.readStore);
    return {
      module: AppModule,
      imports: [CqrsModule.forRoot()],
      controllers: [
        HealthController,
        MetricsController,
        ...(runtime.roles.has('api')
          ? [
              CatalogueController,
              EmailsController,
              ExportsController,
              DashboardController,
              RemediationsController,
              DecisionsController,
              LiveController,
              SandboxController,
              ViewsController,
              WebhooksController,
              HuntingController,
              AnalyzedEmailsController,
              BatchController,
            ]
          : []),
      ],
      providers: [
        { provide: Runtime, useValue: runtime },
        { provide: Metrics, useValue: metrics },
        { provide: Clock, useValue: runtime.clock },
        { provide: EventStore, useValue: runtime.events },
        { provide: ReadStore, useValue: runtime.readStore },
        { provide: Sandbox, useValue: runtime.sandbox },
        { provide: MailCatalog, useValue: catalog },
        { provide: SelectionSource, useValue: catalog },
        { provide: CopyStates, useValue: new CopyStatesOfViews(runtime.events, runtime.readStore) },
        { provide: ActiveRemediations, useValue: new ActiveRemediationsOfView(runtime.readStore) },
        { provide: LiveFeed, useValue: runtime.live },
        { provide: LiveStreams, useValue: new LiveStreams(limits.liveStreams) },
        { provide: WebhookKeys, useValue: runtime.webhookKeys },
        { provide: WebhookQueries, useValue: new WebhookQueries(runtime.readStore) },
        { provide: Targets, useValue: targets },
        { provide: WebhookSender, useValue: new HttpSender(targets, webhooks.timeoutMs) },
        { provide: WebhookLimits, useValue: new WebhookLimits(webhooks.perTenant) },
        { provide: ActionCenter, useValue: actionCenter },
        { provide: Dashboard, useValue: new Dashboard(runtime.readStore) },
        {
          provide: Exports,
          useValue: new Exports(runtime.readStore, actionCenter, catalog, runtime.clock),
        },
        {
          provide: RemediationLimits,
          useValue: limitsOf(config),
        },
        { provide: KnownViews, useValue: new KnownViews(Object.values(VIEWS)) },
        { provide: ApprovalPolicies, useValue: policiesOf(config) },
        { provide: TokenVerifier, useValue: verifier },
        { provide: APP_GUARD, useClass: RolesGuard },
        { provide: APP_FILTER, useClass: ProblemFilter },
        { provide: APP_PIPE, useFactory: validationPipe },
        ImportEmailsHandler,
        PreviewRemediationHandler,
        SubmitRemediationHandler,
        ApproveRemediationHandler,
        RejectRemediationHandler,
        UndoRemediationHandler,
        RetryRemediationHandler,
        CancelRemediationHandler,
        ExpireRemediationHandler,
        StopLateArrivalsHandler,
        ChangeViewBuildsHandler,
        OnWebhookHandler,
      ],
    };
  }
}
