import { ClawbackError, assertNever } from '#libs/kernel';

/** What a subscriber chose. */
export interface WebhookSettings {
  readonly url: string;
  /** The types of notifications that are sent. */
  readonly types: readonly string[];
  readonly description: string;
}

/**
 * Which secret signs: the secret itself is nowhere in the log, it is derived from a key of the server, the webhook's id and
 * this version.
 */
export interface SecretRef {
  readonly version: number;
  /** Names the server's key that it was derived from. */
  readonly keyId: string;
}

/** Why nothing is sent: somebody said so, the receiver failed for too long, or it answered that it is gone for good. */
export const PAUSE_REASONS = ['byHand', 'gaveUp', 'gone'] as const;
export type PauseReason = (typeof PAUSE_REASONS)[number];

/** Where sending begins: after a position, without what was recorded before a time. */
export interface BeginAt {
  /** As `formatPosition` writes it; empty for the beginning of the log. */
  readonly after: string;
  readonly notBefore?: string | undefined;
}

interface OfWebhook {
  readonly webhookId: string;
}

export type WebhookEvent =
  | {
      readonly type: 'WebhookRegistered';
      readonly data: OfWebhook &
        WebhookSettings & { readonly tenant: string; readonly secret: SecretRef; readonly begin: BeginAt };
    }
  | { readonly type: 'WebhookChanged'; readonly data: OfWebhook & WebhookSettings }
  | {
      readonly type: 'WebhookSecretRotated';
      /** The secret before signs as well until then. */
      readonly data: OfWebhook & { readonly secret: SecretRef; readonly previousUntil: string };
    }
  | {
      readonly type: 'WebhookPaused';
      readonly data: OfWebhook & { readonly because: PauseReason; readonly detail: string };
    }
  | { readonly type: 'WebhookResumed'; readonly data: OfWebhook }
  | { readonly type: 'WebhookReplayRequested'; readonly data: OfWebhook & { readonly begin: BeginAt } }
  | { readonly type: 'WebhookRemoved'; readonly data: OfWebhook };

export type WebhookCommand =
  | {
      readonly type: 'Register';
      readonly webhookId: string;
      readonly tenant: string;
      readonly settings: WebhookSettings;
      readonly keyId: string;
      readonly begin: BeginAt;
    }
  | { readonly type: 'Change'; readonly change: Partial<WebhookSettings> }
  | { readonly type: 'RotateSecret'; readonly keyId: string; readonly previousUntil: string }
  | { readonly type: 'Pause'; readonly because: PauseReason; readonly detail: string }
  | { readonly type: 'Resume' }
  | { readonly type: 'Replay'; readonly begin: BeginAt }
  | { readonly type: 'Remove' };

export interface KnownWebhook {
  readonly status: 'active' | 'paused' | 'removed';
  readonly webhookId: string;
  readonly tenant: string;
  readonly settings: WebhookSettings;
  readonly secret: SecretRef;
  readonly previous?: { readonly secret: SecretRef; readonly until: string };
  readonly begin: BeginAt;
  /** Grows when sending is to begin afresh: what failed in an earlier series is tried again at once. */
  readonly series: number;
  /** The series that began at {@link begin}; an earlier series' place counts no more. */
  readonly beginSeries: number;
}

export type Webhook = { readonly status: 'none' } | KnownWebhook;

export const initialWebhook: Webhook = { status: 'none' };

/** @throws {ClawbackError} `webhookNotFound`, `webhookExists` */
export function decideWebhook(state: Webhook, command: WebhookCommand): WebhookEvent[] {
  if (command.type === 'Register') {
    if (state.status !== 'none')
      throw new ClawbackError('conflict', 'webhookExists', 'this webhook was registered before');
    const { webhookId, tenant, settings, keyId, begin } = command;
    return [
      {
        type: 'WebhookRegistered',
        data: { webhookId, tenant, ...settings, secret: { version: 1, keyId }, begin },
      },
    ];
  }
  if (state.status === 'none' || state.status === 'removed') throw webhookNotFound();
  const { webhookId, settings, secret } = state;
  switch (command.type) {
    case 'Change': {
      const changed = { ...settings, ...command.change };
      return sameSettings(settings, changed)
        ? []
        : [{ type: 'WebhookChanged', data: { webhookId, ...changed } }];
    }
    case 'RotateSecret': {
      const { keyId, previousUntil } = command;
      const data = { webhookId, secret: { version: secret.version + 1, keyId }, previousUntil };
      return [{ type: 'WebhookSecretRotated', data }];
    }
    case 'Pause': {
      const { because, detail } = command;
      return state.status === 'paused'
        ? []
        : [{ type: 'WebhookPaused', data: { webhookId, because, detail } }];
    }
    case 'Resume':
      return state.status === 'active' ? [] : [{ type: 'WebhookResumed', data: { webhookId } }];
    case 'Replay':
      return [{ type: 'WebhookReplayRequested', data: { webhookId, begin: command.begin } }];
    case 'Remove':
      return [{ type: 'WebhookRemoved', data: { webhookId } }];
    default:
      return assertNever(command);
  }
}

export const webhookNotFound = (): ClawbackError =>
  new ClawbackError('notFound', 'webhookNotFound', 'there is no webhook with this id');

const sameSettings = (one: WebhookSettings, other: WebhookSettings): boolean =>
  one.url === other.url &&
  one.description === other.description &&
  one.types.length === other.types.length &&
  one.types.every((type) => other.types.includes(type));

/** Folds an event in; one that makes no sense for the state is ignored. */
export function evolveWebhook(state: Webhook, event: WebhookEvent): Webhook {
  if (event.type === 'WebhookRegistered') {
    if (state.status !== 'none') return state;
    const { webhookId, tenant, secret, begin, url, types, description } = event.data;
    const settings = { url, types, description };
    return { status: 'active', webhookId, tenant, settings, secret, begin, series: 0, beginSeries: 0 };
  }
  if (state.status === 'none') return state;
  const series = state.series + 1;
  switch (event.type) {
    case 'WebhookChanged': {
      const { url, types, description } = event.data;
      return { ...state, settings: { url, types, description }, series };
    }
    case 'WebhookSecretRotated': {
      const { secret, previousUntil } = event.data;
      return { ...state, secret, previous: { secret: state.secret, until: previousUntil } };
    }
    case 'WebhookPaused':
      return { ...state, status: 'paused' };
    case 'WebhookResumed':
      return { ...state, status: 'active', series };
    case 'WebhookReplayRequested':
      return { ...state, begin: event.data.begin, series, beginSeries: series };
    case 'WebhookRemoved':
      return { ...state, status: 'removed' };
    default:
      return assertNever(event);
  }
}

export const webhookDecider = { initial: initialWebhook, decide: decideWebhook, evolve: evolveWebhook };
