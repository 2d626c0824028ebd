import { actionLogView, dashboardView, historyView, messageBatchesView } from '#libs/action-center';
import { emailsView } from '#libs/mail-catalog';
import { deliveriesView, webhooksView } from '#libs/webhooks';

/** All views, by name. */
export const VIEWS = {
  actionLog: actionLogView,
  messageBatches: messageBatchesView,
  emails: emailsView,
  webhooks: webhooksView,
  webhookDeliveries: deliveriesView,
  dashboard: dashboardView,
  history: historyView,
} as const;
export type ViewName = keyof typeof VIEWS;

/** Views that one process keeps. */
export interface ViewGroup {
  /** What it is called among those who follow the log. */
  readonly name: string;
  readonly views: readonly ViewName[];
}

export const ALL_VIEWS: ViewGroup = { name: 'projector', views: Object.keys(VIEWS) as ViewName[] };

export const CATALOGUE: ViewGroup = { name: 'projector:catalogue', views: ['emails'] };

export const ACTION_CENTER: ViewGroup = {
  name: 'projector:actionCenter',
  views: ALL_VIEWS.views.filter((view) => !CATALOGUE.views.includes(view)),
};

/**
 * The views shared out. What a remediation did is in one group: who finds in the history that it has finished finds every
 * outcome in the log and with the copy.
 */
export const viewGroups = (processes: 1 | 2): readonly ViewGroup[] =>
  processes === 1 ? [ALL_VIEWS] : [ACTION_CENTER, CATALOGUE];
